package worker_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/dispatch"
	"longshore/internal/dispatch/worker"
	"longshore/internal/task"
)

// serving is a worker in this process, and the socket that it answers at. Its jobs end at once, without a result.
func serving(t testing.TB) (p *worker.Pool, dir, socket string) {
	t.Helper()
	dir = t.TempDir()
	p, err := worker.NewPool(dir, func(context.Context, worker.Job, string, dispatch.Observer) (*task.Result, error) {
		return nil, errors.New("it broke")
	})
	if err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- worker.Serve(ctx, p, "test", func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	found, err := filepath.Glob(filepath.Join(dir, ".workers", "test.*"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return p, dir, found[0]
}

// talk sends something and answers what came back until the worker ended the connection.
func talk(t testing.TB, socket string, send string) string {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, send) // it may have heard enough
	_ = c.(*net.UnixConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("no end of the answer to %.100q", send)
	}
	return string(answer)
}

// FuzzServe: whatever a peer sends, whole or cut off, its connection ends, nothing outside the folder of jobs is touched, and the next
// one is answered. Nobody can retire the worker by chance.
func FuzzServe(f *testing.F) {
	for _, s := range []string{
		"", "{", "null", "[]", `{"op":"follow","name":"0123456789abcdef0123.1"}`, `{"op":"cancel","name":"../x"}`, `{"op":"begin"}`, `{"op":"begin","job":{}}`,
		`{"op":"begin","job":{"run":"../../escape","attempt":1}}`, `{"op":"begin","job":{"run":"0123456789abcdef0123","attempt":-1}}`, `{"op":"attach"}`, `{"op":"none"}{"op":"attach"}`,
		"\x00\xff\xfe", `{"op":"begin","job":{"run":1}}`, strings.Repeat("[", 20_000), `{"op":"` + strings.Repeat("x", 1<<16),
	} {
		f.Add(s)
	}
	_, dir, socket := serving(f)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(strings.ToLower(s), "retire") {
			return
		}
		talk(t, socket, s)
		if got := talk(t, socket, `{"op":"attach"}`); got != "{\"known\":true}\n" {
			t.Fatalf("after %.100q it answers %q", s, got)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%v, %v", entries, err)
		}
	})
}

// TestSlowPeers: peers that send half a call, or follow and read nothing, keep nobody waiting.
func TestSlowPeers(t *testing.T) {
	t.Parallel()
	p, _, socket := serving(t)
	for _, half := range []string{`{"op":"beg`, "", `{"op":"attach"}`} {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, half); err != nil {
			t.Fatal(err)
		}
	}
	j := worker.Job{Run: "0123456789abcdef0123", Attempt: 1}
	if err := os.MkdirAll(p.Folder(j.Name()), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := talk(t, socket, `{"op":"begin","job":{"run":"`+j.Run+`","attempt":1}}`); got != "{\"known\":true}\n" {
		t.Errorf("begin: %q", got)
	}
	if _, err := p.Follow(t.Context(), j.Name(), func(worker.Event) {}); err == nil {
		t.Error("the job did not break")
	}
}

// TestHalfAnswers: a worker that dies in the middle of a word, or talks nonsense, is an error and not an end.
func TestHalfAnswers(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"", `{"event":{"at":"2026-01-01T00:00:00Z","state":"run`, "nonsense\n", `{"end":`} {
		dir := t.TempDir()
		c, err := worker.NewClient(worker.ClientConfig{Dir: dir, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(dir, ".workers", "test.1"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = bufio.NewReader(conn).ReadString('\n')
				_, _ = io.WriteString(conn, answer)
				conn.Close()
			}
		}()
		if _, err := c.Follow(t.Context(), "0123456789abcdef0123.1", func(worker.Event) {}); !errors.Is(err, worker.ErrLost) {
			t.Errorf("%q: %v", answer, err)
		}
		l.Close()
	}
}
