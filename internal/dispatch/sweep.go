package dispatch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// lockName is the file in a run's folder that its process holds locked. It is made after the folder and removed right before it,
// so that only a folder that is just coming or going has none.
const lockName = ".lock"

// young is how long a folder without a lock is taken for one that is just coming or going.
const young = time.Minute

// lockFolder makes a folder's lock file, which is locked before it has its name.
func lockFolder(dir string) (*os.File, error) {
	f, err := lock(filepath.Join(dir, lockName+".new"), os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, lockName)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lock opens and locks a lock file; flags say whether it may be made.
func lock(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeLocked removes a run's folder, its lock last.
func (d *Dispatcher) removeLocked(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		if err := d.removeAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// removeAll removes what containers may have written to: the engine knows what they can do, and to whom it may belong.
func (d *Dispatcher) removeAll(path string) error {
	if f, ok := d.Engine.(engine.FolderRemover); ok {
		return f.RemoveFolder(context.Background(), path)
	}
	return os.RemoveAll(path)
}

// Leftovers lists the folders of runs whose process has died.
func (d *Dispatcher) Leftovers() ([]string, error) {
	entries, err := os.ReadDir(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var left []string
	for _, e := range entries {
		if dir := filepath.Join(d.Dir, e.Name()); d.abandoned(dir) {
			left = append(left, dir)
		}
	}
	return left, nil
}

// abandoned tells whether nobody uses a run's folder any more. It changes nothing: others look at the same time.
func (d *Dispatcher) abandoned(dir string) bool {
	f, err := lock(filepath.Join(dir, lockName), 0)
	if errors.Is(err, fs.ErrNotExist) {
		st, err := os.Stat(dir)
		return err == nil && d.now().Sub(st.ModTime()) > young
	}
	if err != nil {
		return false // in use
	}
	// Its process may have ended well between our look at the list and now: then the lock is one of a folder that is gone.
	defer f.Close()
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.Name())
	return err == nil && os.SameFile(ours, there)
}

// Sweep removes the folders that Leftovers lists, and answers them.
func (d *Dispatcher) Sweep() ([]string, error) {
	left, err := d.Leftovers()
	if err != nil {
		return nil, err
	}
	for _, dir := range left {
		if err := d.removeLocked(dir); err != nil {
			return left, err
		}
	}
	return left, nil
}
