package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"longshore/internal/app"
	"longshore/internal/engine"
	"longshore/internal/store"
	"longshore/internal/store/storetest"
	"longshore/internal/task"
)

// TestTorture kills a server, its worker or a container at random, many times, while callers submit runs. Afterwards every run
// that was accepted has exactly one end, its outputs are whole, and nothing is left over. LONGSHORE_TORTURE is the number of
// kills for each database; without it there are few.
func TestTorture(t *testing.T) {
	rounds := 20
	if v := os.Getenv("LONGSHORE_TORTURE"); v != "" {
		var err error
		if rounds, err = strconv.Atoi(v); err != nil {
			t.Fatalf("LONGSHORE_TORTURE: %v", err)
		}
	}
	t.Run("SQLite", func(t *testing.T) { torture(t, rounds, "") })
	t.Run("PostgreSQL", func(t *testing.T) { torture(t, rounds, storetest.StartPostgres(t, true).Database(t)) })
}

// report is what a tortured server has told.
type report struct {
	mu       sync.Mutex
	accepted map[string]int        // the number that was given, by run
	ended    map[string]task.State // what a caller was told
}

// runs are those that were accepted so far.
func (r *report) runs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.accepted))
}

// mine tells whether a run was accepted by the tortured server.
func (r *report) mine(id string) bool {
	_, ok := r.accepted[id]
	return ok
}

func (r *report) read(t *testing.T, out io.Reader, ready chan<- struct{}) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		f := strings.Fields(lines.Text())
		r.mu.Lock()
		switch {
		case len(f) == 1 && f[0] == "ready":
			close(ready)
		case len(f) == 3 && f[0] == "accepted":
			r.accepted[f[1]], _ = strconv.Atoi(f[2]) // a line is whole, or the last one
		case len(f) == 3 && f[0] == "ended":
			if was, ok := r.ended[f[1]]; ok && was != task.State(f[2]) {
				t.Errorf("run %s ended as %s and as %s", f[1], was, f[2])
			}
			r.ended[f[1]] = task.State(f[2])
		}
		r.mu.Unlock()
	}
}

// process is a server under torture.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	read  sync.WaitGroup
}

func spawn(t *testing.T, r *report, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("/proc/self/exe", append([]string{"victim"}, args...)...)}
	p.cmd.Stderr = os.Stderr
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	p.stdin = in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	p.read.Go(func() { r.read(t, out, ready) })
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Fatal("the server was not ready within 30 seconds")
	}
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.read.Wait()
	_ = p.cmd.Wait() // killed
}

func torture(t *testing.T, rounds int, db string) {
	dir := home(t)
	cfg := config(dir)
	cfg.Database = db
	s, err := open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, err := importInto(t.Context(), s, "", tortured())
	if err != nil {
		t.Fatal(err)
	}
	wait(t, s, submit(t, s, submission(v, 1)).ID, task.Succeeded, "") // the image is there
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := &report{accepted: map[string]int{}, ended: map[string]task.State{}}
	args := []string{"-home", dir, "-db", db, "-task", v.ID, "-callers", "6"}
	p := spawn(t, r, args...)
	kills := map[string]int{}
	for range rounds {
		<-time.After(time.Duration(50+rand.IntN(400)) * time.Millisecond)
		switch rand.IntN(3) {
		case 0:
			p.kill()
			kills["server"]++
			p = spawn(t, r, args...)
		case 1:
			for _, pid := range workers(dir) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
				kills["worker"]++
			}
		case 2:
			if pid := oneContainer(dir); pid != 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				kills["container"]++
			}
		}
	}
	p.kill()
	t.Logf("killed %v; %d runs were accepted", kills, len(r.accepted))
	verdict(t, dir, cfg, r, kills["container"])
}

