package durable_test

import (
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/task"
)

// states are those that a run's events tell.
func (r *rig) states(id string) []task.State {
	var states []task.State
	for e, err := range r.Events(r.t.Context(), id, 0) {
		if err != nil {
			r.t.Fatal(err)
		}
		if e.State != "" {
			states = append(states, e.State)
		}
	}
	return states
}

var stages = []task.State{task.Queued, task.Preparing, task.Starting, task.Running, task.Collecting, task.Succeeded}

func TestRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "stdout=hello\n", "write=/out/n=42\n")
	r.wait(r.submit(durable.Submission{Task: "t"}).ID, task.Succeeded, "") // now it knows that nobody waits
	run := r.submit(durable.Submission{Task: "t", Labels: map[string]string{"who": "me"}})
	if run.State != task.Preparing || run.Attempt != 1 {
		t.Errorf("a run for which there is room was answered as %s, attempt %d", run.State, run.Attempt)
	}
	live := r.states(run.ID)
	run = r.wait(run.ID, task.Succeeded, "")
	for name, got := range map[string][]task.State{"live": live, "afterwards": r.states(run.ID)} {
		if !slices.Equal(got, stages) {
			t.Errorf("states %s: %v", name, got)
		}
	}
	f, _, err := r.Output(t.Context(), run.ID, "n")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if data, err := io.ReadAll(f); err != nil || string(data) != "42\n" {
		t.Errorf("n = %q, %v", data, err)
	}
	if got := r.log(run.ID, false); got != "hello\n" {
		t.Errorf("log %q", got)
	}
	if run.StartedAt.Before(run.CreatedAt) || run.EndedAt.Before(run.StartedAt) || run.Owner != "" || run.CPUSeconds != 1 {
		t.Errorf("%+v", run)
	}
	// The folder goes after the end is told.
	eventually(t, func() bool { jobs, err := r.pool.Jobs(t.Context()); return err == nil && len(jobs) == 0 })
}

