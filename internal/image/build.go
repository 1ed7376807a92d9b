package image

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// BuildOptions say what to build and how. Context or DockerfileContent is required; Runner is when a RUN is to be run.
type BuildOptions struct {
	// Context is the folder that COPY and ADD read from. Nothing outside it is ever read, wherever its links lead.
	Context string
	// Dockerfile is its path, relative to Context unless absolute; empty means "Dockerfile".
	Dockerfile string
	// DockerfileContent, when not nil, is used instead of reading Dockerfile, which then only names it in messages.
	DockerfileContent []byte
	// Contexts are further folders, by the names COPY --from uses for them.
	Contexts map[string]string
	// Target is the stage to build, by name or number; empty means the last.
	Target string
	// Args are build arguments. They appear in the image's history: secrets do not belong here.
	Args map[string]string
	// LocalBases are beginnings of names of base images that are in no registry: they must be in the store.
	LocalBases []string
	// Secrets are what RUN --mount=type=secret gives out, by id. They reach no layer, configuration, cache or log.
	Secrets map[string][]byte
	// Sensitive are values, by their names, that must be stored nowhere: a layer or configuration with one of eight bytes or
	// more fails the build, and none is shown.
	Sensitive map[string]string
	// Labels are set on the image on top of the Dockerfile's.
	Labels map[string]string
	// Tags name the result.
	Tags []string
	// Platform is the platform to build for; it must be this machine's, which the zero value means.
	Platform Platform
	// Runner executes RUN instructions.
	Runner Runner
	// Network allows RUN to use the network and ADD to fetch URLs.
	Network bool
	// NoCache runs every step again.
	NoCache bool
	// Pull asks the registry for newer base images even if they are here.
	Pull bool
	// Limits bound each RUN; a zero Timeout means one hour.
	Limits RunLimits
	// SourceDateEpoch, when set, is the time of the image and the latest a file in a new layer may have.
	SourceDateEpoch *time.Time
	Progress        Progress
}

const defaultRunTimeout = time.Hour

func (o *BuildOptions) dockerfileName() string {
	if o.Dockerfile == "" {
		return "Dockerfile"
	}
	return o.Dockerfile
}

