package image

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerManifest is one element of manifest.json in a docker save archive.
type dockerManifest struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// dockerImages reads manifest.json; without one the result is nil.
func (a *archive) dockerImages() ([]archiveImage, error) {
	doc, ok := a.docs["manifest.json"]
	if !ok {
		return nil, nil
	}
	var manifests []dockerManifest
	if err := json.Unmarshal(doc, &manifests); err != nil {
		return nil, &Error{Kind: KindCorrupt, What: a.what, Why: "its manifest.json cannot be read: " + err.Error(), Err: err}
	}
	out := []archiveImage{}
	for _, m := range manifests {
		config, ok := a.docs[a.resolve(m.Config)]
		if !ok {
			return nil, a.missingIn(m.Config)
		}
		cfg, err := parseConfig(a.what, config)
		if err != nil {
			return nil, err
		}
		if len(cfg.RootFS.DiffIDs) != len(m.Layers) {
			return nil, &Error{Kind: KindCorrupt, What: a.what, Why: "its manifest and its configuration list different numbers of layers"}
		}
		img := archiveImage{config: config, platform: Platform{OS: cfg.OS, Architecture: cfg.Architecture, Variant: cfg.Variant}}
		for _, t := range m.RepoTags {
			if r, err := ParseReference(t); err == nil {
				img.names = append(img.names, r.String())
			}
		}
		for i, l := range m.Layers {
			img.layers = append(img.layers, archiveLayer{entry: a.resolve(l), diff: cfg.RootFS.DiffIDs[i]})
		}
		out = append(out, img)
	}
	return out, nil
}

// ociDescriptor is the part of an OCI descriptor that matters here.
type ociDescriptor struct {
	MediaType    types.MediaType   `json:"mediaType"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations"`
	ArtifactType string            `json:"artifactType"`
	Platform     *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	} `json:"platform"`
}

// attestation tells whether a manifest is not an image but says something about one, as BuildKit writes them.
func (d ociDescriptor) attestation() bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || (d.Platform != nil && d.Platform.OS == "unknown") || d.ArtifactType != ""
}

// The annotations that carry names in an index. The first is containerd's, with the whole reference.
const (
	annotationName    = "io.containerd.image.name"
	annotationRefName = "org.opencontainers.image.ref.name"
)

func (d ociDescriptor) names() []string {
	for _, key := range []string{annotationName, annotationRefName} {
		text := d.Annotations[key]
		if text == "" || (key == annotationRefName && !strings.ContainsAny(text, ":/")) {
			continue // a bare tag names no image
		}
		if r, err := ParseReference(text); err == nil {
			return []string{r.String()}
		}
	}
	return nil
}

const maxIndexDepth = 8

// ociImages reads index.json and the indexes it leads to. Of every top-level entry that has several platforms it takes
// the one that fits; if none fits it takes the first, so that the caller can say what it is for.
func (a *archive) ociImages(want Platform) ([]archiveImage, error) {
	var index struct {
		Manifests []ociDescriptor `json:"manifests"`
	}
	if err := json.Unmarshal(a.docs["index.json"], &index); err != nil {
		return nil, &Error{Kind: KindCorrupt, What: a.what, Why: "its index.json cannot be read: " + err.Error(), Err: err}
	}
	var out []archiveImage
	unnamed := map[string]int{}
	for _, d := range index.Manifests {
		if d.attestation() {
			continue
		}
		found, err := a.ociDescend(d, 0)
		if err != nil {
			return nil, err
		}
		img, ok := choose(found, want)
		if !ok {
			continue
		}
		img.names = mergeNames(d.names(), nil)
		// An index may list one image under several names.
		if at, ok := unnamed[string(img.manifest)]; ok {
			out[at].names = mergeNames(out[at].names, img.names)
			continue
		}
		unnamed[string(img.manifest)] = len(out)
		out = append(out, img)
	}
	// Several platforms of one unnamed image may lie side by side; then only those that fit are meant.
	fits := slices.DeleteFunc(slices.Clone(out), func(i archiveImage) bool { return !i.platform.runs(want) })
	if len(fits) > 0 {
		out = fits
	}
	if len(out) == 0 {
		return nil, &Error{Kind: KindInvalid, What: a.what, Why: "its index lists no image"}
	}
	return out, nil
}

