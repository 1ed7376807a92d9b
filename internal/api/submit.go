package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"longshore/internal/access"
	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

type SubmitInput struct {
	Key  string `header:"Idempotency-Key" doc:"Up to 255 visible ASCII characters: the same key and request give the same run"`
	Wait wait   `query:"wait" doc:"Answer when the run has ended, or after this time, such as 30s; at most 5m"`
}

func (a *API) submitRun(ctx context.Context, in *SubmitInput) (*answer[v1.Run], error) {
	c := callOf(ctx)
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil && c.r.Header.Get("Content-Type") != "" {
		return nil, noMediaType(c.r.Header.Get("Content-Type"), "application/json or multipart/form-data")
	}
	var req v1.RunRequest
	switch kind {
	case "application/json", "":
		err = a.readJSON(c.r.Body, schemaOf[v1.RunRequest](a), &req)
	case "multipart/form-data":
		err = a.runForm(ctx, &req)
	default:
		return nil, noMediaType(c.r.Header.Get("Content-Type"), "application/json or multipart/form-data")
	}
	if err != nil {
		return nil, err
	}
	sub, err := submissionOf(req)
	if err != nil {
		return nil, err
	}
	sub.Key = in.Key
	if err := a.mayName(ctx, digestsOf(sub.Files)); err != nil {
		return nil, err
	}
	if err := mayRank(who(ctx), sub.Priority); err != nil {
		return nil, err
	}
	return a.submit(ctx, sub, in.Wait)
}

// mayRank keeps callers from going before everybody: only operators raise priorities.
func mayRank(p *access.Principal, priority int) error {
	if priority > 0 && !p.Has(access.Operator) {
		return access.Denied("only operators raise a run's priority").WithHint("leave it out, or lower it below 0")
	}
	return nil
}

func (a *API) submit(ctx context.Context, sub durable.Submission, wait wait) (*answer[v1.Run], error) {
	run, again, err := a.svc.Submit(ctx, who(ctx).Account, sub)
	callOf(ctx).subject, callOf(ctx).detail = run.ID, run.TaskName
	if err != nil {
		return nil, err
	}
	out := &answer[v1.Run]{Status: http.StatusCreated}
	if again {
		out.Status = http.StatusOK
	}
	if wait.Duration > 0 {
		run, err = a.wait(ctx, run.ID, wait)
	} else if again {
		run, err = a.svc.Run(ctx, run.ID)
	}
	if err != nil {
		return nil, err
	}
	out.Body = runOf(run)
	return out, nil
}

func (a *API) wait(ctx context.Context, id string, wait wait) (store.Run, error) {
	ctx, cancel := context.WithTimeout(ctx, wait.Duration)
	defer cancel()
	return a.svc.Wait(ctx, id)
}

// requestPart is the part of a form that is the request itself.
const requestPart = "request"

// runForm reads a request with its files.
func (a *API) runForm(ctx context.Context, req *v1.RunRequest) error {
	parts, err := a.form(callOf(ctx).r)
	if err != nil {
		return err
	}
	files := map[string]v1.FileRef{}
	found := false
	for {
		p, err := parts.next()
		switch {
		case err != nil:
			return err
		case p == nil && !found:
			return task.Errorf(task.CodeUsage, "the form has no part %q", requestPart).WithHint("send the request as JSON: curl -F 'request={\"task\":\"…\"}'")
		case p == nil:
			return join(req, files)
		case p.FormName() == requestPart && !found:
			found = true
			if err := a.readJSON(p, schemaOf[v1.RunRequest](a), req); err != nil {
				return err
			}
			// What can never run need not be sent.
			if _, err := a.svc.Version(ctx, req.Task); err != nil {
				return err
			}
		default:
			up, err := a.keep(ctx, p, parts.left)
			if err != nil {
				return err
			}
			parts.left -= up.Size
			if err := addFile(files, p.FormName(), p.FileName(), up); err != nil {
				return err
			}
		}
	}
}

