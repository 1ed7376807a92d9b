package durable

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"longshore/internal/blob"
	"longshore/internal/dispatch"
	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/task"
)

// carry carries a claimed run out, on a goroutine of its own; begun tells that an earlier process has begun the attempt. It ends
// with the service and not with a caller: then the job goes on without us.
func (s *Service) carry(c *carried, run store.Run, begun bool) {
	s.hub.open(run, s.keptEvents(s.life, run))
	s.under.Go(func() {
		defer s.leave(c)
		s.attempt(s.life, c, run, begun)
	})
}

// attempt carries one attempt to its end and writes that down.
func (s *Service) attempt(ctx context.Context, c *carried, run store.Run, begun bool) {
	name := worker.Name(run.ID, run.Attempt)
	stop := make(chan struct{})
	defer close(stop)
	go s.passCancel(ctx, c, name, stop)
	var releases []func()
	defer func() {
		for _, r := range releases {
			r()
		}
	}()
	var err error
	if !begun {
		var job worker.Job
		if job, releases, err = s.job(ctx, run); err == nil {
			err = s.cfg.Worker.Begin(ctx, job)
		}
	}
	var o worker.Outcome
	if err == nil {
		o, err = s.cfg.Worker.Follow(ctx, name, func(e worker.Event) { s.hub.event(run, e) })
	}
	if ctx.Err() != nil {
		return // closed: taken up again at the next start
	}
	if errors.Is(err, worker.ErrLost) {
		s.sweepSoon()
		err = (&task.Error{Code: task.ReasonEngine, Message: "its worker process died", Cause: err}).WithHint("the server tries again by itself")
	}
	keep := func() (store.End, error) { return s.end(ctx, run, o) }
	if err != nil {
		failed := s.failed(run, err)
		failed.Files = nil // with those of this attempt
		keep = func() (store.End, error) { return s.remains(ctx, run, failed) }
	}
	end := s.settle(ctx, c, run, keep, err)
	if ctx.Err() != nil {
		return
	}
	s.finish(ctx, run, end)
	if err := s.cfg.Worker.Forget(context.WithoutCancel(ctx), name); err != nil {
		s.trouble("removing a job's folder failed", err, "run", run.ID)
	}
}

// passCancel hands a wish for the end on to the worker.
func (s *Service) passCancel(ctx context.Context, c *carried, name string, stop <-chan struct{}) {
	select {
	case <-c.cancel:
	case <-stop:
		return
	}
	// The wish may come before the worker knows the job, so it is repeated until the attempt is over.
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		s.trouble("cancelling a run failed", s.cfg.Worker.Cancel(ctx, name), "job", name)
		select {
		case <-stop:
			return
		case <-t.C:
		}
	}
}

// job is what the worker is told, with the run's files on this machine.
func (s *Service) job(ctx context.Context, run store.Run) (worker.Job, []func(), error) {
	var sub Submission
	if err := json.Unmarshal(run.Request, &sub); err != nil {
		return worker.Job{}, nil, task.Errorf(task.ReasonEngine, "the stored request cannot be read: %w", err)
	}
	v, err := s.versionOf(ctx, run)
	if err != nil {
		return worker.Job{}, nil, s.dbError(err)
	}
	if sub.Network && !s.cfg.Network {
		return worker.Job{}, nil, errNetwork // submitted at a server that does
	}
	pkg, err := s.packagePath(ctx, v)
	if err != nil {
		return worker.Job{}, nil, err
	}
	local, releases, err := s.local(ctx, worker.Name(run.ID, run.Attempt), &sub)
	if err != nil {
		return worker.Job{}, releases, err
	}
	req, err := sub.request(local)
	return worker.Job{
		Run: run.ID, Attempt: run.Attempt, Request: req, Timeouts: sub.Timeouts, Network: sub.Network, Logged: logged(run.Files),
		Package: worker.Package{Path: pkg, Contract: v.Contract, Variant: run.Variant, Digest: v.Package},
	}, releases, err
}

