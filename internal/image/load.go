package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// LoadOptions say how an archive is loaded. The zero value takes what fits this machine, under the archive's own names.
type LoadOptions struct {
	// Platform is the platform wanted; zero means this machine's.
	Platform Platform
	// AnyPlatform takes images of every platform.
	AnyPlatform bool
	// Name, when not empty, is the image's name instead of those in the archive, so that a stranger's archive cannot take over
	// a name that is in use. Of several images only the one that is tagged with it is loaded; without such a tag the archive
	// must hold one image.
	Name string
	// As, when not empty, is the name that the image is given in Name's place; Name then only chooses among several.
	As string
	// What names the archive in messages; empty means its path, or "image archive".
	What     string
	Progress Progress
}

// Load loads all images of a docker save archive, an OCI layout archive (each also compressed as a whole) or an OCI
// layout folder, and returns them in the archive's order. Layers that are there already are not read. On an error
// nothing of the archive has become visible but, perhaps, whole layers, which Prune removes.
func (s *Store) Load(ctx context.Context, path string, opts LoadOptions) ([]*Image, error) {
	if opts.What == "" {
		opts.What = path
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	if info.IsDir() {
		return s.loadFolder(ctx, path, opts)
	}
	return s.LoadArchive(ctx, func() (io.ReadCloser, error) { return os.Open(path) }, opts)
}

// fileError says that a file of the user's cannot be opened.
func fileError(path string, err error) error {
	e := &Error{Kind: KindInvalid, What: path, Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Kind, e.Why = KindNotFound, "no such file"
	}
	return e
}

// LoadArchive is Load for an archive that open gives, for example a member of a zip file. It is opened once; when what
// comes can seek, only the layers that are missing are read, and several at once.
func (s *Store) LoadArchive(ctx context.Context, open func() (io.ReadCloser, error), opts LoadOptions) ([]*Image, error) {
	if opts.What == "" {
		opts.What = "image archive"
	}
	done, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	rc, err := open()
	if err != nil {
		return nil, fileError(opts.What, err)
	}
	defer rc.Close()
	if f, ok := rc.(seekable); ok {
		head := make([]byte, sniffBytes)
		n, err := f.ReadAt(head, 0)
		if err != nil && err != io.EOF {
			return nil, readError(opts.What, err)
		}
		if sniff(head[:n]) == plain {
			return s.loadSeekable(ctx, f, opts)
		}
	}
	return s.loadStream(ctx, rc, opts)
}

// seekable is a file as os.File and bytes.Reader are.
type seekable interface {
	io.ReadSeeker
	io.ReaderAt
}

// loadSeekable reads the documents first, skipping all else, and then the layers that are wanted.
func (s *Store) loadSeekable(ctx context.Context, f seekable, opts LoadOptions) ([]*Image, error) {
	a := newArchive(opts.What)
	err := a.scan(ctx, f, func(name string, hdr *tar.Header, head []byte, r io.Reader) error {
		pos, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return readError(opts.What, err)
		}
		a.spots[name] = spot{pos - int64(len(head)), hdr.Size}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.loadImages(ctx, a, opts, func(l archiveLayer) (io.ReadCloser, int64, error) {
		at, ok := a.spots[l.entry]
		if !ok {
			return nil, 0, a.missingIn(l.entry)
		}
		return io.NopCloser(io.NewSectionReader(f, at.offset, at.size)), at.size, nil
	})
}

// loadFolder loads an OCI layout folder.
func (s *Store) loadFolder(ctx context.Context, dir string, opts LoadOptions) ([]*Image, error) {
	done, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fileError(dir, err)
	}
	defer root.Close()
	a := newArchive(opts.What)
	if err := a.scanFolder(root); err != nil {
		return nil, err
	}
	return s.loadImages(ctx, a, opts, func(l archiveLayer) (io.ReadCloser, int64, error) {
		f, err := openRegular(root, l.entry)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, 0, a.missingIn(l.entry)
		}
		if err != nil {
			return nil, 0, readError(opts.What, err)
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, 0, readError(opts.What, err)
		}
		return f, info.Size(), nil
	})
}

