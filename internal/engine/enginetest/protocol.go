package enginetest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"longshore/internal/engine"
)

func itoa(n int) string { return strconv.Itoa(n) }

// protocol tests what holds for every engine: results, order of calls, logs, ends.
func protocol(t *testing.T, f Factory) {
	for name, test := range map[string]func(*suite){
		"ExitCodes":      exitCodes,
		"Streams":        streams,
		"Environment":    environment,
		"NotFound":       notFound,
		"UseOfID":        useOfID,
		"Unknown":        unknown,
		"Order":          order,
		"StopHandled":    stopHandled,
		"StopUnhandled":  stopUnhandled,
		"StopEnded":      stopEnded,
		"RemoveRunning":  removeRunning,
		"StartCancelled": startCancelled,
		"StartGivenUp":   startGivenUp,
		"WaitCancelled":  waitCancelled,
		"Follow":         follow,
		"FollowClosed":   followClosed,
		"LogLimit":       logLimit,
		"LogMark":        logMark,
		"Dial":           dial,
		"DialRefused":    dialRefused,
		"Concurrent":     concurrent,
	} {
		t.Run(name, func(t *testing.T) { test(newSuite(t, f)) })
	}
}

func exitCodes(s *suite) {
	for _, code := range []int{0, 1, 3, 137, 255} {
		exit, _, stderr := s.run(s.program(Program{Exit: code}))
		if exit.Code != code || exit.Signal != 0 || exit.OOM || exit.Stopped {
			s.Errorf("a program that exits with %d: %+v %s", code, exit, stderr)
		}
		if exit.EndedAt.IsZero() {
			s.Error("EndedAt is not set")
		}
	}
}

func streams(s *suite) {
	exit, stdout, stderr := s.run(s.program(Program{Stdout: "to stdout\n", Stderr: "to stderr, no line end", Exit: 4}))
	if stdout != "to stdout\n" || stderr != "to stderr, no line end" || exit.Code != 4 {
		s.Errorf("stdout %q, stderr %q, %+v", stdout, stderr, exit)
	}
}

func environment(s *suite) {
	spec := s.program(Program{Env: "GREETING"})
	spec.Process.Env = []string{"GREETING=hello world"}
	if got := s.output(spec); got != "hello world" {
		s.Errorf("GREETING is %q", got)
	}
	if got := s.output(s.program(Program{Env: "PATH"})); got == "" {
		s.Error("PATH is not set")
	}
	spec = s.program(Program{Env: "HOSTNAME"})
	spec.Hostname = "ship"
	if got := s.output(spec); got != "ship" {
		s.Errorf("HOSTNAME is %q", got)
	}
}

func notFound(s *suite) {
	err := s.refused(s.spec("no-such-command"), "command")
	if !strings.Contains(err.Error(), "no-such-command") || !strings.Contains(err.Error(), "PATH") {
		s.Errorf("the error does not name the command and the PATH: %v", err)
	}
	s.refused(s.spec("/no/such/command"), "command")
	s.refused(s.spec(), "command")
}

// useOfID: an ID is free again after a failed start and after Remove, not before.
func useOfID(s *suite) {
	spec := s.spec("no-such-command")
	s.refused(spec, "command")
	spec.Process.Args = s.Command(Program{Until: "killed"})
	h := s.start(spec)
	if _, err := s.Engine.Start(s.ctx, spec); err == nil {
		s.Error("an ID was used twice")
	}
	s.ready(h)
	if err := s.Engine.Remove(s.ctx, h); err != nil {
		s.Fatal(err)
	}
	spec.Process.Args = s.Command(Program{Stdout: "again"})
	if got := s.output(spec); got != "again" {
		s.Errorf("the second use of an ID wrote %q", got)
	}
	for _, id := range []string{"", "../up", "Upper", "a/b", strings.Repeat("x", 65)} {
		spec.ID = id
		if h, err := s.Engine.Start(s.ctx, spec); err == nil {
			s.Engine.Remove(s.ctx, h)
			s.Errorf("the ID %q was taken", id)
		}
	}
}

func unknown(s *suite) {
	h := engine.Handle{ID: "never-started", Engine: s.Engine.Name()}
	if _, err := s.Engine.Wait(s.ctx, h); !errors.Is(err, engine.ErrUnknown) {
		s.Errorf("Wait: %v", err)
	}
	if _, err := s.Engine.Logs(s.ctx, h, false); !errors.Is(err, engine.ErrUnknown) {
		s.Errorf("Logs: %v", err)
	}
	if err := s.Engine.Stop(s.ctx, h, 0); !errors.Is(err, engine.ErrUnknown) {
		s.Errorf("Stop: %v", err)
	}
	if err := s.Engine.Remove(s.ctx, h); err != nil {
		s.Errorf("Remove: %v", err)
	}
}

