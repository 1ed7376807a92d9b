package fake_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"longshore/internal/engine"
	"longshore/internal/engine/enginetest"
	"longshore/internal/engine/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Harness {
		return enginetest.Harness{Engine: fake.New(fake.Config{}), Command: command}
	})
}

// command writes a program in the fake's language.
func command(p enginetest.Program) []string {
	args := []string{"fake"}
	if p.Stdout != "" {
		args = append(args, "stdout="+p.Stdout)
	}
	if p.Stderr != "" {
		args = append(args, "stderr="+p.Stderr)
	}
	if p.Env != "" {
		args = append(args, "env="+p.Env)
	}
	if p.Serve != 0 {
		args = append(args, "serve="+strconv.Itoa(p.Serve))
	}
	if p.Until != "" {
		args = append(args, "stdout=ready\n", map[string]string{"stop": "sleep-until-stop", "killed": "ignore-stop"}[p.Until])
	}
	return append(args, "exit="+strconv.Itoa(p.Exit))
}

func TestWords(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(in, "x"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	mounts := []engine.Mount{{Source: in, Target: "/in", ReadOnly: true}, {Source: out, Target: "/out"}}
	for name, test := range map[string]struct {
		words []string
		want  engine.Exit
	}{
		"nothing":  {nil, engine.Exit{}},
		"copy":     {[]string{"copy=/in/x=/out/deep/y"}, engine.Exit{}},
		"write":    {[]string{"write=/out/z=a=b"}, engine.Exit{}},
		"readonly": {[]string{"write=/in/z=a"}, engine.Exit{Code: 2}},
		"escape":   {[]string{"write=/out/../z=a"}, engine.Exit{Code: 2}},
		"oom":      {[]string{"oom"}, engine.Exit{Code: 137, Signal: 9, OOM: true}},
		"pids":     {[]string{"pids"}, engine.Exit{Code: 1, PidsExceeded: true}},
		"disk":     {[]string{"disk"}, engine.Exit{Code: 137, Signal: 9, DiskExceeded: true}},
		"signal":   {[]string{"signal=11"}, engine.Exit{Code: 139, Signal: 11}},
		"wrong":    {[]string{"dance"}, engine.Exit{Code: 2}},
		"released": {[]string{"wait=go", "exit=5"}, engine.Exit{Code: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			e := fake.New(fake.Config{})
			ctx := context.Background()
			h, err := e.Start(ctx, engine.Spec{ID: "a", Process: engine.Process{Args: append([]string{"fake"}, test.words...)}, Mounts: mounts})
			if err != nil {
				t.Fatal(err)
			}
			e.Release("go")
			got, err := e.Wait(ctx, h)
			if err != nil {
				t.Fatal(err)
			}
			got.EndedAt, got.Usage = test.want.EndedAt, test.want.Usage
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
			if len(e.Problems()) != 1 {
				t.Errorf("a container that was not removed is no problem: %v", e.Problems())
			}
			if err := e.Remove(ctx, h); err != nil {
				t.Error(err)
			}
			if p := e.Problems(); len(p) > 0 {
				t.Errorf("problems: %v", p)
			}
		})
	}
	for name, want := range map[string]string{"deep/y": "content", "z": "a=b"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}

func TestProblems(t *testing.T) {
	e := fake.New(fake.Config{})
	ctx := context.Background()
	h, err := e.Start(ctx, engine.Spec{ID: "a", Process: engine.Process{Args: []string{"fake"}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Logs(ctx, h, true) // Its end is the container's.
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.NewLogReader(r).Next(); err == nil {
		t.Fatal("it said something")
	}
	if err := e.Stop(ctx, h, 1); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(ctx, h); err != nil {
		t.Fatal(err)
	}
	if p := e.Problems(); len(p) != 1 {
		t.Errorf("problems: %v", p)
	}
}
