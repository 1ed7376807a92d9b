// Package enginetest is the conformance suite that every engine passes. It knows engines by their interface only; what an engine
// cannot do is told as data in Harness.
//
// The suite needs Debian's static busybox (package busybox-static) for engines that run images.
package enginetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/engine"
)

// Harness is one engine under test.
type Harness struct {
	Engine engine.Engine
	// Image holds what Command's answers run in.
	Image engine.Image
	// Command is how a Program is run in Image.
	Command func(Program) []string
	// Kernel tells that containers are processes of a Linux kernel, kept in by namespaces, and that Image has busybox: shell
	// commands run in it and the tests of isolation and limits apply.
	Kernel bool
	// OnlyRoot tells that containers have no user but root, as this machine grants the engine no more.
	OnlyRoot bool
	// Baseline returns what the engine has on the machine, one thing per line and sorted: processes, mounts, cgroups, folders,
	// namespaces. After any number of runs it is what it was. Nil means nothing can be left.
	Baseline func(t *testing.T) string
}

// Program is what a test container does, in this order.
type Program struct {
	Stdout, Stderr string // written as they are
	Env            string // name of a variable whose value is written to stdout
	Serve          int    // port on 127.0.0.1 where HTTP requests for "/" are answered with "served"
	// Until is "" to go on at once, "stop" to wait for the stop signal and handle it, or "killed" to wait without a handler. A
	// program that waits first writes "ready\n" to stdout.
	Until string
	Exit  int
}

// Factory makes a fresh engine for one test.
type Factory func(t *testing.T) Harness

// Run runs the whole suite.
func Run(t *testing.T, f Factory) {
	t.Run("Protocol", func(t *testing.T) { protocol(t, f) })
	t.Run("Kernel", func(t *testing.T) { isolation(t, f) })
}

// timeout bounds every wait of the suite: a hang is a failure with a stack, not a lost build.
const timeout = 2 * time.Minute

// suite is one test's view of a harness.
type suite struct {
	*testing.T
	Harness
	ctx context.Context
}

func newSuite(t *testing.T, f Factory) *suite {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	return &suite{T: t, Harness: f(t), ctx: ctx}
}

// spec describes a container that runs args.
func (s *suite) spec(args ...string) engine.Spec {
	return engine.Spec{
		ID:      "t-" + strings.ToLower(rand.Text()),
		Image:   s.Image,
		Process: engine.Process{Args: args},
	}
}

func (s *suite) program(p Program) engine.Spec { return s.spec(s.Command(p)...) }

func (s *suite) shell(script string) engine.Spec { return s.spec("sh", "-c", script) }

// start starts a container that is removed when the test ends.
func (s *suite) start(spec engine.Spec) engine.Handle {
	s.Helper()
	h, err := s.Engine.Start(s.ctx, spec)
	if err != nil {
		s.Fatalf("Start: %v", err)
	}
	s.Cleanup(func() {
		if err := s.Engine.Remove(context.Background(), h); err != nil {
			s.Errorf("Remove: %v", err)
		}
	})
	return h
}

func (s *suite) wait(h engine.Handle) engine.Exit {
	s.Helper()
	exit, err := s.Engine.Wait(s.ctx, h)
	if err != nil {
		s.Fatalf("Wait: %v", err)
	}
	return exit
}

// run starts a container and waits for its end. It returns what it wrote.
func (s *suite) run(spec engine.Spec) (exit engine.Exit, stdout, stderr string) {
	s.Helper()
	h := s.start(spec)
	exit = s.wait(h)
	stdout, stderr = s.logs(h)
	return exit, stdout, stderr
}

// output runs a container that must end well, and returns what it wrote to stdout.
func (s *suite) output(spec engine.Spec) string {
	s.Helper()
	exit, stdout, stderr := s.run(spec)
	if exit.Code != 0 {
		s.Fatalf("exit code %d (%+v)\nstdout: %s\nstderr: %s", exit.Code, exit, stdout, stderr)
	}
	return stdout
}