// local puts a run's files where its container can have them. Single files without a name are the blobs themselves, which
// containers see read-only; those with a name, and folders, are made of links to them, or copies where links cannot be.
func (s *Service) local(ctx context.Context, job string, sub *Submission) (map[string]string, []func(), error) {
	paths := map[string]string{}
	var releases []func()
	for i, name := range slices.Sorted(maps.Keys(sub.Files)) {
		f := sub.Files[name]
		dir := filepath.Join(s.cfg.Worker.Folder(job), "inputs", fmt.Sprint(i))
		switch {
		case f.Entries == nil && f.Name != "":
			paths[name] = filepath.Join(dir, f.Name)
			if err := s.place(ctx, paths[name], store.File{Digest: f.Digest}); err != nil {
				return nil, releases, s.inputLost(name, err)
			}
			continue
		case f.Entries == nil:
			path, release, err := s.cfg.Blobs.Local(ctx, f.Digest)
			if err != nil {
				return nil, releases, s.inputLost(name, err)
			}
			releases = append(releases, release)
			paths[name] = path
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, releases, err
		}
		for _, e := range f.Entries {
			if err := s.place(ctx, filepath.Join(dir, filepath.FromSlash(e.Path)), e); err != nil {
				return nil, releases, s.inputLost(name+"/"+e.Path, err)
			}
		}
		paths[name] = dir
	}
	return paths, releases, nil
}

func (s *Service) place(ctx context.Context, path string, e store.File) error {
	if e.Mode == "dir" {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	from, release, err := s.cfg.Blobs.Local(ctx, e.Digest)
	if err != nil {
		return err
	}
	defer release()
	if os.Link(from, path) == nil {
		return nil
	}
	return dispatch.CopyFile(from, path, 0o644)
}

func (s *Service) inputLost(name string, err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		return task.Errorf(task.ReasonInput, "the input file %q is not kept any more", name).WithHint("submit the run again with the file")
	}
	return err
}

// settle makes an attempt's outcome durable, and tries again for a while: what a disk without room cannot take lies safely in
// the job's folder meanwhile. why is why there is no outcome, nil when there is one.
func (s *Service) settle(ctx context.Context, c *carried, run store.Run, keep func() (store.End, error), why error) store.End {
	start := time.Now()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		end, err := keep()
		if err == nil {
			return end
		}
		s.trouble("keeping the outputs of a run failed; it is tried again", err, "run", run.ID)
		if time.Since(start) > s.cfg.Patience {
			return s.failed(run, cmp.Or(why, err))
		}
		select {
		case <-time.After(wait):
		case <-c.cancel:
			return s.cancelled(run)
		case <-ctx.Done():
			return end
		}
	}
}

// end makes an attempt's outcome durable and says how the run goes on.
func (s *Service) end(ctx context.Context, run store.Run, o worker.Outcome) (store.End, error) {
	r := o.Result
	e := store.End{ID: run.ID, Attempt: run.Attempt, State: r.State, EndedAt: s.now(), Reason: r.Reason, Usage: r.Usage}
	if r.State == task.Failed && s.again(run, r.Reason) {
		e.State, e.NotBefore = task.Queued, s.now().Add(s.backoff(run.Attempt))
		return s.remains(ctx, run, e)
	}
	var err error
	if e.Files, err = s.keep(ctx, o); err != nil {
		return e, err
	}
	if e.Result, err = json.Marshal(r); err != nil {
		return e, err
	}
	return s.remains(ctx, run, e)
}