// TestLog follows logs from before the container exists, in its middle, and after the end.
func TestLog(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.Slots = 1 })
	r.task("first", "wait=first")
	r.task("t", "stdout=one ", "wait=one", "stderr=two ", "wait=two", "stdout=three")
	first := r.submit(durable.Submission{Task: "first"})
	run := r.submit(durable.Submission{Task: "t"})
	early := make(chan string)
	go func() { early <- r.log(run.ID, true) }()
	if got := r.log(run.ID, false); got != "" {
		t.Errorf("the log of a queued run is %q", got)
	}
	r.engine.Release("first")
	r.wait(first.ID, task.Succeeded, "")
	r.reaches(run.ID, task.Running)
	l, err := r.Log(t.Context(), run.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(l, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got := r.log(run.ID, false); got != "one " {
		t.Errorf("the log so far is %q", got)
	}
	middle := make(chan string)
	go func() { middle <- r.log(run.ID, true) }()
	r.engine.Release("one")
	r.engine.Release("two")
	r.wait(run.ID, task.Succeeded, "")
	for name, got := range map[string]string{"early": <-early, "middle": <-middle, "late": r.log(run.ID, true)} {
		if got != "one two three" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestLogClose ends a reader that waits.
func TestLogClose(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "wait=end")
	run := r.submit(durable.Submission{Task: "t"})
	l, err := r.Log(t.Context(), run.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := l.Read(make([]byte, 1))
		ended <- err
	}()
	l.Close()
	if err := <-ended; err == nil {
		t.Error("a closed reader answered")
	}
	r.engine.Release("end")
	r.wait(run.ID, task.Succeeded, "")
}

// TestCancel cancels in each state.
func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("queued", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(c *durable.Config) { c.Slots = 1 })
		r.task("t", "wait=end")
		first, second := r.submit(durable.Submission{Task: "t"}), r.submit(durable.Submission{Task: "t"})
		got, err := r.Cancel(t.Context(), second.ID, "ada")
		if err != nil || got.State != task.Cancelled || got.CancelledBy != "ada" {
			t.Errorf("%+v, %v", got, err)
		}
		r.wait(second.ID, task.Cancelled, "")
		r.engine.Release("end")
		r.wait(first.ID, task.Succeeded, "")
		if got, err := r.Cancel(t.Context(), first.ID, "ada"); err != nil || got.State != task.Succeeded {
			t.Errorf("cancelled after the end: %s, %v", got.State, err)
		}
	})
	t.Run("preparing", func(t *testing.T) {
		t.Parallel()
		asked := make(chan struct{})
		r := newRig(t, nil)
		r.images = waitingImages{asked}
		r.task("t")
		run := r.submit(durable.Submission{Task: "t"})
		<-asked
		if _, err := r.Cancel(t.Context(), run.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		r.wait(run.ID, task.Cancelled, "")
	})
	t.Run("starting", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		r.task("t", "start-wait=never")
		run := r.submit(durable.Submission{Task: "t"})
		r.reaches(run.ID, task.Starting)
		if _, err := r.Cancel(t.Context(), run.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		r.wait(run.ID, task.Cancelled, "")
	})
	t.Run("collecting", func(t *testing.T) {
		t.Parallel()
		collecting, goOn := make(chan struct{}), make(chan struct{})
		r := newRig(t, nil)
		r.collect = func() { close(collecting); <-goOn }
		r.task("t", "write=/out/n=1")
		run := r.submit(durable.Submission{Task: "t"})
		<-collecting
		if got, err := r.Cancel(t.Context(), run.ID, "ada"); err != nil || got.State.Terminal() {
			t.Fatalf("%s, %v", got.State, err)
		}
		close(goOn)
		got, err := r.Wait(t.Context(), run.ID) // the container has done its work: both are right, one of them is told
		if err != nil || got.State != task.Cancelled && got.State != task.Succeeded || got.Reason != "" {
			t.Errorf("%s %s, %v", got.State, got.Reason, err)
		}
	})
	t.Run("running", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		r.task("t", "stdout=hello", "sleep-until-stop")
		run := r.submit(durable.Submission{Task: "t"})
		r.reaches(run.ID, task.Running)
		if _, err := r.Cancel(t.Context(), run.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		r.wait(run.ID, task.Cancelled, "")
		if got := r.log(run.ID, true); got != "hello" {
			t.Errorf("log %q", got)
		}
	})
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		r.task("t", "sleep-until-stop")
		for range 20 {
			run := r.submit(durable.Submission{Task: "t"})
			if _, err := r.Cancel(t.Context(), run.ID, "ada"); err != nil {
				t.Fatal(err)
			}
			r.wait(run.ID, task.Cancelled, "")
		}
	})
	t.Run("held back", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(c *durable.Config) { c.Backoff = time.Hour })
		r.task("t", "broken-worker")
		run := r.submit(durable.Submission{Task: "t"})
		for e, err := range r.Events(t.Context(), run.ID, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Retry != "" {
				break
			}
		}
		if _, err := r.Cancel(t.Context(), run.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		r.wait(run.ID, task.Cancelled, "")
	})
	t.Run("unknown", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		if _, err := r.Cancel(t.Context(), "0123456789abcdef0123", "ada"); task.CodeOf(err) != task.CodeMissing {
			t.Error(err)
		}
	})
}

// TestFailures has failures that are the task's, and of ours.
func TestFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.MaxAttempts = 3 })
	for _, c := range []struct {
		name     string
		words    []string
		retry    durable.Retry
		reason   task.Code
		attempts int
	}{
		{"exit", []string{"exit=3"}, durable.Retry{}, task.ReasonExit, 1},
		{"oom", []string{"oom"}, durable.Retry{Max: 2, On: []task.Code{task.ReasonExit}}, task.ReasonOOM, 1},
		{"retried", []string{"exit=3"}, durable.Retry{Max: 2, On: []task.Code{task.ReasonExit}}, task.ReasonExit, 3},
		{"start", []string{"start-error=command"}, durable.Retry{}, task.ReasonImage, 1},
		{"ours", []string{"engine-error"}, durable.Retry{}, task.ReasonEngine, 3},
		{"worker", []string{"broken-worker"}, durable.Retry{}, task.ReasonEngine, 3},
	} {
		r.task(c.name, c.words...)
		run := r.wait(r.submit(durable.Submission{Task: c.name, Retry: c.retry}).ID, task.Failed, c.reason)
		if run.Attempt != c.attempts {
			t.Errorf("%s: %d attempts, want %d", c.name, run.Attempt, c.attempts)
		}
		var res task.Result
		if err := json.Unmarshal(run.Result, &res); err != nil || res.Failure == nil || res.Failure.Message == "" || res.State != task.Failed {
			t.Errorf("%s: result %s", c.name, run.Result)
		}
		states := r.states(run.ID)
		if got := len(slices.DeleteFunc(states, func(s task.State) bool { return s != task.Preparing })); got != c.attempts {
			t.Errorf("%s: %d attempts in its history %v", c.name, got, r.states(run.ID))
		}
	}
}

