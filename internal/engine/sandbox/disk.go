package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
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
	main    atomic.Int64 // the container's first process while it runs, else 0
}

// used is the growth since the watch began, in bytes of disk. What is hidden from measuring counts as too much.
func (d *diskWatch) used() int64 {
	now := diskUsage(d.folders)
	if main := d.main.Load(); main != 0 {
		now.addUnnamed(int(main))
	}
	if now.hidden {
		return max(now.sum-d.before, d.limit+1)
	}
	return max(now.sum-d.before, 0)
}

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

// disk measures once what some folders and processes hold of the disk.
type disk struct {
	sum     int64
	linked  map[inode]bool
	devices map[uint64]bool // that the folders are on
	hidden  bool            // something lies too deep to be measured
	anchors int
}

type inode struct{ dev, ino uint64 }

const (
	// leastInode is what a file takes at least, in bytes: file systems run out of inodes as of blocks.
	leastInode = 4096
	// anchorLength is the length of path from which on a walk starts anew from an open folder, as the kernel takes no path of more
	// than 4096 bytes.
	anchorLength = 3500
	// maxAnchors bounds the open folders: trees of some hundred levels with the longest of names.
	maxAnchors = 64
	diskBatch  = 1024
)

// diskUsage adds up the blocks of everything below some folders. What cannot be read, because it is being removed, counts
// nothing; a file with several names counts once.
func diskUsage(folders []string) *disk {
	d := &disk{linked: map[inode]bool{}, devices: map[uint64]bool{}}
	for _, f := range folders {
		var st unix.Stat_t
		if unix.Stat(f, &st) != nil {
			continue
		}
		d.devices[st.Dev] = true
		d.add(&st)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if top, err := os.Open(f); err == nil {
			d.walk(top, ".")
			top.Close()
		}
	}
	return d
}

// walk adds a folder, by its path from an open one. The container is at work in it: nothing that is a link now is followed.
func (d *disk) walk(anchor *os.File, path string) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}
	fd, err := unix.Openat2(int(anchor.Fd()), path, &how)
	if err != nil {
		return
	}
	dir := os.NewFile(uintptr(fd), path)
	folders := d.entries(dir)
	if len(path) > anchorLength && len(folders) > 0 {
		defer dir.Close()
		if d.anchors == maxAnchors {
			d.hidden = true
			return
		}
		d.anchors++
		defer func() { d.anchors-- }()
		anchor, path = dir, "."
	} else {
		dir.Close()
	}
	for _, name := range folders {
		d.walk(anchor, path+"/"+name)
	}
}

// entries adds what lies in a folder, and answers its folders.
func (d *disk) entries(dir *os.File) (folders []string) {
	for {
		names, err := dir.Readdirnames(diskBatch)
		if err != nil {
			return folders
		}
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			d.add(&st)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				folders = append(folders, name)
			}
		}
	}
}

// add adds one file, of several names only the first.
func (d *disk) add(st *unix.Stat_t) {
	if st.Nlink != 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		id := inode{st.Dev, st.Ino}
		if d.linked[id] {
			return
		}
		d.linked[id] = true
	}
	d.sum += max(st.Blocks*512, leastInode)
}

// addUnnamed adds the files without a name that the processes of a container have open or mapped. main is its first process, from
// which all others descend.
func (d *disk) addUnnamed(main int) {
	for left := []int{main}; len(left) > 0; {
		proc := fmt.Sprintf("/proc/%d", left[0])
		left = left[1:]
		d.addOpen(proc + "/fd")
		d.addMapped(proc)
		tasks, _ := filepath.Glob(proc + "/task/*/children")
		for _, t := range tasks {
			children, _ := os.ReadFile(t)
			for _, c := range strings.Fields(string(children)) {
				if pid, err := strconv.Atoi(c); err == nil {
					left = append(left, pid)
				}
			}
		}
	}
}

func (d *disk) addOpen(folder string) {
	dir, err := os.Open(folder)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		d.addLink(folder + "/" + name)
	}
}

func (d *disk) addMapped(proc string) {
	f, err := os.Open(proc + "/maps")
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if part, _, ok := strings.Cut(s.Text(), " "); ok && strings.HasSuffix(s.Text(), " (deleted)") {
			d.addLink(proc + "/map_files/" + part)
		}
	}
}

// addLink adds the file that a link of /proc leads to, if it has no name any more and is on a disk: what is in the container's own
// memory is counted there, but the folders may lie in the machine's.
func (d *disk) addLink(path string) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Nlink != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	var fs unix.Statfs_t
	memory := unix.Statfs(path, &fs) != nil || fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.HUGETLBFS_MAGIC
	if !memory || d.devices[st.Dev] {
		d.add(&st)
	}
}
