package image

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"sort"
	"strings"
	"time"
)

// Image is one complete image in the store. It is immutable and safe for concurrent use; it stays usable until Prune
// removes it.
type Image struct {
	store *Store
	rec   record
	names []string
}

// record is what the store keeps about an image beside its blobs, so that using one reads a single small file.
type record struct {
	Manifest  Digest        `json:"manifest"`
	MediaType string        `json:"mediaType"`
	Config    Digest        `json:"config"`
	Layers    []recordLayer `json:"layers"`
	// Fixups maps an index in Layers to the folder that restores the attributes of parents which that layer implies.
	Fixups map[int]string `json:"fixups,omitempty"`
	Facts  Facts          `json:"facts"`
	// Loaded is when the image came into this store.
	Loaded time.Time `json:"loaded"`
}

type recordLayer struct {
	Diff      Digest `json:"diff"`
	Blob      Digest `json:"blob"`
	Size      int64  `json:"size"`
	MediaType string `json:"mediaType"`
}

// Facts are what an image says about itself.
type Facts struct {
	Entrypoint, Cmd, Env []string
	WorkingDir, User     string
	// ExposedPorts are written as "8080/tcp", sorted.
	ExposedPorts []string
	Volumes      []string
	Labels       map[string]string
	StopSignal   string
	Healthcheck  *Healthcheck
	OnBuild      []string
	Shell        []string
	Platform     Platform
	Created      time.Time
	Author       string
	// LayerCount counts file system layers; Size is their unpacked size in bytes.
	LayerCount int
	Size       int64
}

// Healthcheck is the test an image declares. Zero durations mean the engine's default.
type Healthcheck struct {
	// Test is ["NONE"], ["CMD", args…] or ["CMD-SHELL", command].
	Test                           []string
	Interval, Timeout, StartPeriod time.Duration
	StartInterval                  time.Duration
	Retries                        int
}

// Digest is the manifest's digest: what names the image everywhere in Longshore.
func (i *Image) Digest() Digest { return i.rec.Manifest }

// ID is the configuration's digest, which Docker calls the image ID.
func (i *Image) ID() Digest { return i.rec.Config }

// Names are the normalised references that named this image when it was looked up, sorted.
func (i *Image) Names() []string { return append([]string(nil), i.names...) }

// Name is a short name for messages: the first of Names as people type it, or the digest.
func (i *Image) Name() string {
	for _, n := range i.names {
		if r, err := ParseReference(n); err == nil {
			return r.Familiar()
		}
	}
	return string(i.rec.Manifest)
}

// Facts are what the image says about itself.
func (i *Image) Facts() Facts { return i.rec.Facts }

// Loaded is when the image came into this store.
func (i *Image) Loaded() time.Time { return i.rec.Loaded }

// RawConfig returns the image's configuration, the JSON document whose digest is ID.
func (i *Image) RawConfig() ([]byte, error) { return i.store.readBlob(i.rec.Config) }

// RawManifest returns the image's manifest, the JSON document whose digest is Digest.
func (i *Image) RawManifest() ([]byte, error) { return i.store.readBlob(i.rec.Manifest) }

// DiffIDs are the digests of the image's layers as uncompressed tar archives, lowest first.
func (i *Image) DiffIDs() []Digest {
	out := make([]Digest, len(i.rec.Layers))
	for n, l := range i.rec.Layers {
		out[n] = l.Diff
	}
	return out
}

// Layers returns the folders of the image's unpacked layers, lowest first, ready to be lower folders of an overlay. The
// folders must not be written to. An image without files has none.
func (i *Image) Layers(ctx context.Context) ([]string, error) {
	if err := i.store.prepare(); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(i.rec.Layers))
	for n, l := range i.rec.Layers {
		dir := i.store.layerDir(l.Diff)
		if _, err := os.Stat(dir); err != nil {
			return nil, &Error{Kind: KindCorrupt, What: "image " + i.Name(), Why: "layer " + l.Diff.Short() + " is missing from the store", Hint: "load or pull the image again", Err: err}
		}
		if n > 0 && i.store.rootOpaque(dir) {
			out = out[:0]
		}
		out = append(out, dir)
		if fix := i.rec.Fixups[n]; fix != "" {
			out = append(out, i.store.path(dirLayers, fix))
		}
	}
	return topmost(out), nil
}

// topmost keeps the highest of equal folders. Overlay file systems refuse a folder that is there twice (ELOOP), which two
// equal COPYs and the empty layers of older builders make; and the highest hides all that is in the lower ones.
func topmost(dirs []string) []string {
	last := make(map[string]int, len(dirs))
	for n, dir := range dirs {
		last[dir] = n
	}
	out := dirs[:0]
	for n, dir := range dirs {
		if last[dir] == n {
			out = append(out, dir)
		}
	}
	return out
}

