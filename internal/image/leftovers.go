package image

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"longshore/internal/rmtree"
)

// Leftovers lists the folders that builds, loads and pulls have left whose process died before it could clean up. They
// are of no use to anyone. What lives at the same time is not among them.
func (s *Store) Leftovers() ([]string, error) {
	left, err := s.eachLeftover(func(string) error { return nil })
	// A folder that a process has made and not yet locked has nothing in it.
	left = slices.DeleteFunc(left, func(dir string) bool {
		entries, err := os.ReadDir(dir)
		return err != nil || len(entries) == 0
	})
	return left, err
}

// Sweep removes the folders that Leftovers lists, and answers them. Every build begins with it, so that killed builds do
// not add up. It needs no lock on the store: see tempDir.
func (s *Store) Sweep() ([]string, error) {
	return s.eachLeftover(rmtree.All)
}

func (s *Store) eachLeftover(do func(dir string) error) ([]string, error) {
	entries, err := os.ReadDir(s.path(dirTmp))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.storeError(err)
	}
	var left []string
	for _, e := range entries {
		if !e.IsDir() {
			continue // a file is there for an instant only, and has no lock to tell by
		}
		dir := s.path(dirTmp, e.Name())
		dead, err := whileDead(dir, do)
		if err != nil {
			return left, s.storeError(err)
		}
		if dead {
			left = append(left, dir)
		}
	}
	return left, nil
}

// whileDead calls do, holding the folder's lock, if no process holds it.
func whileDead(dir string, do func(dir string) error) (bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, nil
	}
	return true, do(dir)
}
