package image

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// PullOptions say how an image is fetched.
type PullOptions struct {
	// Platform is the platform wanted; zero means this machine's.
	Platform Platform
	// Insecure allows plain HTTP and unknown certificates. Registries on this machine may always use plain HTTP.
	Insecure bool
	Progress Progress
}

// pullWorkers bounds how many layers are fetched at once.
const pullWorkers = 3

// attempts is how often a broken transfer of a layer is begun.
const attempts = 3

// Ensure returns the image a reference names: the local one if it fits the platform, else it is pulled. An empty
// platform means this machine's.
func (s *Store) Ensure(ctx context.Context, ref string, platform Platform, progress Progress) (*Image, error) {
	local, err := s.Resolve(ref)
	if err == nil && local.rec.Facts.Platform.runs(platform) {
		return local, nil
	}
	if err != nil && KindOf(err) != KindNotFound {
		return nil, err
	}
	img, perr := s.Pull(ctx, ref, PullOptions{Platform: platform, Progress: progress})
	if perr == nil {
		return img, nil
	}
	if local != nil {
		return nil, wrongArchitecture("image "+ref, local.rec.Facts.Platform, platform)
	}
	var e *Error
	if errors.As(perr, &e) && e.Kind == KindNetwork {
		if r, rerr := ParseReference(ref); rerr == nil {
			return nil, &Error{Kind: KindNetwork, What: "image " + ref, Why: "not in the local store, and " + r.Registry + " cannot be reached: " + e.Why, Hint: "`longshore image load` and `image import` take it from an archive; in a checkout of Longshore, `make base-images` makes images of the usual names; or connect to the registry", Err: perr}
		}
	}
	return nil, perr
}

// Pull fetches an image, also if it is here already: a tag may have moved. Layers that are here are not fetched again.
func (s *Store) Pull(ctx context.Context, ref string, opts PullOptions) (*Image, error) {
	r, err := ParseReference(ref)
	if err != nil {
		return nil, err
	}
	done, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	remoteRef, err := remoteName(r, opts.Insecure)
	if err != nil {
		return nil, err
	}
	what := "image " + r.Familiar()
	desc, err := remote.Get(remoteRef, s.remoteOptions(ctx, opts.Insecure)...)
	if err != nil {
		return nil, registryError(what, r.Registry, err)
	}
	if r.Digest != "" && desc.Digest.String() != string(r.Digest) {
		return nil, lyingDigest(what, "manifest", r.Digest, Digest(desc.Digest.String()))
	}
	img, err := s.pickPlatform(desc, what, opts.Platform)
	if err != nil {
		return nil, registryError(what, r.Registry, err)
	}
	p := &puller{store: s, what: what, host: r.Registry, opts: opts, budget: s.limits.budget()}
	out, err := p.fetch(ctx, img)
	if err != nil {
		return nil, err
	}
	if err := s.setRef(r.String(), out.rec.Manifest); err != nil {
		return nil, err
	}
	if r.Digest != "" && r.Tag != "" {
		// It is found again by the digest alone, which may be that of an index.
		bare := r
		bare.Tag = ""
		if err := s.setRef(bare.String(), out.rec.Manifest); err != nil {
			return nil, err
		}
	}
	out.names = []string{r.String()}
	opts.Progress.send(Event{Kind: EventImage, Text: out.Name()})
	return out, nil
}

// remoteName writes a reference the way the registry library wants it.
func remoteName(r Reference, insecure bool) (name.Reference, error) {
	var opts []name.Option
	if insecure {
		opts = append(opts, name.Insecure)
	}
	text := r.Registry + "/" + r.Repository
	if r.Digest != "" {
		text += "@" + string(r.Digest)
	} else {
		text += ":" + r.Tag
	}
	ref, err := name.ParseReference(text, opts...)
	if err != nil {
		return nil, &Error{Kind: KindInvalid, What: "image reference " + quoteText(r.String()), Why: err.Error(), Err: err}
	}
	return ref, nil
}

// HasLogin tells whether there are credentials for a registry where docker login keeps them.
func HasLogin(registry string) bool {
	r, err := name.NewRegistry(registry)
	if err != nil {
		return false
	}
	auth, err := authn.DefaultKeychain.Resolve(r)
	return err == nil && auth != authn.Anonymous
}

func (s *Store) remoteOptions(ctx context.Context, insecure bool) []remote.Option {
	opts := []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(s.cfg.Keychain),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: attempts}),
	}
	if t := s.transport(insecure); t != nil {
		opts = append(opts, remote.WithTransport(t))
	}
	return opts
}

// transport is the store's, or one that accepts any certificate; nil means the library's own.
func (s *Store) transport(insecure bool) http.RoundTripper {
	base, ok := s.cfg.Transport.(*http.Transport)
	if s.cfg.Transport == nil {
		base, ok = remote.DefaultTransport.(*http.Transport)
	}
	if !insecure || !ok {
		return s.cfg.Transport
	}
	t := base.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.InsecureSkipVerify = true
	return t
}

// pickPlatform follows an index to the image that fits.
func (s *Store) pickPlatform(desc *remote.Descriptor, what string, want Platform) (v1.Image, error) {
	if !desc.MediaType.IsIndex() {
		return desc.Image()
	}
	index, err := desc.ImageIndex()
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var others []string
	for _, d := range m.Manifests {
		if !d.MediaType.IsImage() || d.Platform == nil || d.Platform.OS == "unknown" || d.Annotations["vnd.docker.reference.type"] != "" {
			continue
		}
		has := Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Variant: d.Platform.Variant}
		if has.runs(want) {
			return index.Image(d.Digest)
		}
		if !slices.Contains(others, has.String()) {
			others = append(others, has.String())
		}
	}
	want = want.orThis()
	return nil, &Error{Kind: KindArchitecture, What: what, Why: "is published for " + strings.Join(others, ", ") + ", not for " + want.String(), Hint: "build it for " + want.String()}
}

