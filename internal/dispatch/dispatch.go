// Package dispatch is the one path that every run takes: values are checked, the image is made ready, files are staged, an
// engine runs the container, the exchange is made, and what is left is collected and published. It works through the
// Contract and Engine interfaces and never learns which contract or engine is behind them.
package dispatch

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"longshore/internal/contract"
	"longshore/internal/engine"
	"longshore/internal/task"
)

// Dispatcher runs jobs, one at a time or many at once: it is safe for concurrent use.
type Dispatcher struct {
	Engine engine.Engine
	Images Images
	// Dir holds one private folder per run while it lasts. It is created when missing.
	Dir string
	// Capacity is what the machine has; a job that asks for more is refused. Zero fields are not checked.
	Capacity task.Resources
	// Policy is what the operator allows.
	Policy Policy
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Policy is what the operator allows, and the limits that hold where a package says nothing.
type Policy struct {
	// Network allows containers to reach other machines; a job must ask for it too.
	Network bool
	// Fetch allows inputs to be downloaded by URL, from public addresses; for jobs that have the network, from any.
	Fetch bool
	// Defaults are the limits for what a package does not say.
	Defaults task.Resources
	// MaxResponse bounds an HTTP task's answer in bytes; zero means 2 GiB.
	MaxResponse int64
	// LogLimit bounds the kept log in bytes; zero means the engine's default.
	LogLimit int64
}

// Image is an image that is ready to run.
type Image interface {
	contract.ImageFiles
	// Layers are unpacked folders, lowest first.
	Layers(ctx context.Context) ([]string, error)
}

// Holder is the optional ability of an Image to be kept from removal while a container uses its layers. The returned function
// gives it free, and may be called more than once.
type Holder interface {
	Hold() (release func(), err error)
}

// Images gets images ready.
type Images interface {
	// Ensure builds, loads, pulls or finds the image. Errors are *task.Error with code ReasonImage or CodePackage.
	Ensure(ctx context.Context, src task.ImageSource) (Image, error)
}

// Job is one use of a task.
type Job struct {
	// ID is the run's, of 20 hexadecimal digits; empty means a new one. Container is its container's, unique on the machine;
	// empty means ID.
	ID, Container string
	Contract      contract.Contract
	Source        contract.Source
	Task          *task.Task
	Request       task.Request
	Timeouts      task.Timeouts
	// Network asks for the network; it is granted when the policy allows it.
	Network bool
	// AnyAnswer accepts every HTTP status as an answer: to see whether a server can be reached.
	AnyAnswer bool
	// Privileges selects the capabilities inside the container's user namespace.
	Privileges engine.Capabilities
	// OutDir receives outputs, log and result.json, all or nothing. Empty publishes nothing.
	OutDir string
	// Repeatable tells that the caller runs the job again when it cannot be published: nothing of it is kept elsewhere then.
	Repeatable bool
	// Observe, when not nil, is told of every move and of the container's output while it runs. It must not block long.
	Observe Observer
	// Use, when not nil, is called after a succeeded run with the result and the folder that holds the collected outputs
	// by name, before that folder is removed.
	Use func(res *task.Result, dir string) error
}

// Observer follows a run.
type Observer interface {
	// Moved is called after each move of the state machine.
	Moved(id string, to task.State)
	// Logged is called with what the container writes, in order. data is valid during the call only.
	Logged(s engine.Stream, data []byte)
	// Warned is called with things the caller should know before the run.
	Warned(message string)
}

// NoteObserver is the optional ability of an Observer to be told, before the container starts, the notes of the result so far:
// which readings were taken, and what was computed from the inputs.
type NoteObserver interface{ Noted(notes []string) }

// defaultTimeouts hold where neither the caller nor the contract says anything.
var defaultTimeouts = map[task.Exchange]task.Timeouts{
	task.Files: {Prepare: time.Hour, Run: time.Hour, Stop: 10 * time.Second},
	task.HTTP:  {Prepare: time.Hour, Ready: time.Minute, Connect: 10 * time.Second, Run: 10 * time.Minute, Stop: 10 * time.Second},
}

// Run takes one job from queued to a terminal state. The result is never nil; a failed task is a result and no error. The
// error tells only what kept the result from being published or used.
func (d *Dispatcher) Run(ctx context.Context, job Job) (*task.Result, error) {
	return d.newRun(job).toEnd(ctx)
}

func (r *run) toEnd(ctx context.Context) (*task.Result, error) {
	defer r.removeFolder()
	failure := r.steps(ctx)
	defer func() { r.leave(failure != nil) }()
	r.removeContainer(ctx)
	err := r.finish(ctx, failure)
	return r.result, err
}

// run is one job under way.
type run struct {
	d   *Dispatcher
	job Job
	dir string // private folder, made by the first step that needs it
	// lock is held while the run lives, so that a crashed run's folder can be told from one in use.
	lock *os.File

	task   *task.Task
	values task.Values
	image  Image
	facts  task.ImageFacts
	exec   *task.Execution
	times  task.Timeouts

	mounts  []engine.Mount
	staged  map[string]string // mount name → folder of a writable mount
	fetched map[string]string // URL → downloaded file
	handle  *engine.Handle
	release func() // gives the image free, which the container uses; nil without a container
	// steptimes are the engine's own steps of the current stage.
	steptimes []task.StepTime
	exit      *engine.Exit
	follow    *follower
	// pool is where the server may come from, nil for a container of the run's own; seat is its place at a server of the pool.
	pool    *Pool
	seat    *seat
	left    task.Leftovers
	outputs map[string]task.Value
	files   []published
	partial []published // what a failed run left, for inspection

	result  *task.Result
	state   task.State
	entered time.Time
}

func (d *Dispatcher) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

// NewID makes a run id: 20 hexadecimal digits that start with the time, so that they sort by it.
func NewID(now time.Time) string {
	var b [10]byte
	ms := now.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	if _, err := rand.Read(b[6:]); err != nil {
		panic("dispatch: no randomness: " + err.Error()) // crypto/rand never fails on the supported systems
	}
	return hex.EncodeToString(b[:])
}

func (d *Dispatcher) newRun(job Job) *run {
	now := d.now()
	t := job.Task
	return &run{
		d: d, job: job, task: t, state: task.Queued, entered: now,
		times: job.Timeouts.Or(defaultTimeouts[t.Exchange]),
		result: &task.Result{
			ID: cmp.Or(job.ID, NewID(now)), Contract: t.Contract, Task: t.Name, Version: t.Version, Variant: t.Variant, Dialect: t.Dialect,
			State: task.Queued, Engine: d.Engine.Name(), StartedAt: now.UTC(), Outputs: []task.OutputResult{}, Stages: []task.StageTime{},
			Notes: append([]string(nil), t.Notes...),
		},
	}
}

// move enters a state and books the time of the one that was left.
func (r *run) move(to task.State) {
	next, err := r.state.Move(to)
	if err != nil {
		panic("dispatch: " + err.Error()) // a fault in this package: steps moves in the table's order
	}
	now := r.d.now()
	if r.state != task.Queued {
		r.result.Stages = append(r.result.Stages, task.StageTime{Stage: r.state, Seconds: now.Sub(r.entered).Seconds(), Steps: r.steptimes})
		r.steptimes = nil
	}
	r.state, r.entered = next, now
	r.result.State = next
	if r.job.Observe != nil {
		r.job.Observe.Moved(r.result.ID, next)
	}
}

func (r *run) warn(format string, args ...any) {
	m := fmt.Sprintf(format, args...)
	r.result.Warnings = append(r.result.Warnings, m)
	if r.job.Observe != nil {
		r.job.Observe.Warned(m)
	}
}

// steps goes through the states up to collecting. It answers why the run failed, or nil.
func (r *run) steps(ctx context.Context) *task.Failure {
	r.move(task.Preparing)
	if err := within(ctx, r.times.Prepare, r.prepare); err != nil {
		return r.failed(err)
	}
	r.move(task.Starting)
	if err := r.start(ctx); err != nil {
		return r.failed(err)
	}
	if f := r.live(ctx); f != nil {
		return f
	}
	r.move(task.Collecting)
	return r.collect(ctx)
}

// live waits while the container does its work.
func (r *run) live(ctx context.Context) *task.Failure {
	defer r.sample(ctx)()
	if r.exec.HTTP != nil {
		return r.exchange(ctx)
	}
	r.move(task.Running)
	return r.wait(ctx)
}

// within runs one stage under its timeout; zero or less means none.
func within(ctx context.Context, limit time.Duration, stage func(context.Context) error) error {
	if limit <= 0 {
		return stage(ctx)
	}
	sub, cancel := context.WithTimeoutCause(ctx, limit, errStageTimeout)
	defer cancel()
	err := stage(sub)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(sub), errStageTimeout) {
		return &task.Error{Code: task.ReasonTimeout, Message: fmt.Sprintf("took longer than %s", limit), Hint: "raise the limit of this stage if it needs more time", Cause: err}
	}
	return err
}

