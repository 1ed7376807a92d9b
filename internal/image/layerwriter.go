package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sealLayer makes a layer of tmp's folder "layer", which a build has filled: it writes the archive that describes it
// into a hash and a split, not to disk, and moves the folder to its place. An empty folder makes no layer: the digest is
// then empty. Times later than clamp, unless that is nil, become clamp.
func (s *Store) sealLayer(ctx context.Context, tmp *tempDir, clamp *time.Time) (Digest, error) {
	dir := tmp.join("layer")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", s.storeError(err)
	}
	if len(entries) == 0 && !isOpaque(dir, s.opaqueXattr) {
		return "", nil
	}
	split, err := newSplitWriter(tmp.join("split"))
	if err != nil {
		return "", s.storeError(err)
	}
	h := sha256.New()
	lw := &layerWriter{store: s, root: dir, hash: h, split: split, clamp: clamp, links: map[[2]uint64]string{}, buf: make([]byte, pumpChunk)}
	lw.tar = tar.NewWriter(lw)
	err = lw.folder(ctx, "", entries)
	if err == nil {
		err = lw.tar.Close()
	}
	if cerr := split.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", err
	}
	meta := layerMeta{Diff: sumDigest(h), TarSize: lw.size, Unpacked: unpackStats{Entries: lw.entries, Bytes: lw.bytes}}
	return meta.Diff, s.publishLayer(tmp, meta)
}

// layerWriter writes a folder in overlayfs form as a tar archive: entries sorted by name, nothing that depends on when
// or where it is done.
type layerWriter struct {
	store *Store
	root  string
	tar   *tar.Writer
	hash  io.Writer
	split *splitWriter
	// content is true while a file's content passes, which the split does not record.
	content bool
	clamp   *time.Time
	links   map[[2]uint64]string
	buf     []byte

	size, entries, bytes int64
}

// Write receives the archive.
func (w *layerWriter) Write(b []byte) (int, error) {
	_, _ = w.hash.Write(b)
	w.size += int64(len(b))
	if !w.content {
		return w.split.Write(b)
	}
	return len(b), nil
}

func (w *layerWriter) folder(ctx context.Context, rel string, entries []fs.DirEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if isOpaque(path.Join(w.root, rel), w.store.opaqueXattr) {
		if err := w.marker(path.Join(rel, whiteoutOpaque)); err != nil {
			return err
		}
	}
	for _, e := range entries {
		name := path.Join(rel, e.Name())
		info, err := e.Info()
		if err != nil {
			return w.store.storeError(err)
		}
		if strings.HasPrefix(e.Name(), whiteoutPrefix) {
			return &Error{Kind: KindInvalid, What: "/" + name, Why: "a file name that begins with .wh. cannot be kept in an image layer", Hint: "rename it, or remove it in the same RUN"}
		}
		if err := w.entry(name, info); err != nil {
			return err
		}
		if !info.IsDir() {
			continue
		}
		sub, err := os.ReadDir(path.Join(w.root, name))
		if err != nil {
			return w.store.storeError(err)
		}
		if err := w.folder(ctx, name, sub); err != nil {
			return err
		}
	}
	return nil
}

// marker writes a whiteout.
func (w *layerWriter) marker(name string) error {
	w.entries++
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
}

func (w *layerWriter) entry(name string, info fs.FileInfo) error {
	if isWhiteout(info) {
		dir, base := path.Split(name)
		return w.marker(dir + whiteoutPrefix + base)
	}
	file := path.Join(w.root, name)
	st := info.Sys().(*syscall.Stat_t)
	hdr := &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: info.ModTime().Truncate(time.Second), Format: tar.FormatPAX}
	if w.clamp != nil && info.ModTime().After(*w.clamp) {
		hdr.ModTime = w.clamp.Truncate(time.Second)
		if err := setTime(file, *w.clamp); err != nil {
			return w.store.storeError(err)
		}
	}
	if err := w.attributes(hdr, file); err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		hdr.Typeflag, hdr.Name = tar.TypeDir, name+"/"
	case mode.IsRegular():
		hdr.Typeflag, hdr.Size = tar.TypeReg, info.Size()
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(file)
		if err != nil {
			return w.store.storeError(err)
		}
		hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, target
	case mode&fs.ModeNamedPipe != 0:
		hdr.Typeflag = tar.TypeFifo
	case mode&fs.ModeSocket != 0:
		return os.Remove(file) // the socket of a server that has ended; archives cannot hold any
	default:
		return &Error{Kind: KindInvalid, What: "/" + name, Why: "a device node, which cannot be kept in an image layer", Hint: "containers get their devices from the runtime"}
	}
	if !info.IsDir() && st.Nlink > 1 && hdr.Typeflag != tar.TypeSymlink {
		key := [2]uint64{st.Dev, st.Ino}
		if first, ok := w.links[key]; ok {
			hdr.Typeflag, hdr.Linkname, hdr.Size, hdr.PAXRecords = tar.TypeLink, first, 0, nil
		} else {
			w.links[key] = name
		}
	}
	w.entries++
	if err := w.tar.WriteHeader(hdr); err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	if hdr.Typeflag != tar.TypeReg || hdr.Size == 0 {
		return nil
	}
	return w.contents(name, file, hdr.Size)
}

// attributes adds extended attributes, and refuses those with which an upper layer points into its lowers.
func (w *layerWriter) attributes(hdr *tar.Header, file string) error {
	for _, bad := range []string{"redirect", "metacopy"} {
		prefix := strings.TrimSuffix(w.store.opaqueXattr, "opaque")
		if _, err := unix.Lgetxattr(file, prefix+bad, nil); err == nil {
			return &Error{Kind: KindUnsupported, What: "/" + hdr.Name, Why: "the overlay was mounted with " + bad + ", so that this layer does not stand by itself", Hint: "mount build overlays with redirect_dir=off,metacopy=off"}
		}
	}
	attrs, err := layerXattrs(file)
	if err != nil {
		return w.store.storeError(err)
	}
	for _, a := range attrs {
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords[paxXattr+a.name] = string(portableCapability(a))
	}
	return nil
}

// portableCapability makes a file capability that was set inside a user namespace one that holds anywhere: the version
// with the namespace's root user loses it.
func portableCapability(a xattr) []byte {
	const rev2, rev3 = 2, 3
	if a.name != "security.capability" || len(a.value) != 24 || a.value[3] != rev3 {
		return a.value
	}
	v := slices.Clone(a.value[:20])
	v[3] = rev2
	return v
}

func (w *layerWriter) contents(name, file string, size int64) error {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return w.store.storeError(err)
	}
	defer f.Close()
	w.split.file(name, size)
	w.content = true
	n, err := io.CopyBuffer(struct{ io.Writer }{w.tar}, io.LimitReader(f, size), w.buf)
	w.content = false
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return w.store.storeError(err)
	}
	w.bytes += size
	return nil
}

func sortXattrs(x []xattr) {
	slices.SortFunc(x, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
}