// order: Wait and Logs answer the same any number of times until Remove, and Remove is safe twice.
func order(s *suite) {
	h := s.start(s.program(Program{Stdout: "kept", Exit: 2}))
	first := s.wait(h)
	for range 2 {
		if again := s.wait(h); !again.EndedAt.Equal(first.EndedAt) || again.Code != first.Code {
			s.Errorf("Wait answered %+v and then %+v", first, again)
		}
		if out, _ := s.logs(h); out != "kept" {
			s.Errorf("the log is %q", out)
		}
	}
	for range 2 {
		if err := s.Engine.Remove(s.ctx, h); err != nil {
			s.Errorf("Remove: %v", err)
		}
	}
	if _, err := s.Engine.Wait(s.ctx, h); !errors.Is(err, engine.ErrUnknown) {
		s.Errorf("Wait after Remove: %v", err)
	}
}

func stopHandled(s *suite) {
	h := s.start(s.program(Program{Until: "stop", Exit: 7}))
	s.ready(h)
	if err := s.Engine.Stop(s.ctx, h, time.Minute); err != nil {
		s.Fatal(err)
	}
	if exit := s.wait(h); exit.Code != 7 || exit.Signal != 0 || !exit.Stopped {
		s.Errorf("a program that handles the signal: %+v", exit)
	}
}

func stopUnhandled(s *suite) {
	h := s.start(s.program(Program{Until: "killed", Exit: 7}))
	s.ready(h)
	if err := s.Engine.Stop(s.ctx, h, 50*time.Millisecond); err != nil {
		s.Fatal(err)
	}
	if exit := s.wait(h); exit.Code != 137 || exit.Signal != int(syscall.SIGKILL) || !exit.Stopped || exit.OOM {
		s.Errorf("a program that does not handle the signal: %+v", exit)
	}
}

func stopEnded(s *suite) {
	h := s.start(s.program(Program{Exit: 1}))
	s.wait(h)
	for range 2 {
		if err := s.Engine.Stop(s.ctx, h, time.Minute); err != nil {
			s.Errorf("Stop: %v", err)
		}
	}
	if exit := s.wait(h); exit.Code != 1 || exit.Stopped {
		s.Errorf("after stopping what had ended: %+v", exit)
	}
}

func removeRunning(s *suite) {
	h := s.start(s.program(Program{Until: "killed"}))
	s.ready(h)
	waited := make(chan engine.Exit, 1)
	go func() {
		exit, _ := s.Engine.Wait(s.ctx, h)
		waited <- exit
	}()
	if err := s.Engine.Remove(s.ctx, h); err != nil {
		s.Fatal(err)
	}
	// The wait may begin before or after the removal.
	if exit := <-waited; exit.Code != 0 && (exit.Code != 137 || !exit.Stopped) {
		s.Errorf("a container removed while it ran: %+v", exit)
	}
}

func startCancelled(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	spec := s.program(Program{})
	if _, err := s.Engine.Start(ctx, spec); !errors.Is(err, context.Canceled) {
		s.Errorf("Start with a cancelled context: %v", err)
	}
	s.output(spec) // The ID is free.

	// The context bounds the start only.
	ctx, cancel = context.WithCancel(s.ctx)
	h, err := s.Engine.Start(ctx, s.program(Program{Until: "stop", Exit: 5}))
	cancel()
	if err != nil {
		s.Fatal(err)
	}
	defer s.Engine.Remove(s.ctx, h)
	s.ready(h)
	if err := s.Engine.Stop(s.ctx, h, time.Minute); err != nil {
		s.Fatal(err)
	}
	if exit := s.wait(h); exit.Code != 5 {
		s.Errorf("after the start's context ended: %+v", exit)
	}
}

// startGivenUp: whenever a start is given up, nothing is left of it.
func startGivenUp(s *suite) {
	s.output(s.program(Program{Stdout: "x"})) // What is made once and kept.
	s.unchanged(func() {
		for i := range 60 {
			ctx, cancel := context.WithTimeout(s.ctx, time.Duration(i)*100*time.Microsecond)
			h, err := s.Engine.Start(ctx, s.program(Program{Until: "killed"}))
			cancel()
			if err == nil {
				if err := s.Engine.Remove(s.ctx, h); err != nil {
					s.Error(err)
				}
			} else if !errors.Is(err, context.DeadlineExceeded) {
				s.Errorf("a start given up after %d00 µs: %v", i, err)
			}
		}
	})
}

func waitCancelled(s *suite) {
	h := s.start(s.program(Program{Until: "killed"}))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Engine.Wait(ctx, h); !errors.Is(err, context.Canceled) {
		s.Errorf("Wait with a cancelled context: %v", err)
	}
}

// follow: readers that follow see everything and then the end, whenever they began.
func follow(s *suite) {
	h := s.start(s.program(Program{Stdout: "first\n", Until: "stop", Exit: 3}))
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			r, err := s.Engine.Logs(s.ctx, h, true)
			if err != nil {
				s.Errorf("Logs: %v", err)
				return
			}
			defer r.Close()
			var text []byte
			for l := engine.NewLogReader(r); ; {
				f, err := l.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					s.Errorf("reading the log: %v", err)
					return
				}
				text = append(text, f.Data...)
			}
			if string(text) != "first\nready\n" {
				s.Errorf("a follower read %q", text)
			}
		})
	}
	s.ready(h)
	if err := s.Engine.Stop(s.ctx, h, time.Minute); err != nil {
		s.Error(err)
	}
	readers.Wait()
}

