package server_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"longshore/internal/app"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/store/storetest"
	"longshore/internal/task"
)

// TestFiles imports a package, runs it with a log that is followed from before the container exists, and reads what is left.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := start(t, home(t), nil)
	v := importFolder(t, s, "../../examples/cytomine/integer-addition", nil)
	run := submit(t, s, durable.Submission{Task: "integer-addition", Inputs: map[string]json.RawMessage{"a": json.RawMessage("5"), "b": json.RawMessage("37")}})
	if run.Task != v.ID {
		t.Errorf("the run is of %s, want %s", run.Task, v.ID)
	}
	followed := make(chan string)
	log, err := s.Log(t.Context(), run.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	go func() { followed <- logText(t, log) }()
	run = wait(t, s, run.ID, task.Succeeded, "")
	if got := output(t, s, run.ID, "sum"); got != "42\n" && got != "42" {
		t.Errorf("sum = %q", got)
	}
	if got := <-followed; got != "5 + 37\n" {
		t.Errorf("the followed log is %q", got)
	}
	again, err := s.Log(t.Context(), run.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := logText(t, again); got != "5 + 37\n" {
		t.Errorf("the kept log is %q", got)
	}
	var states []task.State
	for e, err := range s.Events(t.Context(), run.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State != "" {
			states = append(states, e.State)
		}
	}
	if len(states) != 6 || states[0] != task.Queued || states[5] != task.Succeeded {
		t.Errorf("the states were %v", states)
	}
	if err := s.Drain(t.Context()); err != nil { // a job is forgotten after its run's end is told
		t.Fatal(err)
	}
	if jobs, err := s.Worker.Jobs(t.Context()); err != nil || len(jobs) > 0 {
		t.Errorf("jobs left: %v, %v", jobs, err)
	}
}

// TestHTTP sends a request to a task that is a server.
func TestHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, home(t), nil)
	v := importFolder(t, s, "../../examples/meca/echo", nil)
	body := `{"input": "hello"}`
	run := wait(t, s, submit(t, s, durable.Submission{Task: v.ID, Body: &body}).ID, task.Succeeded, "")
	files := durable.Outputs(run)
	if len(files) != 1 || !strings.Contains(output(t, s, run.ID, files[0].Path), "hello") {
		t.Errorf("outputs %+v", files)
	}
}

// TestFolder gives a folder of uploads to a task that takes one.
func TestFolder(t *testing.T) {
	t.Parallel()
	s := start(t, home(t), nil)
	v := importFolder(t, s, "../../examples/kaapana/greeting", nil)
	i, err := s.Upload(t.Context(), "ada", strings.NewReader("Grace\n"), 0)
	if err != nil {
		t.Fatal(err)
	}
	channel := ""
	for _, p := range v.Task.Parameters {
		if p.Direction == task.Input && p.Type.Kind == task.Directory {
			channel = p.Name
		}
	}
	sub := durable.Submission{
		Task: v.ID, Inputs: map[string]json.RawMessage{channel: json.RawMessage(`"@people"`), "WORD": json.RawMessage(`"Moin"`)},
		Files: map[string]durable.FileRef{"people": {Entries: []store.File{{Path: "names.txt", Digest: i.Digest, Size: i.Size}}}},
	}
	if len(v.Task.Variants) > 0 {
		sub.Variant = v.Task.Variants[0].Name
	}
	run := wait(t, s, submit(t, s, sub).ID, task.Succeeded, "")
	found := false
	for _, f := range durable.Outputs(run) {
		found = found || f.Mode == "" && strings.Contains(output(t, s, run.ID, f.Path), "Grace")
	}
	if !found {
		t.Errorf("no output greets Grace: %+v", run.Files)
	}
}

// TestCancelStages cancels runs of real containers in each stage; nothing is left of them.
func TestCancelStages(t *testing.T) {
	t.Parallel()
	dir := home(t)
	s := start(t, dir, nil)
	slow := script("slow-build", "true")
	slow["Dockerfile"] = "FROM busybox\nCOPY run.sh /run.sh\nRUN echo building && sleep 60\nENTRYPOINT [\"sh\", \"/run.sh\"]\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		at    func(e durable.Event) bool
	}{
		{"building", slow, func(e durable.Event) bool { return strings.Contains(e.Progress, "building") }},
		{"running", script("running", "sleep 60"), func(e durable.Event) bool { return e.State == task.Running }},
		{"collecting", script("collecting", "i=0; mkdir /outputs/data; while [ $i -lt 2000 ]; do echo $i >/outputs/data/$i; i=$((i+1)); done"), func(e durable.Event) bool { return e.State == task.Collecting }},
	} {
		v := importFolder(t, s, "", c.files)
		run := submit(t, s, submission(v, 1))
		asked := false
		var last task.State
		for e, err := range s.Events(t.Context(), run.ID, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if !asked && c.at(e) {
				asked = true
				if _, err := s.Cancel(t.Context(), run.ID, "ada"); err != nil {
					t.Fatal(err)
				}
			}
			if e.State != "" {
				last = e.State
			}
		}
		if !asked || last != task.Cancelled && c.name != "collecting" {
			t.Errorf("%s: asked %v, ended as %s", c.name, asked, last)
		}
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "runs"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestDatabaseAway stops the database under load for a while: nothing that was accepted is lost.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	pg := storetest.StartPostgres(t, true)
	db := pg.Database(t)
	s := start(t, home(t), func(cfg *app.ServerConfig) { cfg.Database = db })
	v := importFolder(t, s, "", tortured())
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	accepted := map[string]int{}
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				run, _, err := s.Submit(ctx, "ada", submission(v, n))
				if err != nil {
					<-time.After(20 * time.Millisecond) // as a caller who tries again
					continue
				}
				mu.Lock()
				accepted[run.ID] = n
				mu.Unlock()
				_, _ = s.Wait(ctx, run.ID) // its end is looked at below
			}
		})
	}
	some := func() bool { mu.Lock(); defer mu.Unlock(); return len(accepted) >= 8 }
	until(t, some)
	pg.Stop(t)
	<-time.After(5 * time.Second) // longer than the lease
	pg.Start(t)
	before := len(accepted)
	until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(accepted) >= before+4 })
	stop()
	g.Wait()
	for id, n := range accepted {
		whole(t, s, wait(t, s, id, task.Succeeded, ""), n)
	}
}

// TestSamples sees what a running container uses, while it runs and afterwards.
func TestSamples(t *testing.T) {
	t.Parallel()
	s := start(t, home(t), nil)
	v := importFolder(t, s, "", script("samples", "sleep 1.5; echo $n >/outputs/data"))
	run := wait(t, s, submit(t, s, submission(v, 1)).ID, task.Succeeded, "")
	samples := 0
	for e, err := range s.Events(t.Context(), run.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Usage != nil && e.Usage.MemoryBytes > 0 {
			samples++
		}
	}
	if samples == 0 {
		t.Error("its history has no sample")
	}
}

// TestLongHome runs a server in a folder whose name is longer than a socket's may be.
func TestLongHome(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20), strings.Repeat("longer", 10))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(home(t), dir); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, nil)
	v := importFolder(t, s, "", script("long", "echo $n >/outputs/data"))
	wait(t, s, submit(t, s, submission(v, 1)).ID, task.Succeeded, "")
}
