package image

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openDir opens a folder of the layer for reading its entries. Links are resolved with the layer's folder as root.
func (u *unpacker) openDir(name string) (int, error) {
	return unix.Openat2(u.root, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// enterDir makes dirFd the folder called name, making it when the archive did not.
func (u *unpacker) enterDir(name string) error {
	if u.dirFd >= 0 && u.dirName == name {
		return nil
	}
	fd, real, err := u.reachDir(name, 0)
	if err != nil {
		return err
	}
	u.leaveDir()
	u.dirFd, u.dirName, u.dirReal = fd, name, real
	return nil
}

func (u *unpacker) leaveDir() {
	if u.dirFd >= 0 {
		unix.Close(u.dirFd)
	}
	u.dirFd, u.dirName, u.dirReal = -1, "", ""
}

// leaveDirBelow forgets the open folder when it lies in one that has been moved away. The caller keeps using dirFd for
// the moved folder's parent, which never lies below it.
func (u *unpacker) leaveDirBelow(full string) {
	if strings.HasPrefix(u.dirReal+"/", full+"/") {
		u.leaveDir()
	}
}

// reachDir opens a folder, making missing parents, and tells its path with links resolved.
func (u *unpacker) reachDir(name string, depth int) (int, string, error) {
	if depth > maxLinks {
		return -1, "", unix.ELOOP
	}
	if name == "." {
		fd, err := u.openDir(".")
		return fd, ".", err
	}
	fd, err := unix.Openat2(u.root, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err == nil {
		return fd, name, nil
	}
	if err != unix.ENOENT && err != unix.ELOOP && err != unix.ENOTDIR {
		return -1, "", err
	}
	// Go down step by step: something is missing, or a link is on the way.
	parent, base := path.Split(name)
	pfd, preal, err := u.reachDir(path.Clean(parent), depth)
	if err != nil {
		return -1, "", err
	}
	defer unix.Close(pfd)
	full := joinDir(preal, base)
	err = unix.Mkdirat(pfd, base, 0o755)
	if err == nil {
		u.implied[full] = true
		u.stats.Entries++
	} else if err != unix.EEXIST {
		return -1, "", err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(pfd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, "", err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		fd, err := unix.Openat(pfd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return fd, full, err
	case unix.S_IFLNK:
		buf := make([]byte, 4097)
		n, err := unix.Readlinkat(pfd, base, buf)
		if err != nil {
			return -1, "", err
		}
		target := string(buf[:n])
		if !strings.HasPrefix(target, "/") {
			target = preal + "/" + target
		}
		// Clamping at the root is what a container's kernel does with too many "..", too.
		target = path.Clean("/" + target)[1:]
		if target == "" {
			target = "."
		}
		return u.reachDir(target, depth+1)
	case unix.S_IFCHR:
		// A name that this layer deletes below, and then uses as a folder: an opaque one.
		if !u.hidden[full] {
			return -1, "", unix.ENOTDIR
		}
		delete(u.hidden, full)
		if err := unix.Unlinkat(pfd, base, 0); err != nil {
			return -1, "", err
		}
		if err := unix.Mkdirat(pfd, base, 0o755); err != nil {
			return -1, "", err
		}
		u.implied[full] = true
		fd, err := unix.Openat(pfd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, "", err
		}
		if err := unix.Fsetxattr(fd, u.opaque, []byte("y"), 0); err != nil {
			unix.Close(fd)
			return -1, "", err
		}
		return fd, full, nil
	}
	return -1, "", &Error{Kind: KindHostile, What: u.layer + ", folder " + quoteText(full), Why: "another entry is a file of that name, of type " + strconv.FormatUint(uint64(st.Mode&unix.S_IFMT), 8)}
}