// followClosed: closing a reader ends its Read.
func followClosed(s *suite) {
	h := s.start(s.program(Program{Until: "killed"}))
	s.ready(h)
	r, err := s.Engine.Logs(s.ctx, h, true)
	if err != nil {
		s.Fatal(err)
	}
	begun := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		l := engine.NewLogReader(r)
		_, err := l.Next() // "ready"
		close(begun)
		for err == nil {
			_, err = l.Next()
		}
		ended <- err
	}()
	<-begun
	if err := r.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	select {
	case err := <-ended:
		if err == nil || err == io.EOF {
			s.Errorf("a read of a closed reader: %v", err)
		}
	case <-s.ctx.Done():
		s.Error("Close did not end the Read")
	}
}

func logLimit(s *suite) {
	spec := s.program(Program{Stdout: strings.Repeat("x", 5000), Stderr: strings.Repeat("y", 5000)})
	spec.LogLimit = 6000
	h := s.start(spec)
	exit := s.wait(h)
	stdout, stderr := s.logs(h)
	if kept := len(stdout) + len(stderr); kept != 6000 || exit.LogDropped != 4000 || exit.Code != 0 {
		s.Errorf("kept %d, dropped %d, want 6000 and 4000", kept, exit.LogDropped)
	}
}

// logMark: what somebody waits for is kept in a full log, once for each stream, also when it begins where the log ends.
func logMark(s *suite) {
	spec := s.program(Program{Stdout: strings.Repeat("x", 5000) + "ready and ready", Stderr: "ready"})
	spec.LogLimit, spec.LogMark = 5002, "ready"
	h := s.start(spec)
	s.wait(h)
	stdout, stderr := s.logs(h)
	if strings.Count(stdout, "ready") != 1 || strings.Count(stderr, "ready") != 1 || len(stdout)+len(stderr) > 5002+2*len("ready") {
		s.Errorf("kept %d bytes, which end with %q and %q", len(stdout)+len(stderr), stdout[max(0, len(stdout)-20):], stderr)
	}
}

func (s *suite) dialer() engine.Dialer {
	d, ok := s.Engine.(engine.Dialer)
	if !ok {
		s.Skip("the engine is no Dialer")
	}
	return d
}

func dial(s *suite) {
	d := s.dialer()
	h := s.start(s.program(Program{Serve: 80, Until: "stop"}))
	s.ready(h)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx, h, 80) },
	}}
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			resp, err := client.Get("http://inside/")
			if err != nil {
				s.Errorf("a call: %v", err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != "served" {
				s.Errorf("a call was answered %q, %v", body, err)
			}
		})
	}
	calls.Wait()
}

func dialRefused(s *suite) {
	d := s.dialer()
	h := s.start(s.program(Program{Until: "stop"}))
	s.ready(h)
	if _, err := d.Dial(s.ctx, h, 81); !errors.Is(err, syscall.ECONNREFUSED) {
		s.Errorf("Dial of a port without a server: %v", err)
	}
	if err := s.Engine.Stop(s.ctx, h, time.Minute); err != nil {
		s.Fatal(err)
	}
	if _, err := d.Dial(s.ctx, h, 81); !errors.Is(err, syscall.ECONNREFUSED) {
		s.Errorf("Dial after the end: %v", err)
	}
}

func concurrent(s *suite) {
	var runs sync.WaitGroup
	for i := range 20 {
		runs.Go(func() {
			spec := s.program(Program{Stdout: itoa(i), Exit: i})
			h, err := s.Engine.Start(s.ctx, spec)
			if err != nil {
				s.Errorf("Start: %v", err)
				return
			}
			exit, err := s.Engine.Wait(s.ctx, h)
			if err != nil || exit.Code != i {
				s.Errorf("run %d: %+v, %v", i, exit, err)
			}
			if err := s.Engine.Remove(s.ctx, h); err != nil {
				s.Errorf("Remove: %v", err)
			}
		})
	}
	runs.Wait()
	s.unchanged(func() {})
}

// unchanged checks that nothing is left of what f did.
func (s *suite) unchanged(f func()) {
	s.Helper()
	if s.Baseline == nil {
		f()
		return
	}
	before := s.Baseline(s.T)
	f()
	after := s.Baseline(s.T)
	old := strings.Split(before, "\n")
	var more []string
	for _, line := range strings.Split(after, "\n") {
		if !slices.Contains(old, line) {
			more = append(more, line)
		}
	}
	if len(more) > 0 {
		s.Errorf("left over:\n%s", strings.Join(more, "\n"))
	}
}

// openFiles lists this process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