// failed is the end of an attempt without a result.
func (s *Service) failed(run store.Run, err error) store.End {
	if s.asked(run.ID) {
		return s.cancelled(run)
	}
	f := task.Failure{Reason: task.CodeOf(err), Message: err.Error(), Stage: task.Preparing}
	if e, ok := errors.AsType[*task.Error](err); ok {
		f.Hint, f.Findings = e.Hint, e.Findings
	}
	if !slices.Contains(task.Reasons(), f.Reason) {
		f.Reason = task.ReasonImage
	}
	e := without(run, task.Failed, s.outward.failure(&f), s.now())
	if s.again(run, f.Reason) {
		s.cfg.Log.Warn("an attempt failed; it is made again", "run", run.ID, "attempt", run.Attempt, "error", err)
		e.State, e.NotBefore = task.Queued, e.EndedAt.Add(s.backoff(run.Attempt))
	}
	return e
}

// asked tells whether somebody wants the run to end.
func (s *Service) asked(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.carried[id]
	return c != nil && c.asked
}

// again tells whether a failure is tried again: ours always, the task's own when the caller asked for it.
func (s *Service) again(run store.Run, why task.Code) bool {
	if s.asked(run.ID) {
		return false
	}
	if why == task.ReasonEngine {
		return run.Attempt < s.cfg.MaxAttempts
	}
	var sub Submission
	return json.Unmarshal(run.Request, &sub) == nil && run.Attempt <= sub.Retry.Max && slices.Contains(sub.Retry.On, why)
}

const maxBackoff = 5 * time.Minute

func (s *Service) backoff(attempt int) time.Duration {
	d := s.cfg.Backoff
	for range attempt - 1 {
		d = min(2*d, maxBackoff)
	}
	return d
}

// requeued puts a run back that never started; one that shall end is cancelled.
func (s *Service) requeued(run store.Run) store.End {
	if run.Cancel {
		return s.cancelled(run)
	}
	return store.End{ID: run.ID, Attempt: run.Attempt, State: task.Queued, EndedAt: s.now(), Files: soFar(run.Files)}
}

// cancelled is the end of an attempt that has no other outcome, as somebody asked for its end.
func (s *Service) cancelled(run store.Run) store.End {
	return without(run, task.Cancelled, nil, s.now())
}

// without is an end without a result of dispatch's.
func without(run store.Run, state task.State, f *task.Failure, now time.Time) store.End {
	e := store.End{ID: run.ID, Attempt: run.Attempt, State: state, EndedAt: now, Files: soFar(run.Files)}
	r := task.Result{
		ID: run.ID, Contract: run.Contract, Task: run.TaskName, Version: run.TaskVersion, Variant: run.Variant, State: state, Failure: f,
		StartedAt: run.CreatedAt, EndedAt: e.EndedAt, Outputs: []task.OutputResult{}, Stages: []task.StageTime{},
	}
	if f != nil {
		r.Reason, e.Reason = f.Reason, f.Reason
	}
	e.Result, _ = json.Marshal(r) // plain data
	return e
}

// finish writes an attempt's end down, as often as it takes.
func (s *Service) finish(ctx context.Context, run store.Run, e store.End) {
	_, e.StartedAt = s.hub.told(run)
	e.StartedAt = e.StartedAt.Truncate(time.Microsecond)            // as the store keeps it
	e.EndedAt = later(e.EndedAt, later(run.CreatedAt, e.StartedAt)) // also when the clock was set back
	written := e
	if e.State == task.Queued {
		written.Reason = ""
	}
	var counted []bool
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		var err error
		if counted, err = s.cfg.Store.Finish(ctx, []store.End{written}); err == nil {
			break
		}
		s.trouble("writing down a run's end failed; it is tried again", err, "run", run.ID)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return // the job is still there, and is taken up at the next start
		}
	}
	switch {
	case !counted[0]:
		s.cfg.Log.Warn("the end of an attempt does not count: another server has taken the run over, or it was written down before", "run", run.ID, "attempt", run.Attempt)
		s.hub.ended(run, nil)
	case e.State == task.Queued:
		s.tell(run, e)
		s.hub.again(run, e)
		time.AfterFunc(e.NotBefore.Sub(s.now()), s.lookAgain)
	default:
		s.tell(run, e)
		var end *store.Run
		if !s.asked(run.ID) { // else only the store knows who asked
			end = asWritten(run, written)
		}
		s.hub.ended(run, end)
	}
}