// TestTimeout ends a run that takes too long.
func TestTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "ignore-stop")
	run := r.submit(durable.Submission{Task: "t", Timeouts: task.Timeouts{Run: 50 * time.Millisecond, Stop: time.Millisecond}})
	r.wait(run.ID, task.Failed, task.ReasonTimeout)
}

// TestAdmission fills the machine: what fits passes what does not, and what can never fit is refused.
func TestAdmission(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "wait=end")
	r.task("quick")
	first := r.submit(durable.Submission{Task: "t", Resources: task.Resources{CPU: 3000}})
	large := r.submit(durable.Submission{Task: "quick", Resources: task.Resources{CPU: 4000}})
	small := r.submit(durable.Submission{Task: "quick", Resources: task.Resources{CPU: 1000}})
	r.wait(small.ID, task.Succeeded, "")
	if got, err := r.Run(t.Context(), large.ID); err != nil || got.State != task.Queued {
		t.Errorf("what does not fit is %s, %v", got.State, err)
	}
	const most, gpus = "resource limit exceeds the maximum", "not enough GPU available" // as a run on one machine says it
	for n, words := range map[task.Resources]string{{CPU: 4001}: most, {Memory: 5 << 30}: most, {GPUs: 1}: gpus} {
		_, _, err := r.Submit(t.Context(), "ada", durable.Submission{Task: "quick", Resources: n})
		if task.CodeOf(err) != task.ReasonPolicy || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v, want %q", n, err, words)
		}
	}
	r.engine.Release("end")
	r.wait(first.ID, task.Succeeded, "")
	r.wait(large.ID, task.Succeeded, "")
}

// TestPriorities sees that the more important runs first.
func TestPriorities(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.Slots = 1 })
	r.task("t", "wait=end")
	r.task("quick")
	first := r.submit(durable.Submission{Task: "t"})
	ids := map[int][]string{}
	for _, p := range []int{0, 5, 0, -5, 5, -5} {
		ids[p] = append(ids[p], r.submit(durable.Submission{Task: "quick", Priority: p}).ID)
	}
	r.engine.Release("end")
	r.wait(first.ID, task.Succeeded, "")
	var last time.Time
	for _, p := range []int{5, 0, -5} {
		var ends []time.Time
		for _, id := range ids[p] {
			run := r.wait(id, task.Succeeded, "")
			if run.StartedAt.Before(last) {
				t.Errorf("a run of priority %d started before a more important one ended", p)
			}
			ends = append(ends, run.EndedAt)
		}
		last = slices.MaxFunc(ends, time.Time.Compare)
	}
}

// TestKey submits twice with one idempotency key.
func TestKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t")
	a := json.RawMessage("1")
	sub := durable.Submission{Task: "t", Key: "k", Inputs: map[string]json.RawMessage{"a": a}}
	first := r.submit(sub)
	second, again, err := r.Submit(t.Context(), "ada", sub)
	if err != nil || !again || second.ID != first.ID {
		t.Errorf("%v, %v, %v", second.ID, again, err)
	}
	sub.Inputs = nil
	if _, _, err := r.Submit(t.Context(), "ada", sub); task.CodeOf(err) != task.CodeConflict {
		t.Errorf("another request with the key: %v", err)
	}
	if other, again, err := r.Submit(t.Context(), "bob", sub); err != nil || again || other.ID == first.ID {
		t.Errorf("another account's key: %v, %v, %v", other.ID, again, err)
	}
	r.wait(first.ID, task.Succeeded, "")
	if runs, _, err := r.Runs(t.Context(), store.RunFilter{}); err != nil || len(runs) != 2 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}

