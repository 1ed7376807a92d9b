package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// unpackStats is what unpacking one layer found out.
type unpackStats struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// Implied are folders that the archive needs but does not name, so that their attributes are those of the layers below.
	Implied []string `json:"implied,omitempty"`
	// Moves are entries that later ones replaced, kept for putting the archive together again.
	Moves []splitMove `json:"moves,omitempty"`
	// Squashed counts entries whose owner could not be set, because this user may not, and who belong to root instead.
	Squashed int64 `json:"squashed,omitempty"`
}

// unpacker turns one layer archive into a folder in overlayfs form. Every system call names one component below an open
// folder and follows no link; folders are found by the kernel with the layer's folder as the root, so that no name and
// no link in the archive can lead out of it.
type unpacker struct {
	layer  string // for messages
	root   int
	opaque string
	limits Limits
	budget *atomic.Int64 // bytes that may still be unpacked, shared with other layers; nil: limits.Bytes for this one
	split  *splitWriter  // nil: do not write one
	moved  string        // folder for entries that later ones replace
	// noWhiteouts refuses entries that would delete what lies below: an archive that ADD unpacks is not a layer.
	noWhiteouts bool
	stats       unpackStats

	dirName string // the folder that dirFd has open, as its entries name it
	dirReal string // the same with links resolved
	dirFd   int

	times   []dirTime
	implied map[string]bool
	hidden  map[string]bool // whiteouts made by this layer
	buf     []byte
	euid    int
}

type dirTime struct {
	name string
	time time.Time
}

// hostile returns an error about an entry that no honest archive has.
func (u *unpacker) hostile(entry, format string, args ...any) error {
	return &Error{Kind: KindHostile, What: u.layer + ", entry " + quoteText(entry), Why: fmt.Sprintf(format, args...), Hint: "the archive was not made by an image builder; do not trust it"}
}

func (u *unpacker) limit(why string) error {
	return &Error{Kind: KindLimit, What: u.layer, Why: why, Hint: "raise the store's limits if the image can be trusted"}
}

// unpack reads the whole of r, which is an uncompressed tar archive, into dir.
func (u *unpacker) unpack(ctx context.Context, r io.Reader, dir string) (err error) {
	u.root, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(u.root)
	u.dirFd = -1
	defer u.leaveDir()
	u.implied, u.hidden = map[string]bool{}, map[string]bool{}
	u.buf = make([]byte, pumpChunk)
	u.euid = os.Geteuid()
	if u.budget == nil {
		u.budget = u.limits.budget()
	}

	tap := &splitTap{r: r, split: u.split}
	tr := tar.NewReader(tap)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return u.broken(err)
		}
		if u.stats.Entries++; u.stats.Entries > u.limits.Entries {
			return u.limit("more than " + strconv.FormatInt(u.limits.Entries, 10) + " entries")
		}
		if err := u.entry(tr, hdr, tap); err != nil {
			return err
		}
		tap.content = false
	}
	// What follows the end of the archive belongs to the digest and to the split.
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{tap}, u.buf); err != nil {
		return u.broken(err)
	}
	for i := len(u.times) - 1; i >= 0; i-- {
		t := u.times[i]
		if fd, err := u.openDir(t.name); err == nil {
			_ = unix.UtimesNanoAt(fd, ".", timespecs(t.time), 0)
			unix.Close(fd)
		}
	}
	for name := range u.implied {
		u.stats.Implied = append(u.stats.Implied, name)
	}
	return nil
}

// broken translates an error of reading the archive.
func (u *unpacker) broken(err error) error {
	var e *Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Kind: KindCorrupt, What: u.layer, Why: "the archive is damaged: " + err.Error(), Err: err}
}

// cleanName checks an entry's name and returns it relative and clean; "." is the layer's root.
func (u *unpacker) cleanName(name string) (string, error) {
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return "", u.hostile(name, "its name leads upwards")
		}
	}
	clean := path.Clean("/" + name)[1:]
	if clean == "" {
		return ".", nil
	}
	return clean, nil
}