// asWritten is a run as the store has it after its end.
func asWritten(run store.Run, e store.End) *store.Run {
	run.State, run.Reason, run.Result, run.Files, run.EndedAt = e.State, e.Reason, e.Result, e.Files, e.EndedAt
	run.CPUSeconds, run.PeakMemory = e.Usage.CPUSeconds, e.Usage.PeakMemory
	if !e.StartedAt.IsZero() {
		run.StartedAt = e.StartedAt
	}
	run.Owner, run.LeaseUntil, run.NotBefore = "", time.Time{}, time.Time{}
	return &run
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// keep makes blobs of an outcome's files, which are not durable yet.
func (s *Service) keep(ctx context.Context, o worker.Outcome) ([]store.File, error) {
	known := map[string]string{}
	for _, out := range o.Result.Outputs {
		if out.Files == 1 && out.SHA256 != "" {
			known[out.Path] = "sha256:" + out.SHA256
		}
	}
	var files []store.File
	take := func(path, name, digest string) error {
		i, err := s.cfg.Blobs.Take(ctx, path, digest)
		if err == nil {
			files = append(files, store.File{Path: name, Digest: i.Digest, Size: i.Size})
		}
		return err
	}
	if o.Dir != "" {
		err := filepath.WalkDir(o.Dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(o.Dir, p)
			name := filepath.ToSlash(rel)
			switch {
			case err != nil || rel == "." || name == dispatch.ResultFile || name == o.Result.Log: // the log is kept as frames
				return err
			case d.IsDir():
				if empty, err := emptyDir(p); err != nil || !empty {
					return err
				}
				files = append(files, store.File{Path: name, Mode: "dir"})
			case d.Type() == fs.ModeSymlink:
				target, err := os.Readlink(p)
				files = append(files, store.File{Path: name, Mode: "link", Target: target})
				return err
			case d.Type().IsRegular():
				return take(p, name, known[name])
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// kept tells whether a blob is among files.
func kept(files []store.File) bool {
	return slices.ContainsFunc(files, func(f store.File) bool { return f.Digest != "" })
}

// soFar are the files that tell of a run's earlier attempts.
func soFar(files []store.File) (kept []store.File) {
	for _, f := range files {
		if f.Path == store.LogPath || f.Path == store.EventsPath {
			kept = append(kept, f)
		}
	}
	return kept
}

// remains adds what tells of an attempt, and of those before it, to what its end keeps, and makes all of it durable at once.
func (s *Service) remains(ctx context.Context, run store.Run, e store.End) (store.End, error) {
	e.Files = append(e.Files, logOf(run.Files)...)
	i, err := s.cfg.Blobs.Take(ctx, s.cfg.Worker.Log(worker.Name(run.ID, run.Attempt)), "")
	switch {
	case err == nil:
		e.Files = append(e.Files, store.File{Path: store.LogPath, Digest: i.Digest, Size: i.Size})
	case !errors.Is(err, fs.ErrNotExist): // its container never wrote anything
		return e, err
	}
	events, _ := s.hub.told(run)
	if e.State == task.Queued {
		for _, more := range backInQueue(e) {
			more.N, more.Attempt = len(events)+1, run.Attempt
			events = append(slices.Clip(events), more)
		}
	}
	if e.State == task.Queued || !told(events) {
		f, err := s.keepEvents(ctx, events)
		if err != nil {
			return e, err
		}
		e.Files = append(e.Files, f)
	}
	if !kept(e.Files) {
		return e, nil
	}
	return e, s.cfg.Blobs.Sync(ctx)
}

func emptyDir(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return len(names) == 0, err
}
