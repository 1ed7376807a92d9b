package durable_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"longshore/internal/blob"
	"longshore/internal/blob/disk"
	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/engine"
	"longshore/internal/engine/fake"
	"longshore/internal/store"
	"longshore/internal/store/sqlstore"
	"longshore/internal/task"
)

// rig is a service over SQLite, blobs on disk, and a worker in this process whose engine is the fake. A package is a JSON
// array: the words of the fake's language that its container does. Its task has the optional inputs a, a number, file, a file, and files,
// a folder, and the optional output n, a file.
type rig struct {
	*durable.Service
	t      testing.TB
	dir    string
	store  store.Store
	blobs  blob.Store
	pool   worker.Worker
	engine *fake.Engine
	cfg    durable.Config
	tasks  *packages
	images dispatch.Images
	// collect, when not nil, is called before outputs are collected.
	collect func()
}

func newRig(t testing.TB, change func(*durable.Config)) *rig {
	t.Helper()
	return newRigIn(t, t.TempDir(), change)
}

// newRigIn makes a rig in a folder, with the database db, the folders blobs, jobs and runs, and the service's own, server.
func newRigIn(t testing.TB, dir string, change func(*durable.Config)) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, engine: fake.New(fake.Config{}), images: images{}, tasks: &packages{change: map[string]func(*task.Task){}}}
	var err error
	if r.store, err = sqlstore.Open(t.Context(), filepath.Join(r.dir, "db")); err != nil {
		t.Fatal(err)
	}
	if r.blobs, err = disk.New(filepath.Join(r.dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	pool, err := worker.NewPool(filepath.Join(r.dir, "jobs"), r.carry)
	if err != nil {
		t.Fatal(err)
	}
	r.pool = pool
	r.cfg = durable.Config{
		Store: r.store, Blobs: r.blobs, Worker: pool, Packages: r.tasks, Dir: filepath.Join(r.dir, "server"), Name: "one", Version: "test",
		Capacity: task.Resources{CPU: 4000, Memory: 4 << 30}, Lease: time.Second, Poll: 50 * time.Millisecond, Backoff: 10 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(logWriter{t}, nil)),
	}
	if change != nil {
		change(&r.cfg)
	}
	r.open()
	t.Cleanup(func() {
		r.close()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		jobs, err := pool.Jobs(ctx)
		for _, j := range jobs { // of a test that failed
			err = errors.Join(err, pool.Forget(ctx, j))
		}
		if err != nil {
			t.Error(err)
		}
		for _, p := range r.engine.Problems() {
			t.Error(p)
		}
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// open makes the service, as a server's start does.
func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.Service, err = durable.New(r.cfg); err == nil {
		err = r.Start(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// close ends the service alone, as the death of a server does.
func (r *rig) close() {
	r.t.Helper()
	if err := r.Service.Close(); err != nil {
		r.t.Error(err)
	}
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// packages opens texts.
type packages struct {
	mu     sync.Mutex
	change map[string]func(*task.Task) // by name
}

func (p *packages) Open(_ context.Context, path, _, _ string) (durable.Opened, error) {
	if _, err := os.Stat(path); err != nil {
		return durable.Opened{}, err
	}
	name := filepath.Base(path)
	t := &task.Task{Contract: "plain", Name: name, Version: "1", Exchange: task.Files, Parameters: []task.Parameter{
		{Name: "a", Direction: task.Input, Type: task.Type{Kind: task.Integer}, Optional: true},
		{Name: "file", Direction: task.Input, Type: task.Type{Kind: task.FileKind}, Optional: true},
		{Name: "files", Direction: task.Input, Type: task.Type{Kind: task.Directory}, Optional: true},
		{Name: "n", Direction: task.Output, Type: task.Type{Kind: task.FileKind}, Optional: true},
	}}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.change[name]; c != nil {
		c(t)
	}
	return durable.Opened{Task: t}, nil
}

func (*packages) Fetch(context.Context, string, func(string, string) error) error {
	return fmt.Errorf("there is no git here")
}

func (*packages) ImageDigest(context.Context, string) (string, error) {
	return "", fmt.Errorf("there are no images here")
}

// carry runs a job on dispatch's path.
func (r *rig) carry(ctx context.Context, j worker.Job, out string, o dispatch.Observer) (*task.Result, error) {
	data, err := os.ReadFile(j.Package.Path)
	if err != nil {
		return nil, err
	}
	var words []string
	if err := json.Unmarshal(data, &words); err != nil {
		return nil, err
	}
	opened, err := r.tasks.Open(ctx, j.Package.Path, "", "")
	if err != nil {
		return nil, err
	}
	if slices.Contains(words, "broken-worker") {
		return nil, fmt.Errorf("the worker broke")
	}
	d := &dispatch.Dispatcher{Engine: r.engine, Images: r.images, Dir: filepath.Join(r.dir, "runs")}
	return d.Run(ctx, dispatch.Job{
		ID: j.Run, Container: fmt.Sprintf("%s-%d", j.Run, j.Attempt), Contract: plain{words: words, collect: r.collect}, Task: opened.Task, Request: j.Request,
		Timeouts: j.Timeouts, OutDir: out, Repeatable: true, Observe: o,
	})
}

// plain is the contract of texts.
type plain struct {
	contract.Contract
	words   []string
	collect func()
}

func (plain) Name() string { return "plain" }

func (p plain) Prepare(_ *task.Task, _ task.ImageFacts, v task.Values) (*task.Execution, error) {
	x := &task.Execution{Process: task.Process{Entrypoint: append([]string{"fake"}, p.words...)}, Mounts: []task.Mount{{Name: "out", Target: "/out"}}}
	for _, name := range []string{"file", "files"} {
		if f, ok := v.Inputs[name]; ok {
			x.Mounts = append(x.Mounts, task.Mount{Name: name, Target: "/" + name, ReadOnly: true, Files: []task.File{{Path: "in", Source: f.Path}}})
		}
	}
	return x, nil
}

func (p plain) Collect(_ *task.Task, _ *task.Execution, left task.Leftovers) (task.Collected, error) {
	if p.collect != nil {
		p.collect()
	}
	path := filepath.Join(left.Mounts["out"], "n")
	if _, err := os.Stat(path); err != nil {
		return task.Collected{}, nil
	}
	return task.Collected{Outputs: map[string]task.Value{"n": {Path: path}}}, nil
}

type images struct{}

func (images) Ensure(context.Context, task.ImageSource) (dispatch.Image, error) {
	return emptyImage{}, nil
}

// waitingImages gets nothing ready, and tells that it was asked.
type waitingImages struct{ asked chan struct{} }

func (i waitingImages) Ensure(ctx context.Context, _ task.ImageSource) (dispatch.Image, error) {
	close(i.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

type emptyImage struct{}

func (emptyImage) ReadFile(string, int64) ([]byte, error)   { return nil, os.ErrNotExist }
func (emptyImage) Layers(context.Context) ([]string, error) { return nil, nil }
func (emptyImage) Facts() task.ImageFacts {
	return task.ImageFacts{Reference: "empty", Digest: "sha256:0"}
}

// task imports a package.
func (r *rig) task(name string, words ...string) store.Version {
	r.t.Helper()
	text, err := json.Marshal(append([]string{}, words...))
	if err != nil {
		r.t.Fatal(err)
	}
	i, err := r.Upload(r.t.Context(), "ada", bytes.NewReader(text), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	in, err := r.Import(r.t.Context(), "ada", durable.Import{Upload: i.Digest, FileName: name})
	if err != nil {
		r.t.Fatal(err)
	}
	return in.Version
}

func (r *rig) submit(sub durable.Submission) store.Run {
	r.t.Helper()
	run, _, err := r.Submit(r.t.Context(), "ada", sub)
	if err != nil {
		r.t.Fatal(err)
	}
	return run
}

// wait waits for a run's end, and sees that who waits is told what the store has.
func (r *rig) wait(id string, want task.State, reason task.Code) store.Run {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	run, err := r.Wait(ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	if run.State != want || run.Reason != reason {
		r.t.Fatalf("run %s is %s %s, want %s %s\n%s", id, run.State, run.Reason, want, reason, run.Result)
	}
	kept, err := r.Run(ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	if diff := cmp.Diff(kept, run, cmpopts.EquateEmpty()); diff != "" {
		r.t.Errorf("what was kept and what was told differ (-kept +told):\n%s", diff)
	}
	return run
}

// reaches waits until a run is in a state.
func (r *rig) reaches(id string, want task.State) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for e, err := range r.Events(ctx, id, 0) {
		if err != nil {
			r.t.Fatal(err)
		}
		if e.State == want {
			return
		}
	}
	r.t.Fatalf("run %s never was %s", id, want)
}

// log reads a run's log as text, to its end.
func (r *rig) log(id string, follow bool) string {
	l, err := r.Log(r.t.Context(), id, follow)
	if err != nil {
		r.t.Error(err)
		return ""
	}
	defer l.Close()
	var b strings.Builder
	for frames := engine.NewLogReader(l); ; {
		f, err := frames.Next()
		if err != nil {
			if err != io.EOF {
				r.t.Error(err)
			}
			return b.String()
		}
		b.Write(f.Data)
	}
}