func choose(found []archiveImage, want Platform) (archiveImage, bool) {
	for _, img := range found {
		if img.platform.runs(want) {
			return img, true
		}
	}
	if len(found) > 0 {
		return found[0], true
	}
	return archiveImage{}, false
}

// ociDescend lists the images a descriptor leads to. Manifests whose documents are missing are left out as long as
// another is there: Docker saves indexes whole, but only the platforms it has.
func (a *archive) ociDescend(d ociDescriptor, depth int) ([]archiveImage, error) {
	if depth > maxIndexDepth {
		return nil, &Error{Kind: KindHostile, What: a.what, Why: "its indexes are nested without end"}
	}
	if !d.Digest.Valid() {
		return nil, &Error{Kind: KindCorrupt, What: a.what, Why: "its index names " + quoteText(string(d.Digest)) + ", which is no sha256 digest"}
	}
	entry := "blobs/sha256/" + d.Digest.Hex()
	doc, ok := a.docs[a.resolve(entry)]
	if !ok {
		return nil, a.missingIn(entry)
	}
	if got := digestOf(doc); got != d.Digest {
		return nil, lyingDigest(a.what+", "+entry, "content", d.Digest, got)
	}
	var m struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests []ociDescriptor `json:"manifests"`
		Config    ociDescriptor   `json:"config"`
		Layers    []ociDescriptor `json:"layers"`
	}
	if err := json.Unmarshal(doc, &m); err != nil {
		return nil, &Error{Kind: KindCorrupt, What: a.what + ", " + entry, Why: "cannot be read: " + err.Error(), Err: err}
	}
	if len(m.Manifests) > 0 || m.MediaType.IsIndex() {
		return a.ociIndex(m.Manifests, depth)
	}
	img, err := a.ociImage(entry, doc, m.Config, m.Layers)
	if err != nil {
		return nil, err
	}
	return []archiveImage{img}, nil
}

func (a *archive) ociIndex(manifests []ociDescriptor, depth int) ([]archiveImage, error) {
	var out []archiveImage
	var missing error
	for _, d := range manifests {
		if d.attestation() {
			continue
		}
		found, err := a.ociDescend(d, depth+1)
		if err != nil {
			if missing == nil {
				missing = err
			}
			continue
		}
		out = append(out, found...)
	}
	if len(out) == 0 && missing != nil {
		return nil, missing
	}
	return out, nil
}

func (a *archive) ociImage(entry string, doc []byte, config ociDescriptor, layers []ociDescriptor) (archiveImage, error) {
	var none archiveImage
	if t := config.MediaType; t != "" && t != types.OCIConfigJSON && t != types.DockerConfigJSON {
		return none, &Error{Kind: KindUnsupported, What: a.what + ", " + entry, Why: "not a container image but an artifact with a configuration of type " + string(t)}
	}
	if !config.Digest.Valid() {
		return none, &Error{Kind: KindCorrupt, What: a.what + ", " + entry, Why: "names no configuration"}
	}
	name := "blobs/sha256/" + config.Digest.Hex()
	raw, ok := a.docs[a.resolve(name)]
	if !ok {
		return none, a.missingIn(name)
	}
	if got := digestOf(raw); got != config.Digest {
		return none, lyingDigest(a.what+", "+name, "content", config.Digest, got)
	}
	cfg, err := parseConfig(a.what, raw)
	if err != nil {
		return none, err
	}
	if len(cfg.RootFS.DiffIDs) != len(layers) {
		return none, &Error{Kind: KindCorrupt, What: a.what, Why: "its manifest and its configuration list different numbers of layers"}
	}
	img := archiveImage{manifest: doc, config: raw, platform: Platform{OS: cfg.OS, Architecture: cfg.Architecture, Variant: cfg.Variant}}
	for i, l := range layers {
		if !l.Digest.Valid() {
			return none, &Error{Kind: KindCorrupt, What: a.what + ", " + entry, Why: "names a layer " + quoteText(string(l.Digest)) + ", which is no sha256 digest"}
		}
		img.layers = append(img.layers, archiveLayer{entry: a.resolve("blobs/sha256/" + l.Digest.Hex()), blob: l.Digest, diff: cfg.RootFS.DiffIDs[i]})
	}
	return img, nil
}