// verdict starts the server once more, and sees that everything that was accepted ends, as it should, and leaves nothing.
func verdict(t *testing.T, dir string, cfg app.ServerConfig, r *report, kills int) {
	t.Helper()
	s, err := open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute) // a run that was killed many times is held back for up to five
	defer cancel()
	failed := 0
	for id, n := range r.accepted {
		run, err := s.Wait(ctx, id)
		if err != nil {
			t.Errorf("run %s: %v", id, err)
			continue
		}
		if told, ok := r.ended[id]; ok && told != run.State {
			t.Errorf("run %s ended as %s, and is %s", id, told, run.State)
		}
		switch run.State {
		case task.Succeeded:
			whole(t, s, run, n)
		case task.Failed:
			failed++
			var res task.Result
			if err := json.Unmarshal(run.Result, &res); err != nil || res.ExitCode == nil || *res.ExitCode != 137 {
				t.Errorf("run %s failed by itself: %s %v", id, run.Result, err)
			}
		default:
			t.Errorf("run %s is %s, attempt %d, owner %q", id, run.State, run.Attempt, run.Owner)
		}
	}
	if failed > kills {
		t.Errorf("%d runs failed, and %d containers were killed", failed, kills)
	}
	// Also those whose answer was cut off are over.
	if counts, err := s.Store.Count(t.Context(), store.RunFilter{}); err != nil {
		t.Error(err)
	} else {
		for state, n := range counts {
			if !state.Terminal() && n > 0 && !t.Failed() {
				t.Errorf("%d runs are %s", n, state)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t, dir, r)
}

// whole compares a run's outputs and log with what the task gives; each attempt wrote its own part of the log.
func whole(t *testing.T, s *app.Server, run store.Run, n int) {
	t.Helper()
	data, log := wanted(n)
	if got := output(t, s, run.ID, "data"); got != data {
		t.Errorf("run %s: the output has %d bytes that are not what the task writes", run.ID, len(got))
	}
	l, err := s.Log(t.Context(), run.ID, false)
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	texts := attempts(t, l)
	for i, got := range texts {
		// An attempt whose container or worker died may have got anywhere; the last one is whole.
		if got != log && (i == len(texts)-1 || !strings.HasPrefix(log, got)) {
			t.Errorf("run %s: the log of its attempts is %q", run.ID, texts)
		}
	}
	if len(texts) == 0 {
		t.Errorf("run %s: the log is empty", run.ID)
	}
}

// workers are the worker processes of a home.
func workers(dir string) []int {
	entries, _ := os.ReadDir(filepath.Join(dir, "server", "jobs", ".workers")) // none before the first
	var pids []int
	for _, e := range entries {
		name := e.Name()
		pid, err := strconv.Atoi(name[strings.LastIndexByte(name, '.')+1:])
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(cmdline), dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// containerPIDs are the first processes of the containers of a home's workers.
func containerPIDs(dir string) []int {
	var all []int
	for _, w := range workers(dir) {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", w)) // the pattern is well-formed
		for _, f := range tasks {
			data, _ := os.ReadFile(f) // its thread may be gone
			for word := range strings.FieldsSeq(string(data)) {
				pid, _ := strconv.Atoi(word)
				if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Dir(exe) == "/bin" {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// oneContainer is one of them, 0 when there is none now.
func oneContainer(dir string) int {
	all := containerPIDs(dir)
	if len(all) == 0 {
		return 0
	}
	return all[rand.IntN(len(all))]
}

// age makes what belongs to the runs look as if it were made an hour ago.
func age(t *testing.T, r *report, patterns ...string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if id, _, _ := strings.Cut(filepath.Base(f), "-"); r.mine(id) || !strings.HasPrefix(f, "/sys/") { // there, others' lie beside
				if err := os.Chtimes(f, old, old); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// nothingLeft looks for what runs may leave: processes, mounts, cgroups, folders and jobs.
func nothingLeft(t *testing.T, dir string, r *report) {
	t.Helper()
	// Retired ones end within a second, and one that was just starting when its server was killed after half a minute alone.
	deadline := time.Now().Add(time.Minute)
	for len(workers(dir)) > 0 && time.Now().Before(deadline) {
		<-time.After(20 * time.Millisecond)
	}
	if pids := workers(dir); len(pids) > 0 {
		t.Errorf("workers are left: %v", pids)
	}
	a, err := app.New(app.Config{Home: dir})
	if err != nil {
		t.Fatal(err)
	}
	sweeper := a.Engine().(engine.Sweeper)
	// What was just being made when a worker died is swept when it is a minute old, by the server's second look. It is made so old.
	age(t, r, filepath.Join(dir, "runs", "*"), filepath.Join(dir, "containers", "*-*"), "/sys/fs/cgroup/longshore/*", "/sys/fs/cgroup/*/longshore/*", "/sys/fs/cgroup/*/*/*/longshore/*")
	for range 2 { // the folders, and the cgroups that they told of
		if _, err := sweeper.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Dispatcher().Sweep(); err != nil {
		t.Error(err)
	}
	if left, err := sweeper.Leftovers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("the engine's leftovers: %v, %v", left, err)
	}
	if left, err := a.Dispatcher().Leftovers(); err != nil || len(left) > 0 {
		t.Errorf("the folders of runs: %v, %v", left, err)
	}
	if left, err := a.ServerLeftovers(false); err != nil || len(left) > 0 {
		t.Errorf("the server's leftovers: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left, %v", err)
	}
	for _, sub := range []string{"runs", "unpublished", "server/jobs"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		for _, e := range entries {
			if e.Name() != ".workers" {
				t.Errorf("left: %s/%s", sub, e.Name())
			}
		}
	}
	containers, err := os.ReadDir(filepath.Join(dir, "containers"))
	for _, e := range containers {
		if e.IsDir() && strings.Contains(e.Name(), "-") {
			t.Errorf("left: containers/%s", e.Name())
		}
	}
	if err != nil {
		t.Error(err)
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d fs.DirEntry, err error) error { // others come and go meanwhile
		if id, _, _ := strings.Cut(filepath.Base(p), "-"); err == nil && r.mine(id) {
			t.Errorf("left: %s", p)
		}
		return nil
	})
}