// ReadFile returns a regular file of the image as a container would see it, without running anything. Links are
// followed inside the image only. A file longer than limit bytes is an error of KindLimit; a missing one of
// KindNotFound; anything but a regular file of KindInvalid.
func (i *Image) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	layers, err := i.Layers(ctx)
	if err != nil {
		return nil, err
	}
	data, err := i.store.view(layers).readFile(path, limit)
	var e *Error
	if errors.As(err, &e) {
		e.What = path + " in image " + i.Name()
	}
	return data, err
}

// factsOf reads the facts out of a configuration.
func factsOf(c *configFile) Facts {
	f := Facts{
		Entrypoint: c.Config.Entrypoint,
		Cmd:        c.Config.Cmd,
		Env:        c.Config.Env,
		WorkingDir: c.Config.WorkingDir,
		User:       c.Config.User,
		Labels:     c.Config.Labels,
		StopSignal: c.Config.StopSignal,
		OnBuild:    c.Config.OnBuild,
		Shell:      c.Config.Shell,
		Platform:   Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant},
		Author:     c.Author,
		LayerCount: len(c.RootFS.DiffIDs),
	}
	if c.Created != nil {
		f.Created = *c.Created
	}
	for p := range c.Config.ExposedPorts {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		f.ExposedPorts = append(f.ExposedPorts, p)
	}
	sort.Strings(f.ExposedPorts)
	for v := range c.Config.Volumes {
		f.Volumes = append(f.Volumes, v)
	}
	sort.Strings(f.Volumes)
	if h := c.Config.Healthcheck; h != nil {
		f.Healthcheck = &Healthcheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return f
}

// refRecord is one file in refs.
type refRecord struct {
	Name     string    `json:"name"`
	Manifest Digest    `json:"manifest"`
	Tagged   time.Time `json:"tagged"`
}

func (s *Store) refPath(name string) string { return s.path(dirRefs, digestOf([]byte(name)).Hex()) }

func (s *Store) imagePath(d Digest) string { return s.path(dirImages, d.Hex()) }

func (s *Store) readRecord(d Digest) (record, error) {
	var r record
	b, err := os.ReadFile(s.imagePath(d))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Manifest != d {
		return r, &Error{Kind: KindCorrupt, What: "image " + string(d), Why: "its record in the store is damaged", Hint: "load or pull the image again", Err: err}
	}
	return r, nil
}

func (s *Store) readRef(path string) (refRecord, error) {
	var r refRecord
	b, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil || !r.Manifest.Valid() {
		return r, &Error{Kind: KindCorrupt, What: "reference file " + path, Why: "damaged", Hint: "remove the file and name the image again", Err: err}
	}
	return r, nil
}

