package durable

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"longshore/internal/blob"
	"longshore/internal/dispatch"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Submission is what a caller asks for. It is stored with the run.
type Submission struct {
	// Task is a version's ID, a name, or name:version.
	Task    string `json:"task"`
	Variant string `json:"variant,omitempty"`
	// Inputs by parameter name, as JSON; a file or folder is "@name", where Files has that name.
	Inputs map[string]json.RawMessage `json:"inputs,omitempty"`
	Env    []task.EnvVar              `json:"env,omitempty"`
	// Args replace the container's arguments when not nil.
	Args    []string `json:"args,omitzero"`
	Unbound []string `json:"unbound,omitempty"`
	// Body is the request body of an HTTP task: text, or "@name" of a file as BodyFile.
	Body     *string `json:"body,omitempty"`
	BodyFile string  `json:"bodyFile,omitempty"`
	// Files are the uploads that values name.
	Files map[string]FileRef `json:"files,omitempty"`

	Resources task.Resources `json:"resources,omitzero"`
	Timeouts  task.Timeouts  `json:"timeouts,omitzero"`
	Network   bool           `json:"network,omitempty"`

	Priority int               `json:"priority,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// Retry tries a failed run again, up to Max times, for the reasons in On ("exit", "oom", "timeout", …). Our own failures
	// are always tried again.
	Retry Retry `json:"retry,omitzero"`
	// Cache lets the run take the result of an earlier one of the same image, inputs and parameters, and be taken from.
	Cache bool `json:"cache,omitempty"`
	// Key is the idempotency key.
	Key string `json:"-"`
}

// Retry is a policy for failures that are the task's own.
type Retry struct {
	Max int         `json:"max,omitempty"`
	On  []task.Code `json:"on,omitempty"`
}

// FileRef is an uploaded file, or folder when Entries is not nil.
type FileRef struct {
	Digest string `json:"digest,omitempty"`
	// Name is the file's own, which tasks see that see names; empty when it is not known.
	Name    string       `json:"name,omitempty"`
	Size    int64        `json:"size,omitempty"`
	Entries []store.File `json:"entries,omitempty"`
}

// FileName tells whether a text can be the name of a file.
func FileName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) })
}

// files lists what is referred to, as the store keeps it.
func (sub *Submission) files() []store.File {
	var list []store.File
	for _, name := range slices.Sorted(maps.Keys(sub.Files)) {
		f := sub.Files[name]
		if f.Entries == nil {
			list = append(list, store.File{Path: name, Digest: f.Digest, Size: f.Size})
		}
		for _, e := range f.Entries {
			e.Path = name + "/" + e.Path
			list = append(list, e)
		}
	}
	return list
}

// The bounds of what a submission may say.
const (
	maxPriority = 1000
	maxLabels   = 32
	maxRetries  = 10
)

var (
	labelName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)
	idempotent = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)
)

func usage(format string, args ...any) *task.Error {
	return task.Errorf(task.CodeUsage, format, args...)
}

// check reports what is wrong with a submission without looking at its task.
func (sub *Submission) check() error {
	switch {
	case sub.Task == "":
		return usage("the submission names no task").WithHint(`set "task" to a task's name, name:version or ID`)
	case sub.Priority < -maxPriority || sub.Priority > maxPriority:
		return usage("priority %d is not between %d and %d", sub.Priority, -maxPriority, maxPriority)
	case len(sub.Labels) > maxLabels:
		return usage("%d labels are more than %d", len(sub.Labels), maxLabels)
	case sub.Retry.Max < 0 || sub.Retry.Max > maxRetries:
		return usage("retry.max %d is not between 0 and %d", sub.Retry.Max, maxRetries)
	case sub.Key != "" && !idempotent.MatchString(sub.Key):
		return usage("the idempotency key is not 1 to 255 visible ASCII characters")
	case sub.Body != nil && sub.BodyFile != "":
		return usage("both body and bodyFile are given").WithHint("give one of them")
	case sub.Resources.CPU < 0 || sub.Resources.Memory < 0 || sub.Resources.Disk < 0 || sub.Resources.GPUs < 0 || sub.Resources.Shm < 0:
		return usage("a resource is negative")
	}
	for k, v := range sub.Labels {
		if !labelName.MatchString(k) || len(v) > 256 {
			return usage("label %q: a name has up to 63 letters, digits and ._/-, a value up to 256 bytes", k)
		}
	}
	for _, code := range sub.Retry.On {
		if !slices.Contains(task.Reasons(), code) {
			return usage("retry.on: there is no reason %q", code).WithHint("the reasons are: %s", join(task.Reasons()))
		}
	}
	for name, f := range sub.Files {
		if name == "" || strings.ContainsAny(name, "\x00\n") {
			return usage("a file has the name %q", name)
		}
		if f.Entries == nil && f.Digest == "" {
			return usage("file %q has no content", name)
		}
		if f.Name != "" && !FileName(f.Name) {
			return usage("file %q: its own name %q is none that a file can have", name, f.Name)
		}
		for _, e := range f.Entries {
			if !filepath.IsLocal(filepath.FromSlash(e.Path)) || e.Mode == "link" {
				return usage("file %q: %q is no path below the folder", name, e.Path)
			}
		}
	}
	return nil
}

