package worker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// goneSuffix ends the names of folders that are being removed; they start with a dot.
const goneSuffix = ".gone"

// Leftovers lists jobs in a folder of jobs that nobody carries out and that have no outcome, and those that were half removed. No
// server may be at work there: a job that it is about to begin looks the same.
func Leftovers(dir string) ([]string, error) {
	names, err := jobs(dir)
	if err != nil {
		return nil, err
	}
	left, err := removed(dir)
	c := &Client{cfg: ClientConfig{Dir: dir}}
	for _, name := range names {
		if !c.free(name) {
			continue
		}
		if _, err := outcome(c.Folder(name)); errors.Is(err, ErrLost) {
			left = append(left, c.Folder(name))
		}
	}
	return left, err
}

// Sweep removes what Leftovers lists, and answers it.
func Sweep(dir string) ([]string, error) {
	left, err := Leftovers(dir)
	return left, errors.Join(err, removeAll(left))
}

// SweepRemoved removes jobs that were half removed when their server died. A server may be at work: what it is just removing may
// go twice.
func SweepRemoved(dir string) ([]string, error) {
	left, err := removed(dir)
	return left, errors.Join(err, removeAll(left))
}

func removed(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, ".") && strings.HasSuffix(n, goneSuffix) {
			list = append(list, filepath.Join(dir, n))
		}
	}
	return list, err
}

func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return errors.Join(errs...)
}
