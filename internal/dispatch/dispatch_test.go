package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/engine/fake"
	"longshore/internal/task"
)

// plain is a contract that does what its fields say.
type plain struct {
	contract.Contract
	exec     task.Execution
	collect  func(left task.Leftovers) (task.Collected, error)
	prepared error
}

func (plain) Name() string { return "plain" }

func (p plain) Prepare(*task.Task, task.ImageFacts, task.Values) (*task.Execution, error) {
	x := p.exec
	return &x, p.prepared
}

func (p plain) Collect(_ *task.Task, _ *task.Execution, left task.Leftovers) (task.Collected, error) {
	if p.collect != nil {
		return p.collect(left)
	}
	return task.Collected{}, nil
}

// images answers every request with one image that has no layers.
type images struct{ err error }

func (i images) Ensure(context.Context, task.ImageSource) (dispatch.Image, error) {
	return emptyImage{}, i.err
}

type emptyImage struct{}

func (emptyImage) ReadFile(string, int64) ([]byte, error)   { return nil, os.ErrNotExist }
func (emptyImage) Layers(context.Context) ([]string, error) { return nil, nil }
func (emptyImage) Facts() task.ImageFacts {
	return task.ImageFacts{Reference: "empty", Digest: "sha256:0", Env: []string{"A=image", "B=image"}}
}

// rig is a dispatcher over the fake engine.
type rig struct {
	*dispatch.Dispatcher
	fake *fake.Engine
	out  string
}

func newRig(t *testing.T, c fake.Config) *rig {
	t.Helper()
	e := fake.New(c)
	dir := t.TempDir()
	r := &rig{&dispatch.Dispatcher{Engine: e, Images: images{}, Dir: filepath.Join(dir, "runs")}, e, filepath.Join(dir, "out")}
	t.Cleanup(func() {
		for _, p := range e.Problems() {
			t.Error(p)
		}
		entries, err := os.ReadDir(r.Dir)
		if err != nil && !os.IsNotExist(err) || len(entries) > 0 {
			t.Errorf("left in the runs folder: %v, %v", entries, err)
		}
		if half, _ := filepath.Glob(filepath.Join(dir, ".out*")); len(half) > 0 { // the pattern is well-formed
			t.Errorf("half-made output folders: %v", half)
		}
	})
	return r
}

func (r *rig) files(words ...string) (dispatch.Job, *plain) {
	c := &plain{exec: task.Execution{
		Process: task.Process{Entrypoint: append([]string{"fake"}, words...)},
		Mounts:  []task.Mount{{Name: "out", Target: "/out"}},
	}}
	c.collect = func(left task.Leftovers) (task.Collected, error) {
		path := filepath.Join(left.Mounts["out"], "n")
		if _, err := os.Stat(path); err != nil {
			return task.Collected{Failure: &task.Failure{Reason: task.ReasonOutput, Message: "n is missing"}}, nil
		}
		return task.Collected{Outputs: map[string]task.Value{"n": {Path: path}}}, nil
	}
	t := &task.Task{Contract: "plain", Name: "t", Exchange: task.Files, Parameters: []task.Parameter{{Name: "n", Direction: task.Output, Type: task.Type{Kind: task.Integer}}}}
	return dispatch.Job{Contract: c, Task: t, OutDir: r.out}, c
}

func (r *rig) http(mark string, words ...string) dispatch.Job {
	c := &plain{exec: task.Execution{
		Process: task.Process{Entrypoint: append([]string{"fake"}, words...)},
		HTTP:    &task.HTTPExchange{Ports: []task.Port{{Number: 8080, Why: "test"}}, ReadyMark: mark, Probe: mark == "", Method: "POST", Path: "/", Body: task.Body{Text: "ping"}},
	}}
	c.collect = func(left task.Leftovers) (task.Collected, error) {
		return task.Collected{Outputs: map[string]task.Value{"output": {Path: left.Response.BodyPath}}}, nil
	}
	t := &task.Task{Contract: "plain", Name: "t", Exchange: task.HTTP, Parameters: []task.Parameter{{Name: "output", Direction: task.Output, Type: task.Type{Kind: task.String}}}}
	return dispatch.Job{Contract: c, Task: t, OutDir: r.out, Timeouts: task.Timeouts{Ready: 300 * time.Millisecond, Connect: 300 * time.Millisecond}}
}