// addFile puts a file that came under a name: "name", or "name/path/in/folder". Clients send any text for its own name, which
// is taken if it can be one.
func addFile(files map[string]v1.FileRef, part, own string, up v1.Upload) error {
	name, inside, folder := strings.Cut(part, "/")
	f, there := files[name]
	if there && (!folder || f.Entries == nil) {
		return task.Errorf(task.CodeUsage, "two parts of the form are called %q", name).WithHint("call the files of a folder name/path")
	}
	if folder {
		f.Entries = append(f.Entries, v1.File{Path: inside, Digest: up.Digest, Size: up.Size})
	} else {
		f.Digest = up.Digest
		if durable.FileName(own) {
			f.Name = own
		}
	}
	files[name] = f
	return nil
}

// join gives the files of a form to the request. One that nothing names is the value of the input of its name.
func join(req *v1.RunRequest, files map[string]v1.FileRef) error {
	if req.Files == nil {
		req.Files = map[string]v1.FileRef{}
	}
	if req.Inputs == nil {
		req.Inputs = map[string]json.RawMessage{}
	}
	named := references(req.Inputs) // looked for once: there may be many files, and much to look through
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, twice := req.Files[name]; twice {
			return task.Errorf(task.CodeUsage, "file %q is in the request and in the form", name).WithHint("send it once")
		}
		req.Files[name] = files[name]
		ref, _ := json.Marshal("@" + name) // a string
		if _, given := req.Inputs[name]; !given && req.BodyFile != name && !named[string(ref)] {
			req.Inputs[name] = ref
		}
	}
	return nil
}

// references are the texts "@name" in inputs, at any depth, in their quotes.
func references(inputs map[string]json.RawMessage) map[string]bool {
	found := map[string]bool{}
	for _, raw := range inputs {
		for rest := string(raw); ; {
			_, after, ok := strings.Cut(rest, `"`)
			if !ok {
				break
			}
			end := closing(after)
			if strings.HasPrefix(after, "@") {
				found[`"`+after[:end]+`"`] = true
			}
			rest = after[min(end+1, len(after)):]
		}
	}
	return found
}

// closing is where the quote is that ends a JSON string, of which s is all but the first quote.
func closing(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(s)
}

func digestsOf(files map[string]durable.FileRef) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		if f.Digest != "" {
			list = append(list, f.Digest)
		}
		for _, e := range f.Entries {
			if e.Digest != "" {
				list = append(list, e.Digest)
			}
		}
	}
	return list
}

// submissionOf translates a request.
func submissionOf(req v1.RunRequest) (durable.Submission, error) {
	sub := durable.Submission{
		Task: req.Task, Variant: req.Variant, Inputs: req.Inputs, Args: req.Args, Unbound: req.Unbound, Body: req.Body, BodyFile: req.BodyFile, Network: req.Network,
		Priority: req.Priority, Labels: req.Labels, Retry: durable.Retry{Max: req.Retry.Max, On: req.Retry.On}, Cache: req.Cache,
	}
	for _, name := range slices.Sorted(maps.Keys(req.Env)) {
		sub.Env = append(sub.Env, task.EnvVar{Name: name, Value: req.Env[name]})
	}
	for name, f := range req.Files {
		if sub.Files == nil {
			sub.Files = map[string]durable.FileRef{}
		}
		if err := checkEntries(name, f.Entries); err != nil {
			return sub, err
		}
		ref := durable.FileRef{Digest: f.Digest, Name: f.Name}
		for _, e := range f.Entries {
			ref.Entries = append(ref.Entries, store.File{Path: e.Path, Digest: e.Digest, Size: e.Size, Mode: e.Mode, Target: e.Target})
		}
		if f.Entries != nil && ref.Entries == nil {
			ref.Entries = []store.File{}
		}
		sub.Files[name] = ref
	}
	var err error
	if sub.Resources, err = resourcesOf(req.Limits); err != nil {
		return sub, err
	}
	t := &sub.Timeouts
	return sub, durations(
		map[string]string{
			"timeouts.prepare": req.Timeouts.Prepare, "timeouts.ready": req.Timeouts.Ready, "timeouts.connect": req.Timeouts.Connect, "timeouts.run": req.Timeouts.Run,
			"timeouts.stop": req.Timeouts.Stop,
		},
		map[string]*time.Duration{
			"timeouts.prepare": &t.Prepare, "timeouts.ready": &t.Ready, "timeouts.connect": &t.Connect, "timeouts.run": &t.Run, "timeouts.stop": &t.Stop,
		},
	)
}

