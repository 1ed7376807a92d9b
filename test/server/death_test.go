package server_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"longshore/internal/app"
	"longshore/internal/engine"
	"longshore/internal/store/storetest"
	"longshore/internal/task"
)

// waiting is a script that goes on when the file "go" appears in its output folder, which is on the machine's side of its run.
const waiting = `echo "waiting $n"
while [ ! -e /outputs/go ]; do sleep 0.05; done
rm /outputs/go
echo "$n" >/outputs/data`

// release lets scripts that wait go on.
func release(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "runs", "*", "mount-1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		_ = os.WriteFile(filepath.Join(f, "go"), nil, 0o644) // its run may be over
	}
}

// TestServerDies kills a server while runs are under way, queued, and just ending: the next one takes them up.
func TestServerDies(t *testing.T) {
	t.Parallel()
	dir := home(t)
	v := prepare(t, dir, "", waiting)
	r := &report{accepted: map[string]int{}, ended: map[string]task.State{}}
	p := spawn(t, r, "-home", dir, "-task", v, "-callers", "3")
	until(t, func() bool { return containers(dir) == 3 })
	p.kill()
	if got := containers(dir); got != 3 {
		t.Fatalf("%d containers live after the server's death, want 3", got)
	}
	s := start(t, dir, nil)
	until(t, func() bool { release(t, dir); return s.Busy() == 0 })
	for _, id := range r.runs() {
		if run := wait(t, s, id, task.Succeeded, ""); run.Attempt != 1 {
			t.Errorf("%d attempts", run.Attempt)
		}
	}
}

// TestEndsWithoutServer lets runs end while no server is there: the next one collects them.
func TestEndsWithoutServer(t *testing.T) {
	t.Parallel()
	dir := home(t)
	v := prepare(t, dir, "", waiting)
	r := &report{accepted: map[string]int{}, ended: map[string]task.State{}}
	p := spawn(t, r, "-home", dir, "-task", v, "-callers", "2")
	until(t, func() bool { return containers(dir) == 2 })
	p.kill()
	until(t, func() bool { release(t, dir); return containers(dir) == 0 })
	s := start(t, dir, nil)
	for _, id := range r.runs() {
		run := wait(t, s, id, task.Succeeded, "")
		if run.Attempt != 1 || output(t, s, id, "data") == "" {
			t.Errorf("%d attempts, output %q", run.Attempt, output(t, s, id, "data"))
		}
	}
}