func join(codes []task.Code) string {
	var words []string
	for _, c := range codes {
		words = append(words, string(c))
	}
	return strings.Join(words, ", ")
}

// request is the submission as dispatch takes it. local answers where a file is on this machine.
func (sub *Submission) request(local map[string]string) (task.Request, error) {
	req := task.Request{Env: sub.Env, Words: sub.Args, Unbound: sub.Unbound, Resources: sub.Resources, Files: local, Inputs: map[string]task.Given{}}
	for name, raw := range sub.Inputs {
		var text string
		if json.Unmarshal(raw, &text) == nil && strings.HasPrefix(text, "@") && !strings.HasPrefix(text, "@@") {
			path, ok := local[text[1:]]
			if !ok {
				return req, (&task.Error{Code: task.ReasonInput, Message: fmt.Sprintf("input %q: no file named %q came with the request", name, text[1:])}).
					WithHint(`send the file in the same request, or write "@@%s" if the text itself is meant`, text[1:])
			}
			req.Inputs[name] = task.Given{Path: path, As: text[1:]}
			continue
		}
		if strings.HasPrefix(text, "@@") {
			raw, _ = json.Marshal(text[1:]) // a string always has a JSON form
		}
		req.Inputs[name] = task.Given{JSON: raw}
	}
	switch {
	case sub.Body != nil:
		req.Body = &task.Body{Text: *sub.Body}
	case sub.BodyFile != "":
		path, ok := local[sub.BodyFile]
		if !ok {
			return req, task.Errorf(task.ReasonInput, "the body: no file named %q came with the request", sub.BodyFile)
		}
		req.Body = &task.Body{Path: path}
	}
	return req, nil
}

// Submit accepts a run. When it returns without an error, the run is on record and will end. again tells that the account has
// used the key before: the run is the earlier one.
func (s *Service) Submit(ctx context.Context, account string, sub Submission) (run store.Run, again bool, err error) {
	if err := sub.check(); err != nil {
		return run, false, err
	}
	if s.Draining() {
		return run, false, ErrDraining
	}
	v, err := s.Version(ctx, sub.Task)
	if err != nil {
		return run, false, err
	}
	if v.Hidden {
		return run, false, (&task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("version %s of task %s was hidden: it runs no more", v.Version, v.Name)}).
			WithHint("name the task without its ID to run its latest version, or import it again")
	}
	t, err := s.variant(ctx, v, sub.Variant)
	if err != nil {
		return run, false, err
	}
	if err := s.bind(ctx, t, &sub); err != nil {
		return run, false, err
	}
	if sub.Network && !s.cfg.Network {
		return run, false, errNetwork
	}
	needs := s.needs(t, &sub)
	if err := s.canFit(ctx, needs); err != nil {
		return run, false, err
	}
	run, err = s.record(account, v, t, &sub, needs)
	if err != nil {
		return run, false, err
	}
	if sub.Cache {
		if hit, err := s.fromCache(ctx, run); err == nil {
			run = hit
		} else if !errors.Is(err, store.ErrNotFound) {
			return run, false, s.dbError(err)
		}
	}
	return s.add(ctx, run)
}

