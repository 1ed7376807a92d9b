package image

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// layerMediaType names an uncompressed or compressed layer the OCI way.
func layerMediaType(c compression) types.MediaType {
	switch c {
	case gzipped:
		return types.OCILayer
	case zstandard:
		return types.OCILayerZStd
	}
	return types.OCIUncompressedLayer
}

// makeManifest writes the manifest for an image that came without one.
func makeManifest(config []byte, layers []layerInfo) ([]byte, error) {
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: hashOf(digestOf(config))},
		Layers:        []v1.Descriptor{},
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: layerMediaType(l.compression), Size: l.size, Digest: hashOf(l.blob)})
	}
	return json.Marshal(m)
}

func hashOf(d Digest) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: d.Hex()} }

// commit makes an image of documents and layers that are in the store, gives it names, and returns it. The layers must
// be those the configuration lists.
func (s *Store) commit(what string, manifest, config []byte, layers []layerInfo, names []string) (*Image, error) {
	cfg, err := parseConfig(what, config)
	if err != nil {
		return nil, err
	}
	if len(cfg.RootFS.DiffIDs) != len(layers) {
		return nil, &Error{Kind: KindCorrupt, What: what, Why: "its manifest and its configuration list different numbers of layers"}
	}
	if manifest == nil {
		if manifest, err = makeManifest(config, layers); err != nil {
			return nil, s.storeError(err)
		}
	}
	m, err := v1.ParseManifest(strings.NewReader(string(manifest)))
	if err != nil {
		return nil, &Error{Kind: KindCorrupt, What: what, Why: "its manifest cannot be read: " + err.Error(), Err: err}
	}
	if len(m.Layers) != len(layers) {
		return nil, &Error{Kind: KindCorrupt, What: what, Why: "its manifest and its configuration list different numbers of layers"}
	}
	rec := record{Manifest: digestOf(manifest), MediaType: string(m.MediaType), Config: digestOf(config), Facts: factsOf(cfg), Loaded: s.cfg.Now().UTC()}
	for i, l := range layers {
		if want := cfg.RootFS.DiffIDs[i]; want != l.diff {
			return nil, lyingDigest(what+", layer "+m.Layers[i].Digest.String(), "uncompressed content", want, l.diff)
		}
		meta, err := s.layerMeta(l.diff)
		if err != nil {
			return nil, err
		}
		rec.Facts.Size += meta.Unpacked.Bytes
		rec.Layers = append(rec.Layers, recordLayer{Diff: l.diff, Blob: Digest(m.Layers[i].Digest.String()), Size: m.Layers[i].Size, MediaType: string(m.Layers[i].MediaType)})
	}
	if rec.Fixups, err = s.fixups(rec.Layers); err != nil {
		return nil, err
	}
	if _, err := s.putBlob(config); err != nil {
		return nil, err
	}
	if _, err := s.putBlob(manifest); err != nil {
		return nil, err
	}
	if old, err := s.readRecord(rec.Manifest); err == nil {
		rec.Loaded = old.Loaded
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return nil, s.storeError(err)
	}
	if err := s.writeFile(s.imagePath(rec.Manifest), b); err != nil {
		return nil, err
	}
	img := &Image{store: s, rec: rec}
	for _, n := range names {
		r, err := ParseReference(n)
		if err != nil {
			return nil, err
		}
		if err := s.setRef(r.String(), rec.Manifest); err != nil {
			return nil, err
		}
		img.names = append(img.names, r.String())
	}
	sort.Strings(img.names)
	return img, nil
}

// fixups finds layers whose archive uses folders without naming them. Such a folder should keep what the layers below
// say about it, but in an overlay the uppermost one speaks; so above such a layer goes a small one that says again what
// the lower ones said. The result maps the layer's index to that folder's name under layers.
func (s *Store) fixups(layers []recordLayer) (map[int]string, error) {
	var out map[int]string
	var below []string
	for i, l := range layers {
		meta, err := s.layerMeta(l.Diff)
		if err != nil {
			return nil, err
		}
		if i > 0 && len(meta.Unpacked.Implied) > 0 {
			name, err := s.fixup(below, layers[:i+1], meta.Unpacked.Implied)
			if err != nil {
				return nil, err
			}
			if name != "" {
				if out == nil {
					out = map[int]string{}
				}
				out[i] = name
			}
		}
		below = append(below, s.layerDir(l.Diff))
		if out[i] != "" {
			below = append(below, s.path(dirLayers, out[i]))
		}
	}
	return out, nil
}

func (s *Store) fixup(below []string, chain []recordLayer, implied []string) (string, error) {
	v := s.view(below)
	sort.Strings(implied)
	plan := map[string]*node{}
	for _, name := range implied {
		n, err := v.lookup("/"+name, false)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return "", s.storeError(err)
		}
		// A folder reached through a link below is not the folder that the layer makes at this place.
		if n.isDir() && n.path == "/"+name && !plainFolder(n) {
			plan[name] = n
		}
	}
	if len(plan) == 0 {
		return "", nil
	}
	key := ""
	for _, l := range chain {
		key += string(l.Diff)
	}
	final := "fix-" + digestOf([]byte(key)).Hex()
	if _, err := os.Stat(s.path(dirLayers, final)); err == nil {
		return final, nil
	}
	tmp, err := s.newTemp("fix")
	if err != nil {
		return "", err
	}
	defer tmp.remove()
	top := s.view(append(append([]string(nil), below...), s.layerDir(chain[len(chain)-1].Diff)))
	root := tmp.join("layer")
	if err := os.Mkdir(root, 0o755); err != nil {
		return "", s.storeError(err)
	}
	if err := s.cloneFolder(top, "/", root); err != nil {
		return "", err
	}
	for _, name := range implied {
		n := plan[name]
		if n == nil {
			continue
		}
		cur := ""
		for _, part := range strings.Split(path.Dir(name), "/") {
			if part == "." {
				continue
			}
			cur = path.Join(cur, part)
			if err := os.Mkdir(root+"/"+cur, 0o755); err == nil {
				if err := s.cloneFolder(top, "/"+cur, root+"/"+cur); err != nil {
					return "", err
				}
			}
		}
		if err := os.Mkdir(root+"/"+name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", s.storeError(err)
		}
		if err := cloneAttributes(n, root+"/"+name); err != nil {
			return "", s.storeError(err)
		}
	}
	err = os.Rename(root, s.path(dirLayers, final))
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return "", s.storeError(err)
	}
	return final, nil
}

// plainFolder tells whether a folder has just the attributes that an implied one is made with.
func plainFolder(n *node) bool {
	st := n.stat()
	return st.Mode&0o7777 == 0o755 && st.Uid == 0 && st.Gid == 0
}

func (s *Store) cloneFolder(v *view, inside, outside string) error {
	n, err := v.lookup(inside, false)
	if err != nil || !n.isDir() {
		return nil // nothing to be like
	}
	return s.storeError(cloneAttributes(n, outside))
}

// cloneAttributes gives a folder or file the owner, mode and time of another.
func cloneAttributes(n *node, to string) error {
	st := n.stat()
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	ts := []unix.Timespec{unix.Timespec(st.Mtim), unix.Timespec(st.Mtim)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, ts, unix.AT_SYMLINK_NOFOLLOW)
}