// TestCache shares a result.
func TestCache(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "stdout=hello", "write=/out/n=1")
	sub := durable.Submission{Task: "t", Cache: true, Inputs: map[string]json.RawMessage{"a": json.RawMessage("1")}}
	first := r.wait(r.submit(sub).ID, task.Succeeded, "")
	hit := r.submit(sub)
	if hit.State != task.Succeeded || hit.CachedFrom != first.ID || hit.ID == first.ID {
		t.Errorf("%+v", hit)
	}
	if got := r.log(hit.ID, true); got != "hello" {
		t.Errorf("log %q", got)
	}
	r.task("namesake", "stdout=hello", "write=/out/n=1") // the same bytes, handed over as another package
	sub.Task = "namesake"
	if run := r.wait(r.submit(sub).ID, task.Succeeded, ""); run.CachedFrom != "" {
		t.Errorf("another package's result was taken: %s", run.CachedFrom)
	}
	sub.Task = "t"
	for name, change := range map[string]func(*durable.Submission){
		"another value": func(s *durable.Submission) { s.Inputs = map[string]json.RawMessage{"a": json.RawMessage("2")} },
		"no cache":      func(s *durable.Submission) { s.Cache = false },
	} {
		other := sub
		change(&other)
		if run := r.wait(r.submit(other).ID, task.Succeeded, ""); run.CachedFrom != "" {
			t.Errorf("%s: taken from %s", name, run.CachedFrom)
		}
	}
}

// TestFiles gives uploads to runs: a file, and a folder of several.
func TestFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("file", "copy=/file/in=/out/n")
	r.task("folder", "copy=/files/in/sub/b=/out/n")
	digests := map[string]string{}
	for _, text := range []string{"11", "22"} {
		i, err := r.Upload(t.Context(), "ada", strings.NewReader(text), 0)
		if err != nil {
			t.Fatal(err)
		}
		digests[text] = i.Digest
	}
	at := func(name string) map[string]json.RawMessage {
		return map[string]json.RawMessage{name: json.RawMessage(`"@x"`)}
	}
	folder := durable.FileRef{Entries: []store.File{{Path: "a", Digest: digests["11"]}, {Path: "sub/b", Digest: digests["22"]}, {Path: "empty", Mode: "dir"}}}
	for _, c := range []struct {
		task string
		sub  durable.Submission
		want string
	}{
		{"file", durable.Submission{Inputs: at("file"), Files: map[string]durable.FileRef{"x": {Digest: digests["11"]}}}, "11"},
		{"folder", durable.Submission{Inputs: at("files"), Files: map[string]durable.FileRef{"x": folder}}, "22"},
	} {
		c.sub.Task = c.task
		run := r.wait(r.submit(c.sub).ID, task.Succeeded, "")
		f, _, err := r.Output(t.Context(), run.ID, "n")
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(f); err != nil || string(data) != c.want {
			t.Errorf("%s: %q, %v", c.task, data, err)
		}
		f.Close()
	}
	gone := "sha256:" + strings.Repeat("0", 64)
	for name, f := range map[string]durable.FileRef{"file": {Digest: gone}, "files": {Entries: []store.File{{Path: "a", Digest: gone}}}} {
		_, _, err := r.Submit(t.Context(), "ada", durable.Submission{Task: "file", Inputs: at(name), Files: map[string]durable.FileRef{"x": f}})
		if task.CodeOf(err) != task.ReasonInput {
			t.Errorf("%s that is gone: %v", name, err)
		}
	}
}

