package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ArchiveFormat is a kind of image archive.
type ArchiveFormat string

// The formats.
const (
	// DockerArchive is what docker save writes and every Docker can load: the default.
	DockerArchive ArchiveFormat = "docker-archive"
	// OCIArchive is an OCI image layout in a tar archive. It keeps the manifests, and so the digests.
	OCIArchive ArchiveFormat = "oci-archive"
)

// SaveOptions say how images are written.
type SaveOptions struct {
	// Format is DockerArchive unless set.
	Format ArchiveFormat
	// Names, when not nil, are the names to write instead of each image's own, by the image's digest.
	Names map[Digest][]string
}

// Save writes images as one archive to w. The same images always give the same bytes.
func (s *Store) Save(ctx context.Context, w io.Writer, opts SaveOptions, images ...*Image) error {
	done, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	if len(images) == 0 {
		return &Error{Kind: KindInvalid, What: "save", Why: "no image was named"}
	}
	a := &archiveWriter{store: s, opts: opts, tar: tar.NewWriter(w), written: map[string]bool{}}
	switch opts.Format {
	case DockerArchive, "":
		err = a.docker(ctx, images)
	case OCIArchive:
		err = a.oci(ctx, images)
	default:
		err = &Error{Kind: KindInvalid, What: "archive format " + string(opts.Format), Why: "unknown", Hint: "use docker or oci"}
	}
	if err != nil {
		return err
	}
	return a.tar.Close()
}

type archiveWriter struct {
	store   *Store
	opts    SaveOptions
	tar     *tar.Writer
	written map[string]bool
}

// names lists what an image is called in the archive.
func (a *archiveWriter) names(img *Image) []Reference {
	names := img.names
	if a.opts.Names != nil {
		names = a.opts.Names[img.rec.Manifest]
	}
	var out []Reference
	for _, n := range mergeNames(names, nil) {
		if r, err := ParseReference(n); err == nil && r.Tag != "" {
			r.Digest = ""
			out = append(out, r)
		}
	}
	return out
}

// file writes one entry, once.
func (a *archiveWriter) file(ctx context.Context, name string, size int64, open func() (io.ReadCloser, error)) error {
	if a.written[name] {
		return nil
	}
	a.written[name] = true
	if err := a.header(name, size); err != nil {
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(a.tar, contextReader{ctx, r})
	return err
}

func (a *archiveWriter) document(name string, data []byte) error {
	if a.written[name] {
		return nil
	}
	a.written[name] = true
	err := a.header(name, int64(len(data)))
	if err == nil {
		_, err = a.tar.Write(data)
	}
	return err
}

func (a *archiveWriter) header(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)})
}

// docker writes the form that all versions of Docker read: uncompressed layers and manifest.json.
func (a *archiveWriter) docker(ctx context.Context, images []*Image) error {
	manifests := []dockerManifest{}
	for _, img := range images {
		config, err := img.RawConfig()
		if err != nil {
			return err
		}
		m := dockerManifest{Config: img.rec.Config.Hex() + ".json", Layers: []string{}}
		for _, r := range a.names(img) {
			m.RepoTags = append(m.RepoTags, r.Familiar())
		}
		for _, l := range img.rec.Layers {
			meta, err := a.store.layerMeta(l.Diff)
			if err != nil {
				return err
			}
			name := l.Diff.Hex() + "/layer.tar"
			m.Layers = append(m.Layers, name)
			if err := a.file(ctx, name, meta.TarSize, func() (io.ReadCloser, error) { return a.store.openTar(ctx, l.Diff) }); err != nil {
				return err
			}
		}
		if err := a.document(m.Config, config); err != nil {
			return err
		}
		manifests = append(manifests, m)
	}
	data, err := json.Marshal(manifests)
	if err != nil {
		return err
	}
	return a.document("manifest.json", data)
}

// oci writes an OCI image layout, with the manifest.json that readers of docker-archives look for beside it, as Docker itself
// does since 25. Layers stay as they came.
func (a *archiveWriter) oci(ctx context.Context, images []*Image) error {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	if err := a.document("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	manifests := []dockerManifest{}
	for _, img := range images {
		out, err := a.store.outgoing(ctx, img, CompressNone)
		if err != nil {
			return err
		}
		m, legacy, err := a.ociImage(ctx, out)
		if err != nil {
			return err
		}
		p := img.rec.Facts.Platform
		m.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
		names := a.names(img)
		if len(names) == 0 {
			index.Manifests = append(index.Manifests, m)
		}
		for _, r := range names {
			legacy.RepoTags = append(legacy.RepoTags, r.Familiar())
			d := m
			d.Annotations = map[string]string{annotationName: r.String(), annotationRefName: r.Tag}
			index.Manifests = append(index.Manifests, d)
		}
		manifests = append(manifests, legacy)
	}
	data, err := json.Marshal(index)
	if err == nil {
		err = a.document("index.json", data)
	}
	if err != nil {
		return err
	}
	if data, err = json.Marshal(manifests); err != nil {
		return err
	}
	return a.document("manifest.json", data)
}

// ociImage writes one image's blobs and describes its manifest, for an index and for a manifest.json.
func (a *archiveWriter) ociImage(ctx context.Context, out *outgoing) (v1.Descriptor, dockerManifest, error) {
	legacy := dockerManifest{Layers: []string{}}
	desc := v1.Descriptor{MediaType: out.mediaType, Size: int64(len(out.manifest)), Digest: hashOf(digestOf(out.manifest))}
	m, err := v1.ParseManifest(bytes.NewReader(out.manifest))
	if err != nil {
		return desc, legacy, err
	}
	for _, d := range m.Layers {
		l, name := out.layers[d.Digest], "blobs/sha256/"+d.Digest.Hex
		legacy.Layers = append(legacy.Layers, name)
		if err := a.file(ctx, name, l.desc.Size, l.Compressed); err != nil {
			return desc, legacy, err
		}
	}
	legacy.Config = "blobs/sha256/" + m.Config.Digest.Hex
	if err := a.document(legacy.Config, out.config); err != nil {
		return desc, legacy, err
	}
	return desc, legacy, a.document("blobs/sha256/"+desc.Digest.Hex, out.manifest)
}