func (r *rig) run(ctx context.Context, t *testing.T, job dispatch.Job) *task.Result {
	t.Helper()
	res, err := r.Run(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	if !res.State.Terminal() {
		t.Errorf("the run ended in the state %s", res.State)
	}
	return res
}

func TestFilesRun(t *testing.T) {
	r := newRig(t, fake.Config{})
	job, c := r.files("stdout=hello\n", "env=A", "env=B", "write=/out/n=42\n")
	c.exec.Process.Env = []task.EnvVar{{Name: "B", Value: "package"}}
	res := r.run(t.Context(), t, job)
	if res.State != task.Succeeded || res.ExitCode == nil || *res.ExitCode != 0 {
		t.Fatalf("%+v %+v", res, res.Failure)
	}
	for name, want := range map[string]string{"n": "42\n", "log": "hello\nimagepackage"} {
		if got, err := os.ReadFile(filepath.Join(r.out, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
	var kept task.Result
	data, err := os.ReadFile(filepath.Join(r.out, dispatch.ResultFile))
	if err != nil || json.Unmarshal(data, &kept) != nil {
		t.Fatalf("result.json: %s, %v", data, err)
	}
	if kept.Outputs[0].SHA256 == "" || fmt.Sprint(kept.Outputs[0].Value) != "42\n" && fmt.Sprint(kept.Outputs[0].Value) != "42" {
		t.Errorf("output %+v", kept.Outputs[0])
	}
	var stages []task.State
	for _, s := range kept.Stages {
		stages = append(stages, s.Stage)
	}
	if d := cmp.Diff([]task.State{task.Preparing, task.Starting, task.Running, task.Collecting}, stages); d != "" {
		t.Error(d)
	}
}

// A contract may take any end of a program, but not that of a limit on memory or disk.
func TestAnyEnd(t *testing.T) {
	for _, c := range []struct {
		words  []string
		reason task.Code
		warned string
	}{
		{words: []string{"exit=3"}},
		{words: []string{"signal=11"}},
		{words: []string{"sleep-until-stop"}, warned: "did not end within 50ms"},
		{words: []string{"oom"}, reason: task.ReasonOOM},
		{words: []string{"disk"}, reason: task.ReasonOutput},
	} {
		r := newRig(t, fake.Config{})
		job, p := r.files(c.words...)
		if c.warned != "" {
			job.Timeouts.Run = 50 * time.Millisecond
		}
		p.exec.AnyEnd, p.collect = true, nil
		res := r.run(t.Context(), t, job)
		if res.Reason != c.reason || (res.State == task.Succeeded) != (c.reason == "") || !strings.Contains(strings.Join(res.Warnings, "\n"), c.warned) {
			t.Errorf("%s: %s, %+v, %q", c.words, res.State, res.Failure, res.Warnings)
		}
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		words  []string
		change func(*dispatch.Job, *plain)
		reason task.Code
		text   string // in the message, hint or log tail
	}{
		{name: "exit code", words: []string{"stderr=it broke\n", "exit=3"}, reason: task.ReasonExit, text: "it broke"},
		{name: "signal", words: []string{"signal=11"}, reason: task.ReasonExit, text: "segmentation fault"},
		{name: "oom", words: []string{"oom"}, reason: task.ReasonOOM, text: "--memory"},
		{name: "disk", words: []string{"disk"}, reason: task.ReasonOutput, text: "--disk"},
		{name: "timeout", words: []string{"sleep-until-stop"}, change: func(j *dispatch.Job, _ *plain) { j.Timeouts.Run = 50 * time.Millisecond }, reason: task.ReasonTimeout, text: "50ms"},
		{name: "killed after the timeout", words: []string{"ignore-stop"}, change: func(j *dispatch.Job, _ *plain) {
			j.Timeouts.Run, j.Timeouts.Stop = 50*time.Millisecond, 50*time.Millisecond
		}, reason: task.ReasonTimeout, text: "50ms"},
		{name: "no output", words: nil, reason: task.ReasonOutput, text: "n is missing"},
		{name: "no such command", change: func(_ *dispatch.Job, c *plain) { c.exec.Process.Entrypoint = []string{"nothing"} }, reason: task.ReasonImage, text: "nothing"},
		{name: "no command at all", change: func(_ *dispatch.Job, c *plain) { c.exec.Process.Entrypoint = nil }, reason: task.ReasonImage, text: "CMD"},
		{name: "engine's fault", words: []string{"engine-error"}, reason: task.ReasonEngine},
		{name: "wrong input", change: func(j *dispatch.Job, _ *plain) {
			j.Request.Inputs = map[string]task.Given{"x": task.GivenText("1")}
		}, reason: task.ReasonInput, text: "no such input"},
		{name: "contract refuses", change: func(_ *dispatch.Job, c *plain) {
			c.prepared = &task.Error{Code: task.ReasonInput, Message: "refused", Hint: "do it otherwise"}
		}, reason: task.ReasonInput, text: "do it otherwise"},
		{name: "too much memory", change: func(_ *dispatch.Job, c *plain) { c.exec.Resources.Memory = 1 << 60 }, reason: task.ReasonPolicy, text: "this machine has"},
		{name: "GPU", change: func(_ *dispatch.Job, c *plain) { c.exec.Resources.GPUs = 1 }, reason: task.ReasonPolicy, text: "not enough GPU available"},
		{name: "download forbidden", change: func(_ *dispatch.Job, c *plain) {
			c.exec.Mounts = append(c.exec.Mounts, task.Mount{Name: "in", Target: "/in", ReadOnly: true, Files: []task.File{{Path: "f", URL: "http://127.0.0.1/f"}}})
		}, reason: task.ReasonInput, text: "not allowed"},
		{name: "path leaves the mount", change: func(_ *dispatch.Job, c *plain) {
			c.exec.Mounts = append(c.exec.Mounts, task.Mount{Name: "in", Target: "/in", ReadOnly: true, Files: []task.File{{Path: "../f", Text: "x"}}})
		}, reason: task.ReasonInput, text: "leaves"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, fake.Config{})
			r.Capacity = task.Resources{Memory: 1 << 40}
			job, p := r.files(c.words...)
			if c.change != nil {
				c.change(&job, p)
			}
			res := r.run(t.Context(), t, job)
			if res.State != task.Failed || res.Failure == nil || res.Failure.Reason != c.reason {
				t.Fatalf("state %s, failure %+v; want reason %s", res.State, res.Failure, c.reason)
			}
			f := res.Failure
			if all := f.Message + f.Hint + f.LogTail; !strings.Contains(all, c.text) {
				t.Errorf("%q not in %q", c.text, all)
			}
			if _, err := os.Stat(filepath.Join(r.out, "n")); !os.IsNotExist(err) {
				t.Error("a failed run has outputs")
			}
			if _, err := os.Stat(filepath.Join(r.out, dispatch.ResultFile)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHTTPRun(t *testing.T) {
	for _, mark := range []string{"is ready", ""} {
		r := newRig(t, fake.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			if err != nil || req.ContentLength != 4 {
				t.Errorf("length %d, %v", req.ContentLength, err)
			}
			fmt.Fprintf(w, "%s %s pong", req.Method, body)
		})})
		job := r.http(mark, "stdout=it is re", "stdout=ady now\n", "serve=8080", "sleep-until-stop")
		res := r.run(t.Context(), t, job)
		if res.State != task.Succeeded {
			t.Fatalf("mark %q: %+v", mark, res.Failure)
		}
		if got, err := os.ReadFile(filepath.Join(r.out, "output")); err != nil || string(got) != "POST ping pong" {
			t.Errorf("mark %q: output %q, %v", mark, got, err)
		}
	}
}

func TestHTTPFailures(t *testing.T) {
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	for _, c := range []struct {
		name    string
		mark    string
		words   []string
		handler http.Handler
		reason  task.Code
		text    string
	}{
		{"never ready", "ready", []string{"stdout=x\n", "sleep-until-stop"}, nil, task.ReasonNotReady, "ready not seen on stdout within 300ms"},
		{"mark on stderr", "ready", []string{"stderr=ready\n", "sleep-until-stop"}, nil, task.ReasonNotReady, "seen on stderr"},
		{"nothing printed", "ready", []string{"sleep-until-stop"}, nil, task.ReasonNotReady, "stdout is empty"},
		{"dies first", "ready", []string{"stderr=no model\n", "exit=3"}, nil, task.ReasonExit, "exited with code 3 before printing ready"},
		{"ends first", "ready", []string{"exit=0"}, nil, task.ReasonNotReady, "before printing ready"},
		{"never listens", "ready", []string{"stdout=ready\n", "sleep-until-stop"}, nil, task.ReasonNotReady, "nothing listens on port 8080"},
		{"no port", "", []string{"sleep-until-stop"}, nil, task.ReasonNotReady, "nothing listens on port 8080"},
		{"dies before it listens", "", []string{"oom"}, nil, task.ReasonOOM, "memory"},
		{"HTTP 500", "", []string{"serve=8080", "sleep-until-stop"}, answer(500, "<p>\n the model broke\nbadly"), task.ReasonBadResponse, "task answered HTTP 500: <p> the model broke badly"},
		{"HTTP 400 without a word", "", []string{"serve=8080", "sleep-until-stop"}, answer(400, ""), task.ReasonBadResponse, "task answered HTTP 400: (empty reply)"},
		{"hangs up", "", []string{"serve=8080", "sleep-until-stop"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), task.ReasonBadResponse, "without answering"},
		{"breaks off", "", []string{"serve=8080", "sleep-until-stop"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
		}), task.ReasonBadResponse, "breaks off"},
		{"too large", "", []string{"serve=8080", "sleep-until-stop"}, answer(200, strings.Repeat("x", 2000)), task.ReasonBadResponse, "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, fake.Config{Handler: c.handler})
			r.Policy.MaxResponse = 1000
			res := r.run(t.Context(), t, r.http(c.mark, c.words...))
			if res.State != task.Failed || res.Failure.Reason != c.reason {
				t.Fatalf("state %s, failure %+v; want reason %s", res.State, res.Failure, c.reason)
			}
			if all := res.Failure.Message + res.Failure.Hint; !strings.Contains(all, c.text) {
				t.Errorf("%q not in %q", c.text, all)
			}
		})
	}
}

// signals follows a run and tells of its output.
type signals struct{ logged chan string }

func (signals) Moved(string, task.State)              {}
func (signals) Warned(string)                         {}
func (s signals) Logged(_ engine.Stream, data []byte) { s.logged <- string(data) }

func TestCancel(t *testing.T) {
	r := newRig(t, fake.Config{})
	job, _ := r.files("stdout=started\n", "sleep-until-stop")
	ctx, cancel := context.WithCancel(t.Context())
	s := signals{make(chan string, 10)}
	job.Observe = s
	go func() { <-s.logged; cancel() }()
	res := r.run(ctx, t, job)
	if res.State != task.Cancelled || res.Failure != nil {
		t.Errorf("state %s, failure %+v", res.State, res.Failure)
	}
}

func TestUnsafeOutputs(t *testing.T) {
	for _, c := range []struct {
		name  string
		links task.LinkPolicy
		make  func(dir string) error
		ok    bool
	}{
		{"link", task.LinksRefused, func(d string) error { return os.Symlink("n", filepath.Join(d, "l")) }, false},
		{"link kept inside", task.LinksKeptInside, func(d string) error { return os.Symlink("n", filepath.Join(d, "l")) }, true},
		{"link out dropped", task.LinksKeptInside, func(d string) error { return os.Symlink("/etc/passwd", filepath.Join(d, "l")) }, true},
		{"setuid", task.LinksRefused, func(d string) error { return os.Chmod(filepath.Join(d, "n"), 0o4755|os.ModeSetuid) }, true},
		{"link beside the outputs", task.LinksRefused, func(d string) error { return os.Symlink("/etc/passwd", filepath.Join(d, "stray")) }, true},
		{"pipe in a folder beside the outputs", task.LinksRefused, func(d string) error {
			if err := os.Mkdir(filepath.Join(d, "stray"), 0o755); err != nil {
				return err
			}
			return syscall.Mkfifo(filepath.Join(d, "stray", "p"), 0o644)
		}, true},
		{"nested too deep", task.LinksRefused, func(d string) error { return os.MkdirAll(filepath.Join(d, strings.Repeat("d/", 600)), 0o755) }, false},
		{"unreadable folder", task.LinksRefused, func(d string) error { return os.Mkdir(filepath.Join(d, "locked"), 0) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, fake.Config{})
			job, p := r.files("write=/out/n=1", "stdout=written", "wait=prepared")
			p.exec.Mounts[0].Links = c.links
			if strings.Contains(c.name, "beside the outputs") {
				p.exec.Mounts[0].Only = []string{"n"}
			}
			s := signals{make(chan string, 10)}
			job.Observe = s
			go func() {
				<-s.logged
				for _, spec := range r.fake.Started() {
					if err := c.make(spec.Mounts[0].Source); err != nil {
						t.Error(err)
					}
				}
				r.fake.Release("prepared")
			}()
			res := r.run(t.Context(), t, job)
			if ok := res.State == task.Succeeded; ok != c.ok {
				t.Fatalf("state %s, failure %+v", res.State, res.Failure)
			}
			if !c.ok {
				if res.Failure.Reason != task.ReasonOutput {
					t.Errorf("failure %+v", res.Failure)
				}
				return
			}
			st, err := os.Stat(filepath.Join(r.out, "n"))
			if err != nil || st.Mode()&os.ModeSetuid != 0 || st.Mode().Perm()&0o044 != 0o044 {
				t.Errorf("%v, %v", st, err)
			}
		})
	}
}

func TestOutputFolder(t *testing.T) {
	r := newRig(t, fake.Config{})
	run := func(words ...string) error {
		job, _ := r.files(words...)
		_, err := r.Run(t.Context(), job)
		return err
	}
	if err := run("write=/out/n=1"); err != nil {
		t.Fatal(err)
	}
	if err := run("write=/out/n=2"); err != nil {
		t.Fatalf("an earlier result was not replaced: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(r.out, "n")); err != nil || string(got) != "2" {
		t.Errorf("n = %q, %v", got, err)
	}
	if err := os.Remove(filepath.Join(r.out, dispatch.ResultFile)); err != nil {
		t.Fatal(err)
	}
	var e *task.Error
	if err := run("write=/out/n=3"); !errors.As(err, &e) || e.Code != task.CodeUsage {
		t.Errorf("a folder with other things in it: %v", err)
	}
}

// TestSweep makes folders of a run that crashed, of one that crashed before it had a lock, and of one that is just coming.
func TestSweep(t *testing.T) {
	d := &dispatch.Dispatcher{Dir: t.TempDir()}
	crashed, unlocked, coming := filepath.Join(d.Dir, "crashed"), filepath.Join(d.Dir, "unlocked"), filepath.Join(d.Dir, "x-coming")
	for _, dir := range []string{crashed, unlocked, coming} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(crashed, ".lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(unlocked, old, old); err != nil {
		t.Fatal(err)
	}
	for _, look := range []func() ([]string, error){d.Leftovers, d.Leftovers, d.Sweep} {
		if got, err := look(); err != nil || cmp.Diff([]string{crashed, unlocked}, got) != "" {
			t.Errorf("leftovers %v, %v", got, err)
		}
	}
	if got, err := d.Leftovers(); err != nil || len(got) > 0 {
		t.Errorf("after sweeping: %v, %v", got, err)
	}
	if entries, err := os.ReadDir(coming); err != nil || len(entries) > 0 {
		t.Errorf("looking left %v, %v", entries, err)
	}
}

// TestSweepMeanwhile looks for leftovers while runs come and go: there are none at any time.
func TestSweepMeanwhile(t *testing.T) {
	r := newRig(t, fake.Config{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		var runs sync.WaitGroup
		for range 2 {
			runs.Go(func() {
				for range 100 {
					job, _ := r.files("write=/out/n=1")
					job.OutDir = ""
					if _, err := r.Run(t.Context(), job); err != nil {
						t.Error(err)
					}
				}
			})
		}
		runs.Wait()
	}()
	for {
		if got, err := r.Sweep(); err != nil || len(got) > 0 {
			t.Fatalf("leftovers %v, %v", got, err)
		}
		select {
		case <-over:
			return
		default:
		}
	}
}

// sampled counts samples.
type sampled struct{ samples chan dispatch.Sample }

func (sampled) Moved(string, task.State)     {}
func (sampled) Logged(engine.Stream, []byte) {}
func (sampled) Warned(string)                {}
func (s sampled) Sampled(x dispatch.Sample)  { s.samples <- x }

// TestSamples runs a container until its use was told.
func TestSamples(t *testing.T) {
	r := newRig(t, fake.Config{})
	job, _ := r.files("wait=told", "write=/out/n=1")
	o := sampled{make(chan dispatch.Sample)}
	job.Observe = o
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.run(t.Context(), t, job)
	}()
	if s := <-o.samples; s.CPUSeconds != 1 || s.MemoryBytes != 1<<20 {
		t.Errorf("sample %+v", s)
	}
	r.fake.Release("told")
	for {
		select {
		case <-o.samples:
		case <-over:
			return
		}
	}
}
