package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"longshore/internal/rmtree"
)

// What lies beside an unpacked layer's folder.
const (
	metaSuffix  = ".json"
	splitSuffix = ".split"
	movedSuffix = ".moved"
)

// layerMeta is what the store keeps about an unpacked layer.
type layerMeta struct {
	Diff Digest `json:"diff"`
	// TarSize is the size of the uncompressed archive in bytes.
	TarSize int64 `json:"tarSize"`
	// Blob is the compressed archive when that is what came; empty means that a split describes the archive.
	Blob        Digest      `json:"blob,omitempty"`
	BlobSize    int64       `json:"blobSize,omitempty"`
	Compression compression `json:"compression,omitempty"`
	Unpacked    unpackStats `json:"unpacked"`
}

func (s *Store) layerDir(diff Digest) string { return s.path(dirLayers, diff.Hex()) }

// hasLayer tells whether a layer is complete: its description is written last.
func (s *Store) hasLayer(diff Digest) bool {
	if !diff.Valid() {
		return false
	}
	if _, err := os.Stat(s.layerDir(diff) + metaSuffix); err != nil {
		return false
	}
	_, err := os.Stat(s.layerDir(diff))
	return err == nil
}

func (s *Store) layerMeta(diff Digest) (layerMeta, error) {
	var m layerMeta
	if !diff.Valid() {
		return m, &Error{Kind: KindCorrupt, What: "layer " + quoteText(string(diff)), Why: "not a sha256 digest"}
	}
	b, err := os.ReadFile(s.layerDir(diff) + metaSuffix)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, s.layerDamaged(diff, err)
	}
	return m, nil
}

// layerSource is a layer archive on its way into the store.
type layerSource struct {
	name string // for messages
	r    io.Reader
	// blob and diff are the digests it claims; empty means none was claimed.
	blob, diff Digest
	// size is the length of the stream in bytes for progress, 0 when unknown.
	size     int64
	budget   *atomic.Int64
	progress Progress
}

// layerInfo is a layer that lies in the store.
type layerInfo struct {
	blob        Digest
	size        int64
	diff        Digest
	compression compression
}

// ingest unpacks a layer into the store. Reading and hashing, decompressing, and unpacking run beside each other. A
// layer that is there already is read all the same when its digest is not known before; callers skip known ones.
func (s *Store) ingest(ctx context.Context, src layerSource) (layerInfo, error) {
	var info layerInfo
	tmp, err := s.newTemp("layer")
	if err != nil {
		return info, err
	}
	defer tmp.remove()
	br, comp, err := peekCompression(src.r)
	if err != nil {
		return info, readError(src.name, err)
	}
	if comp == bzipped || comp == xzipped {
		return info, &Error{Kind: KindUnsupported, What: src.name, Why: "compressed with " + string(comp) + ", which layers may not be", Hint: "recompress with gzip or zstd"}
	}
	in := &intake{store: s, src: src, tmp: tmp, comp: comp}
	if err := in.run(ctx, br); err != nil {
		return info, err
	}
	info = layerInfo{blob: in.blobDigest, size: in.blobSize, diff: in.meta.Diff, compression: comp}
	return info, s.publishLayer(tmp, in.meta)
}

// intake is the pipeline of one layer.
type intake struct {
	store *Store
	src   layerSource
	tmp   *tempDir
	comp  compression

	blobDigest Digest
	blobSize   int64
	meta       layerMeta
}

func (in *intake) run(ctx context.Context, r *bufio.Reader) error {
	s := in.store
	blobHash, diffHash := sha256.New(), sha256.New()
	var blobFile *os.File
	if in.comp != plain {
		f, err := os.Create(in.tmp.join("blob"))
		if err != nil {
			return s.storeError(err)
		}
		defer f.Close()
		blobFile = f
	}
	first := newPump(contextReader{ctx, r}, func(b []byte) error {
		blobHash.Write(b)
		in.blobSize += int64(len(b))
		if in.src.progress != nil {
			in.src.progress.send(Event{Kind: EventBytes, Text: in.src.name, Bytes: in.blobSize, TotalBytes: in.src.size})
		}
		if blobFile != nil {
			if _, err := blobFile.Write(b); err != nil {
				return s.storeError(err)
			}
		}
		return nil
	})
	defer func() {
		// A read that waits for the network ends with its connection.
		if c, ok := in.src.r.(io.Closer); ok {
			c.Close()
		}
		first.Close()
	}()
	tarStream := io.Reader(first)
	if in.comp != plain {
		dec, err := decompress(first, in.comp)
		if err != nil {
			return readError(in.src.name, err)
		}
		defer dec.Close()
		second := newPump(dec, in.guard(diffHash))
		defer second.Close()
		tarStream = second
	}
	if err := in.unpack(ctx, tarStream); err != nil {
		return err
	}
	// The decompressor may leave bytes behind its own end; they count for the blob's digest.
	if _, err := io.Copy(io.Discard, first); err != nil {
		return readError(in.src.name, err)
	}
	return in.finish(blobHash, diffHash, blobFile)
}

