package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/task"
)

// remoteFlags are what "run" and "call" take for a server.
type remoteFlags struct {
	serverFlags
	labels   []string
	priority int
	retries  int
	retryOn  []string
	cache    bool
	key      string
}

func (f *remoteFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.server, "server", "", "run it on this server, a name or URL; PACKAGE is then the name of a task there")
	fs.StringArrayVar(&f.labels, "label", nil, "with --server: a label, NAME=VALUE, to find the run by")
	fs.IntVar(&f.priority, "priority", 0, "with --server: higher runs first, -1000 to 1000")
	fs.IntVar(&f.retries, "retries", 0, "with --server: how often a failed run is tried again")
	fs.StringSliceVar(&f.retryOn, "retry-on", []string{"exit", "oom", "timeout", "not-ready"}, "with --retries: after which reasons")
	fs.BoolVar(&f.cache, "cache", false, "with --server: take the result of an earlier run of the same package and inputs, if there is one")
	fs.StringVar(&f.key, "key", "", "with --server: the same key submits only once")
}

// fitsServer refuses flags that say how a package here is opened, built or packed: on a server that was done at the import.
func fitsServer(fs *pflag.FlagSet) error {
	for _, name := range []string{"contract", "legacy", "compat", "extra-vars", "var", "var-file", "capabilities", "no-cache", "package"} {
		if fs.Changed(name) {
			return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("--%s says nothing to a server: the task was imported before", name)}).
				WithHint("leave it out; longshore run --help tells what goes with --server")
		}
	}
	return nil
}

// needsNoServer refuses flags that a run here knows nothing of.
func needsNoServer(fs *pflag.FlagSet) error {
	for _, name := range []string{"label", "priority", "retries", "retry-on", "cache", "key"} {
		if fs.Changed(name) {
			return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("--%s is for runs on a server", name)}).WithHint("add --server, or leave it out")
		}
	}
	return nil
}

// overriding takes -e as an environment variable, where the contract takes no overrides: those were given at the import.
func (f *jobFlags) overriding(t v1.Task) error {
	if len(f.open.over.either) == 0 {
		return nil
	}
	c, err := app.Contract(t.Contract)
	if err != nil {
		return err
	}
	if _, over := c.(contract.Overrider); over {
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("-e overrides the manifest of a %s package, and %s was imported before", t.Contract, t.Name)}).
			WithHint("use --env for environment variables, or import the package with another manifest")
	}
	f.env = append(f.env, f.open.over.either...)
	return nil
}

// remoteRun is one run on a server, from the flags to its end.
type remoteRun struct {
	g      *globals
	client *client.Client
	job    *jobFlags
	flags  *remoteFlags
}

func (g *globals) remote(f *remoteFlags, job *jobFlags) (*remoteRun, error) {
	c, err := g.dialPatiently(&f.serverFlags)
	if err != nil {
		return nil, err
	}
	return &remoteRun{g: g, client: c, job: job, flags: f}, nil
}

// runOnServer is "run" with --server.
func (g *globals) runOnServer(ctx context.Context, ref string, job *jobFlags, f *remoteFlags, words []string, out string, detach bool) error {
	if !detach {
		if err := dispatch.CheckOutDir(out); err != nil {
			return err
		}
	}
	r, err := g.remote(f, job)
	if err != nil {
		return err
	}
	run, err := r.submit(ctx, ref, words)
	if err != nil {
		return err
	}
	if detach {
		if g.json {
			return g.printJSON(run)
		}
		fmt.Fprintln(g.Out, line(run.ID))
		return nil
	}
	g.info("run %s", run.ID)
	if run, err = r.follow(ctx, run, true); err != nil {
		return err
	}
	res := resultOf(run)
	// Also of a run that was cancelled there is a log: the Ctrl-C that cancelled it must not keep that from arriving.
	fetching := ctx
	if ctx.Err() != nil {
		fetching = context.WithoutCancel(ctx)
	}
	if err := g.fetchOutputs(fetching, r.client, run, out); err != nil {
		return err
	}
	if g.json {
		if err := g.printJSON(res); err != nil {
			return err
		}
	} else {
		printResult(g, res, out, nil)
	}
	if code := runCode(run); code != 0 {
		return exitError{code}
	}
	return nil
}