var errStageTimeout = errors.New("the stage's time is over")

// failed turns an error into the failure of the current stage.
func (r *run) failed(err error) *task.Failure {
	f := &task.Failure{Reason: task.ReasonEngine, Message: err.Error(), Stage: r.state}
	if e, ok := errors.AsType[*task.Error](err); ok {
		f.Reason, f.Hint, f.Findings = e.Code, e.Hint, e.Findings
		if e.Code == task.CodePackage || e.Code == task.CodeMissing {
			f.Reason = task.ReasonImage
		}
	}
	return f
}

// prepare makes everything ready that can be made ready before a container exists.
func (r *run) prepare(ctx context.Context) (err error) {
	if r.values, err = task.Bind(r.task, r.request()); err != nil {
		return err
	}
	if r.image, err = r.d.Images.Ensure(ctx, r.task.Image); err != nil {
		return err
	}
	r.facts = r.image.Facts()
	r.result.Image = task.ResultImage{Reference: r.facts.Reference, Digest: r.facts.Digest}
	if err := r.checkImage(); err != nil {
		return err
	}
	if r.exec, err = r.job.Contract.Prepare(r.task, r.facts, r.values); err != nil {
		return err
	}
	r.result.Notes = append(r.result.Notes, r.exec.Notes...)
	if n, ok := r.job.Observe.(NoteObserver); ok {
		n.Noted(r.result.Notes)
	}
	for _, w := range r.exec.Warnings {
		r.warn("%s", w)
	}
	if r.exec.HTTP != nil && r.job.AnyAnswer {
		r.exec.HTTP.AcceptStatus = true
	}
	r.times = r.job.Timeouts.Or(r.exec.Timeouts).Or(defaultTimeouts[r.task.Exchange])
	if err := r.applyPolicy(); err != nil {
		return err
	}
	return r.stage(ctx)
}

