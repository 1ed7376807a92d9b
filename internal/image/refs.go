package image

import (
	"strings"

	"github.com/distribution/reference"
)

// Reference is a normalised image reference, as Docker writes it in full: "docker.io/library/python:3.9-slim". A
// reference with a digest keeps its tag for people, but the digest decides.
type Reference struct {
	// Registry is the host, with the port if one was given: "docker.io", "localhost:5000".
	Registry string
	// Repository is the path below the registry: "library/python".
	Repository string
	// Tag is "latest" when neither tag nor digest were given; empty when there is only a digest.
	Tag    string
	Digest Digest
}

// hubAliases are hosts that mean Docker Hub. docker.io itself is handled by the reference library.
func isHubAlias(host string) bool {
	switch host {
	case "registry.hub.docker.com", "registry-1.docker.io", "hub.docker.com":
		return true
	}
	return false
}

// ParseReference normalises a reference as Docker does.
func ParseReference(s string) (Reference, error) {
	text := strings.TrimSpace(s)
	if host, rest, ok := strings.Cut(text, "/"); ok && isHubAlias(host) {
		text = "docker.io/" + rest
	}
	named, err := reference.ParseDockerRef(text)
	if err != nil {
		e := &Error{Kind: KindInvalid, What: "image reference " + quoteText(s), Why: strings.TrimPrefix(err.Error(), "invalid reference format: "), Err: err}
		if strings.ToLower(text) != text {
			e.Hint = "repository names are lower case"
		}
		return Reference{}, e
	}
	r := Reference{Registry: reference.Domain(named), Repository: reference.Path(named)}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = Digest(d.Digest().String())
		if !r.Digest.Valid() {
			return Reference{}, &Error{Kind: KindInvalid, What: "image reference " + quoteText(s), Why: "only sha256 digests are supported"}
		}
	}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	return r, nil
}

// String writes the reference in full.
func (r Reference) String() string {
	s := r.Registry + "/" + r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// Familiar writes the reference as people type it: without docker.io/library/.
func (r Reference) Familiar() string {
	s := r.String()
	if r.Registry == "docker.io" {
		s = strings.TrimPrefix(s, "docker.io/")
		s = strings.TrimPrefix(s, "library/")
	}
	return s
}

func quoteText(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return `"` + s + `"`
}
