package image

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// upper is a new layer in the making: a folder that receives files, over the layers below. It writes only to its own
// folder, and finds its way through what an earlier layer's links say, never through links of this machine.
type upper struct {
	dir   string
	view  *view // the layers below and, topmost, dir
	dirs  map[string]string
	below *view
	made  map[string]time.Time // folders that are new here, with the times they shall have
}

// owner is who new files belong to. Unless set, files keep their source's owner.
type owner struct {
	uid, gid int
	set      bool
}

func (s *Store) newUpper(dir string, below []string) (*upper, error) {
	u := &upper{dir: dir, below: s.view(below), view: s.view(append(append([]string(nil), below...), dir)), dirs: map[string]string{}, made: map[string]time.Time{}}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, s.storeError(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, s.storeError(err)
	}
	// The uppermost layer's root is the container's root.
	root, err := u.below.root()
	if err == nil {
		err = cloneAttributes(root, dir)
	} else if errors.Is(err, fs.ErrNotExist) {
		fixed := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		err = os.Chtimes(dir, fixed, fixed)
	}
	return u, s.storeError(err)
}

// resolve follows links in all but the last name of p, and in that, too, if it leads to a folder. The result is where p
// really lies, whether there is anything or not.
func (u *upper) resolve(p string) (string, *node, error) {
	n, real, err := u.view.walk(p, true)
	if err == nil {
		return real, n, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return real, nil, nil
	}
	return "", nil, pathError(p, err)
}

func pathError(p string, err error) error {
	why := err.Error()
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		why = "a file is in the way where a folder is needed"
	case errors.Is(err, syscall.ELOOP):
		why = "goes through too many symbolic links"
	}
	return &Error{Kind: KindInvalid, What: p + " in the image", Why: why, Err: err}
}

// here makes the folder at the resolved path p exist in the upper folder itself, like the one below it if there is one,
// and returns it. Its parents come along.
func (u *upper) here(p string) (string, error) {
	if p == "/" {
		return u.dir, nil
	}
	if real, ok := u.dirs[p]; ok {
		return real, nil
	}
	parent, err := u.here(path.Dir(p))
	if err != nil {
		return "", err
	}
	real := parent + "/" + path.Base(p)
	info, err := os.Lstat(real)
	switch {
	case err == nil && info.IsDir():
	case err == nil:
		return "", pathError(p, syscall.ENOTDIR)
	case errors.Is(err, fs.ErrNotExist):
		below, err := u.view.lookup(p, false)
		if err != nil {
			return "", pathError(p, err)
		}
		if err := os.Mkdir(real, 0o755); err != nil {
			return "", err
		}
		if err := cloneFull(below, real); err != nil {
			return "", err
		}
	default:
		return "", err
	}
	u.dirs[p] = real
	return real, nil
}

// makeDirs makes a folder and its parents, as far as they are missing.
func (u *upper) makeDirs(p string, mode uint32, o owner, t time.Time) error {
	real, n, err := u.resolve(p)
	if err != nil {
		return err
	}
	if n != nil {
		if !n.isDir() {
			return pathError(p, syscall.ENOTDIR)
		}
		return nil
	}
	return u.makeMissing(real, mode, o, t)
}

func (u *upper) makeMissing(real string, mode uint32, o owner, t time.Time) error {
	if real == "/" {
		return nil
	}
	if n, err := u.view.lookup(real, false); err == nil {
		if !n.isDir() {
			return pathError(real, syscall.ENOTDIR)
		}
		return nil
	}
	if err := u.makeMissing(path.Dir(real), mode, o, t); err != nil {
		return err
	}
	return u.makeDir(real, mode, o, t)
}

// makeDir makes one folder whose parent exists.
func (u *upper) makeDir(real string, mode uint32, o owner, t time.Time) error {
	parent, err := u.here(path.Dir(real))
	if err != nil {
		return err
	}
	dir := parent + "/" + path.Base(real)
	if err := u.clearWhiteout(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	u.dirs[real], u.made[real] = dir, t
	if err := setAttributes(dir, mode, o, t); err != nil {
		return err
	}
	return u.keepTime(path.Dir(real))
}

// clearWhiteout removes a whiteout that is where something new goes.
func (u *upper) clearWhiteout(file string) error {
	info, err := os.Lstat(file)
	if err == nil && isWhiteout(info) {
		return os.Remove(file)
	}
	return nil
}

// keepTime gives a folder of the upper, that got a new entry, the time it has below, or was made with: equal builds are equal.
func (u *upper) keepTime(p string) error {
	if t, ok := u.made[p]; ok {
		return setTime(u.dirs[p], t)
	}
	n, err := u.below.lookup(p, false)
	if err != nil || !n.isDir() {
		return nil
	}
	dir, err := u.here(p)
	if err != nil {
		return err
	}
	st := n.stat()
	return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{unix.Timespec(st.Mtim), unix.Timespec(st.Mtim)}, unix.AT_SYMLINK_NOFOLLOW)
}

