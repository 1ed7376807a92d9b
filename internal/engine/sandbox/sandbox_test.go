package sandbox_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"longshore/internal/engine"
	"longshore/internal/engine/enginetest"
	"longshore/internal/engine/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	list = append(list, "mounts "+string(mounts))
	folders, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, f := range folders {
		list = append(list, "folder "+f.Name())
	}
	// Children of this process, and processes in network or PID namespaces of their own that descend from them.
	own := children(t, os.Getpid())
	list = append(list, own...)
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, "/longshore/") && strings.HasSuffix(path, sandbox.CgroupSuffix(dir)) {
			list = append(list, "cgroup "+path)
		}
		return nil
	})
	slices.Sort(list)
	return strings.Join(list, "\n")
}

func children(t *testing.T, pid int) []string {
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
