package dispatch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockName is the file in a run's folder that its process holds locked.
const lockName = ".lock"

func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
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
		dir := filepath.Join(d.Dir, e.Name())
		f, err := lockFolder(dir)
		if err != nil {
			continue // in use, or gone in the meantime
		}
		f.Close()
		left = append(left, dir)
	}
	return left, nil
}

// Sweep removes the folders that Leftovers lists, and answers them.
func (d *Dispatcher) Sweep() ([]string, error) {
	left, err := d.Leftovers()
	if err != nil {
		return nil, err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return left, err
		}
	}
	return left, nil
}