// TestWorkerDies kills the worker: its containers die with it, and the run is tried again.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	dir := home(t)
	s := start(t, dir, nil)
	v := importFolder(t, s, "", script("waiting", waiting))
	run := submit(t, s, submission(v, 7))
	until(t, func() bool { return containers(dir) == 1 })
	first := oneContainer(dir)
	log, err := s.Log(t.Context(), run.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := engine.NewLogReader(log).Next(); err != nil { // while the first attempt runs
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Worker.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return syscall.Kill(first, 0) != nil })
	until(t, func() bool { release(t, dir); got, _ := s.Run(t.Context(), run.ID); return got.State.Terminal() })
	if run = wait(t, s, run.ID, task.Succeeded, ""); run.Attempt != 2 {
		t.Errorf("%d attempts, want 2", run.Attempt)
	}
	if got, want := logText(t, log), "waiting 7\n"; got != want { // the second attempt's, and no byte of the first again
		t.Errorf("who followed was told %q afterwards, want %q", got, want)
	}
	late, err := s.Log(t.Context(), run.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if got, want := logText(t, late), "waiting 7\nwaiting 7\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

// TestContainerDies kills a container: that is its run's failure, and is not tried again.
func TestContainerDies(t *testing.T) {
	t.Parallel()
	dir := home(t)
	s := start(t, dir, nil)
	v := importFolder(t, s, "", script("waiting", waiting))
	run := submit(t, s, submission(v, 7))
	until(t, func() bool { return containers(dir) == 1 })
	if err := syscall.Kill(oneContainer(dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	run = wait(t, s, run.ID, task.Failed, task.ReasonExit)
	if run.Attempt != 1 || !strings.Contains(string(run.Result), `"exitCode":137`) {
		t.Errorf("attempt %d: %s", run.Attempt, run.Result)
	}
}

// TestFencing pauses a server beyond its lease: another takes its runs over, and what the first says later does not count.
func TestFencing(t *testing.T) {
	t.Parallel()
	db := storetest.StartPostgres(t, false).Database(t)
	one, two := home(t), home(t)
	blobs := t.TempDir()
	change := func(cfg *app.ServerConfig) { cfg.Database, cfg.Blobs, cfg.Lease = db, blobs, time.Second }
	v := func() string {
		cfg := config(one)
		change(&cfg)
		s, err := open(t.Context(), one, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return importFolder(t, s, "", script("waiting", waiting)).ID
	}()
	r := &report{accepted: map[string]int{}, ended: map[string]task.State{}}
	p := spawn(t, r, "-home", one, "-db", db, "-blobs", blobs, "-name", "one", "-task", v, "-callers", "1", "-lease", "1s")
	until(t, func() bool { return containers(one) == 1 })
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s := start(t, two, func(cfg *app.ServerConfig) { change(cfg); cfg.Name = "two" })
	until(t, func() bool { return containers(two) == 1 })
	release(t, one) // the first attempt ends, for a server that sleeps
	until(t, func() bool { return containers(one) == 0 })
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	jobs := func() int {
		found, err := filepath.Glob(filepath.Join(one, "server", "jobs", "[0-9a-f]*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	until(t, func() bool { return jobs() == 0 })
	for _, id := range r.runs() {
		run, err := s.Run(t.Context(), id)
		if err != nil || run.State.Terminal() || run.Attempt != 2 || run.Owner != "two" {
			t.Errorf("after the late end: %s, attempt %d of %q, %v", run.State, run.Attempt, run.Owner, err)
		}
		until(t, func() bool { release(t, two); got, _ := s.Run(t.Context(), id); return got.State.Terminal() })
		if run = wait(t, s, id, task.Succeeded, ""); run.Attempt != 2 {
			t.Errorf("%d attempts, want 2", run.Attempt)
		}
	}
	if len(r.runs()) == 0 {
		t.Error("nothing was accepted")
	}
	p.kill()
}

// TestOneServer refuses a second server in the same home.
func TestOneServer(t *testing.T) {
	t.Parallel()
	dir := home(t)
	start(t, dir, nil)
	if _, err := open(t.Context(), dir, config(dir)); task.CodeOf(err) != task.CodeUsage || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server: %v", err)
	}
}

// TestOtherVersion starts a server of another version while the worker of the one before has a run: both end theirs.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	dir := home(t)
	v := prepare(t, dir, "", waiting)
	r := &report{accepted: map[string]int{}, ended: map[string]task.State{}}
	p := spawn(t, r, "-home", dir, "-task", v, "-callers", "1")
	until(t, func() bool { return containers(dir) == 1 })
	p.kill()
	old := workers(dir)
	// What a worker calls itself is told by its socket. The old one is given another version's.
	sockets := filepath.Join(dir, "server", "jobs", ".workers")
	entries, err := os.ReadDir(sockets)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	name := entries[0].Name()
	if err := os.Rename(filepath.Join(sockets, name), filepath.Join(sockets, "before"+name[strings.LastIndexByte(name, '.'):])); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, nil)
	if err := s.Worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pid := s.Worker.PID(); len(old) != 1 || pid == old[0] {
		t.Errorf("new runs go to the worker %d of another version", pid)
	}
	until(t, func() bool { release(t, dir); return s.Busy() == 0 })
	for _, id := range r.runs() {
		wait(t, s, id, task.Succeeded, "")
	}
}

// prepare imports a script into a home, and runs it once so that its image is there.
func prepare(t *testing.T, dir, db, body string) string {
	t.Helper()
	cfg := config(dir)
	cfg.Database = db
	s, err := open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := importFolder(t, s, "", script("prepared", body))
	run := submit(t, s, submission(v, 1))
	until(t, func() bool { release(t, dir); got, _ := s.Run(t.Context(), run.ID); return got.State.Terminal() })
	wait(t, s, run.ID, task.Succeeded, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// containers counts the containers that run in a home.
func containers(dir string) int { return len(containerPIDs(dir)) }

// until waits for something that nobody tells of.
func until(t *testing.T, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it never came")
		}
	}
}