// callOnServer is "call" with --server.
func (g *globals) callOnServer(ctx context.Context, ref string, job *jobFlags, f *remoteFlags, words []string, verbose bool) error {
	r, err := g.remote(f, job)
	if err != nil {
		return err
	}
	run, err := r.submit(ctx, ref, words)
	if err != nil {
		return err
	}
	if run, err = r.follow(ctx, run, verbose); err != nil {
		return err
	}
	res := resultOf(run)
	if run.State == task.Succeeded {
		dir, err := app.TempDir("longshore-call-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if _, err := r.client.Download(ctx, run.ID, dir); err != nil {
			return err
		}
		for _, o := range res.Outputs {
			if o.Path != "" && !filepath.IsLocal(filepath.FromSlash(o.Path)) {
				return task.Errorf(task.ReasonOutput, "the server names an output %q, which lies outside the folder", o.Path)
			}
		}
		return dispatch.WriteResponse(g.Out, res, dir)
	}
	if g.json {
		if err := g.printJSON(res); err != nil {
			return err
		}
	} else if res.Failure != nil {
		printFailure(g.Err, res)
	}
	return exitError{runCode(run)}
}

// submit sends the files that values name, and then the request.
func (r *remoteRun) submit(ctx context.Context, ref string, words []string) (v1.Run, error) {
	t, err := r.client.Task(ctx, ref, r.job.open.Variant)
	if err != nil {
		return v1.Run{}, err
	}
	if err := r.job.overriding(t); err != nil {
		return v1.Run{}, err
	}
	given, done, err := r.job.request(r.g.In, words)
	if err != nil {
		return v1.Run{}, err
	}
	defer done()
	req, err := r.request(ctx, ref, t, given)
	if err != nil {
		return v1.Run{}, err
	}
	return r.client.Submit(ctx, req, client.SubmitOptions{Key: r.flags.key})
}

func (r *remoteRun) request(ctx context.Context, ref string, t v1.Task, given task.Request) (v1.RunRequest, error) {
	f, j := r.flags, r.job
	labels, err := pairs("--label", f.labels)
	if err != nil {
		return v1.RunRequest{}, err
	}
	req := v1.RunRequest{
		Task: ref, Variant: j.open.Variant, Inputs: map[string]json.RawMessage{}, Args: given.Words, Unbound: given.Unbound, Network: j.network == "host",
		Limits:   v1.Limits{CPU: j.cpus, Memory: j.memory, Disk: j.disk, GPUs: j.gpus},
		Timeouts: v1.Timeouts{Prepare: spanText(j.prepare), Ready: spanText(j.ready), Run: spanText(j.timeout)},
		Priority: f.priority, Labels: labels, Cache: f.cache,
	}
	if f.retries > 0 {
		req.Retry.Max = f.retries
		for _, reason := range f.retryOn {
			req.Retry.On = append(req.Retry.On, task.Code(reason))
		}
	}
	for _, e := range given.Env {
		if req.Env == nil {
			req.Env = map[string]string{}
		}
		req.Env[e.Name] = e.Value
	}
	up := &uploads{ctx: ctx, client: r.client, files: map[string]v1.FileRef{}, byPath: map[string]string{}}
	for name, v := range given.Inputs {
		if req.Inputs[name], err = up.value(t, name, v); err != nil {
			return req, err
		}
	}
	if err := up.body(&req, given.Body); err != nil {
		return req, err
	}
	if len(up.files) > 0 {
		req.Files = up.files
	}
	return req, nil
}

func spanText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// uploads sends the files of one request, each once.
type uploads struct {
	ctx    context.Context // of one request, which is what this is
	client *client.Client
	files  map[string]v1.FileRef
	byPath map[string]string // the name that a path was given
}

// put sends a file or folder, and answers the name it has in the request.
func (u *uploads) put(name, path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if had, ok := u.byPath[abs]; ok {
		return had, nil
	}
	ref, err := u.client.UploadPath(u.ctx, path)
	if err != nil {
		return "", err
	}
	for n := 2; u.files[name].Digest != "" || u.files[name].Entries != nil; n++ {
		name = fmt.Sprintf("%s-%d", strings.TrimRight(name, "-0123456789"), n)
	}
	u.files[name], u.byPath[abs] = ref, name
	return name, nil
}

// input is put for an input. That it is not there is the input's fault, as in a local run.
func (u *uploads) input(name, path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", task.Errorf(task.ReasonInput, "input %q: cannot read %s: %w", name, path, err).WithHint("give a file or folder that is there")
	}
	return u.put(name, path)
}

// value is an input as the server takes it.
func (u *uploads) value(t v1.Task, name string, v task.Given) (json.RawMessage, error) {
	switch {
	case v.Path != "":
		file, err := u.input(name, v.Path)
		if err != nil {
			return nil, err
		}
		return json.Marshal("@" + file)
	case v.Text != nil:
		var err error
		if v.JSON, err = writtenDown(t, name, *v.Text); err != nil {
			return nil, err
		}
	}
	if !ofFiles(t, name) {
		return v.JSON, nil
	}
	return u.document(name, v.JSON, v.Dir)
}

