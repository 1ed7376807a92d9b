package image

import (
	"archive/tar"
	"strings"

	"golang.org/x/sys/unix"
)

// How archives delete what the layers below have, after the OCI image specification ("Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutJunk   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// whiteoutJunk tells whether an entry is bookkeeping of the aufs file system that old builders left in archives.
func (u *unpacker) whiteoutJunk(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if strings.HasPrefix(part, whiteoutJunk) && part != whiteoutOpaque {
			return true
		}
	}
	return false
}

// whiteout turns a whiteout entry in the open folder into its overlayfs form. It hides the layers below only: entries
// of this layer stay, in whichever order the archive has them.
func (u *unpacker) whiteout(hdr *tar.Header, base string) error {
	if base == whiteoutOpaque {
		if err := unix.Fsetxattr(u.dirFd, u.opaque, []byte("y"), 0); err != nil {
			return u.failed(hdr, err)
		}
		return nil
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." || strings.HasPrefix(name, whiteoutPrefix) {
		return u.hostile(hdr.Name, "a whiteout of nothing")
	}
	err := unix.Mknodat(u.dirFd, name, unix.S_IFCHR, 0)
	if err == nil {
		u.hidden[joinDir(u.dirReal, name)] = true
		return nil
	}
	if err != unix.EEXIST {
		return u.failed(hdr, err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(u.dirFd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return u.failed(hdr, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	fd, err := unix.Openat(u.dirFd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return u.failed(hdr, err)
	}
	defer unix.Close(fd)
	if err := unix.Fsetxattr(fd, u.opaque, []byte("y"), 0); err != nil {
		return u.failed(hdr, err)
	}
	return nil
}

// dropDevice tells whether an entry below dev/ is one that the runtime supplies anyway, and so need not be made.
func (u *unpacker) dropDevice(hdr *tar.Header) (bool, error) {
	switch hdr.Typeflag {
	case tar.TypeFifo:
		return true, nil
	case tar.TypeChar:
	default:
		return false, nil
	}
	name, err := u.cleanName(hdr.Name)
	if err != nil {
		return false, err
	}
	want, ok := standardDevice(strings.TrimPrefix(name, "dev/"))
	if ok && want == [2]int64{hdr.Devmajor, hdr.Devminor} {
		return true, nil
	}
	if ok {
		return false, u.hostile(hdr.Name, "a device with the wrong numbers, %d:%d", hdr.Devmajor, hdr.Devminor)
	}
	return false, nil
}

// standardDevice gives the numbers of the devices that every container has.
func standardDevice(name string) ([2]int64, bool) {
	switch name {
	case "null":
		return [2]int64{1, 3}, true
	case "zero":
		return [2]int64{1, 5}, true
	case "full":
		return [2]int64{1, 7}, true
	case "random":
		return [2]int64{1, 8}, true
	case "urandom":
		return [2]int64{1, 9}, true
	case "tty":
		return [2]int64{5, 0}, true
	case "console":
		return [2]int64{5, 1}, true
	case "ptmx":
		return [2]int64{5, 2}, true
	}
	return [2]int64{}, false
}
