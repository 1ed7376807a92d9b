package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
)

// maxDocument bounds manifests, indexes and configurations, which are read into memory.
const maxDocument = 8 << 20

func (s *Store) blobPath(d Digest) string { return s.path(dirBlobs, d.Hex()) }

func (s *Store) hasBlob(d Digest) bool {
	if !d.Valid() {
		return false
	}
	_, err := os.Stat(s.blobPath(d))
	return err == nil
}

// readBlob reads a document and proves its digest.
func (s *Store) readBlob(d Digest) ([]byte, error) {
	if !d.Valid() {
		return nil, &Error{Kind: KindInvalid, What: "blob " + quoteText(string(d)), Why: "not a sha256 digest"}
	}
	b, err := os.ReadFile(s.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Kind: KindCorrupt, What: "blob " + string(d), Why: "missing from the store", Hint: "load or pull the image again", Err: err}
	}
	if err != nil {
		return nil, s.storeError(err)
	}
	if got := digestOf(b); got != d {
		return nil, &Error{Kind: KindCorrupt, What: "blob " + string(d), Why: "its content has the digest " + string(got), Hint: "load or pull the image again"}
	}
	return b, nil
}

// putBlob stores a document under its digest.
func (s *Store) putBlob(b []byte) (Digest, error) {
	if err := s.prepare(); err != nil {
		return "", err
	}
	d := digestOf(b)
	if s.hasBlob(d) {
		return d, nil
	}
	return d, s.writeFile(s.blobPath(d), b)
}

// openTar returns a layer as the uncompressed tar archive whose digest is diff. Reading to the end proves the digest:
// the last Read returns an error of KindCorrupt instead of io.EOF when the store is damaged.
func (s *Store) openTar(ctx context.Context, diff Digest) (io.ReadCloser, error) {
	meta, err := s.layerMeta(diff)
	if err != nil {
		return nil, err
	}
	var raw io.ReadCloser
	if meta.Blob != "" {
		f, err := os.Open(s.blobPath(meta.Blob))
		if err != nil {
			return nil, s.layerDamaged(diff, err)
		}
		dec, err := decompress(f, meta.Compression)
		if err != nil {
			f.Close()
			return nil, s.layerDamaged(diff, err)
		}
		raw = closers{dec, []io.Closer{dec, f}}
	} else {
		pr, pw := io.Pipe()
		go func() {
			dir := s.layerDir(diff)
			pw.CloseWithError(readSplit(ctx, pw, dir+splitSuffix, dir, dir+movedSuffix, meta.Unpacked.Moves))
		}()
		raw = pr
	}
	return &verified{r: raw, h: sha256.New(), want: diff, damaged: func(err error) error { return s.layerDamaged(diff, err) }}, nil
}

func (s *Store) layerDamaged(diff Digest, err error) error {
	return &Error{Kind: KindCorrupt, What: "layer " + diff.Short(), Why: "cannot be read back from the store: " + err.Error(), Hint: "load or pull the image again", Err: err}
}

// closers is a reader that closes several things.
type closers struct {
	io.Reader
	all []io.Closer
}

func (c closers) Close() error {
	var first error
	for _, x := range c.all {
		if err := x.Close(); first == nil {
			first = err
		}
	}
	return first
}