// ofFiles tells a parameter that is a list of files or folders, or of such lists, which are named in it as "@path". In any other
// value a text that begins with "@" is a text.
func ofFiles(t v1.Task, name string) bool {
	return slices.ContainsFunc(t.Parameters, func(p task.Parameter) bool {
		item := &p.Type
		for item.Kind == task.Array && item.Item != nil {
			item = item.Item
		}
		return p.Direction == task.Input && (p.Name == name || slices.Contains(p.Aliases, name)) && p.Type.Kind == task.Array && item.Kind.OnDisk()
	})
}

// writtenDown is a text from the command line as JSON: as it is where a parameter takes text, and else as a JSON value if it is one.
func writtenDown(t v1.Task, name, text string) (json.RawMessage, error) {
	i := slices.IndexFunc(t.Parameters, func(p task.Parameter) bool {
		return p.Direction == task.Input && (p.Name == name || slices.Contains(p.Aliases, name))
	})
	plain := i >= 0 && (t.Parameters[i].Type.Verbatim || slices.Contains([]task.Kind{task.String, task.Enumeration, task.Datetime}, t.Parameters[i].Type.Kind))
	if !plain && json.Valid([]byte(text)) {
		return json.RawMessage(strings.TrimSpace(text)), nil
	}
	if strings.HasPrefix(text, "@") {
		text = "@" + text // no file is meant
	}
	return json.Marshal(text)
}

// document is a JSON value in which every text "@path", at any depth, is sent as a file.
func (u *uploads) document(name string, raw json.RawMessage, dir string) (json.RawMessage, error) {
	trimmed := strings.TrimSpace(string(raw))
	switch {
	case strings.HasPrefix(trimmed, `"@`) && !strings.HasPrefix(trimmed, `"@@`):
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
		path := text[1:]
		if dir != "" && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		file, err := u.input(name, path)
		if err != nil {
			return nil, err
		}
		return json.Marshal("@" + file)
	case strings.HasPrefix(trimmed, "["):
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		for i := range list {
			var err error
			if list[i], err = u.document(name, list[i], dir); err != nil {
				return nil, err
			}
		}
		return json.Marshal(list)
	}
	return raw, nil
}

// body gives the request its body.
func (u *uploads) body(req *v1.RunRequest, b *task.Body) error {
	switch {
	case b == nil:
	case b.Path != "":
		name, err := u.put("body", b.Path)
		req.BodyFile = name
		return err
	default:
		req.Body = &b.Text
	}
	return nil
}

// follow shows a run while it lasts, and answers it when it has ended. When ctx ends before, the server is asked to cancel it.
func (r *remoteRun) follow(ctx context.Context, run v1.Run, log bool) (v1.Run, error) {
	if run.State.Terminal() {
		return run, nil
	}
	// Following goes on when the command is interrupted, until the run has been cancelled.
	on, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	asked := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			r.g.info("asking the server to cancel run %s", run.ID)
			_, err := r.client.Cancel(on, run.ID)
			asked <- err
			if err != nil {
				stop()
			}
		case <-ended:
		}
	}()
	shown := make(chan struct{})
	watch := r.g.observer(log)
	go func() { defer close(shown); r.show(on, run.ID, watch) }()
	run, err := r.client.Wait(on, run.ID)
	close(ended)
	if err != nil {
		stop()
		<-shown
		select {
		case why := <-asked:
			if why != nil {
				return run, why
			}
		default:
		}
		return run, err
	}
	<-shown // the rest of the log
	return run, nil
}

// show tells what happens to a run on stderr.
func (r *remoteRun) show(ctx context.Context, id string, w *watcher) {
	events := make(chan struct{})
	go func() {
		defer close(events)
		for e, err := range r.client.Events(ctx, id, 0) {
			if err != nil {
				return // the end of the run is waited for elsewhere, and tells of errors
			}
			r.tell(e, w)
		}
	}()
	if w.log {
		out := harmless{lockedErr{w}}
		_ = r.client.CopyLog(ctx, id, client.LogQuery{Follow: true}, out, out) // the same
	}
	<-events
}

func (r *remoteRun) tell(e v1.Event, w *watcher) {
	switch {
	case e.Warning != "":
		w.Warned(e.Warning)
	case e.Progress != "":
		r.g.info("%s", printable(e.Progress))
	case e.Retry != "":
		r.g.info("attempt %d failed (%s); it is tried again", e.Attempt, e.Retry)
	}
}

// lockedErr writes to stderr between a watcher's other messages.
type lockedErr struct{ w *watcher }

func (l lockedErr) Write(p []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.g.Err.Write(p)
}