// puller brings one remote image into the store.
type puller struct {
	store *Store
	what  string
	host  string
	opts  PullOptions
	// budget is what the image's layers may unpack to together.
	budget *atomic.Int64
}

func (p *puller) fetch(ctx context.Context, img v1.Image) (*Image, error) {
	manifest, err := img.RawManifest()
	if err != nil {
		return nil, registryError(p.what, p.host, err)
	}
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return nil, &Error{Kind: KindCorrupt, What: p.what, Why: "its manifest cannot be read: " + err.Error(), Err: err}
	}
	if t := m.Config.MediaType; t != "" && t != types.OCIConfigJSON && t != types.DockerConfigJSON {
		return nil, &Error{Kind: KindUnsupported, What: p.what, Why: "not a container image but an artifact with a configuration of type " + string(t)}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, registryError(p.what, p.host, err)
	}
	if got := digestOf(config); string(got) != m.Config.Digest.String() {
		return nil, lyingDigest(p.what+", configuration", "content", Digest(m.Config.Digest.String()), got)
	}
	cfg, err := parseConfig(p.what, config)
	if err != nil {
		return nil, err
	}
	if facts := factsOf(cfg); !facts.Platform.runs(p.opts.Platform) {
		return nil, wrongArchitecture(p.what, facts.Platform, p.opts.Platform)
	}
	if len(cfg.RootFS.DiffIDs) != len(m.Layers) {
		return nil, &Error{Kind: KindCorrupt, What: p.what, Why: "its manifest and its configuration list different numbers of layers"}
	}
	layers := make([]layerInfo, len(m.Layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pullWorkers)
	for i, d := range m.Layers {
		g.Go(func() error {
			info, err := p.layer(gctx, img, d, cfg.RootFS.DiffIDs[i])
			layers[i] = info
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return p.store.commit(p.what, manifest, config, layers, nil)
}

// layer fetches one layer, beginning again when the connection breaks.
func (p *puller) layer(ctx context.Context, img v1.Image, d v1.Descriptor, diff Digest) (layerInfo, error) {
	if d.Digest.Algorithm != "sha256" {
		return layerInfo{}, &Error{Kind: KindUnsupported, What: p.what, Why: "a layer is named by " + d.Digest.Algorithm + ", only sha256 is supported"}
	}
	want := archiveLayer{blob: Digest(d.Digest.String()), diff: diff}
	open := func(archiveLayer) (io.ReadCloser, int64, error) {
		l, err := img.LayerByDigest(d.Digest)
		if err != nil {
			return nil, 0, err
		}
		r, err := l.Compressed()
		return r, d.Size, err
	}
	var err error
	for range attempts {
		var info layerInfo
		info, err = p.store.ensureLayer(ctx, p.what+", layer "+want.blob.Short(), want, p.budget, p.opts.Progress, open)
		if err == nil {
			return info, nil
		}
		if ctx.Err() != nil {
			return info, ctx.Err()
		}
		if !transient(err) {
			break
		}
		p.opts.Progress.note("layer %s: %v; trying again", want.blob.Short(), err)
	}
	return layerInfo{}, registryError(p.what, p.host, err)
}

// transient tells whether an error is of the connection rather than of what came over it.
func transient(err error) bool {
	var ne net.Error
	var ue *url.Error
	return errors.As(err, &ne) || errors.As(err, &ue) || errors.Is(err, io.ErrUnexpectedEOF)
}

// registryError translates what the registry library says.
func registryError(what, host string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var te *transport.Error
	if errors.As(err, &te) {
		return refusal(what, host, te)
	}
	var own *Error
	if errors.As(err, &own) && !transient(err) {
		return err
	}
	if errors.Is(err, remote.ErrSchema1) {
		return &Error{Kind: KindUnsupported, What: what, Why: "published in a form that registries gave up in 2017 (schema 1)", Hint: "push it again with a newer tool", Err: err}
	}
	var dns *net.DNSError
	var ue *url.Error
	why := err.Error()
	hint := ""
	if errors.As(err, &dns) {
		why, hint = "the name "+dns.Name+" cannot be found", "is this machine connected?"
	} else if errors.As(err, &ue) {
		why = ue.Err.Error()
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		why, hint = "the certificate of "+host+" is not trusted: "+untrusted.Err.Error(), "add the authority that signed it to this machine's (update-ca-certificates)"
	}
	return &Error{Kind: KindNetwork, What: what, Why: why, Hint: hint, Err: err}
}

// refusal translates an answer that a registry gave.
func refusal(what, host string, te *transport.Error) error {
	e := &Error{Kind: KindNetwork, What: what, Why: host + " answered " + http.StatusText(te.StatusCode), Err: te}
	switch te.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Kind, e.Why, e.Hint = KindUnauthorised, host+" refuses access: the image does not exist, or needs a login", "check the name; log in with docker login "+host
	case http.StatusNotFound:
		e.Kind, e.Why, e.Hint = KindNotFound, "not in the registry "+host, "check the name and the tag"
	case http.StatusTooManyRequests:
		e.Hint = "the registry limits how much may be fetched; wait, or log in"
	}
	return e
}
