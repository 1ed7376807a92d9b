package durable

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"longshore/internal/blob"
	"longshore/internal/task"
)

// The bounds of an archive of a folder. What it unpacks to may be maxUnpacked bytes, and no more than freeUnpacked and maxRatio
// times the archive: a small archive that becomes a large folder is there to fill the disk.
const (
	maxUnpacked  = 16 << 30
	freeUnpacked = 1 << 30
	maxRatio     = 100
	maxEntries   = 200_000
	maxName      = 4096 // bytes
	maxDepth     = 128  // folders within each other
)

// unpack unpacks an archive (zip, tar, tar.gz, tar.zst) of a folder into an empty folder. Nothing comes to lie outside of it, and
// no link in it leads out, whatever it leads through: entries with "..", entries below a link, and links whose end is outside are
// refused. So is what is neither a file, a folder nor a symbolic link. Of an archive that is refused, part may be in the folder.
func unpack(ctx context.Context, archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	u := &unpacker{ctx: ctx, root: root, folders: map[string]bool{}, limit: min(maxUnpacked, freeUnpacked+maxRatio*min(st.Size(), maxUnpacked))}
	if err := u.all(f, st.Size()); err != nil {
		return err
	}
	return u.checkLinks()
}

// all unpacks everything.
func (u *unpacker) all(f *os.File, size int64) error {
	in := bufio.NewReaderSize(f, 1<<16)
	head, _ := in.Peek(4) // too short is no archive
	switch h := string(head); {
	case strings.HasPrefix(h, "PK"):
		return u.zip(f, size)
	case strings.HasPrefix(h, "\x1f\x8b"):
		z, err := gzip.NewReader(in)
		if err != nil {
			return notAnArchive(err)
		}
		defer z.Close()
		return u.tarThen(z)
	case h == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return notAnArchive(err)
		}
		defer z.Close()
		return u.tarThen(z)
	}
	return u.tar(in)
}

// maxPadding is how much may come after the end of a compressed tar.
const maxPadding = 1 << 20

// tarThen reads on after the archive's end, so that the checksum at the end of the compressed data is looked at.
func (u *unpacker) tarThen(z io.Reader) error {
	if err := u.tar(z); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(z, maxPadding+1))
	if err == nil && n > maxPadding {
		err = errors.New("there is more data after its end")
	}
	if err != nil {
		return notAnArchive(err)
	}
	return nil
}

func notAnArchive(err error) error {
	if full := blob.Full(err); errors.Is(full, blob.ErrFull) {
		return (&task.Error{Code: task.ReasonEngine, Message: "the server's disk is full", Cause: err}).WithHint("the operator must make room; nothing was kept of this package")
	}
	return (&task.Error{Code: task.CodePackage, Message: "the archive cannot be unpacked", Cause: err}).WithHint("send a zip, tar, tar.gz or tar.zst archive of the package's folder; an interrupted upload looks like this too")
}

type unpacker struct {
	ctx   context.Context
	root  *os.Root
	limit int64 // bytes
	bytes int64
	// entries counts them and the folders around them; links are the names of the symbolic links.
	entries int
	links   []string
	folders map[string]bool // that are there
}

