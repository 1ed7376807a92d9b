package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"longshore/internal/dispatch"
	"longshore/internal/dispatch/worker"
	"longshore/internal/task"
)

// TestLeftovers tells a job that nobody carries out from one under way and from one that has an outcome.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	end := make(chan struct{})
	p, err := worker.NewPool(dir, func(ctx context.Context, j worker.Job, _ string, _ dispatch.Observer) (*task.Result, error) {
		if j.Attempt == 1 {
			<-end
		}
		return nil, errors.New("it broke")
	})
	if err != nil {
		t.Fatal(err)
	}
	const run = "0123456789abcdef0123"
	for _, attempt := range []int{1, 2} {
		if err := p.Begin(t.Context(), worker.Job{Run: run, Attempt: attempt}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Follow(t.Context(), worker.Name(run, 2), func(worker.Event) {}); err == nil {
		t.Error("a job that broke has an outcome")
	}
	lost, half := filepath.Join(dir, worker.Name(run, 3)), filepath.Join(dir, "."+worker.Name(run, 4)+".gone")
	for _, d := range []string{lost, half} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, look := range []func(string) ([]string, error){worker.Leftovers, worker.Sweep} {
		got, err := look(dir)
		slices.Sort(got)
		if want := []string{half, lost}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	close(end)
	if err := p.Idle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if jobs, err := p.Jobs(t.Context()); err != nil || len(jobs) != 2 {
		t.Errorf("jobs %v, %v", jobs, err)
	}
}

// TestFollow tells every event of a job from its first, to who comes early and to who comes late.
func TestFollow(t *testing.T) {
	t.Parallel()
	started, end := make(chan struct{}), make(chan struct{})
	p, err := worker.NewPool(t.TempDir(), func(_ context.Context, _ worker.Job, _ string, o dispatch.Observer) (*task.Result, error) {
		o.Moved("", task.Preparing)
		close(started)
		<-end
		o.Warned("careful")
		o.Logged(1, []byte("hello"))
		o.Moved("", task.Running)
		return nil, &task.Error{Code: task.ReasonImage, Message: "no image", Hint: "build it"}
	})
	if err != nil {
		t.Fatal(err)
	}
	j := worker.Job{Run: "0123456789abcdef0123", Attempt: 1}
	if err := p.Begin(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if err := p.Begin(t.Context(), j); err != nil {
		t.Errorf("begun twice: %v", err)
	}
	<-started
	follow := func() (states []task.State, warnings int, log int64, err error) {
		_, err = p.Follow(t.Context(), j.Name(), func(e worker.Event) {
			if e.State != "" {
				states = append(states, e.State)
			}
			if e.Warning != "" {
				warnings++
			}
			log = max(log, e.Log)
		})
		return states, warnings, log, err
	}
	go close(end)
	for _, when := range []string{"early", "late"} {
		states, warnings, log, err := follow()
		var e *task.Error
		if !errors.As(err, &e) || e.Code != task.ReasonImage || e.Hint != "build it" {
			t.Errorf("%s: %v", when, err)
		}
		if !slices.Equal(states, []task.State{task.Preparing, task.Running}) || warnings != 1 || log == 0 {
			t.Errorf("%s: %v, %d warnings, %d bytes of log", when, states, warnings, log)
		}
	}
	if err := p.Forget(t.Context(), j.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Follow(t.Context(), j.Name(), func(worker.Event) {}); !errors.Is(err, worker.ErrLost) {
		t.Errorf("after it was forgotten: %v", err)
	}
}
