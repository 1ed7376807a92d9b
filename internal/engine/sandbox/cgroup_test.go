package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"longshore/internal/engine"
)

// folders makes a stand-in for a cgroup tree: folders with the files of a cgroup, to look at what is written.
func folders(t *testing.T, files map[string]string) string {
	t.Helper()
	top := t.TempDir()
	for name, text := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOpenV2: the engine's folder is made as high as possible, and gets the controllers.
func TestOpenV2(t *testing.T) {
	top := folders(t, map[string]string{
		"cgroup.controllers":                   "cpuset cpu io memory pids",
		"cgroup.subtree_control":               "cpu memory pids",
		"longshore/cgroup.subtree_control":     "cpu",
		"user.slice/cgroup.controllers":        "memory pids",
		"user.slice/cgroup.subtree_control":    "",
		"user.slice/s.scope/cgroup.procs":      "1",
		"user.slice/s.scope/cgroup.controller": "",
	})
	h, err := openV2(cgroupMount{path: top, root: "/", version: 2}, "/user.slice/s.scope")
	if err != nil {
		t.Fatal(err)
	}
	if h.parent != filepath.Join(top, "longshore") || !h.controllers["memory"] || !h.controllers["pids"] || !h.controllers["cpu"] || h.version != 2 {
		t.Errorf("%+v", h)
	}
	got := strings.Fields(read(t, filepath.Join(h.parent, "cgroup.subtree_control")))
	slices.Sort(got)
	if !slices.Equal(got, []string{"+memory", "+pids"}) {
		t.Errorf("enabled %q", got)
	}
}

// TestOpenHybrid: a version 2 tree without controllers is of no use.
func TestOpenHybrid(t *testing.T) {
	top := folders(t, map[string]string{"cgroup.controllers": "", "cgroup.subtree_control": ""})
	if h, err := openV2(cgroupMount{path: top, root: "/", version: 2}, "/"); h != nil || err != nil {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestLimitsV2: what is written to and read from a version 2 cgroup.
func TestLimitsV2(t *testing.T) {
	top := folders(t, map[string]string{
		"c/memory.max": "max", "c/memory.swap.max": "max", "c/pids.max": "max", "c/cpu.max": "max 100000",
		"c/memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n",
		"c/memory.peak":   "1048576\n",
		"c/pids.events":   "max 3\n",
		"c/cpu.stat":      "usage_usec 1500000\nuser_usec 1\n",
	})
	h := &hierarchy{parent: top, version: 2, controllers: map[string]bool{"memory": true, "pids": true, "cpu": true, "cpuacct": true}}
	c := &cgroup{name: "c", by: map[string]*hierarchy{"memory": h, "pids": h, "cpu": h, "cpuacct": h}}
	c.apply(engine.Limits{Memory: 1 << 20, MilliCPU: 1500, Pids: 7})
	for file, want := range map[string]string{"memory.max": "1048576", "memory.swap.max": "0", "pids.max": "7", "cpu.max": "150000 100000"} {
		// Files of a real cgroup are replaced by a write; these stand-ins keep the rest of what was longer.
		if got := read(t, filepath.Join(top, "c", file)); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	if len(c.unenforced) > 0 {
		t.Errorf("unenforced: %v", c.unenforced)
	}
	if u := c.usage(); u.CPU != 1500*time.Millisecond || u.PeakMemory != 1<<20 || !c.oomKilled() || !c.pidsHit() {
		t.Errorf("%+v, %v, %v", u, c.oomKilled(), c.pidsHit())
	}
	c.abandon("no way")
	if len(c.unenforced) != 3 || c.by["memory"] != nil {
		t.Errorf("after giving up: %v", c.unenforced)
	}
}

// TestUnenforced: a limit that cannot be set is told.
func TestUnenforced(t *testing.T) {
	c := &cgroup{name: "c", by: map[string]*hierarchy{}}
	c.apply(engine.Limits{Memory: 1, MilliCPU: 1})
	if len(c.unenforced) != 3 { // There is always a limit of processes.
		t.Errorf("unenforced: %v", c.unenforced)
	}
}

func TestBelow(t *testing.T) {
	for _, test := range [][4]string{
		{"/sys/fs/cgroup/memory", "/", "/a/b", "/sys/fs/cgroup/memory/a/b"},
		{"/sys/fs/cgroup", "/docker/x", "/docker/x/y", "/sys/fs/cgroup/y"},
		{"/sys/fs/cgroup", "/docker/x", "/", "/sys/fs/cgroup"},
	} {
		if got := below(cgroupMount{path: test[0], root: test[1]}, test[2]); got != test[3] {
			t.Errorf("%v: %s", test, got)
		}
	}
}
