package cytomine

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"longshore/internal/contract"
)

// Bounds of looking into an image archive. What is larger and cannot be skipped over is left to the image store, which checks
// it again anyway.
const (
	maxStreamed    = 256 << 20
	maxArchiveRead = 8 << 20
	maxMembers     = 1_000_000
	maxBlob        = 256 << 10
	maxBlobs       = 4096
	maxIndexDepth  = 8
	maxLinks       = 8
)

// imageArchive is what an image archive says about itself.
type imageArchive struct {
	// members are the entries; of a link, what it leads to.
	members  map[string]string
	manifest []byte // manifest.json
	index    []byte // index.json
	// blobs are the small documents among the blobs of an OCI layout.
	blobs map[string][]byte
	// first is which of the two comes first, with its folder: today's App Engine goes by that one.
	first string
	// packed tells that the archive as a whole is compressed.
	packed bool
}

// errSkip tells that an archive is too large to be looked at here.
var errSkip = errors.New("not looked at")

// scan reads the members and manifests of an image archive.
func (p *pack) scan(e entry) (*imageArchive, error) {
	if s, c, ok := p.openSeekable(e); ok {
		defer c.Close()
		var magic [2]byte
		if _, err := io.ReadFull(s, magic[:]); err == nil && magic != [2]byte{0x1f, 0x8b} {
			if _, err := s.Seek(0, io.SeekStart); err != nil {
				return nil, err
			}
			return scanTar(s)
		}
	}
	if e.size > maxStreamed {
		return nil, errSkip
	}
	in, err := p.stream(e)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	buffered := bufio.NewReader(in)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) { // a short file is no tar either
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		a, err := scanWhole(z)
		if err == nil {
			a.packed = true
		}
		return a, err
	}
	return scanWhole(buffered)
}

// scanWhole reads on behind the tar's end: what is compressed has its checksum there.
func scanWhole(r io.Reader) (*imageArchive, error) {
	all := &limited{r, maxStreamed}
	a, err := scanTar(all)
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	return a, err
}

func (p *pack) stream(e entry) (io.ReadCloser, error) {
	if e.zipped != nil {
		return e.zipped.Open()
	}
	return p.src.FS.Open(e.name)
}

// limited ends with errSkip where more than n bytes would be read.
type limited struct {
	r io.Reader
	n int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.n <= 0 {
		return 0, errSkip
	}
	if int64(len(b)) > l.n {
		b = b[:l.n]
	}
	n, err := l.r.Read(b)
	l.n -= int64(n)
	return n, err
}

func scanTar(r io.Reader) (*imageArchive, error) {
	a := &imageArchive{members: map[string]string{}, blobs: map[string][]byte{}}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		if len(a.members) > maxMembers {
			return nil, errSkip
		}
		if err := a.member(path.Clean(strings.TrimPrefix(h.Name, "./")), h, t); err != nil {
			return nil, err
		}
	}
}

// member notes one entry, and keeps what is a document.
func (a *imageArchive) member(name string, h *tar.Header, r io.Reader) (err error) {
	a.members[name] = ""
	switch h.Typeflag {
	case tar.TypeLink:
		a.members[name] = path.Clean(h.Linkname)
	case tar.TypeSymlink: // old versions of Docker save a layer that occurs twice as a link
		a.members[name] = path.Join(path.Dir(name), h.Linkname)
	}
	base := path.Base(name)
	if a.first == "" && (base == "manifest.json" || base == "index.json") {
		a.first = base
	}
	switch {
	case strings.HasPrefix(name, "blobs/sha256/") && h.Typeflag == tar.TypeReg && h.Size <= maxBlob && len(a.blobs) < maxBlobs:
		a.blobs[name], err = io.ReadAll(r)
	case name != "manifest.json" && name != "index.json":
	case h.Size > maxArchiveRead:
		err = errSkip
	case name == "manifest.json":
		a.manifest, err = io.ReadAll(r)
	default:
		a.index, err = io.ReadAll(r)
	}
	return err
}

// The App Engine's own texts.
const (
	msgNoManifest = "image is not invalid manifest is missing"
	msgUnknownTar = "unknown image archive format"
)

// problem says what is wrong with the archive, or "".
func (a *imageArchive) problem() string {
	if a.manifest == nil && a.index == nil {
		return msgNoManifest
	}
	if a.index != nil {
		if missing, ok := a.indexMissing(); !ok || missing != "" {
			return broken("index.json", missing)
		}
	}
	if a.manifest != nil {
		if missing, ok := a.manifestMissing(); !ok || missing != "" {
			return broken("manifest.json", missing)
		}
	}
	return ""
}

func broken(document, missing string) string {
	if missing == "" {
		return msgUnknownTar + ": " + document + " cannot be read"
	}
	return document + " names " + quote(missing) + ", which the archive does not hold"
}

// indexMissing returns a blob of the OCI index that is not there.
func (a *imageArchive) indexMissing() (string, bool) {
	n, err := contract.ParseJSON(a.index)
	if err != nil || !n.Get("manifests").Is(contract.NodeList) {
		return "", false
	}
	for _, m := range n.Get("manifests").Items {
		if missing, ok := a.blobMissing(m, 0); !ok || missing != "" && !attestation(m) {
			return missing, ok
		}
	}
	return "", true
}