func (r *run) request() task.Request { return RequestFor(r.task, r.job.Request) }

// RequestFor is what a caller gave, as a task takes it: a raw body given to a task without HTTP stands for its inputs.
func RequestFor(t *task.Task, req task.Request) task.Request {
	if t.Exchange == task.HTTP || req.Body == nil {
		return req
	}
	body := *req.Body
	req.Body = nil
	merged := map[string]task.Given{}
	for name, g := range bodyInputs(t, body) {
		merged[name] = g
	}
	for name, g := range req.Inputs {
		merged[name] = g
	}
	req.Inputs = merged
	return req
}

// checkImage lets the contract compare the package with its image, and take the task from there.
func (r *run) checkImage() error {
	checker, ok := r.job.Contract.(contract.ImageChecker)
	if !ok {
		return nil
	}
	t, findings := checker.CheckImage(r.task, r.job.Source, r.image)
	for _, f := range findings {
		if f.Severity == task.SeverityWarning {
			r.warn("%s", f.String())
		}
	}
	if task.HasErrors(findings) {
		wrong := slices.DeleteFunc(slices.Clone(findings), func(f task.Finding) bool { return f.Severity != task.SeverityError })
		return &task.Error{Code: task.ReasonImage, Message: wrong[0].What, Hint: wrong[0].Mend, Findings: wrong}
	}
	if t == nil || t == r.task {
		return nil
	}
	r.task = t
	r.result.Task, r.result.Version, r.result.Variant, r.result.Dialect = t.Name, t.Version, t.Variant, t.Dialect
	var err error
	r.values, err = task.Bind(t, r.request())
	return err
}