// TestInputGone removes what a run needs after it was accepted.
func TestInputGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.Slots = 1 })
	r.task("first", "wait=end")
	r.task("t", "copy=/file/in=/out/n")
	i, err := r.Upload(t.Context(), "ada", strings.NewReader("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.submit(durable.Submission{Task: "first"})
	run := r.submit(durable.Submission{
		Task: "t", Inputs: map[string]json.RawMessage{"file": json.RawMessage(`"@x"`)}, Files: map[string]durable.FileRef{"x": {Digest: i.Digest}},
	})
	if _, err := r.blobs.Remove(t.Context(), i.Digest, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.engine.Release("end")
	r.wait(run.ID, task.Failed, task.ReasonInput)
}

// TestRecover ends the service at different times and starts it again, as a server that is killed.
func TestRecover(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.Slots = 2 })
	r.task("t", "stdout=before ", "wait=a", "stdout=after", "write=/out/n=1")
	r.task("quick", "stdout=quick")
	running, ended, queued := r.submit(durable.Submission{Task: "t"}), r.submit(durable.Submission{Task: "t"}), r.submit(durable.Submission{Task: "quick"})
	r.reaches(running.ID, task.Running)
	r.reaches(ended.ID, task.Running)
	r.close()
	r.open()
	if got, err := r.Run(t.Context(), running.ID); err != nil || got.Attempt != 1 || got.State.Terminal() {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
	r.reaches(running.ID, task.Running)
	r.close()
	r.engine.Release("a")
	if err := r.pool.(*worker.Pool).Idle(t.Context()); err != nil { // both end while no server is there
		t.Fatal(err)
	}
	r.open()
	for _, id := range []string{running.ID, ended.ID} {
		run := r.wait(id, task.Succeeded, "")
		if run.Attempt != 1 {
			t.Errorf("%d attempts", run.Attempt)
		}
		if got := r.log(id, true); got != "before after" {
			t.Errorf("log %q", got)
		}
	}
	r.wait(queued.ID, task.Succeeded, "")
}

// TestNeverBegun finds a run that was claimed and not begun when its server died.
func TestNeverBegun(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.Slots = 1 })
	r.task("t", "wait=end")
	first := r.submit(durable.Submission{Task: "t"})
	r.reaches(first.ID, task.Running)
	queued := r.submit(durable.Submission{Task: "t"})
	r.close()
	now := time.Now()
	if runs, err := r.store.Claim(t.Context(), store.Claim{Owner: "one", Now: now, Until: now.Add(time.Minute), Max: 1}); err != nil || len(runs) != 1 || runs[0].ID != queued.ID {
		t.Fatalf("%v, %v", runs, err)
	}
	r.engine.Release("end")
	r.open()
	r.wait(first.ID, task.Succeeded, "")
	if run := r.wait(queued.ID, task.Succeeded, ""); run.Attempt != 2 {
		t.Errorf("%d attempts", run.Attempt)
	}
}

// TestStray has the store hold a run for a service that never heard so: the answer of its claim was lost.
func TestStray(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	v := r.task("t", "write=/out/n=1")
	now := time.Now().UTC()
	_, err := r.store.Submit(t.Context(), []store.Run{{
		ID: "0123456789abcdef0123", Task: v.ID, TaskName: "t", Contract: "plain", Account: "ada", State: task.Preparing, Owner: "one", Attempt: 1,
		LeaseUntil: now.Add(time.Hour), CreatedAt: now, Request: json.RawMessage(`{"task":"t"}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if run := r.wait("0123456789abcdef0123", task.Succeeded, ""); run.Attempt != 2 {
		t.Errorf("%d attempts", run.Attempt)
	}
}

// TestProgress sees that states which last are in the store.
func TestProgress(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "wait=end")
	run := r.submit(durable.Submission{Task: "t"})
	eventually(t, func() bool {
		got, err := r.store.Run(t.Context(), run.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.State == task.Running && !got.StartedAt.IsZero()
	})
	r.engine.Release("end")
	r.wait(run.ID, task.Succeeded, "")
}

// TestDrain lets what runs end, and takes nothing more.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.Slots = 1 })
	r.task("t", "wait=end")
	running, queued := r.submit(durable.Submission{Task: "t"}), r.submit(durable.Submission{Task: "t"})
	drained := make(chan error)
	go func() { drained <- r.Drain(t.Context()) }()
	eventually(t, func() bool { return r.Draining() })
	if _, _, err := r.Submit(t.Context(), "ada", durable.Submission{Task: "t"}); !errors.Is(err, durable.ErrDraining) {
		t.Errorf("a submission was answered by %v", err)
	}
	r.engine.Release("end")
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	r.wait(running.ID, task.Succeeded, "")
	if got, err := r.Run(t.Context(), queued.ID); err != nil || got.State != task.Queued {
		t.Errorf("%s, %v", got.State, err)
	}
}

// eventually waits for something that nobody tells of.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it never came")
		}
	}
}
