package script_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/app"
	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/task"
)

// machine is what runs could leave behind on it.
type machine struct {
	Mounts, Files, Processes int
	Folders                  []string
}

// look takes stock. Mounts are those that show or lie below home, Files this process's open descriptors, Processes its
// children: a namespace lives only as long as a process, a descriptor or a mount holds it, so none is left when those are not.
// Other tests run on the machine at the same time, so only what is this process's counts.
func look(t *testing.T, home string) machine {
	t.Helper()
	var m machine
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	m.Mounts = strings.Count(string(mounts), home)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	m.Files = len(files)
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	me := fmt.Sprintf("PPid:\t%d\n", os.Getpid())
	for _, p := range processes {
		if status, err := os.ReadFile(p + "/status"); err == nil && strings.Contains(string(status), me) {
			m.Processes++
		}
	}
	for _, dir := range []string{"runs", "containers"} {
		entries, err := os.ReadDir(filepath.Join(home, dir))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "_") { // what the engine shares between containers
				m.Folders = append(m.Folders, dir+"/"+e.Name())
			}
		}
	}
	temporary, err := filepath.Glob(filepath.Join(os.TempDir(), "longshore-*"))
	if err != nil {
		t.Fatal(err)
	}
	m.Folders = append(m.Folders, temporary...)
	return m
}

// cgroupsOf lists the cgroups whose name holds one of the runs' ids.
func cgroupsOf(t *testing.T, ids []string) []string {
	t.Helper()
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	var left []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return nil // groups of others vanish while we look
		}
		id, _, _ := strings.Cut(e.Name(), ".")
		if e.IsDir() && wanted[id] {
			left = append(left, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// canceller cancels a run once it has printed something.
type canceller struct{ cancel context.CancelFunc }

func (canceller) Moved(string, task.State)       {}
func (canceller) Warned(string)                  {}
func (c canceller) Logged(engine.Stream, []byte) { c.cancel() }

// TestBaseline makes a thousand runs of all kinds (a hundred with -short), and finds the machine as it was.
func TestBaseline(t *testing.T) {
	home := t.TempDir()
	importBusybox(t, home)
	t.Setenv("TMPDIR", t.TempDir())
	a, err := app.New(app.Config{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	open := func(dir string) *app.Package {
		p, err := a.Open(t.Context(), dir, app.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		if err := p.Valid(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	files, http := open(filesPackage(t)), open("../../examples/meca/echo")
	script := func(s string) task.Request {
		return task.Request{Inputs: map[string]task.Given{"script": task.GivenText(s)}}
	}
	body := task.Request{Body: &task.Body{Text: `{"a": 1}`}}
	limited := func(r task.Request, memory task.Bytes) task.Request {
		r.Resources.Memory = memory
		return r
	}
	kinds := []struct {
		name string
		pkg  *app.Package
		req  task.Request
		run  time.Duration
		stop bool
		want string // state, or the reason of the failure
	}{
		{"success", files, script("echo 1 > /outputs/answer"), 0, false, "succeeded"},
		{"failure", files, script("exit 3"), 0, false, "exit"},
		{"killed", files, script("sh -c 'kill -9 $$'; exit $?"), 0, false, "exit"},
		{"no output", files, script("true"), 0, false, "output"},
		{"link", files, script("ln -s / /outputs/answer"), 0, false, "output"},
		{"out of memory", files, limited(script("head -c 60000000 /dev/zero | tail"), 16<<20), 0, false, "oom"},
		{"too slow", files, script("sleep 100"), 30 * time.Millisecond, false, "timeout"},
		{"orphans", files, script("sleep 100 & sleep 100 & echo 1 > /outputs/answer"), 0, false, "succeeded"},
		{"cancelled", files, script("echo x; sleep 100"), 0, true, "cancelled"},
		{"wrong input", files, task.Request{}, 0, false, "input"},
		{"answered", http, body, 0, false, "succeeded"},
		{"http cancelled", http, body, 0, true, ""},
	}
	d := a.Dispatcher()
	var ids []string
	round := func() {
		for _, k := range kinds {
			ctx, cancel := context.WithCancel(t.Context())
			job := dispatch.Job{Contract: k.pkg.Contract, Source: k.pkg.Source, Task: k.pkg.Task, Request: k.req, Timeouts: task.Timeouts{Run: k.run, Stop: 100 * time.Millisecond}}
			if k.stop {
				job.Observe = canceller{cancel}
			}
			res, err := d.Run(ctx, job)
			cancel()
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			ids = append(ids, res.ID)
			got := string(res.State)
			if res.State == task.Failed {
				got = string(res.Reason)
			}
			if k.want != "" && got != k.want {
				t.Fatalf("%s: %s, want %s: %+v", k.name, got, k.want, res.Failure)
			}
		}
	}
	round() // what is made once and stays
	before := look(t, home)
	rounds := 1000/len(kinds) + 1
	if testing.Short() {
		rounds = 100/len(kinds) + 1
	}
	for range rounds {
		round()
	}
	after := look(t, home)
	slices.Sort(before.Folders)
	slices.Sort(after.Folders)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("after %d runs: %s", len(ids), diff)
	}
	if left := cgroupsOf(t, ids); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
}

// filesPackage writes a package whose container does what its input says.
func filesPackage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"Dockerfile": "FROM busybox\nENTRYPOINT [\"/bin/sh\", \"/inputs/script\"]\n",
		"descriptor.yml": `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: baseline
name_short: baseline
namespace: com.example.baseline
version: 1.0.0
authors:
  - {first_name: Test, last_name: Author, organization: Example, email: test@example.com, is_contact: true}
configuration:
  input_folder: /inputs
  output_folder: /outputs
inputs:
  script: {display_name: Script, description: what to do, type: string}
outputs:
  answer: {display_name: Answer, description: a number, type: integer}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
