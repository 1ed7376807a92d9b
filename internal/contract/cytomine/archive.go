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
)

// imageArchive is what an image archive says about itself.
type imageArchive struct {
	members  map[string]bool
	manifest []byte // manifest.json
	index    []byte // index.json
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
		return scanTar(&limited{z, maxStreamed})
	}
	return scanTar(&limited{buffered, maxStreamed})
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
	a := &imageArchive{members: map[string]bool{}}
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
		name := path.Clean(strings.TrimPrefix(h.Name, "./"))
		a.members[name] = true
		var into *[]byte
		switch name {
		case "manifest.json":
			into = &a.manifest
		case "index.json":
			into = &a.index
		default:
			continue
		}
		if h.Size > maxArchiveRead {
			return nil, errSkip
		}
		if *into, err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
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

// indexMissing returns a manifest of the OCI index that is not there. Attestations may be left out.
func (a *imageArchive) indexMissing() (string, bool) {
	n, err := contract.ParseJSON(a.index)
	if err != nil || !n.Get("manifests").Is(contract.NodeList) {
		return "", false
	}
	for _, m := range n.Get("manifests").Items {
		algorithm, hex, ok := strings.Cut(m.Get("digest").Str(), ":")
		if !ok {
			return "", false
		}
		if blob := "blobs/" + algorithm + "/" + hex; !a.members[blob] && !m.Get("annotations").Has("vnd.docker.reference.type") {
			return blob, true
		}
	}
	return "", true
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
			if !a.members[path.Clean(f.Text)] {
				return f.Text, true
			}
		}
	}
	return "", true
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
