// Package rmtree removes folders that hostile programs filled: however deep, broad and oddly named what lies in them.
//
// Nothing that is opened, remembered or named grows with the depth, which is what os.RemoveAll runs out of descriptors by: a folder
// that is not empty has its folders moved to the top before it goes.
package rmtree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// All removes a file, or a folder with all it holds, whatever the modes in it are. A missing one is no error. Nobody may be at work in
// it. It changes what it cannot remove: of a folder that stays, the folders may have moved.
func All(dir string) error {
	top, err := openFolder(unix.AT_FDCWD, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return os.Remove(dir)
	}
	if err == unix.EACCES && os.Remove(dir) == nil {
		return nil // an empty folder
	}
	if err == unix.EACCES {
		enter(unix.AT_FDCWD, dir)
		top, err = openFolder(unix.AT_FDCWD, dir)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer top.Close()
	if os.Geteuid() != 0 {
		_ = top.Chmod(0o700) // as enter does
	}
	r := removal{top: top, path: dir}
	if err := r.empty(top); err != nil {
		return err
	}
	return os.Remove(dir)
}

// removal is one call of All under way.
type removal struct {
	top   *os.File
	path  string
	moved int // how many folders were moved to the top: the last one's name
}

// openFolder opens a folder that is no link.
func openFolder(at int, name string) (*os.File, error) {
	for {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// enter lets the owner of a folder, who is not root, look into it and empty it. What that does not help, fails later.
func enter(at int, folder string) {
	if os.Geteuid() != 0 {
		_ = unix.Fchmodat(at, folder, 0o700, 0)
	}
}

// removeBatch is how many names are read at once.
const removeBatch = 1024

// empty empties a folder: the top, which fills anew from below meanwhile, or one that lies in it.
func (r *removal) empty(dir *os.File) error {
	for {
		names, err := dir.Readdirnames(removeBatch)
		if err == io.EOF {
			again, err := r.again(dir)
			if err != nil || !again {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := r.remove(dir, name); err != nil {
				return err
			}
		}
	}
}

// again tells whether there is more in a folder after it was read to its end: file systems need not show what comes meanwhile, and
// some pass over entries when others go.
func (r *removal) again(dir *os.File) (bool, error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	_, err := dir.Readdirnames(1)
	if err == io.EOF {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = dir.Seek(0, io.SeekStart)
	return true, err
}

// remove removes one entry of the top, or of a folder in it; there, a folder that is not empty moves to the top instead.
func (r *removal) remove(dir *os.File, name string) error {
	at := int(dir.Fd())
	err := unix.Unlinkat(at, name, 0)
	if err == unix.EISDIR || err == unix.EPERM {
		err = unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
	}
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.ENOTEMPTY && err != unix.EEXIST {
		return &os.PathError{Op: "remove", Path: filepath.Join(r.path, name), Err: err}
	}
	enter(at, name)
	if dir != r.top {
		return r.lift(at, name)
	}
	below, err := openFolder(at, name)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Join(r.path, name), Err: err}
	}
	defer below.Close()
	if err := r.empty(below); err != nil {
		return err
	}
	if err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); err != nil {
		return &os.PathError{Op: "remove", Path: filepath.Join(r.path, name), Err: err}
	}
	return nil
}

// lift moves a folder to the top, under a name that nothing there has.
func (r *removal) lift(from int, name string) error {
	for {
		r.moved++
		err := unix.Renameat2(from, name, int(r.top.Fd()), strconv.Itoa(r.moved), unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "move", Path: filepath.Join(r.path, name), Err: err}
		}
		return nil
	}
}
