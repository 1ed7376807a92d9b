package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression says how layers that lie uncompressed in the store are written where others fetch them.
type Compression string

// The compressions.
const (
	CompressGzip Compression = "gzip" // understood by everybody: the default
	CompressZstd Compression = "zstd" // smaller and faster, for registries and runtimes of the last years
	CompressNone Compression = "none" // keeps the image's local digest
)

// PushOptions say how an image is sent.
type PushOptions struct {
	// Compression of layers that are not compressed yet; empty means CompressGzip. Compressing changes the manifest, and
	// so the digest under which the registry has the image.
	Compression Compression
	// Insecure allows plain HTTP and unknown certificates. Registries on this machine may always use plain HTTP.
	Insecure bool
	Progress Progress
}

// Push sends an image to the registry that ref names, and returns the digest it has there. Sending the same image again
// gives the same digest and moves nothing.
func (s *Store) Push(ctx context.Context, img *Image, ref string, opts PushOptions) (Digest, error) {
	r, err := ParseReference(ref)
	if err != nil {
		return "", err
	}
	if r.Digest != "" {
		return "", &Error{Kind: KindInvalid, What: "image reference " + quoteText(ref), Why: "an image is pushed to a tag, not to a digest"}
	}
	done, err := s.use(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	remoteRef, err := remoteName(r, opts.Insecure)
	if err != nil {
		return "", err
	}
	if opts.Compression == "" {
		opts.Compression = CompressGzip
	}
	out, err := s.outgoing(ctx, img, opts.Compression)
	if err != nil {
		return "", err
	}
	v, err := partial.CompressedToImage(out)
	if err != nil {
		return "", s.storeError(err)
	}
	if err := remote.Write(remoteRef, v, s.remoteOptions(ctx, opts.Insecure)...); err != nil {
		return "", registryError("image "+r.Familiar(), r.Registry, err)
	}
	d := digestOf(out.manifest)
	opts.Progress.send(Event{Kind: EventImage, Text: r.Familiar() + "@" + string(d)})
	return d, nil
}

// outgoing is an image on its way out: every layer has a blob, or is read from its folder.
type outgoing struct {
	ctx       context.Context // of the one call that this value lives for: the registry library's methods take none
	store     *Store
	manifest  []byte
	config    []byte
	mediaType types.MediaType
	layers    map[v1.Hash]outgoingLayer
}

type outgoingLayer struct {
	out  *outgoing
	desc v1.Descriptor
	diff Digest
	blob bool // its blob lies in the store
}

// outgoing prepares an image for leaving. Its manifest stays as it is when all it names is there.
func (s *Store) outgoing(ctx context.Context, img *Image, how Compression) (*outgoing, error) {
	raw, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	config, err := img.RawConfig()
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, &Error{Kind: KindCorrupt, What: "image " + img.Name(), Why: "its manifest cannot be read: " + err.Error(), Err: err}
	}
	o := &outgoing{ctx: ctx, store: s, manifest: raw, config: config, layers: map[v1.Hash]outgoingLayer{}}
	changed := false
	inStore := make([]bool, len(m.Layers))
	for i, l := range img.rec.Layers {
		desc, blob, err := s.outgoingBlob(ctx, l, how)
		if err != nil {
			return nil, err
		}
		inStore[i] = blob
		if desc.Digest != m.Layers[i].Digest {
			changed = true
			m.Layers[i] = desc
		}
	}
	if changed {
		if err := o.rewrite(m); err != nil {
			return nil, s.storeError(err)
		}
	}
	if o.mediaType = m.MediaType; o.mediaType == "" {
		o.mediaType = types.OCIManifestSchema1
	}
	for i, d := range m.Layers {
		o.layers[d.Digest] = outgoingLayer{out: o, desc: d, diff: img.rec.Layers[i].Diff, blob: inStore[i]}
	}
	return o, nil
}

// rewrite makes a changed manifest an OCI one: Docker's own knows neither zstd nor uncompressed layers.
func (o *outgoing) rewrite(m *v1.Manifest) error {
	m.MediaType, m.Config.MediaType = types.OCIManifestSchema1, types.OCIConfigJSON
	for i := range m.Layers {
		if m.Layers[i].MediaType == types.DockerLayer {
			m.Layers[i].MediaType = types.OCILayer
		}
	}
	b, err := json.Marshal(m)
	o.manifest = b
	return err
}