// attestation tells a manifest that says something about an image and is none.
func attestation(m *contract.Node) bool {
	return m.Get("annotations").Has("vnd.docker.reference.type") || m.Get("platform").Get("os").Str() == "unknown"
}

// blobMissing follows a descriptor of an OCI layout to what it needs, and returns a blob that is not there. Of an index one
// image is enough: Docker saves indexes whole, but only the platforms that it has.
func (a *imageArchive) blobMissing(descriptor *contract.Node, depth int) (string, bool) {
	blob, ok := blobName(descriptor)
	if !ok || depth > maxIndexDepth {
		return "", false
	}
	if !a.holds(blob) {
		return blob, true
	}
	n, err := contract.ParseJSON(a.blobs[blob])
	if err != nil || !n.Is(contract.NodeObject) {
		return "", true // a layer, or too large to be looked at here
	}
	if manifests := n.Get("manifests"); manifests.Is(contract.NodeList) {
		first := ""
		for _, m := range manifests.Items {
			missing, ok := a.blobMissing(m, depth+1)
			switch {
			case !ok:
				return "", false
			case attestation(m):
			case missing == "":
				return "", true
			case first == "":
				first = missing
			}
		}
		return first, true
	}
	parts := []*contract.Node{}
	if config := n.Get("config"); config.Is(contract.NodeObject) && config.Has("digest") {
		parts = append(parts, config)
	}
	if layers := n.Get("layers"); layers.Is(contract.NodeList) {
		parts = append(parts, layers.Items...)
	}
	for _, p := range parts {
		blob, ok := blobName(p)
		if !ok || !a.holds(blob) {
			return blob, ok
		}
	}
	return "", true
}

// holds tells whether a file is in the archive, links followed inside it.
func (a *imageArchive) holds(name string) bool {
	for range maxLinks {
		to, ok := a.members[name]
		if !ok || to == "" {
			return ok
		}
		name = to
	}
	return false
}

// blobName is the entry that a descriptor's content lies in.
func blobName(descriptor *contract.Node) (string, bool) {
	algorithm, hex, ok := strings.Cut(descriptor.Get("digest").Str(), ":")
	return "blobs/" + algorithm + "/" + hex, ok
}

// manifestMissing returns a file of the docker-archive manifest that is not there.
func (a *imageArchive) manifestMissing() (string, bool) {
	n, err := contract.ParseJSON(a.manifest)
	if err != nil || !n.Is(contract.NodeList) || len(n.Items) == 0 {
		return "", false
	}
	for _, m := range n.Items {
		files := []*contract.Node{m.Get("Config")}
		if layers := m.Get("Layers"); layers.Is(contract.NodeList) {
			files = append(files, layers.Items...)
		}
		for _, f := range files {
			if f.Str() == "" {
				return "", false
			}
			if !a.holds(path.Clean(f.Text)) {
				return f.Text, true
			}
		}
	}
	return "", true
}

// unportable says what of the archive today's App Engine cannot read, or "".
func (a *imageArchive) unportable() string {
	if a.packed {
		return "cannot read an archive that is compressed as a whole"
	}
	if a.first == "manifest.json" {
		n, err := contract.ParseJSON(a.manifest)
		if err == nil && n.Is(contract.NodeList) && len(n.Items) > 0 && (!n.Items[0].Get("RepoTags").Is(contract.NodeList) || len(n.Items[0].Get("RepoTags").Items) == 0) {
			return "needs a tag in the archive's manifest.json"
		}
		return ""
	}
	n, err := contract.ParseJSON(a.index)
	if err != nil || !n.Get("manifests").Is(contract.NodeList) || len(n.Get("manifests").Items) == 0 {
		return ""
	}
	switch m := n.Get("manifests").Items[0]; {
	case strings.Contains(m.Get("mediaType").Str(), "index") || strings.Contains(m.Get("mediaType").Str(), "list"):
		return "cannot read an index of several platforms or with attestations"
	case m.Get("annotations").Get("org.opencontainers.image.ref.name").Str() == "":
		return "needs the annotation org.opencontainers.image.ref.name in the archive's index.json"
	}
	return ""
}

// tags lists the names that the archive gives its images.
func (a *imageArchive) tags() []string {
	var tags []string
	add := func(n *contract.Node) {
		if s := n.Str(); s != "" && !slices.Contains(tags, s) {
			tags = append(tags, s)
		}
	}
	if n, err := contract.ParseJSON(a.manifest); err == nil {
		for _, m := range n.Items {
			if list := m.Get("RepoTags"); list.Is(contract.NodeList) {
				for _, t := range list.Items {
					add(t)
				}
			}
		}
	}
	if n, err := contract.ParseJSON(a.index); err == nil && len(tags) == 0 {
		if list := n.Get("manifests"); list.Is(contract.NodeList) {
			for _, m := range list.Items {
				add(m.Get("annotations").Get("io.containerd.image.name"))
				add(m.Get("annotations").Get("org.opencontainers.image.ref.name"))
			}
		}
	}
	return tags
}
