package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"longshore/internal/engine"
	"longshore/internal/engine/enginetest"
	"longshore/internal/engine/sandbox"
)

// ownerEnv makes this test program an owner that starts a container and is then killed: its value is Config.Dir, layer and the
// command, separated by tabs.
const ownerEnv = "LONGSHORE_TEST_OWNER"

func TestMain(m *testing.M) {
	if v := os.Getenv(ownerEnv); v != "" {
		own(strings.Split(v, "\t"))
	}
	goleak.VerifyTestMain(m)
}

func own(args []string) {
	e, err := sandbox.New(sandbox.Config{Dir: args[0]})
	if err != nil {
		panic(err)
	}
	h, err := e.Start(context.Background(), engine.Spec{
		ID:      "orphan",
		Image:   engine.Image{Layers: []string{args[1]}},
		Process: engine.Process{Args: args[2:], Capabilities: engine.CapDefault},
	})
	if err != nil {
		panic(err)
	}
	r, err := e.Logs(context.Background(), h, true)
	if err != nil {
		panic(err)
	}
	if _, err := engine.NewLogReader(r).Next(); err != nil { // It runs.
		panic(err)
	}
	fmt.Println(h.PID)
	select {}
}

// TestOwnerKilled: containers die with their owner, and what is left of them can be found and swept.
func TestOwnerKilled(t *testing.T) {
	layer := enginetest.BusyboxLayer(t)
	if err := os.Symlink("busybox", filepath.Join(layer, "bin", "su")); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for name, test := range map[string]struct {
		command []string
		// survives: the program forgets that it is to die with its parent, as every change of user does.
		survives bool
	}{
		"dies":     {command: []string{"sh", "-c", "echo ready; exec sleep 1000"}},
		"survives": {command: []string{"su", "-s", "/bin/sh", "app", "-c", "echo ready; exec sleep 1000"}, survives: true},
	} {
		t.Run(name, func(t *testing.T) {
			if test.survives && sandbox.OnlyRoot() {
				t.Skip("containers have no user but root here")
			}
			dir := filepath.Join(t.TempDir(), "run")
			pid := crash(t, append([]string{dir, layer}, test.command...))
			fd, err := unix.PidfdOpen(pid, 0)
			if err == nil {
				defer unix.Close(fd)
				if !test.survives {
					ended(t, fd)
				}
			} else if err != unix.ESRCH || test.survives {
				t.Fatal(err)
			}

			e, err := sandbox.New(sandbox.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			left, err := e.Leftovers(ctx)
			if err != nil {
				t.Fatal(err)
			}
			kinds := map[string]int{}
			for _, l := range left {
				kinds[l.Kind]++
				if l.ID != "orphan" {
					t.Errorf("%+v", l)
				}
			}
			if kinds["folder"] != 1 || (kinds["process"] == 1) != test.survives || (kinds["cgroup"] == 0) != (os.Geteuid() != 0) {
				t.Errorf("leftovers: %+v", left)
			}
			if swept, err := e.Sweep(ctx); err != nil || !slices.Equal(swept, left) {
				t.Errorf("swept %+v, %v", swept, err)
			}
			if left, err := e.Leftovers(ctx); err != nil || len(left) > 0 {
				t.Errorf("after the sweep: %+v, %v", left, err)
			}
			for _, l := range left {
				if l.Kind != "process" {
					if _, err := os.Stat(l.Name); !os.IsNotExist(err) {
						t.Errorf("%s is still there: %v", l.Name, err)
					}
				}
			}
			if test.survives {
				ended(t, fd)
			}
		})
	}
}

// crash runs an owner, kills it when its container runs, and returns the container's main process.
func crash(t *testing.T, args []string) (pid int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ownerEnv+"="+strings.Join(args, "\t"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	return pid
}

// ended waits for the end of a process.
func ended(t *testing.T, fd int) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 30_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != 1 {
			t.Fatalf("the container lives on: %v", err)
		}
		return
	}
}

// TestRemoveForeign: one process does not remove the containers of another that is alive, and does those of a dead one.
func TestRemoveForeign(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "run")
	crash(t, []string{dir, enginetest.BusyboxLayer(t), "sh", "-c", "echo ready; exec sleep 1000"})
	e, err := sandbox.New(sandbox.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Remove(ctx, engine.Handle{ID: "orphan"}); err != nil {
			t.Error(err)
		}
	}
	if left, err := e.Leftovers(ctx); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}

	alive := filepath.Join(dir, "alive")
	if err := os.Mkdir(alive, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(alive, "state.json"), fmt.Appendf(nil, `{"ID":"alive","Owner":{"PID":1,"Start":%d}}`, sandbox.StartOf(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(ctx, engine.Handle{ID: "alive"}); err == nil || !strings.Contains(err.Error(), "process 1") {
		t.Errorf("removing another process's container: %v", err)
	}
	if left, err := e.Leftovers(ctx); err != nil || len(left) > 0 {
		t.Errorf("another process's container is left over: %v, %v", left, err)
	}
}

func TestInspect(t *testing.T) {
	e := newEngine(t)
	for _, c := range e.Inspect(context.Background()) {
		if c.Detail == "" || !c.OK && c.Mend == "" {
			t.Errorf("%+v tells too little", c)
		}
		if !c.OK && !c.Optional {
			t.Errorf("%s: %s; %s", c.Name, c.Detail, c.Mend)
		}
	}
	if left, err := e.Leftovers(context.Background()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestNew: making an engine touches nothing.
func TestNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := sandbox.New(sandbox.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("New made %s: %v", dir, err)
	}
	if _, err := sandbox.New(sandbox.Config{Dir: "relative"}); err == nil {
		t.Error("a relative Config.Dir was taken")
	}
}
