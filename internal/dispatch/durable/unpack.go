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

	"github.com/klauspost/compress/zstd"

	"longshore/internal/task"
)

// The bounds of an archive of a folder.
const (
	maxUnpacked = 16 << 30 // bytes
	maxEntries  = 200_000
)

// unpack unpacks an archive (zip, tar, tar.gz, tar.zst) of a folder into an empty folder. Nothing can come to lie outside of it:
// entries with ".." are refused, and the kernel follows no link that leads out. What is neither a file, a folder nor a symbolic
// link is refused, too.
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
	u := &unpacker{ctx: ctx, root: root}
	in := bufio.NewReaderSize(f, 1<<16)
	head, _ := in.Peek(4) // too short is no archive
	switch h := string(head); {
	case strings.HasPrefix(h, "PK"):
		st, err := f.Stat()
		if err != nil {
			return err
		}
		return u.zip(f, st.Size())
	case strings.HasPrefix(h, "\x1f\x8b"):
		z, err := gzip.NewReader(in)
		if err != nil {
			return notAnArchive(err)
		}
		defer z.Close()
		return u.tar(z)
	case h == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return notAnArchive(err)
		}
		defer z.Close()
		return u.tar(z)
	}
	return u.tar(in)
}

func notAnArchive(err error) error {
	return (&task.Error{Code: task.CodePackage, Message: "the archive cannot be unpacked", Cause: err}).WithHint("send a zip, tar, tar.gz or tar.zst archive of the package's folder; an interrupted upload looks like this too")
}

type unpacker struct {
	ctx     context.Context
	root    *os.Root
	bytes   int64
	entries int
}

// name checks an entry's name and makes its folder.
func (u *unpacker) name(given string) (string, error) {
	if err := u.ctx.Err(); err != nil {
		return "", err
	}
	if u.entries++; u.entries > maxEntries {
		return "", task.Errorf(task.CodePackage, "the archive has more than %d entries", maxEntries)
	}
	name := path.Clean(strings.TrimPrefix(strings.ReplaceAll(given, `\`, "/"), "./"))
	if !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return "", task.Errorf(task.CodePackage, "the archive's entry %q leads out of its folder", given)
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return "", notAnArchive(err)
	}
	return name, nil
}

func (u *unpacker) file(name string, r io.Reader, mode fs.FileMode) error {
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644|mode&0o111)
	if err != nil {
		return notAnArchive(err)
	}
	n, err := io.Copy(f, io.LimitReader(r, maxUnpacked-u.bytes+1))
	u.bytes += n
	switch err := errors.Join(err, f.Close()); {
	case err != nil:
		return notAnArchive(err)
	case u.bytes > maxUnpacked:
		return task.Errorf(task.CodePackage, "the archive unpacks to more than %s", task.Bytes(maxUnpacked))
	}
	return nil
}

func (u *unpacker) dir(name string) error {
	if err := u.root.MkdirAll(name, 0o755); err != nil {
		return notAnArchive(err)
	}
	return nil
}

// link makes a symbolic link that stays inside.
func (u *unpacker) link(name, target string) error {
	if path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return task.Errorf(task.CodePackage, "the archive's link %q leads out of its folder, to %q", name, target)
	}
	if err := u.root.Symlink(target, name); err != nil {
		return notAnArchive(err)
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
			err = u.dir(name)
		case tar.TypeSymlink:
			err = u.link(name, h.Linkname)
		case tar.TypeXGlobalHeader:
		default:
			err = task.Errorf(task.CodePackage, "the archive's entry %q is neither a file, a folder nor a symbolic link", h.Name)
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
		return u.dir(name)
	}
	if !mode.IsRegular() && mode.Type() != fs.ModeSymlink {
		return task.Errorf(task.CodePackage, "the archive's entry %q is neither a file, a folder nor a symbolic link", e.Name)
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
