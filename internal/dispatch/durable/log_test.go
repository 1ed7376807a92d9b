package durable_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/engine"
	"longshore/internal/store"
	"longshore/internal/task"
)

// frames reads a run's log whole: its bytes, its text, and the attempts it is of, in order.
func (r *rig) frames(id string, follow bool) (raw []byte, text string, attempts []int) {
	l, err := r.Log(r.t.Context(), id, follow)
	if err != nil {
		r.t.Error(err)
		return nil, "", nil
	}
	defer l.Close()
	if raw, err = io.ReadAll(l); err != nil {
		r.t.Error(err)
	}
	for frames := engine.NewLogReader(bytes.NewReader(raw)); ; {
		f, err := frames.Next()
		if err != nil {
			if err != io.EOF {
				r.t.Error(err)
			}
			return raw, text, slices.Compact(attempts)
		}
		text += string(f.Data)
		attempts = append(attempts, f.Attempt)
	}
}

// TestLogOfAttempts: the log of a run that is tried again goes on, byte for byte, for who followed from the beginning, who came in
// between, and who comes late; also over a restart of the server between two attempts.
func TestLogOfAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "stdout=a", "wait=gate", "stderr=b", "exit=3")
	run := r.submit(durable.Submission{Task: "t", Retry: durable.Retry{Max: 2, On: []task.Code{task.ReasonExit}}})
	logs := make(chan string)
	follow := func() {
		raw, text, attempts := r.frames(run.ID, true)
		logs <- fmt.Sprintf("%s %v %x", text, attempts, raw)
	}
	go follow()
	r.reaches(run.ID, task.Running)
	go follow()
	r.engine.Release("gate")
	got := []string{<-logs, <-logs}
	run = r.wait(run.ID, task.Failed, task.ReasonExit)
	go follow()
	for _, got := range append(got, <-logs) {
		if late, _, _ := r.frames(run.ID, false); got != fmt.Sprintf("ababab [1 2 3] %x", late) {
			t.Errorf("log %q", got)
		}
	}
}

// TestLogHeldBack: between two attempts the log of the first is there, whoever asks, and it survives a cancellation then.
func TestLogHeldBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *durable.Config) { c.Backoff = 1 << 40 })
	r.task("t", "stdout=so far", "exit=3")
	run := r.submit(durable.Submission{Task: "t", Retry: durable.Retry{Max: 2, On: []task.Code{task.ReasonExit}}})
	eventually(t, func() bool {
		got, err := r.store.Run(t.Context(), run.ID)
		return err == nil && got.State == task.Queued && len(got.Files) == 2 // its log, and its events
	})
	r.close()
	r.open()
	if got := r.log(run.ID, false); got != "so far" {
		t.Errorf("held back: %q", got)
	}
	if _, err := r.Cancel(t.Context(), run.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	r.wait(run.ID, task.Cancelled, "")
	if got := r.log(run.ID, true); got != "so far" {
		t.Errorf("cancelled: %q", got)
	}
}

// TestLogCutShort: what a worker that died had written of a frame is no part of the log.
func TestLogCutShort(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "stdout=second")
	r.close()
	run, name := r.lost("t")
	frame := engine.AppendFrame(nil, engine.Frame{Stream: engine.Stdout, Attempt: 1, Data: []byte("first ")})
	if err := os.WriteFile(r.pool.Log(name), append(frame, frame[:len(frame)-3]...), 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	early := make(chan string)
	go func() { early <- r.log(run, true) }()
	if got := r.wait(run, task.Succeeded, ""); got.Attempt != 2 {
		t.Errorf("%d attempts", got.Attempt)
	}
	for name, got := range map[string]string{"early": <-early, "late": r.log(run, false)} {
		if got != "first second" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// lost puts a run on record whose first attempt was begun here by a worker that died.
func (r *rig) lost(name string) (id, job string) {
	r.t.Helper()
	v, err := r.store.Version(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	run := store.Run{
		ID: fmt.Sprintf("%012x", now.UnixMilli()) + strings.Repeat("0", 8), Task: v.ID, TaskName: name, Contract: v.Contract, Account: "ada", State: task.Preparing,
		Request: []byte(`{"task":"` + name + `"}`), Attempt: 1, Owner: r.cfg.Name, LeaseUntil: now.Add(r.cfg.Lease), CreatedAt: now,
	}
	if _, err := r.store.Submit(r.t.Context(), []store.Run{run}); err != nil {
		r.t.Fatal(err)
	}
	job = worker.Name(run.ID, 1)
	if err := os.MkdirAll(r.pool.Folder(job), 0o700); err != nil {
		r.t.Fatal(err)
	}
	return run.ID, job
}

// TestEventsOfAttempts: the events of a run that is tried again go on counting, also when the server starts anew in between, and
// are kept in its row when they are few.
func TestEventsOfAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "wait=gate", "exit=3")
	run := r.submit(durable.Submission{Task: "t", Retry: durable.Retry{Max: 1, On: []task.Code{task.ReasonExit}}})
	tell := func(n int) (told []string) {
		for e, err := range r.Events(t.Context(), run.ID, n) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; e.N != n {
				t.Errorf("event %d is number %d", n, e.N)
			}
			if told = append(told, fmt.Sprint(e.Attempt, e.State, e.Retry)); e.Attempt == 2 && e.State == task.Running {
				break
			}
		}
		return told
	}
	r.reaches(run.ID, task.Running)
	r.engine.Release("gate")
	before := tell(0)
	r.close()
	r.open()
	kept := r.wait(run.ID, task.Failed, task.ReasonExit)
	all := tell(0)
	if len(before) != 10 || !slices.Equal(before, all[:len(before)]) {
		t.Errorf("live %v\nlater %v", before, all)
	}
	if got := len(tell(9)); got < 1 {
		t.Errorf("%d events after the ninth", got)
	}
	for _, f := range kept.Files {
		if f.Path == store.EventsPath && (f.Digest != "" || f.Text == "") {
			t.Errorf("a few events are kept as the blob %s", f.Digest)
		}
	}
}
