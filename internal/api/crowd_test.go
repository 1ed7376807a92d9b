package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// crowdEnv has this program be a crowd instead of tests: "address number request", the request in Go's quotes.
const crowdEnv = "LONGSHORE_TEST_CROWD"

func TestMain(m *testing.M) {
	if order := os.Getenv(crowdEnv); order != "" {
		if err := crowd(order); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// crowd opens connections, sends one request on each, reads the beginning of each answer, says so, and stays until its input ends.
func crowd(order string) error {
	words := strings.SplitN(order, " ", 3)
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	request, err := strconv.Unquote(words[2])
	if err != nil {
		return err
	}
	for i := range n {
		c, err := net.Dial("tcp", words[0])
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, request); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		line, err := bufio.NewReaderSize(c, 16).ReadString('\n')
		if err != nil || !strings.Contains(line, "200") {
			return fmt.Errorf("connection %d was answered %q, %w", i, line, err)
		}
	}
	fmt.Println("there")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// gather has a crowd of n connections send a request each; they stay until the returned function is called.
func (r *rig) gather(n int, request string) (leave func()) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %q", crowdEnv, r.server.Listener.Addr(), n, request))
	in, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "there\n" {
		r.t.Fatalf("the crowd says %q, %v", line, err)
	}
	return func() {
		in.Close()
		_ = cmd.Wait() // it was there, which is what counts
	}
}

// memory is what heap and stacks take.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestCrowd: idle connections hold nobody up, and followers of logs take little memory. Not parallel: it measures.
func TestCrowd(t *testing.T) {
	idle, followers := 10_000, 1000
	if testing.Short() {
		idle, followers = 1000, 100
	}
	r := newRig(t, options{})
	r.task()
	ada := r.client("ada", access.Caller)
	before := memory()
	leave := r.gather(idle, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	t.Logf("%d idle connections take %d KiB", idle, int64(memory()-before)>>10)
	start := time.Now()
	run := r.submit(ada, "say", strings.Repeat("x", 32<<10), "wait", "gate")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("a submission beside them took %s", took)
	}
	leave()
	r.server.CloseClientConnections()
	before = memory()
	leave = r.gather(followers, "GET /v1/runs/"+run.ID+"/logs?follow=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+r.secret("ada", access.Caller)+"\r\n\r\n")
	took := int64(memory()) - int64(before)
	t.Logf("%d followers take %d KiB", followers, took>>10)
	if took > 200<<20 {
		t.Errorf("%d followers take %d MiB", followers, took>>20)
	}
	r.gates.openAll()
	r.wait(ada, run.ID)
	leave()
}

// TestDatabaseAway: without its database the server answers so, and nothing of the database's own words.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	token := r.secret("ada", access.Caller)
	r.away.Store(true)
	defer r.away.Store(false)
	for _, c := range []struct{ method, path, body string }{{"GET", "/v1/runs", ""}, {"POST", "/v1/runs", `{"task":"t"}`}, {"GET", "/v1/tasks", ""}} {
		res, data := r.ask(token, c.method, c.path, strings.NewReader(c.body))
		if p := r.problem(res, data, http.StatusServiceUnavailable, task.ReasonEngine); strings.Contains(p.Detail, "sql") || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %+v", c.method, c.path, p)
		}
	}
	res, data := r.ask("", "GET", "/readyz", nil)
	if res.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(data), "sql") {
		t.Errorf("%s %s", res.Status, data)
	}
}

var _ store.Store = (*sometimes)(nil)

// full is a store whose database can be read and has no room. refused gets one for each heartbeat that was not taken.
type full struct {
	store.Store
	refused chan struct{}
}

func (full) Submit(context.Context, []store.Run) ([]store.Run, error) {
	return nil, fmt.Errorf("the database db: %w", store.ErrFull)
}

func (f full) Heartbeat(ctx context.Context, s store.Server) error {
	if servers, err := f.Servers(ctx); err != nil || len(servers) == 0 {
		return f.Store.Heartbeat(ctx, s) // the first: a server does not start without
	}
	select {
	case f.refused <- struct{}{}:
	case <-ctx.Done():
	}
	return fmt.Errorf("the database db: %w", store.ErrFull)
}

// TestDatabaseFull: a run that cannot be put on record is refused with the reason, and the server says that it is not ready.
func TestDatabaseFull(t *testing.T) {
	t.Parallel()
	refused := make(chan struct{})
	r := newRig(t, options{service: func(c *durable.Config) { c.Store, c.Lease = full{c.Store, refused}, 100*time.Millisecond }})
	r.task()
	res, data := r.ask(r.secret("ada", access.Caller), "POST", "/v1/runs", strings.NewReader(`{"task":"t"}`))
	if p := r.problem(res, data, http.StatusInsufficientStorage, task.ReasonEngine); !strings.Contains(p.Detail, "full") || !strings.Contains(p.Hint, "room") {
		t.Errorf("%+v", p)
	}
	<-refused
	<-refused // by then the first is written down
	if err := r.svc.Writes(t.Context()); !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "disk") {
		t.Error(err)
	}
}
