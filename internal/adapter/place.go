package adapter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/dispatch"
	"longshore/internal/engine"
)

// placement is what was put to its place, in order.
type placement []engine.Mount

// place puts the content of every mount to its target: bind mounts need rights that the adapter does not have. The target is
// emptied first, as a mount would hide what is there.
func (e *inPlace) place(mounts []engine.Mount) (placement, error) {
	var done placement
	shown := map[string]string{}
	for _, m := range mounts {
		if first, again := shown[m.Source]; again {
			if err := alias(first, m.Target); err != nil {
				return done, err
			}
			continue
		}
		shown[m.Source] = m.Target
		if err := e.put(m); err != nil {
			return done, err
		}
		done = append(done, m)
	}
	return done, nil
}

// alias shows a folder at a second place.
func alias(first, target string) error {
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(first, target)
}

func (e *inPlace) put(m engine.Mount) error {
	st, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		if err := os.MkdirAll(filepath.Dir(m.Target), 0o777); err != nil {
			return err
		}
		if err := os.RemoveAll(m.Target); err != nil {
			return err
		}
		return copyAll(m.Source, m.Target)
	}
	if err := os.MkdirAll(m.Target, 0o777); err != nil {
		return err
	}
	unlock(m.Target)
	if err := empty(m.Target); err != nil {
		return err
	}
	if e.owns(m.Source) {
		err = move(m.Source, m.Target)
	} else {
		err = copyAll(m.Source, m.Target) // it is the platform's: a program that may write must not reach it
	}
	if err == nil && m.ReadOnly {
		lock(m.Target)
	}
	return err
}

func (e *inPlace) owns(path string) bool { return strings.HasPrefix(path, e.own+"/") }

// back returns what lies in the writable mounts to where it came from, inner ones first.
func (p placement) back() error {
	var errs []error
	for _, m := range slices.Backward(p) {
		st, err := os.Stat(m.Source)
		switch {
		case err != nil || !st.IsDir():
			errs = append(errs, err)
		case m.ReadOnly:
			unlock(m.Target)
			errs = append(errs, empty(m.Target))
		default:
			errs = append(errs, move(m.Target, m.Source))
		}
	}
	return errors.Join(errs...)
}

// move moves what is in a folder to another, by copying where renaming is not possible.
func move(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		a, b := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		err := os.Rename(a, b)
		if err != nil {
			if err = copyAll(a, b); err == nil {
				err = os.RemoveAll(a)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyAll(from, to string) error {
	st, err := os.Lstat(from)
	switch {
	case err != nil:
		return err
	case st.IsDir():
		if err := os.MkdirAll(to, st.Mode().Perm()|0o700); err != nil {
			return err
		}
		return each(from, func(name string) error { return copyAll(filepath.Join(from, name), filepath.Join(to, name)) })
	case st.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !st.Mode().IsRegular():
		return errors.New(from + " is neither a file, a folder nor a link")
	}
	return dispatch.CopyFile(from, to, st.Mode().Perm())
}

func each(dir string, use func(name string) error) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil {
			err = use(e.Name())
		}
	}
	return err
}

// lock takes the right to change what is in a folder, as far as it goes: root may all the same.
func lock(dir string) { chmodFolders(dir, 0o555) }

func unlock(dir string) { chmodFolders(dir, 0o777) }

func chmodFolders(dir string, mode os.FileMode) {
	_ = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(p, mode) // only its owner can
		}
		return nil
	})
}