func (u *unpacker) entry(tr *tar.Reader, hdr *tar.Header, tap *splitTap) error {
	name, err := u.cleanName(hdr.Name)
	if err != nil {
		return err
	}
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if u.noWhiteouts && (strings.HasPrefix(name, whiteoutPrefix) || strings.Contains(name, "/"+whiteoutPrefix)) {
		return u.hostile(hdr.Name, "a file name that begins with .wh. means a deletion in image layers")
	}
	if u.whiteoutJunk(name) {
		return nil
	}
	for _, part := range strings.Split(dir, "/") {
		if strings.HasPrefix(part, whiteoutPrefix) {
			return u.hostile(hdr.Name, "lies below a whiteout")
		}
	}
	if dir == "dev" || strings.HasPrefix(dir, "dev/") {
		if drop, err := u.dropDevice(hdr); drop || err != nil {
			return err
		}
	}
	if name == "." {
		if hdr.Typeflag != tar.TypeDir {
			return u.hostile(hdr.Name, "the root of a layer is not a folder")
		}
		return u.rootAttributes(hdr)
	}
	if err := u.enterDir(dir); err != nil {
		return u.failed(hdr, err)
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return u.whiteout(hdr, base)
	}
	if err := u.make(tr, hdr, tap, base); err != nil {
		return u.failed(hdr, err)
	}
	return nil
}

// failed adds where an operation failed.
func (u *unpacker) failed(hdr *tar.Header, err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EXDEV):
		return u.hostile(hdr.Name, "its path is impossible: %v", err)
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EROFS), errors.Is(err, unix.EMFILE):
		return &Error{Kind: KindStore, What: u.layer + ", entry " + quoteText(hdr.Name), Why: "cannot be written to the store: " + err.Error(), Hint: storeHint(err), Err: err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, tar.ErrHeader), errors.Is(err, errPumpClosed):
		return u.broken(err)
	}
	return &Error{Kind: KindCorrupt, What: u.layer + ", entry " + quoteText(hdr.Name), Why: err.Error(), Err: err}
}

// make creates one entry called base in the folder that is open.
func (u *unpacker) make(tr *tar.Reader, hdr *tar.Header, tap *splitTap, base string) error {
	if hdr.Uid < 0 || hdr.Gid < 0 || int64(hdr.Uid) >= 1<<32-1 || int64(hdr.Gid) >= 1<<32-1 {
		return u.hostile(hdr.Name, "its owner %d:%d is impossible", hdr.Uid, hdr.Gid)
	}
	full := joinDir(u.dirReal, base)
	wasHidden := u.hidden[full]
	delete(u.hidden, full)
	switch hdr.Typeflag {
	case tar.TypeDir:
		return u.makeDir(hdr, base, full, wasHidden)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.makeFile(tr, hdr, tap, base, full)
	case tar.TypeSymlink:
		if hdr.Linkname == "" || strings.ContainsRune(hdr.Linkname, 0) {
			return u.hostile(hdr.Name, "a symbolic link to nowhere")
		}
		if err := u.replacing(base, full, func() error { return unix.Symlinkat(hdr.Linkname, u.dirFd, base) }); err != nil {
			return err
		}
		return u.attributes(hdr, base, -1, false)
	case tar.TypeLink:
		return u.makeLink(hdr, base, full)
	case tar.TypeFifo:
		if err := u.replacing(base, full, func() error { return unix.Mknodat(u.dirFd, base, unix.S_IFIFO|0o600, 0) }); err != nil {
			return err
		}
		return u.attributes(hdr, base, -1, true)
	case tar.TypeChar, tar.TypeBlock:
		return u.hostile(hdr.Name, "a device node (%d:%d); containers get theirs from the runtime", hdr.Devmajor, hdr.Devminor)
	case tar.TypeXGlobalHeader:
		return nil
	}
	return u.hostile(hdr.Name, "an entry of unknown type %q", hdr.Typeflag)
}