// openRegular opens a regular file below root without waiting for what is none.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &Error{Kind: KindInvalid, What: name, Why: "not a regular file but a " + typeName(info.Mode())}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// scanFolder reads the documents of an OCI layout folder.
func (a *archive) scanFolder(root *os.Root) error {
	names := []string{"index.json", "manifest.json"}
	entries, err := fs.ReadDir(root.FS(), "blobs/sha256")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return readError(a.what, err)
	}
	for _, e := range entries {
		names = append(names, "blobs/sha256/"+e.Name())
	}
	total := 0
	for _, name := range names {
		f, err := openRegular(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return readError(a.what, err)
		}
		head := make([]byte, sniffBytes)
		n, _ := f.ReadAt(head, 0)
		info, err := f.Stat()
		if err == nil && isDocument(head[:n]) && info.Size() <= maxDocument {
			if total += int(info.Size()); total > maxArchiveDocs {
				err = &Error{Kind: KindLimit, What: a.what, Why: "holds more than " + sizeText(maxArchiveDocs) + " of documents"}
			} else {
				a.docs[name], err = io.ReadAll(f)
			}
		}
		f.Close()
		if err != nil {
			return readError(a.what, err)
		}
	}
	return nil
}

// loadImages brings the wanted layers into the store, several at once, and commits the images.
func (s *Store) loadImages(ctx context.Context, a *archive, opts LoadOptions, open func(archiveLayer) (io.ReadCloser, int64, error)) ([]*Image, error) {
	images, err := a.images(opts.Platform)
	if err != nil {
		return nil, err
	}
	if images, err = chosenImages(images, opts); err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	var mu sync.Mutex
	started := map[string]bool{}
	budget := s.limits.budget()
	for _, img := range images {
		for _, l := range img.layers {
			if started[l.entry] {
				continue
			}
			started[l.entry] = true
			g.Go(func() error {
				info, err := s.ensureLayer(gctx, a.what+", layer "+l.entry, l, budget, opts.Progress, open)
				mu.Lock()
				a.layers[l.entry] = info
				mu.Unlock()
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return s.commitImages(a, images, opts)
}

// ensureLayer ingests a layer unless it is in the store. Processes that want the same one wait for each other.
func (s *Store) ensureLayer(ctx context.Context, what string, l archiveLayer, budget *atomic.Int64, p Progress, open func(archiveLayer) (io.ReadCloser, int64, error)) (layerInfo, error) {
	if info, ok := s.knownLayer(l); ok {
		return info, nil
	}
	unlock, err := s.lockLayer(ctx, l.diff)
	if err != nil {
		return layerInfo{}, err
	}
	defer unlock()
	if info, ok := s.knownLayer(l); ok {
		return info, nil
	}
	r, size, err := open(l)
	if err != nil {
		return layerInfo{}, err
	}
	defer r.Close()
	return s.ingest(ctx, layerSource{name: what, r: r, blob: l.blob, diff: l.diff, size: size, budget: budget, progress: p})
}

// lockLayer waits until nobody else brings this layer into the store.
func (s *Store) lockLayer(ctx context.Context, diff Digest) (func(), error) {
	return s.flock(ctx, s.path(dirTmp, "lock-"+diff.Hex()), unix.LOCK_EX)
}

// knownLayer describes a layer that is in the store.
func (s *Store) knownLayer(l archiveLayer) (layerInfo, bool) {
	if !s.hasLayer(l.diff) {
		return layerInfo{}, false
	}
	meta, err := s.layerMeta(l.diff)
	if err != nil {
		return layerInfo{}, false
	}
	if l.blob == "" {
		// Manifests that are made here describe layers uncompressed, so that they do not depend on what came first.
		return layerInfo{blob: l.diff, size: meta.TarSize, diff: l.diff}, true
	}
	return layerInfo{blob: l.blob, diff: l.diff}, true
}

// chosenImages are the images to take: all, or of several the one that is tagged with the wanted name. What does not fit is
// refused before anything is unpacked.
func chosenImages(images []archiveImage, opts LoadOptions) ([]archiveImage, error) {
	if opts.Name != "" && len(images) != 1 {
		chosen, err := namedImage(images, opts)
		if err != nil {
			return nil, err
		}
		images = []archiveImage{chosen}
	}
	if opts.AnyPlatform {
		return images, nil
	}
	for _, img := range images {
		if !img.platform.runs(opts.Platform) {
			what := opts.What
			if len(img.names) > 0 {
				what += ", " + img.names[0]
			}
			return nil, wrongArchitecture(what, img.platform, opts.Platform)
		}
	}
	return images, nil
}

// namedImage is the one of several images that carries the wanted name as a tag.
func namedImage(images []archiveImage, opts LoadOptions) (archiveImage, error) {
	var tags []string
	want, err := ParseReference(opts.Name)
	for _, img := range images {
		if err == nil && slices.Contains(img.names, want.String()) {
			return img, nil
		}
		tags = append(tags, img.names...)
	}
	why := "holds several images, and none is tagged " + opts.Name
	if len(tags) > 0 {
		why += "; the tags are " + strings.Join(tags, ", ")
	}
	return archiveImage{}, &Error{Kind: KindInvalid, What: opts.What, Why: why, Hint: "save one image, or tag the one that is meant"}
}

// commitImages makes images of what has been unpacked.
func (s *Store) commitImages(a *archive, images []archiveImage, opts LoadOptions) ([]*Image, error) {
	var out []*Image
	for _, img := range images {
		layers := make([]layerInfo, len(img.layers))
		for i, l := range img.layers {
			info, ok := a.layers[l.entry]
			if !ok {
				if err := a.failed[l.entry]; err != nil {
					return nil, err
				}
				return nil, a.missingIn(l.entry)
			}
			if l.blob != "" && l.blob != info.blob {
				return nil, lyingDigest(a.what+", layer "+l.entry, "content", l.blob, info.blob)
			}
			if img.manifest == nil {
				if info, ok = s.knownLayer(archiveLayer{diff: info.diff}); !ok {
					return nil, a.missingIn(l.entry)
				}
			}
			layers[i] = info
		}
		names := img.names
		switch {
		case opts.As != "":
			names = []string{opts.As}
		case opts.Name != "":
			names = []string{opts.Name}
		}
		done, err := s.commit(a.what, img.manifest, img.config, layers, names)
		if err != nil {
			return nil, err
		}
		opts.Progress.send(Event{Kind: EventImage, Text: done.Name()})
		out = append(out, done)
	}
	return out, nil
}

// loadStream loads an archive that can be read once only: every layer is unpacked as it passes, and the documents,
// which may come last, decide what becomes of it.
func (s *Store) loadStream(ctx context.Context, r io.Reader, opts LoadOptions) ([]*Image, error) {
	br, comp, err := peekCompression(r)
	if err != nil {
		return nil, readError(opts.What, err)
	}
	stream := io.Reader(br)
	if comp != plain {
		dec, err := decompress(br, comp)
		if err != nil {
			return nil, readError(opts.What, err)
		}
		defer dec.Close()
		ahead := newPump(dec, func([]byte) error { return nil })
		defer ahead.Close()
		stream = ahead
	}
	a := newArchive(opts.What)
	var total int64
	budget := s.limits.budget()
	err = a.scan(ctx, contextReader{ctx, stream}, func(name string, hdr *tar.Header, head []byte, r io.Reader) error {
		if !isTar(head) && sniff(head) == plain {
			return nil // a VERSION file and the like
		}
		if total += hdr.Size; total > s.limits.Bytes {
			return &Error{Kind: KindLimit, What: opts.What, Why: "unpacks to more than " + sizeText(s.limits.Bytes), Hint: "raise the store's limits if the image can be trusted"}
		}
		return s.streamLayer(ctx, a, name, hdr.Size, io.MultiReader(bytes.NewReader(head), r), budget, opts)
	})
	if err != nil {
		return nil, err
	}
	images, err := a.images(opts.Platform)
	if err != nil {
		return nil, err
	}
	if images, err = chosenImages(images, opts); err != nil {
		return nil, err
	}
	return s.commitImages(a, images, opts)
}

// streamLayer ingests one entry of a stream. A content address in its name saves the work when the layer is there.
func (s *Store) streamLayer(ctx context.Context, a *archive, name string, size int64, r io.Reader, budget *atomic.Int64, opts LoadOptions) error {
	if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
		blob := Digest(digestPrefix + hex)
		if diff, ok := s.diffOf(blob); ok {
			a.layers[name] = layerInfo{blob: blob, diff: diff}
			return nil
		}
	}
	info, err := s.ingest(ctx, layerSource{name: a.what + ", layer " + name, r: r, size: size, budget: budget, progress: opts.Progress})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case KindOf(err) == KindStore, KindOf(err) == KindLimit:
		return err
	case err != nil:
		a.failed[name] = err
	default:
		a.layers[name] = info
	}
	return nil
}