// ErrDraining is the answer to submissions while the server is about to end.
var ErrDraining = (&task.Error{Code: task.ReasonPolicy, Message: "this server takes no more runs: it is about to end"}).WithHint("try again in a moment, or ask another server")

// errNetwork is the answer to runs that ask for what the server does not give: to go on without would be another run.
var errNetwork = (&task.Error{Code: task.ReasonPolicy, Message: "this server gives runs no network"}).WithHint("leave network out, or have the operator set network: allowed")

// bind checks the values as far as can be done without an image.
func (s *Service) bind(ctx context.Context, t *task.Task, sub *Submission) error {
	local := map[string]string{}
	for name, f := range sub.Files {
		if f.Entries != nil {
			local[name] = filepath.Join(s.cfg.Dir, "empty") // a folder; what is in it is checked when it is there
			for _, e := range f.Entries {
				if e.Mode == "dir" {
					continue
				}
				if err := s.keepYoung(ctx, e.Digest); err != nil {
					return uploadError(name+"/"+e.Path, e.Digest, err)
				}
			}
			continue
		}
		if err := s.keepYoung(ctx, f.Digest); err != nil {
			return uploadError(name, f.Digest, err)
		}
		path, release, err := s.cfg.Blobs.Local(ctx, f.Digest)
		if err != nil {
			return uploadError(name, f.Digest, err)
		}
		defer release()
		local[name] = path
	}
	req, err := sub.request(local)
	if err != nil {
		return err
	}
	_, err = task.Bind(t, dispatch.RequestFor(t, req))
	return err
}

func uploadError(name, digest string, err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		return (&task.Error{Code: task.ReasonInput, Message: fmt.Sprintf("file %q: there is no upload %s", name, digest)}).WithHint("upload it again")
	}
	return task.Errorf(task.ReasonEngine, "file %q cannot be read: %w", name, err)
}

// needs is what must be free while the run lasts.
func (s *Service) needs(t *task.Task, sub *Submission) task.Resources {
	r, d := t.Resources, s.cfg.Defaults
	return task.Resources{
		CPU:    cmp.Or(sub.Resources.CPU, r.CPU, r.MinCPU, d.CPU),
		Memory: cmp.Or(sub.Resources.Memory, max(r.Memory, r.MinMemory), d.Memory),
		GPUs:   cmp.Or(sub.Resources.GPUs, r.GPUs),
	}
}

// canFit refuses what no server could ever run.
func (s *Service) canFit(ctx context.Context, n task.Resources) error {
	if fits(n, s.cfg.Capacity) {
		return nil
	}
	servers, err := s.cfg.Store.Servers(ctx)
	if err != nil {
		return s.dbError(err)
	}
	for _, other := range servers {
		if s.now().Sub(other.SeenAt) < 3*s.cfg.Lease && fits(n, other.Capacity) {
			return nil
		}
	}
	has := s.cfg.Capacity
	what := "resource limit exceeds the maximum" // in the words of a run on one machine, which are MECA's
	if n.GPUs > has.GPUs {
		what = "not enough GPU available"
	}
	return (&task.Error{Code: task.ReasonPolicy, Message: fmt.Sprintf("%s: it can never run here: it asks for %s CPUs, %s and %d GPUs, and the largest machine has %s CPUs, %s and %d GPUs", what, n.CPU, n.Memory, n.GPUs, has.CPU, has.Memory, has.GPUs)}).
		WithHint("ask for less with limits (--cpus, --memory, --gpus), or start a server on a larger machine")
}

// fits tells whether needs are within what there is; zero fields of has are not counted, but for GPUs.
func fits(n, has task.Resources) bool {
	return (has.CPU == 0 || n.CPU <= has.CPU) && (has.Memory == 0 || n.Memory <= has.Memory) && n.GPUs <= has.GPUs
}