// name checks an entry's name and makes its folder.
func (u *unpacker) name(given string) (string, error) {
	if err := u.ctx.Err(); err != nil {
		return "", err
	}
	if err := u.count(); err != nil {
		return "", err
	}
	if len(given) > maxName || strings.Count(given, "/") > maxDepth {
		return "", u.unusable(given, syscall.ENAMETOOLONG)
	}
	name := path.Clean(strings.TrimPrefix(strings.ReplaceAll(given, `\`, "/"), "./"))
	if !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return "", task.Errorf(task.CodePackage, "the archive's entry %q leads out of its folder", shortened(given))
	}
	if err := u.folder(path.Dir(name)); err != nil {
		return "", err
	}
	return name, nil
}

// count bounds how much there is.
func (u *unpacker) count() error {
	if u.entries++; u.entries > maxEntries {
		return task.Errorf(task.CodePackage, "the archive has more than %d entries", maxEntries)
	}
	return nil
}

// shortened is a name that may be very long.
func shortened(name string) string {
	if len(name) > 200 {
		return name[:200] + "…"
	}
	return name
}

// folder makes a folder, and those around it. A link in its place is refused: what is unpacked below it would lie elsewhere than
// its name says, and links there would lead elsewhere than they seem to.
func (u *unpacker) folder(name string) error {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		part := name[:i]
		if u.folders[part] {
			continue
		}
		u.folders[part] = true
		err := u.root.Mkdir(part, 0o755)
		if err == nil {
			if err := u.count(); err != nil {
				return err
			}
			continue
		}
		if st, serr := u.root.Lstat(part); !errors.Is(err, fs.ErrExist) || serr != nil {
			return u.unusable(part, err)
		} else if !st.IsDir() {
			return task.Errorf(task.CodePackage, "the archive's entry %q is there both as a folder and as something else", shortened(part))
		}
	}
	return nil
}

// unusable is the error of a name that the file system does not take.
func (u *unpacker) unusable(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return task.Errorf(task.CodePackage, "the archive has the entry %q twice", shortened(name))
	case errors.Is(err, syscall.ENAMETOOLONG):
		return task.Errorf(task.CodePackage, "the archive's entry %q has too long a name", shortened(name))
	}
	return notAnArchive(err)
}

func (u *unpacker) file(name string, r io.Reader, mode fs.FileMode) error {
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644|mode&0o111)
	if err != nil {
		return u.unusable(name, err)
	}
	n, err := io.Copy(f, io.LimitReader(r, u.limit-u.bytes+1))
	u.bytes += n
	switch err := errors.Join(err, f.Close()); {
	case err != nil:
		return notAnArchive(err)
	case u.bytes > u.limit:
		return task.Errorf(task.CodePackage, "the archive unpacks to more than %s, which is too much for its size", task.Bytes(u.limit))
	}
	return nil
}

// link makes a symbolic link. Where its end is, is checked when everything is there.
func (u *unpacker) link(name, target string) error {
	if path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return leadsOut(name, target)
	}
	if err := u.root.Symlink(target, name); err != nil {
		return u.unusable(name, err)
	}
	u.links = append(u.links, name)
	return nil
}

func leadsOut(name, target string) error {
	return task.Errorf(task.CodePackage, "the archive's link %q leads out of its folder, to %q", shortened(name), shortened(target)).
		WithHint("put what it points to in its place, or remove it: a server takes no link that leaves its folder")
}

// checkLinks follows every link as the kernel does: one that goes through others may end elsewhere than its text says. Links that
// end nowhere, or in a circle, do no harm.
func (u *unpacker) checkLinks() error {
	for _, name := range u.links {
		_, err := u.root.Stat(name)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		target, rerr := u.root.Readlink(name)
		if rerr != nil {
			return notAnArchive(rerr)
		}
		return leadsOut(name, target)
	}
	return nil
}

func (u *unpacker) tar(r io.Reader) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return notAnArchive(err)
		}
		name, err := u.name(h.Name)
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeReg:
			err = u.file(name, t, fs.FileMode(h.Mode))
		case tar.TypeDir:
			err = u.folder(name)
		case tar.TypeSymlink:
			err = u.link(name, h.Linkname)
		case tar.TypeXGlobalHeader:
		default:
			err = task.Errorf(task.CodePackage, "the archive's entry %q is neither a file, a folder nor a symbolic link", shortened(h.Name))
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacker) zip(f io.ReaderAt, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return notAnArchive(err)
	}
	for _, e := range z.File {
		name, err := u.name(e.Name)
		if err != nil {
			return err
		}
		if err := u.zipped(name, e); err != nil {
			return err
		}
	}
	return nil
}

// maxTarget bounds the target of a link.
const maxTarget = 4096

func (u *unpacker) zipped(name string, e *zip.File) error {
	mode := e.Mode()
	if mode.IsDir() || strings.HasSuffix(e.Name, "/") {
		return u.folder(name)
	}
	if !mode.IsRegular() && mode.Type() != fs.ModeSymlink {
		return task.Errorf(task.CodePackage, "the archive's entry %q is neither a file, a folder nor a symbolic link", shortened(e.Name))
	}
	r, err := e.Open()
	if err != nil {
		return notAnArchive(err)
	}
	defer r.Close()
	if mode.IsRegular() {
		return u.file(name, r, mode)
	}
	target, err := io.ReadAll(io.LimitReader(r, maxTarget))
	if err != nil {
		return notAnArchive(fmt.Errorf("%s: %w", e.Name, err))
	}
	return u.link(name, string(target))
}
