package dispatch_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/engine/fake"
	"longshore/internal/task"
)

// pool is a pool over a rig, closed with the test.
func (r *rig) pool(t *testing.T, idle time.Duration) *dispatch.Pool {
	t.Helper()
	p := dispatch.NewPool(r.Dispatcher, idle)
	t.Cleanup(p.Close)
	return p
}

// answers runs a job in the pool and returns what it gave.
func answers(t *testing.T, p *dispatch.Pool, job dispatch.Job) string {
	t.Helper()
	res, err := p.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if res.State != task.Succeeded {
		t.Fatalf("state %s, failure %+v", res.State, res.Failure)
	}
	data, err := os.ReadFile(filepath.Join(job.OutDir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// echo answers with the request's body.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what broke off is told apart by its text
	w.Write(body)
})

func TestPoolReusesAServer(t *testing.T) {
	r := newRig(t, fake.Config{Handler: echo})
	p := r.pool(t, time.Hour)
	job := r.http("ready", "stdout=ready\n", "serve=8080", "sleep-until-stop")
	for i, body := range []string{"a", "b", "c"} {
		job.Contract.(*plain).exec.HTTP.Body.Text = body
		if got := answers(t, p, job); got != body {
			t.Errorf("answer %q to %q", got, body)
		}
		log, err := os.ReadFile(filepath.Join(r.out, "log"))
		if want := map[int]string{0: "ready\n"}[i]; err != nil || string(log) != want {
			t.Errorf("the log of run %d is %q, %v; want %q", i, log, err, want)
		}
	}
	if n := len(r.fake.Started()); n != 1 {
		t.Errorf("%d containers were started, want 1", n)
	}
	other := r.http("ready", "stdout=ready\n", "serve=8080", "sleep-until-stop")
	other.Contract.(*plain).exec.Resources.Memory = 64 << 20
	answers(t, p, other)
	answers(t, p, job)
	if n := len(r.fake.Started()); n != 2 {
		t.Errorf("%d containers were started, want one more for other limits", n)
	}
}

func TestPoolSharesAServer(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	r := newRig(t, fake.Config{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		both.Done()
		both.Wait() // each answer needs the other request
	})})
	p := r.pool(t, time.Hour)
	var done sync.WaitGroup
	for _, out := range []string{"1", "2"} {
		done.Go(func() {
			job := r.http("", "serve=8080", "sleep-until-stop")
			job.OutDir += out
			res, err := p.Run(context.WithoutCancel(t.Context()), job)
			if err != nil || res.State != task.Succeeded {
				t.Errorf("%+v, %v", res.Failure, err)
			}
		})
	}
	done.Wait()
	if n := len(r.fake.Started()); n != 1 {
		t.Errorf("%d containers were started, want 1", n)
	}
}

func TestPoolAfterAFailure(t *testing.T) {
	status := 500
	r := newRig(t, fake.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })})
	p := r.pool(t, time.Hour)
	job := r.http("", "serve=8080", "sleep-until-stop")
	res, err := p.Run(t.Context(), job)
	if err != nil || res.Reason != task.ReasonBadResponse {
		t.Fatalf("%+v, %v", res, err)
	}
	status = 200
	answers(t, p, job)
	if n := len(r.fake.Started()); n != 2 {
		t.Errorf("%d containers were started, want a fresh one after a failure", n)
	}
}

func TestPoolAfterAnEnd(t *testing.T) {
	r := newRig(t, fake.Config{})
	p := r.pool(t, time.Hour)
	job := r.http("", "serve=8080", "sleep-until-stop")
	answers(t, p, job)
	if err := r.fake.Stop(t.Context(), engine.Handle{ID: r.fake.Started()[0].ID}, 0); err != nil {
		t.Fatal(err)
	}
	answers(t, p, job)
	if n := len(r.fake.Started()); n != 2 {
		t.Errorf("%d containers were started, want a fresh one each time", n)
	}
}

func TestPoolFailsToStart(t *testing.T) {
	r := newRig(t, fake.Config{})
	p := r.pool(t, time.Hour)
	job := r.http("ready", "stderr=broken", "exit=3")
	for range 2 {
		res, err := p.Run(t.Context(), job)
		if err != nil || res.Reason != task.ReasonExit || !strings.Contains(res.Failure.Message, "code 3 before printing ready") {
			t.Errorf("%+v, %v", res.Failure, err)
		}
		if log, err := os.ReadFile(filepath.Join(r.out, "log")); err != nil || string(log) != "broken" {
			t.Errorf("log %q, %v", log, err)
		}
	}
}

func TestPoolEndsIdleServers(t *testing.T) {
	r := newRig(t, fake.Config{})
	p := r.pool(t, time.Nanosecond)
	job := r.http("", "serve=8080", "sleep-until-stop")
	answers(t, p, job)
	p.Close() // waits for what is being removed
	if problems := r.fake.Problems(); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestPoolLeavesFilesTasksAlone(t *testing.T) {
	r := newRig(t, fake.Config{})
	p := r.pool(t, 0)
	job, _ := r.files("write=/out/n=42\n")
	for range 2 {
		if res, err := p.Run(t.Context(), job); err != nil || res.State != task.Succeeded {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if n := len(r.fake.Started()); n != 2 {
		t.Errorf("%d containers were started, want 2", n)
	}
}
