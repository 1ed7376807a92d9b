package script_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// served is the server of one story.
type served struct {
	home, address string
	cmd           *exec.Cmd
	gone          chan struct{} // closed once the process has ended
}

// serverKey is where a story keeps its server.
type serverKey struct{}

// server start [FLAG…] | kill | end: starts a server on $SERVER with a home of its own, which has the images of all stories, and
// waits until it is ready; $LINK is its one-time link. kill is SIGKILL, end SIGTERM; start then takes up what is there.
func server(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server start [FLAG…] | kill | end")
	}
	s, _ := ts.Value(serverKey{}).(*served)
	switch args[0] {
	case "start":
		s.start(ts, args[1:])
	case "kill":
		s.end(ts, syscall.SIGKILL)
	case "end":
		s.end(ts, syscall.SIGTERM)
	default:
		ts.Fatalf("server %s?", args[0])
	}
}

// prepare makes the home of a story's server, once.
func (s *served) prepare(ts *testscript.TestScript) {
	s.home = ts.MkAbs(".server")
	ts.Check(os.MkdirAll(s.home, 0o755))
	ts.Check(os.Symlink(filepath.Join(ts.Getenv("LONGSHORE_HOME"), "images"), filepath.Join(s.home, "images")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	s.address = l.Addr().String()
	ts.Check(l.Close())
	ts.Setenv("SERVER", "http://"+s.address)
	ts.Setenv("SERVER_HOME", s.home)
	ts.Defer(func() {
		if s.cmd != nil {
			s.end(ts, syscall.SIGKILL)
		}
		endWorkers(ts, s.home)
	})
}

func (s *served) start(ts *testscript.TestScript, flags []string) {
	first := s.home == ""
	if first {
		s.prepare(ts)
	}
	path, err := exec.LookPath("longshore")
	ts.Check(err)
	s.cmd = exec.Command(path, append([]string{"serve", "--home", s.home, "--listen", s.address, "--drain-timeout", "200ms"}, flags...)...)
	s.cmd.Dir = ts.MkAbs(".")
	output, err := s.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	s.gone = make(chan struct{})
	link := make(chan string, 1)
	go func() {
		defer close(s.gone)
		var told bytes.Buffer
		lines := bufio.NewScanner(io.TeeReader(output, &told))
		for lines.Scan() {
			if text := strings.TrimSpace(lines.Text()); strings.Contains(text, "/login?code=") {
				link <- text
			}
		}
		_ = s.cmd.Wait()
		_ = os.WriteFile(filepath.Join(s.home, "told"), told.Bytes(), 0o600)
	}()
	s.ready(ts)
	if first { // nobody has a token yet
		select {
		case text := <-link:
			ts.Setenv("LINK", text)
		case <-s.gone:
			ts.Fatalf("the server ended before it told how to get in")
		}
	}
}

// ready waits until the server takes runs.
func (s *served) ready(ts *testscript.TestScript) {
	for deadline := time.Now().Add(20 * time.Second); ; {
		res, err := http.Get("http://" + s.address + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-s.gone:
			told, _ := os.ReadFile(filepath.Join(s.home, "told"))
			ts.Fatalf("the server ended:\n%s", told)
		case <-time.After(20 * time.Millisecond): // between two looks
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the server is not ready: %v", err)
		}
	}
}

func (s *served) end(ts *testscript.TestScript, sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig) // it may have ended
	<-s.gone
	s.cmd = nil
	told, _ := os.ReadFile(filepath.Join(s.home, "told"))
	ts.Logf("the server told:\n%s", told)
}

// endWorkers ends the workers of a home, and waits for them.
func endWorkers(ts *testscript.TestScript, home string) {
	entries, err := os.ReadDir("/proc")
	ts.Check(err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !strings.Contains(string(line), "\x00worker\x00--home\x00"+home+"\x00") {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for syscall.Kill(pid, 0) == nil {
			state, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
			if err != nil || strings.Contains(string(state), ") Z ") {
				break
			}
			time.Sleep(10 * time.Millisecond) // between two looks
		}
	}
}

// fill NAME FILE: sets a variable to the content of a file, without blanks at its ends.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// until TEXT COMMAND…: repeats a command until its output has the text.
func until(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		c := exec.Command(args[1], args[2:]...)
		c.Dir = ts.MkAbs(".")
		c.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "XDG_CONFIG_HOME=")
		if out, _ := c.Output(); strings.Contains(string(out), args[0]) {
			return
		}
	}
	ts.Fatalf("%q never came", args[0])
}