// guard hashes what decompression yields and stops it when there is too much for what went in.
func (in *intake) guard(h hash.Hash) func([]byte) error {
	const free = 1 << 30
	limits := in.store.limits
	return func(b []byte) error {
		h.Write(b)
		in.meta.TarSize += int64(len(b))
		// Entries cost up to a kilobyte of headers each, on top of the contents.
		if in.meta.TarSize > limits.Bytes+free+limits.Entries<<10 {
			return &Error{Kind: KindLimit, What: in.src.name, Why: "unpacks to more than " + sizeText(limits.Bytes), Hint: "raise the store's limits if the image can be trusted"}
		}
		if in.meta.TarSize > free && in.src.size > 0 && in.meta.TarSize/limits.Ratio > in.src.size {
			return &Error{Kind: KindLimit, What: in.src.name, Why: sizeText(in.src.size) + " unpack to more than " + sizeText(in.meta.TarSize) + ", as a decompression bomb does", Hint: "raise the store's limits if the image can be trusted"}
		}
		return nil
	}
}

func (in *intake) unpack(ctx context.Context, r io.Reader) (err error) {
	dir := in.tmp.join("layer")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return in.store.storeError(err)
	}
	u := &unpacker{layer: in.src.name, opaque: in.store.opaqueXattr, limits: in.store.limits, budget: in.src.budget, moved: in.tmp.join("moved")}
	if in.comp == plain {
		if u.split, err = newSplitWriter(in.tmp.join("split")); err != nil {
			return in.store.storeError(err)
		}
		defer func() {
			if cerr := u.split.close(); err == nil && cerr != nil {
				err = in.store.storeError(cerr)
			}
		}()
	}
	if err := u.unpack(ctx, r, dir); err != nil {
		return err
	}
	in.meta.Unpacked = u.stats
	return nil
}

// finish proves the digests that were claimed.
func (in *intake) finish(blobHash, diffHash hash.Hash, blobFile *os.File) error {
	in.blobDigest = sumDigest(blobHash)
	in.meta.Diff = in.blobDigest
	if in.comp == plain {
		in.meta.TarSize = in.blobSize
	} else {
		in.meta.Diff = sumDigest(diffHash)
		in.meta.Blob, in.meta.BlobSize, in.meta.Compression = in.blobDigest, in.blobSize, in.comp
		if in.store.cfg.Sync {
			if err := blobFile.Sync(); err != nil {
				return in.store.storeError(err)
			}
		}
	}
	if in.src.blob != "" && in.src.blob != in.blobDigest {
		return lyingDigest(in.src.name, "content", in.src.blob, in.blobDigest)
	}
	if in.src.diff != "" && in.src.diff != in.meta.Diff {
		return lyingDigest(in.src.name, "uncompressed content", in.src.diff, in.meta.Diff)
	}
	return nil
}

func lyingDigest(what, of string, claimed, got Digest) error {
	return &Error{Kind: KindCorrupt, What: what, Why: "its " + of + " has the digest " + string(got) + ", claimed was " + string(claimed), Hint: "fetch it again; if that does not help, whoever made it did it wrong"}
}

// publishLayer moves a finished layer to its place: first the parts, the description last.
func (s *Store) publishLayer(tmp *tempDir, meta layerMeta) error {
	dir := s.layerDir(meta.Diff)
	if meta.Blob != "" {
		if err := os.Rename(tmp.join("blob"), s.blobPath(meta.Blob)); err != nil {
			return s.storeError(err)
		}
		if err := s.writeFile(s.path(dirDiffs, meta.Blob.Hex()), []byte(meta.Diff)); err != nil {
			return err
		}
	}
	if s.hasLayer(meta.Diff) {
		return nil
	}
	// One publisher at a time: what it finds half-done is of a process that died between the renames.
	unlock, err := s.flock(context.Background(), s.path("publish"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if s.hasLayer(meta.Diff) {
		return nil
	}
	for _, old := range []string{dir, dir + splitSuffix, dir + movedSuffix} {
		if err := rmtree.All(old); err != nil {
			return s.storeError(err)
		}
	}
	moves := [][2]string{{"layer", dir}, {"split", dir + splitSuffix}, {"moved", dir + movedSuffix}}
	for _, m := range moves {
		err := os.Rename(tmp.join(m[0]), m[1])
		if errors.Is(err, fs.ErrNotExist) && m[0] != "layer" {
			continue
		}
		if err != nil {
			return s.storeError(err)
		}
	}
	if s.cfg.Sync {
		if err := syncFS(dir); err != nil {
			return s.storeError(err)
		}
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return s.storeError(err)
	}
	return s.writeFile(dir+metaSuffix, b)
}

// syncFS flushes the file system that a folder lies on.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// diffOf tells which layer a compressed blob unpacked to, if that is known and the layer is there.
func (s *Store) diffOf(blob Digest) (Digest, bool) {
	if !blob.Valid() {
		return "", false
	}
	if s.hasLayer(blob) {
		return blob, true
	}
	b, err := os.ReadFile(s.path(dirDiffs, blob.Hex()))
	if err != nil || !s.hasLayer(Digest(b)) {
		return "", false
	}
	return Digest(b), true
}

// readError translates an error of reading a stream that should hold a layer or an archive.
func readError(what string, err error) error {
	var e *Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Kind: KindCorrupt, What: what, Why: "cannot be read: " + err.Error(), Hint: "fetch or copy it again", Err: err}
}

// contextReader ends with the context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// verified passes a stream through and proves its digest at the end.
type verified struct {
	r       io.ReadCloser
	h       hash.Hash
	want    Digest
	damaged func(error) error
}

func (v *verified) Read(b []byte) (int, error) {
	n, err := v.r.Read(b)
	v.h.Write(b[:n])
	switch {
	case err == io.EOF:
		if got := sumDigest(v.h); got != v.want {
			return n, v.damaged(errors.New("the content has the digest " + string(got)))
		}
	case err != nil:
		return n, v.damaged(err)
	}
	return n, err
}

func (v *verified) Close() error { return v.r.Close() }