// private makes the run's own folder, or a named one in it.
func (r *run) private(name string, mode os.FileMode) (string, error) {
	if r.dir == "" {
		dir := filepath.Join(r.d.Dir, r.container())
		if r.seat != nil {
			dir += ".job" // beside the folder of the server that it may have started
		}
		if err := os.MkdirAll(r.d.Dir, 0o711); err != nil {
			return "", task.Errorf(task.ReasonEngine, "cannot make the folder for runs: %w", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", task.Errorf(task.ReasonEngine, "cannot make the run's folder: %w", err)
		}
		r.dir = dir
		lock, err := lockFolder(dir)
		if err != nil {
			return "", task.Errorf(task.ReasonEngine, "cannot lock the run's folder: %w", err)
		}
		r.lock = lock
	}
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", task.Errorf(task.ReasonEngine, "cannot make the run's folder: %w", err)
	}
	// The mode is set apart from the creation, so that the caller's umask does not take rights away.
	if err := os.Chmod(path, mode); err != nil {
		return "", task.Errorf(task.ReasonEngine, "cannot make the run's folder: %w", err)
	}
	return path, nil
}

// container is the name of the run's container and of its folder.
func (r *run) container() string { return cmp.Or(r.job.Container, r.result.ID) }

// removeContainer ends and removes the container, whatever happened before, within its own time. It can be called twice.
func (r *run) removeContainer(ctx context.Context) {
	if r.seat != nil {
		return
	}
	if r.release != nil {
		defer r.release()
	}
	if r.handle == nil {
		return
	}
	h := *r.handle
	r.handle = nil
	if r.follow != nil {
		defer r.follow.stop()
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := r.d.Engine.Remove(clean, h); err != nil {
		r.warn("the container could not be removed: %v; `longshore doctor --fix` removes leftovers", err)
	}
}

// removeFolder removes the run's own folder.
func (r *run) removeFolder() {
	if r.dir == "" {
		return
	}
	if err := r.d.removeLocked(r.dir); err != nil {
		r.warn("the run's folder could not be removed: %v; `longshore doctor --fix` removes leftovers", err)
	}
	r.dir = ""
	if r.lock != nil {
		r.lock.Close()
	}
}

// finish ends the run in a terminal state and publishes it.
func (r *run) finish(ctx context.Context, f *task.Failure) error {
	switch {
	case ctx.Err() != nil && (f != nil || r.state != task.Collecting):
		r.move(task.Cancelled)
		r.result.Failure = nil
	case f != nil:
		if f.Stage == "" {
			f.Stage = r.state
		}
		r.pointOutNetwork(f)
		r.move(task.Failed)
		r.result.Failure, r.result.Reason = f, f.Reason
		if x, ok := r.job.Contract.(contract.FailureExplainer); ok {
			r.result.Notes = append(r.result.Notes, x.ExplainFailure(r.task, *f)...)
		}
	default:
		r.move(task.Succeeded)
	}
	r.result.EndedAt = r.d.now().UTC()
	if r.state != task.Succeeded {
		r.result.Outputs, r.files = []task.OutputResult{}, nil
	}
	if r.job.Use != nil && r.state == task.Succeeded {
		if err := r.use(); err != nil {
			return err
		}
	}
	if r.job.OutDir == "" {
		return nil
	}
	if r.state == task.Failed {
		r.salvage(ctx)
	}
	return r.publish()
}