func (s *suite) logs(h engine.Handle) (stdout, stderr string) {
	s.Helper()
	r, err := s.Engine.Logs(s.ctx, h, false)
	if err != nil {
		s.Fatalf("Logs: %v", err)
	}
	defer r.Close()
	var out, errs bytes.Buffer
	for l := engine.NewLogReader(r); ; {
		f, err := l.Next()
		if err == io.EOF {
			return out.String(), errs.String()
		}
		if err != nil {
			s.Fatalf("reading the log: %v", err)
		}
		if f.Stream == engine.Stdout {
			out.Write(f.Data)
		} else {
			errs.Write(f.Data)
		}
	}
}

// ready waits until the container has written "ready\n".
func (s *suite) ready(h engine.Handle) {
	s.Helper()
	r, err := s.Engine.Logs(s.ctx, h, true)
	if err != nil {
		s.Fatalf("Logs: %v", err)
	}
	defer r.Close()
	var seen []byte
	for l := engine.NewLogReader(r); !bytes.Contains(seen, []byte("ready\n")); {
		f, err := l.Next()
		if err != nil {
			s.Fatalf("the log ended before the program was ready: %v; it said %q", err, seen)
		}
		seen = append(seen, f.Data...)
	}
}

// refused starts a container that cannot start, and returns the error, which must be a *engine.StartError of a kind.
func (s *suite) refused(spec engine.Spec, kind string) error {
	s.Helper()
	h, err := s.Engine.Start(s.ctx, spec)
	if err == nil {
		s.Engine.Remove(s.ctx, h)
		s.Fatalf("Start(%v) succeeded", spec.Process.Args)
	}
	var start *engine.StartError
	if !errors.As(err, &start) || start.Kind != kind {
		s.Fatalf("Start(%v): %v (%T), want a *engine.StartError of kind %q", spec.Process.Args, err, err, kind)
	}
	return err
}

// busybox is where Debian's package busybox-static puts it.
const busybox = "/bin/busybox"

// BusyboxLayer makes an image layer with busybox and its commands.
func BusyboxLayer(t testing.TB) string {
	t.Helper()
	body, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatalf("the tests of engines need a static busybox: install Debian's package busybox-static (%v)", err)
	}
	layer := t.TempDir()
	if err := os.Chmod(layer, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, mode os.FileMode, body []byte) {
		path := filepath.Join(layer, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("bin/busybox", 0o755, body)
	write("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1001:1002:An app:/home/app:/bin/sh\n"))
	write("etc/group", 0o644, []byte("root:x:0:\napp:x:1002:\nextra:x:1003:app\n"))
	write("bin/script", 0o755, []byte("#!/bin/sh\necho script \"$@\"\n"))
	write("bin/badscript", 0o755, []byte("#!/bin/nothing\n"))
	write("bin/notexec", 0o644, []byte("#!/bin/sh\n"))
	for _, name := range strings.Fields("sh cat echo true false sleep head yes id env pwd ls ln mkdir rm touch chmod chown stat dd nc httpd kill grep mount umount hostname seq wget tail setsid unshare wc ps ip readlink sync tr test timeout") {
		if err := os.Symlink("busybox", filepath.Join(layer, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(layer, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(layer, "tmp"), 0o1777); err != nil {
		t.Fatal(err)
	}
	return layer
}

// Shell is Harness.Command for images with BusyboxLayer.
func Shell(p Program) []string {
	var b strings.Builder
	if p.Until == "stop" {
		b.WriteString("trap 'exit " + itoa(p.Exit) + "' TERM\n")
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	if p.Stdout != "" {
		b.WriteString("echo -n " + quote(p.Stdout) + "\n")
	}
	if p.Stderr != "" {
		b.WriteString("echo -n " + quote(p.Stderr) + " >&2\n")
	}
	if p.Env != "" {
		b.WriteString("echo -n \"$" + p.Env + "\"\n")
	}
	if p.Serve != 0 {
		b.WriteString("mkdir /tmp/www; echo -n served >/tmp/www/index.html; httpd -p 127.0.0.1:" + itoa(p.Serve) + " -h /tmp/www || exit 99\n")
	}
	if p.Until != "" {
		b.WriteString("echo ready\nsleep 1000 & wait\n")
	}
	b.WriteString("exit " + itoa(p.Exit))
	return []string{"sh", "-c", b.String()}
}