func (s *Store) allRefs() ([]refRecord, error) {
	entries, err := os.ReadDir(s.path(dirRefs))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.storeError(err)
	}
	refs := make([]refRecord, 0, len(entries))
	for _, e := range entries {
		r, err := s.readRef(s.path(dirRefs, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	sort.Slice(refs, func(a, b int) bool { return refs[a].Name < refs[b].Name })
	return refs, nil
}

// Resolve finds a local image by reference ("python:3.9-slim", "localhost:5000/x", with or without digest), by digest
// or by the first digits (four or more) of its manifest digest or image ID. Names go before digits.
func (s *Store) Resolve(ref string) (*Image, error) {
	if img, err := s.byName(ref); err == nil || KindOf(err) != KindNotFound {
		return img, err
	}
	return s.byDigits(ref)
}

func (s *Store) notHere(ref string) *Error {
	return &Error{Kind: KindNotFound, What: "image " + ref, Why: "not in the local store", Hint: "`longshore image list` shows what is; load, pull or build it first"}
}

func (s *Store) byName(ref string) (*Image, error) {
	r, err := ParseReference(ref)
	if err != nil {
		return nil, s.notHere(ref)
	}
	if r.Digest != "" {
		img, err := s.byManifest(r.Digest)
		if err == nil || KindOf(err) != KindNotFound {
			return img, err
		}
		// A multi-platform index has a digest of its own, kept as a reference when the image was pulled by it.
		r.Tag = ""
	}
	rec, err := s.readRef(s.refPath(r.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.notHere(ref)
	}
	if err != nil {
		return nil, s.storeError(err)
	}
	img, err := s.byManifest(rec.Manifest)
	if err != nil {
		return nil, err
	}
	img.names = []string{r.String()}
	return img, nil
}

func (s *Store) byManifest(d Digest) (*Image, error) {
	rec, err := s.readRecord(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.notHere(string(d))
	}
	if err != nil {
		return nil, s.storeError(err)
	}
	return &Image{store: s, rec: rec}, nil
}

func (s *Store) byDigits(ref string) (*Image, error) {
	digits := strings.TrimPrefix(ref, digestPrefix)
	if len(digits) < 4 || strings.Trim(digits, "0123456789abcdef") != "" {
		return nil, s.notHere(ref)
	}
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	var found *Image
	for _, img := range all {
		if !strings.HasPrefix(img.rec.Manifest.Hex(), digits) && !strings.HasPrefix(img.rec.Config.Hex(), digits) {
			continue
		}
		if found != nil && found.rec.Config != img.rec.Config {
			return nil, &Error{Kind: KindInvalid, What: "image " + ref, Why: "more than one image begins with these digits", Hint: "write more of them"}
		}
		found = img
	}
	if found == nil {
		return nil, s.notHere(ref)
	}
	return found, nil
}

// List returns all images, named ones first, by name.
func (s *Store) List() ([]*Image, error) {
	entries, err := os.ReadDir(s.path(dirImages))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.storeError(err)
	}
	refs, err := s.allRefs()
	if err != nil {
		return nil, err
	}
	names := map[Digest][]string{}
	for _, r := range refs {
		names[r.Manifest] = append(names[r.Manifest], r.Name)
	}
	var out []*Image
	for _, e := range entries {
		d := Digest(digestPrefix + e.Name())
		if !d.Valid() {
			continue // the lock of an image
		}
		rec, err := s.readRecord(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, &Image{store: s, rec: rec, names: names[rec.Manifest]})
	}
	sort.Slice(out, func(a, b int) bool {
		x, y := out[a], out[b]
		if (len(x.names) == 0) != (len(y.names) == 0) {
			return len(x.names) > 0
		}
		if len(x.names) > 0 {
			return x.names[0] < y.names[0]
		}
		return x.rec.Manifest < y.rec.Manifest
	})
	return out, nil
}

// Tag gives an image another name. An image that had the name loses it.
func (s *Store) Tag(img *Image, name string) error {
	r, err := ParseReference(name)
	if err != nil {
		return err
	}
	done, err := s.use(context.Background()) // a Prune at the same time is short
	if err != nil {
		return err
	}
	defer done()
	return s.setRef(r.String(), img.rec.Manifest)
}

func (s *Store) setRef(name string, d Digest) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if old, err := s.readRef(s.refPath(name)); err == nil && old.Manifest == d && old.Name == name {
		return nil
	}
	b, err := json.Marshal(refRecord{Name: name, Manifest: d, Tagged: s.cfg.Now().UTC()})
	if err != nil {
		return s.storeError(err)
	}
	unlock, err := s.lockRefs()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(s.imagePath(d)); errors.Is(err, fs.ErrNotExist) {
		return &Error{Kind: KindNotFound, What: "image " + string(d), Why: "was removed a moment ago", Hint: "build, load or pull it again", Err: err}
	}
	return s.writeFile(s.refPath(name), b)
}

// Remove takes a name away; given a digest or digits, it takes all names of that image away. An image without names is
// forgotten at once, and its layers are deleted by the next Prune; one that is held stays until a Prune finds it free.
func (s *Store) Remove(ref string) error {
	if r, err := ParseReference(ref); err == nil {
		rec, err := s.readRef(s.refPath(r.String()))
		if err == nil {
			return s.removeRefs(rec.Manifest, r.String())
		}
	}
	img, err := s.byDigits(ref)
	if err != nil {
		if byName, nerr := s.byName(ref); nerr == nil {
			return s.removeRefs(byName.rec.Manifest, "")
		}
		return err
	}
	return s.removeRefs(img.rec.Manifest, "")
}

// removeRefs removes the reference called name, or all of the image's when name is empty.
func (s *Store) removeRefs(d Digest, name string) error {
	unlock, err := s.lockRefs()
	if err != nil {
		return err
	}
	defer unlock()
	refs, err := s.allRefs()
	if err != nil {
		return err
	}
	left := 0
	for _, r := range refs {
		if r.Manifest != d {
			continue
		}
		if name != "" && r.Name != name {
			left++
			continue
		}
		if err := os.Remove(s.refPath(r.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.storeError(err)
		}
	}
	if left > 0 {
		return nil
	}
	_, err = s.removeImage(d)
	return err
}