// maxPath bounds paths, in bytes: the longest that Linux takes.
const maxPath = 4095

// checkEntries refuses a folder that has two things at one place.
func checkEntries(name string, entries []v1.File) error {
	files := map[string]bool{}
	for _, e := range entries {
		if len(e.Path) > maxPath {
			return task.Errorf(task.CodeUsage, "file %q: a path in it has %d bytes, and may have %d", name, len(e.Path), maxPath)
		}
		if p := path.Clean(e.Path); p != e.Path || files[p] {
			return task.Errorf(task.CodeUsage, "file %q: the path %q is there twice, or is not written plainly", name, e.Path).WithHint("name each file once, with single slashes")
		}
		files[e.Path] = true
	}
	for p := range files {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if files[dir] {
				return task.Errorf(task.CodeUsage, "file %q: %q is a file and a folder", name, dir)
			}
			if dir == "/" {
				break
			}
		}
	}
	return nil
}

func resourcesOf(l v1.Limits) (task.Resources, error) {
	r := task.Resources{GPUs: l.GPUs}
	var errs []error
	for _, q := range []struct {
		name, given string
		into        *task.Bytes
	}{{"memory", l.Memory, &r.Memory}, {"disk", l.Disk, &r.Disk}, {"shm", l.Shm, &r.Shm}} {
		n, err := quantity("limits."+q.name, q.given)
		*q.into = n
		errs = append(errs, err)
	}
	if l.CPU != "" {
		n, err := task.ParseCPU(l.CPU)
		if err != nil {
			err = task.Errorf(task.CodeUsage, "limits.cpu: %w", err)
		}
		r.CPU = n
		errs = append(errs, err)
	}
	return r, errors.Join(errs...)
}

// requestOf is what a run was asked for, in the form that it can be submitted in.
func requestOf(run store.Run) (v1.RunRequest, error) {
	var sub durable.Submission
	if err := json.Unmarshal(run.Request, &sub); err != nil {
		return v1.RunRequest{}, err
	}
	req := v1.RunRequest{
		Task: run.Task, Variant: sub.Variant, Inputs: sub.Inputs, Args: sub.Args, Unbound: sub.Unbound, Body: sub.Body, BodyFile: sub.BodyFile, Network: sub.Network,
		Priority: sub.Priority, Labels: sub.Labels, Retry: v1.Retry{Max: sub.Retry.Max, On: sub.Retry.On}, Cache: sub.Cache,
		Limits:   limitsOf(sub.Resources),
		Timeouts: v1.Timeouts{Prepare: span(sub.Timeouts.Prepare), Ready: span(sub.Timeouts.Ready), Connect: span(sub.Timeouts.Connect), Run: span(sub.Timeouts.Run), Stop: span(sub.Timeouts.Stop)},
	}
	for _, e := range sub.Env {
		if req.Env == nil {
			req.Env = map[string]string{}
		}
		req.Env[e.Name] = e.Value
	}
	for name, f := range sub.Files {
		if req.Files == nil {
			req.Files = map[string]v1.FileRef{}
		}
		ref := v1.FileRef{Digest: f.Digest, Name: f.Name}
		if f.Entries != nil {
			ref.Entries = filesOf(f.Entries)
		}
		req.Files[name] = ref
	}
	return req, nil
}

func limitsOf(r task.Resources) v1.Limits {
	l := v1.Limits{GPUs: r.GPUs, Memory: bytesOf(r.Memory), Disk: bytesOf(r.Disk), Shm: bytesOf(r.Shm)}
	if r.CPU > 0 {
		l.CPU = r.CPU.String()
	}
	return l
}