// Build executes a Dockerfile and returns the image. Unchanged steps are answered by the layer cache, and building the
// same thing again gives the same digest. An error that the Dockerfile, the context or a command caused is a *BuildError.
func (s *Store) Build(ctx context.Context, opts BuildOptions) (*Image, error) {
	done, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	_, _ = s.Sweep() // what cannot be removed is no reason not to build; `doctor` tells of it
	b, err := s.newBuilder(opts)
	if err != nil {
		return nil, err
	}
	defer b.close()
	target, err := b.plan.target(opts.Target)
	if err != nil {
		return nil, err
	}
	before, err := b.fingerprintFiles(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range b.plan.warnings {
		opts.Progress.note("%s", w)
	}
	st, err := b.stage(ctx, target)
	if err != nil {
		return nil, err
	}
	img, err := b.commit(st)
	if err != nil {
		return nil, err
	}
	b.rememberBuilt(ctx, before, img)
	b.noteUnused()
	b.files.save()
	opts.Progress.send(Event{Kind: EventImage, Text: img.Name()})
	return img, nil
}

// noteUnused tells of build arguments that no ARG instruction takes.
func (b *builder) noteUnused() {
	declared := map[string]bool{}
	for _, e := range b.plan.global {
		name, _, _ := strings.Cut(e, "=")
		declared[name] = true
	}
	for _, st := range b.plan.stages {
		for _, c := range st.Commands {
			if a, ok := c.(*instructions.ArgCommand); ok {
				for _, kv := range a.Args {
					declared[kv.Key] = true
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.opts.Args)) {
		if !declared[name] && !isProxyArg(name) {
			b.opts.Progress.note("build argument %s was given, but no ARG instruction of %s takes it", name, b.plan.name)
		}
	}
}

// builder is one run of Build.
type builder struct {
	store    *Store
	opts     BuildOptions
	platform Platform
	plan     *dockerfile
	text     []byte    // the Dockerfile
	context  *hostTree // nil without a context
	named    map[string]*hostTree
	files    *fileHashes
	states   map[int]*state
	tmp      *tempDir
	id       string // names this Dockerfile among all that were built here
}

func (s *Store) newBuilder(opts BuildOptions) (*builder, error) {
	if opts.Limits.Timeout == 0 {
		opts.Limits.Timeout = defaultRunTimeout
	}
	b := &builder{store: s, opts: opts, platform: opts.Platform.orThis(), states: map[int]*state{}, named: map[string]*hostTree{}}
	if b.platform.OS != "linux" || b.platform.Architecture != ThisPlatform().Architecture {
		return nil, wrongArchitecture("build for "+b.platform.String(), b.platform, ThisPlatform())
	}
	for _, t := range opts.Tags {
		if _, err := ParseReference(t); err != nil {
			return nil, err
		}
	}
	if err := b.openContexts(); err != nil {
		b.close()
		return nil, err
	}
	var err error
	b.text, err = b.readDockerfile()
	if err == nil {
		b.plan, err = parseDockerfile(opts.dockerfileName(), b.text, b.platform, opts.Args)
	}
	if err == nil {
		err = b.readIgnore()
	}
	if err != nil {
		b.close()
		return nil, err
	}
	b.id = digestOf([]byte(opts.Context + "\x00" + opts.dockerfileName())).Hex()
	b.files = s.openFileHashes(b.id)
	return b, nil
}

func (b *builder) openContexts() error {
	open := func(dir string) (*hostTree, error) {
		t, err := openHostTree(dir)
		if err != nil {
			return nil, fileError(dir, err)
		}
		return t, nil
	}
	if b.opts.Context != "" {
		abs, err := filepath.Abs(b.opts.Context)
		if err != nil {
			return fileError(b.opts.Context, err)
		}
		b.opts.Context = abs
		if b.context, err = open(abs); err != nil {
			return err
		}
	}
	for name, dir := range b.opts.Contexts {
		t, err := open(dir)
		if err != nil {
			return err
		}
		b.named[name] = t
	}
	return nil
}

func (b *builder) close() {
	if b.context != nil {
		b.context.root.Close()
	}
	for _, t := range b.named {
		t.root.Close()
	}
	if b.tmp != nil {
		b.tmp.remove()
	}
}

func (b *builder) readDockerfile() ([]byte, error) {
	if b.opts.DockerfileContent != nil {
		return b.opts.DockerfileContent, nil
	}
	name := b.opts.dockerfileName()
	var data []byte
	var err error
	switch {
	case filepath.IsAbs(name):
		data, err = os.ReadFile(name)
	case b.context == nil:
		return nil, &Error{Kind: KindInvalid, What: "build", Why: "neither a context folder nor a Dockerfile was given"}
	default:
		data, err = b.context.readFile(name, maxDocument)
	}
	if err != nil {
		e := fileError(filepath.Join(b.opts.Context, name), err).(*Error)
		if e.Kind == KindNotFound {
			e.Why, e.Hint = "there is no Dockerfile", "write one, or name it"
		}
		return nil, e
	}
	return data, nil
}

// readIgnore finds the .dockerignore that counts for this Dockerfile.
func (b *builder) readIgnore() error {
	if b.context == nil {
		return nil
	}
	for _, name := range []string{b.opts.dockerfileName() + ".dockerignore", ".dockerignore"} {
		var data []byte
		var err error
		if filepath.IsAbs(name) {
			data, err = os.ReadFile(name)
		} else {
			data, err = b.context.readFile(name, maxDocument)
		}
		if err != nil {
			continue
		}
		return b.context.ignore(name, data)
	}
	return nil
}

// workdir returns a private folder for the build's own files, made on first use.
func (b *builder) workdir() (*tempDir, error) {
	if b.tmp == nil {
		t, err := b.store.newTemp("build")
		if err != nil {
			return nil, err
		}
		b.tmp = t
	}
	return b.tmp, nil
}

// state is a stage while it is built, and what is left of it when it is done.
type state struct {
	name   string
	index  int
	layers []recordLayer
	config configFile
	// env is what expansion and RUN see: the image's variables, and arguments, in the order they were set.
	env []string
	// args are the stage's arguments, in order, for RUN's cache key and the history.
	args []argValue
	// last is when the newest step was first run.
	last time.Time
	// cmdSet tells that this stage has its own CMD.
	cmdSet bool
	step   int
	total  int
	// ordinal counts instructions, to compare each with itself in the last build.
	ordinal int
}

type argValue struct {
	name  string
	value string
	set   bool
}

// dirs returns the state's layers as folders, lowest first.
func (b *builder) dirs(st *state) ([]string, error) {
	fix, err := b.store.fixups(st.layers)
	if err != nil {
		return nil, err
	}
	img := &Image{store: b.store, rec: record{Layers: st.layers, Fixups: fix}}
	return img.Layers(context.Background())
}

// chain names the content of the state's layers.
func (st *state) chain() string {
	var sb strings.Builder
	for _, l := range st.layers {
		sb.WriteString(string(l.Diff))
	}
	return string(digestOf([]byte(sb.String())))
}

// commit makes the image of a finished stage.
func (b *builder) commit(st *state) (*Image, error) {
	cfg := st.config
	if len(b.opts.Labels) > 0 {
		labels := map[string]string{}
		for k, v := range cfg.Config.Labels {
			labels[k] = v
		}
		for k, v := range b.opts.Labels {
			labels[k] = v
		}
		cfg.Config.Labels = labels
	}
	created := st.last
	if b.opts.SourceDateEpoch != nil {
		created = *b.opts.SourceDateEpoch
	}
	created = created.UTC()
	cfg.Created = &created
	cfg.RootFS = configRootFS{Type: "layers", DiffIDs: []Digest{}}
	layers := make([]layerInfo, 0, len(st.layers))
	for _, l := range st.layers {
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.Diff)
		info, ok := b.store.knownLayer(archiveLayer{diff: l.Diff})
		if !ok {
			return nil, b.store.layerDamaged(l.Diff, os.ErrNotExist)
		}
		// A base image's layer is described as it came, so that pushing it costs the registry nothing.
		if meta, err := b.store.layerMeta(l.Diff); err == nil && meta.Blob != "" && meta.Blob == l.Blob {
			info = layerInfo{blob: meta.Blob, size: meta.BlobSize, diff: l.Diff, compression: meta.Compression}
		}
		layers = append(layers, info)
	}
	config, err := json.Marshal(cfg)
	if err != nil {
		return nil, b.store.storeError(err)
	}
	if key := b.leaked(config); key != "" {
		return nil, leakError(key, "the image's configuration (ENV, ARG, LABEL or history)")
	}
	return b.store.commit("built image", nil, config, layers, b.opts.Tags)
}

// record adds an instruction to the image's history.
func (b *builder) record(st *state, by string, empty bool) {
	t := st.last
	if b.opts.SourceDateEpoch != nil {
		t = *b.opts.SourceDateEpoch
	}
	t = t.UTC()
	st.config.History = append(st.config.History, configChange{Created: &t, CreatedBy: by, EmptyLayer: empty})
}

// fail puts an error at a place in the Dockerfile, unless it has one.
func (b *builder) fail(at place, err error) error {
	return b.plan.fail(at, err)
}

// setEnv sets a variable in a NAME=VALUE list, in place if it is there.
func setEnv(env []string, name, value string) []string {
	out := append([]string(nil), env...)
	for i, e := range out {
		if k, _, _ := strings.Cut(e, "="); k == name {
			out[i] = name + "=" + value
			return out
		}
	}
	return append(out, name+"="+value)
}

// absolute makes a path of an instruction absolute in the image, keeping a slash at its end.
func (st *state) absolute(p string) string {
	slash := strings.HasSuffix(p, "/") || p == "." || strings.HasSuffix(p, "/.")
	if !path.IsAbs(p) {
		wd := st.config.Config.WorkingDir
		if wd == "" {
			wd = "/"
		}
		p = path.Join(wd, p)
	}
	p = path.Clean("/" + p)
	if slash && p != "/" {
		p += "/"
	}
	return p
}

// shortText is an instruction on one line of bounded length, for logs and messages.
func shortText(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 160 {
		return string(r[:159]) + "…"
	}
	return s
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