func (s *Service) record(account string, v store.Version, t *task.Task, sub *Submission, needs task.Resources) (store.Run, error) {
	request, err := json.Marshal(sub)
	if err != nil {
		return store.Run{}, err
	}
	now := s.now()
	run := store.Run{
		ID: dispatch.NewID(now), Task: v.ID, TaskName: v.Name, TaskVersion: v.Version, Contract: v.Contract, Variant: t.Variant, Account: account,
		State: task.Queued, Priority: sub.Priority, Request: request, Inputs: sub.files(), Needs: needs, Key: sub.Key, Labels: sub.Labels, CreatedAt: now,
	}
	if sub.Cache {
		run.CacheKey = cacheKey(v, t, sub)
	}
	return run, nil
}

// cacheKey names what decides a result: the package, the variant, and every value. Priority, labels, retries and the limits on
// time change when or whether there is a result, not what it is.
func cacheKey(v store.Version, t *task.Task, sub *Submission) string {
	relevant := *sub
	// The same content is another package when it is read by other rules, from another document, or under another name.
	relevant.Task, relevant.Variant = strings.Join([]string{v.Package, v.Form, v.Contract, v.Document, packageName(v)}, "\x00"), t.Variant
	relevant.Priority, relevant.Labels, relevant.Retry, relevant.Timeouts = 0, nil, Retry{}, task.Timeouts{}
	data, err := json.Marshal(relevant) // maps have sorted keys
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// fromCache is the run ended with an earlier result.
func (s *Service) fromCache(ctx context.Context, run store.Run) (store.Run, error) {
	hit, err := s.cfg.Store.Cached(ctx, run.CacheKey)
	if err != nil {
		return run, err
	}
	for _, f := range hit.Files {
		if f.Digest == "" {
			continue
		}
		if err := s.keepYoung(ctx, f.Digest); errors.Is(err, blob.ErrNotFound) {
			return run, store.ErrNotFound // its files are being pruned
		} else if err != nil {
			return run, err
		}
	}
	run.State, run.Result, run.Files, run.CachedFrom = hit.State, hit.Result, hit.Files, hit.ID
	run.StartedAt, run.EndedAt = run.CreatedAt, run.CreatedAt
	return run, nil
}

// add puts the run on record, claimed already when there is room and nobody waits.
func (s *Service) add(ctx context.Context, run store.Run) (store.Run, bool, error) {
	var here *carried
	if !run.State.Terminal() {
		here = s.reserve(&run)
	}
	added, err := s.cfg.Store.Submit(ctx, []store.Run{run})
	if err != nil {
		if here != nil {
			s.leave(here)
		}
		return run, false, s.dbError(err)
	}
	got := added[0]
	again := got.ID != run.ID
	switch {
	case again && here != nil:
		s.leave(here)
	case here != nil:
		s.carry(here, got, false)
	case !got.State.Terminal():
		s.poke()
	case !again: // with an earlier result
		s.tell(got, store.End{ID: got.ID, State: got.State, EndedAt: got.EndedAt, CachedFrom: got.CachedFrom})
	}
	if again && !sameRequest(got.Request, run.Request) {
		return got, true, (&task.Error{Code: task.CodeConflict, Message: fmt.Sprintf("the idempotency key %q was used for another request (run %s)", run.Key, got.ID)}).WithHint("use a new key for a new request")
	}
	return got, again, nil
}

func sameRequest(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// dbError is what callers are told of the database's trouble.
func (s *Service) dbError(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return (&task.Error{Code: task.CodeMissing, Message: "there is no such thing on this server", Cause: err})
	case errors.Is(err, store.ErrInvalid):
		return (&task.Error{Code: task.CodeUsage, Message: "a text of the request is not UTF-8, or holds a zero byte", Cause: err})
	case errors.Is(err, store.ErrFull):
		return (&task.Error{Code: task.ReasonEngine, Message: "the disk of the server's database is full", Cause: err}).WithHint("the operator must make room; nothing was kept of this request")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return (&task.Error{Code: task.ReasonEngine, Message: "the server's database does not answer", Cause: err}).WithHint("try again; nothing was accepted that was not answered for")
}
