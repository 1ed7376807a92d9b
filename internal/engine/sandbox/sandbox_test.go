package sandbox_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longshore/internal/engine"
	"longshore/internal/engine/enginetest"
	"longshore/internal/engine/sandbox"
)

func newEngine(t testing.TB) *sandbox.Engine {
	t.Helper()
	e, err := sandbox.New(sandbox.Config{Dir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEngine(t *testing.T) {
	layer := enginetest.BusyboxLayer(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Harness {
		dir := filepath.Join(t.TempDir(), "run")
		e, err := sandbox.New(sandbox.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return enginetest.Harness{
			Engine:   e,
			Image:    engine.Image{Reference: "busybox", Layers: []string{layer}},
			Command:  enginetest.Shell,
			Kernel:   true,
			OnlyRoot: sandbox.OnlyRoot(),
			Baseline: func(t *testing.T) string { return machine(t, dir) },
		}
	})
}

// machine lists what containers of this test could leave behind.
func machine(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) { // others mount and unmount what they like meanwhile
			list = append(list, "mount "+line)
		}
	}
	folders, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, f := range folders {
		if strings.HasPrefix(f.Name(), "_") {
			continue // Kept for the next containers.
		}
		list = append(list, "folder "+f.Name())
	}
	list = append(list, children(t)...)
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, "/longshore/") && strings.HasSuffix(path, sandbox.CgroupSuffix(dir)) {
			list = append(list, "cgroup "+path)
		}
		return nil
	})
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// children lists this process's children: every container is one, and the rest of it hangs from that.
func children(t *testing.T) []string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // A thread that ended.
		}
		for _, child := range strings.Fields(string(b)) {
			list = append(list, "process "+child)
		}
	}
	return list
}