func (u *unpacker) makeDir(hdr *tar.Header, base, full string, wasHidden bool) error {
	err := unix.Mkdirat(u.dirFd, base, 0o700)
	if err == unix.EEXIST {
		var st unix.Stat_t
		if err := unix.Fstatat(u.dirFd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = nil
		} else {
			err = u.replacing(base, full, func() error { return unix.Mkdirat(u.dirFd, base, 0o700) })
		}
	}
	if err != nil {
		return err
	}
	delete(u.implied, full)
	fd, err := unix.Openat(u.dirFd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if wasHidden {
		// The archive deletes the name and makes a folder of it: what the layers below had in it stays away.
		if err := unix.Fsetxattr(fd, u.opaque, []byte("y"), 0); err != nil {
			return err
		}
	}
	u.times = append(u.times, dirTime{full, hdr.ModTime})
	return u.attributes(hdr, base, fd, true)
}

func (u *unpacker) makeFile(tr *tar.Reader, hdr *tar.Header, tap *splitTap, base, full string) error {
	if hdr.Size < 0 || u.budget.Add(-hdr.Size) < 0 {
		return u.limit("unpacks to more than " + sizeText(u.limits.Bytes))
	}
	u.stats.Bytes += hdr.Size
	fd := -1
	err := u.replacing(base, full, func() (err error) {
		fd, err = unix.Openat(u.dirFd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sparse := isSparse(hdr)
	if u.split != nil && !sparse && hdr.Size > 0 {
		u.split.file(full, hdr.Size)
		tap.content = true
	}
	if err := u.copyContent(tr, fd, hdr.Size, sparse); err != nil {
		return err
	}
	tap.content = false
	return u.attributes(hdr, base, fd, true)
}

// isSparse tells whether an entry's content is stored with holes, so that archive and file differ.
func isSparse(hdr *tar.Header) bool {
	if hdr.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range hdr.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (u *unpacker) copyContent(tr *tar.Reader, fd int, size int64, sparse bool) error {
	var off int64
	for off < size {
		n, err := fill(tr, u.buf[:min(int64(len(u.buf)), size-off)])
		if n > 0 && !(sparse && allZero(u.buf[:n])) {
			if werr := writeAll(fd, u.buf[:n], off, sparse); werr != nil {
				return werr
			}
		}
		off += int64(n)
		if err == io.EOF && off < size {
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	if sparse {
		return unix.Ftruncate(fd, size)
	}
	return nil
}

func writeAll(fd int, b []byte, off int64, at bool) error {
	for len(b) > 0 {
		var n int
		var err error
		if at {
			n, err = unix.Pwrite(fd, b, off)
		} else {
			n, err = unix.Write(fd, b)
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (u *unpacker) makeLink(hdr *tar.Header, base, full string) error {
	target, err := u.cleanName(hdr.Linkname)
	if err != nil || target == "." {
		return u.hostile(hdr.Name, "a hard link that leads out of the layer, to %s", quoteText(hdr.Linkname))
	}
	if target == full {
		return nil // a link to itself, as some tools write for a file they store twice
	}
	tdir, tbase := path.Split(target)
	tfd, err := u.openDir(path.Clean(tdir))
	if err != nil {
		return u.hostile(hdr.Name, "a hard link to %s, which is not in this layer", quoteText(hdr.Linkname))
	}
	defer unix.Close(tfd)
	var st unix.Stat_t
	if err := unix.Fstatat(tfd, tbase, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return u.hostile(hdr.Name, "a hard link to %s, which is not in this layer", quoteText(hdr.Linkname))
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return u.hostile(hdr.Name, "a hard link to a folder")
	case st.Mode&unix.S_IFMT == unix.S_IFCHR:
		return u.hostile(hdr.Name, "a hard link to a whiteout")
	}
	var old unix.Stat_t
	if unix.Fstatat(u.dirFd, base, &old, unix.AT_SYMLINK_NOFOLLOW) == nil && old.Ino == st.Ino {
		return nil
	}
	return u.replacing(base, full, func() error { return unix.Linkat(tfd, tbase, u.dirFd, base, 0) })
}

// replacing runs create; when the name is taken, what has it makes room first, as tar archives replace by order.
func (u *unpacker) replacing(base, full string, create func() error) error {
	err := create()
	if err != unix.EEXIST {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(u.dirFd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if u.split == nil || (kind != unix.S_IFREG && kind != unix.S_IFDIR) {
		if kind != unix.S_IFDIR {
			err = unix.Unlinkat(u.dirFd, base, 0)
		} else {
			err = u.moveAway(base, full)
		}
	} else {
		err = u.moveAway(base, full)
	}
	if err != nil {
		return err
	}
	return create()
}

// moveAway puts what is called base where it is out of the way but can still be read.
func (u *unpacker) moveAway(base, full string) error {
	if len(u.stats.Moves) >= maxMoves {
		return u.limit("its entries replace each other more than " + strconv.Itoa(maxMoves) + " times")
	}
	if err := os.MkdirAll(u.moved, 0o700); err != nil {
		return err
	}
	to := strconv.Itoa(len(u.stats.Moves))
	if err := unix.Renameat(u.dirFd, base, unix.AT_FDCWD, u.moved+"/"+to); err != nil {
		return err
	}
	at := int64(0)
	if u.split != nil {
		u.split.flushRaw()
		at = u.split.records
	}
	u.stats.Moves = append(u.stats.Moves, splitMove{At: at, Old: full, New: to})
	for name := range u.implied {
		if name == full || strings.HasPrefix(name, full+"/") {
			delete(u.implied, name)
		}
	}
	u.leaveDirBelow(full)
	return nil
}

func (u *unpacker) rootAttributes(hdr *tar.Header) error {
	fd, err := unix.Openat(u.root, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	u.times = append(u.times, dirTime{".", hdr.ModTime})
	if err := u.attributes(hdr, ".", fd, true); err != nil {
		return u.failed(hdr, err)
	}
	return nil
}

// attributes sets owner, mode, extended attributes and time. fd may be -1, then the entry is named by base.
func (u *unpacker) attributes(hdr *tar.Header, base string, fd int, mode bool) error {
	if hdr.Uid != 0 || hdr.Gid != 0 || u.euid != 0 {
		var err error
		if fd >= 0 {
			err = unix.Fchown(fd, hdr.Uid, hdr.Gid)
		} else {
			err = unix.Fchownat(u.dirFd, base, hdr.Uid, hdr.Gid, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err == unix.EPERM || err == unix.EINVAL {
			u.stats.Squashed++
		} else if err != nil {
			return err
		}
	}
	if mode {
		bits := uint32(hdr.Mode & 0o7777)
		var err error
		if fd >= 0 {
			err = unix.Fchmod(fd, bits)
		} else {
			// Only FIFOs come here, and the name was made a moment ago in a folder that nobody else writes to.
			err = unix.Fchmodat(u.dirFd, base, bits, 0)
		}
		if err != nil {
			return err
		}
	}
	if err := u.xattrs(hdr, base, fd); err != nil {
		return err
	}
	if base == "." || hdr.Typeflag == tar.TypeDir {
		return nil
	}
	return unix.UtimesNanoAt(u.dirFd, base, timespecs(hdr.ModTime), unix.AT_SYMLINK_NOFOLLOW)
}

const paxXattr = "SCHILY.xattr."

// xattrs sets the attributes that mean something inside a container. Those that steer overlayfs would let an archive
// forge what lies in other layers.
func (u *unpacker) xattrs(hdr *tar.Header, base string, fd int) error {
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		if strings.HasPrefix(name, "user.overlay.") {
			return u.hostile(hdr.Name, "sets the attribute %s, which belongs to overlayfs", name)
		}
		if name != "security.capability" && !strings.HasPrefix(name, "user.") {
			continue
		}
		if fd < 0 {
			continue // symbolic links and FIFOs can have neither
		}
		err := unix.Fsetxattr(fd, name, []byte(value), 0)
		if err == unix.EPERM {
			u.stats.Squashed++
		} else if err != nil {
			return fmt.Errorf("setting the attribute %s: %w", name, err)
		}
	}
	return nil
}

func timespecs(t time.Time) []unix.Timespec {
	if t.IsZero() || t.Unix() < -1<<33 || t.Unix() > 1<<34 {
		t = time.Unix(0, 0)
	}
	ts := unix.NsecToTimespec(t.UnixNano())
	return []unix.Timespec{ts, ts}
}

func joinDir(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}
