package sandbox

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// diskDelay spares short runs the measuring.
	diskDelay = time.Second
	// diskShare bounds the time spent measuring to a twentieth.
	diskShare = 20
	diskPause = 250 * time.Millisecond
)

// diskWatch measures what a container writes to its writable layer and its writable mounts.
type diskWatch struct {
	folders []string
	before  int64
	limit   int64
}

// used is the growth since the watch began, in bytes of disk.
func (d *diskWatch) used() int64 { return max(diskUsage(d.folders)-d.before, 0) }

// watch calls exceeded once if the limit is passed before stop is closed.
func (d *diskWatch) watch(stop <-chan struct{}, exceeded func()) {
	pause := diskDelay
	for {
		t := time.NewTimer(pause)
		select {
		case <-stop:
			t.Stop()
			return
		case <-t.C:
		}
		start := time.Now()
		if d.used() > d.limit {
			exceeded()
			return
		}
		pause = max(diskPause, diskShare*time.Since(start))
	}
}

// diskUsage adds up the blocks of everything below some folders. What cannot be read, because it is being removed, counts
// nothing; a file with several names counts once.
func diskUsage(folders []string) int64 {
	type inode struct{ dev, ino uint64 }
	linked := map[inode]bool{}
	var sum int64
	for _, folder := range folders {
		_ = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return nil
			}
			if st.Nlink > 1 && !d.IsDir() {
				key := inode{st.Dev, st.Ino}
				if linked[key] {
					return nil
				}
				linked[key] = true
			}
			sum += st.Blocks * 512
			return nil
		})
	}
	return sum
}