// outgoingBlob describes a layer as it leaves, compressing it unless it is compressed or is not to be. The second result
// tells whether the blob lies in the store.
func (s *Store) outgoingBlob(ctx context.Context, l recordLayer, how Compression) (v1.Descriptor, bool, error) {
	if l.Blob != l.Diff && s.hasBlob(l.Blob) {
		return v1.Descriptor{MediaType: types.MediaType(l.MediaType), Size: l.Size, Digest: hashOf(l.Blob)}, true, nil
	}
	meta, err := s.layerMeta(l.Diff)
	if err != nil {
		return v1.Descriptor{}, false, err
	}
	if how == CompressNone {
		return v1.Descriptor{MediaType: layerMediaType(plain), Size: meta.TarSize, Digest: hashOf(l.Diff)}, false, nil
	}
	if meta.Blob == "" || !s.hasBlob(meta.Blob) {
		if meta, err = s.compressed(ctx, l.Diff, how); err != nil {
			return v1.Descriptor{}, false, err
		}
	}
	return v1.Descriptor{MediaType: layerMediaType(meta.Compression), Size: meta.BlobSize, Digest: hashOf(meta.Blob)}, true, nil
}

// compressed makes a compressed blob of a layer, or finds the one that was made before. Its description lies beside the
// layer's.
func (s *Store) compressed(ctx context.Context, diff Digest, how Compression) (layerMeta, error) {
	note := s.layerDir(diff) + "." + string(how)
	var meta layerMeta
	if b, err := os.ReadFile(note); err == nil && json.Unmarshal(b, &meta) == nil && s.hasBlob(meta.Blob) {
		return meta, nil
	}
	tmp, err := s.newTemp("compress")
	if err != nil {
		return meta, err
	}
	defer tmp.remove()
	f, err := os.Create(tmp.join("blob"))
	if err != nil {
		return meta, s.storeError(err)
	}
	defer f.Close()
	h, count := sha256.New(), &counter{}
	w, comp, err := compressor(io.MultiWriter(f, h, count), how)
	if err != nil {
		return meta, err
	}
	if err := s.copyTar(ctx, w, diff); err != nil {
		return meta, s.storeError(err)
	}
	if err := w.Close(); err != nil {
		return meta, s.storeError(err)
	}
	meta = layerMeta{Diff: diff, Blob: sumDigest(h), BlobSize: count.n, Compression: comp}
	if err := os.Rename(tmp.join("blob"), s.blobPath(meta.Blob)); err != nil {
		return meta, s.storeError(err)
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return meta, s.storeError(err)
	}
	return meta, s.writeFile(note, b)
}

// copyTar writes a layer's archive, reading ahead of what w does with it.
func (s *Store) copyTar(ctx context.Context, w io.Writer, diff Digest) error {
	r, err := s.openTar(ctx, diff)
	if err != nil {
		return err
	}
	defer r.Close()
	ahead := newPump(r, func([]byte) error { return nil })
	defer func() {
		r.Close() // a read that waits ends, and with it the pump
		ahead.Close()
	}()
	_, err = io.Copy(w, ahead)
	return err
}

// compressor writes the same bytes for the same input, always: pushing again moves nothing.
func compressor(w io.Writer, how Compression) (io.WriteCloser, compression, error) {
	switch how {
	case CompressGzip:
		return gzip.NewWriter(w), gzipped, nil
	case CompressZstd:
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return z, zstandard, err
	}
	return nil, plain, &Error{Kind: KindInvalid, What: fmt.Sprintf("compression %q", how), Why: "unknown", Hint: "use gzip, zstd or none"}
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// The methods below are what the registry library asks an image for.

func (o *outgoing) RawConfigFile() ([]byte, error) { return o.config, nil }

func (o *outgoing) RawManifest() ([]byte, error) { return o.manifest, nil }

func (o *outgoing) MediaType() (types.MediaType, error) { return o.mediaType, nil }

func (o *outgoing) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	l, ok := o.layers[h]
	if !ok {
		return nil, fmt.Errorf("no layer %s", h)
	}
	return l, nil
}

func (l outgoingLayer) Digest() (v1.Hash, error) { return l.desc.Digest, nil }

func (l outgoingLayer) Size() (int64, error) { return l.desc.Size, nil }

func (l outgoingLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }

func (l outgoingLayer) Compressed() (io.ReadCloser, error) {
	if l.blob {
		return os.Open(l.out.store.blobPath(Digest(l.desc.Digest.String())))
	}
	return l.out.store.openTar(l.out.ctx, l.diff)
}