// makeRoom makes the upper free of a non-folder at the resolved path p and returns the real path to create it at. A
// folder in the way is an error, as in Docker.
func (u *upper) makeRoom(p string) (string, error) {
	if n, err := u.view.lookup(p, false); err == nil && n.isDir() {
		return "", &Error{Kind: KindInvalid, What: p + " in the image", Why: "a folder, which a file cannot replace", Hint: "name the file's new name in full, or remove the folder first"}
	}
	parent, err := u.here(path.Dir(p))
	if err != nil {
		return "", err
	}
	file := parent + "/" + path.Base(p)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return file, nil
}

// makeFile writes a regular file at the resolved path p.
func (u *upper) makeFile(p string, r io.Reader, mode uint32, o owner, t time.Time) error {
	file, err := u.makeRoom(p)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = setAttributes(file, mode, o, t)
	}
	if err != nil {
		return err
	}
	return u.keepTime(path.Dir(p))
}

// makeLink writes a symbolic link at the resolved path p.
func (u *upper) makeLink(p, target string, o owner, t time.Time) error {
	file, err := u.makeRoom(p)
	if err != nil {
		return err
	}
	if err := os.Symlink(target, file); err != nil {
		return err
	}
	if err := setOwner(file, o); err != nil {
		return err
	}
	if err := setTime(file, t); err != nil {
		return err
	}
	return u.keepTime(path.Dir(p))
}

// makeFIFO makes a named pipe at the resolved path p.
func (u *upper) makeFIFO(p string, mode uint32, o owner, t time.Time) error {
	file, err := u.makeRoom(p)
	if err != nil {
		return err
	}
	if err := unix.Mkfifo(file, 0o600); err != nil {
		return err
	}
	if err := setAttributes(file, mode, o, t); err != nil {
		return err
	}
	return u.keepTime(path.Dir(p))
}

func setOwner(file string, o owner) error {
	err := os.Lchown(file, o.uid, o.gid)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		return nil // a user namespace without that number: it belongs to root
	}
	return err
}

func setTime(file string, t time.Time) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, file, timespecs(t), unix.AT_SYMLINK_NOFOLLOW)
}

func setAttributes(file string, mode uint32, o owner, t time.Time) error {
	if err := setOwner(file, o); err != nil {
		return err
	}
	if err := unix.Chmod(file, mode&0o7777); err != nil {
		return err
	}
	return setTime(file, t)
}

// cloneFull is cloneAttributes with extended attributes.
func cloneFull(n *node, to string) error {
	if err := cloneAttributes(n, to); err != nil {
		return err
	}
	return cloneXattrs(n.real, to)
}

// cloneXattrs copies the extended attributes that layers carry.
func cloneXattrs(from, to string) error {
	attrs, err := layerXattrs(from)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		if err := unix.Lsetxattr(to, a.name, a.value, 0); err != nil && err != unix.EPERM && err != unix.ENOTSUP {
			return err
		}
	}
	return nil
}

type xattr struct {
	name  string
	value []byte
}

// layerXattrs lists the extended attributes that layers carry, sorted by name.
func layerXattrs(file string) ([]xattr, error) {
	n, err := unix.Llistxattr(file, nil)
	if err == unix.ENOTSUP || n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]byte, n)
	if n, err = unix.Llistxattr(file, names); err != nil {
		return nil, err
	}
	var out []xattr
	for _, name := range strings.Split(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if name != "security.capability" && (!strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "user.overlay.")) {
			continue
		}
		value := make([]byte, 64<<10)
		size, err := unix.Lgetxattr(file, name, value)
		if err != nil {
			return nil, err
		}
		out = append(out, xattr{name, value[:size:size]})
	}
	sortXattrs(out)
	return out, nil
}
