package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/task"
)

// TestEvents follows a run by server-sent events, with heartbeats, and goes on after the last event.
func TestEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Heartbeat = 10 * time.Millisecond }})
	r.task()
	ada := r.client("ada", access.Caller)
	run := r.submit(ada, "wait", "gate")
	q, err := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/v1/runs/"+run.ID+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+r.secret("ada", access.Caller))
	res, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("Content-Type %s", kind)
	}
	var lines []string
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		lines = append(lines, s.Text())
		if s.Text() == ": still there" {
			r.gates.openAll()
		}
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{"event: state\ndata: {", `"state":"running"`, ": still there", "event: end\ndata: {\"id\":\"" + run.ID, `"state":"succeeded"`} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
	var states []task.State
	last := 0
	for e, err := range ada.Events(t.Context(), run.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.N != last+1 {
			t.Errorf("event %d after %d", e.N, last)
		}
		last = e.N
		states = append(states, e.State)
	}
	if len(states) < 3 || states[len(states)-1] != task.Succeeded {
		t.Errorf("states %v", states)
	}
	rest := 0
	for e, err := range ada.Events(t.Context(), run.ID, last-1) {
		if err != nil || e.State != task.Succeeded {
			t.Errorf("%+v, %v", e, err)
		}
		rest++
	}
	if rest != 1 {
		t.Errorf("%d events after the last but one", rest)
	}
}

// TestLogs reads a log in all forms, and follows it from before it exists.
func TestLogs(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{service: func(c *durable.Config) { c.Slots = 1 }})
	r.task()
	ada, token := r.client("ada", access.Caller), r.secret("ada", access.Caller)
	before := r.submit(ada, "wait", "before")
	run := r.submit(ada, "say", "héllo\n", "complain", "oh\n", "wait", "gate", "more", "more\n")
	follow := make(chan string)
	for _, q := range []client.LogQuery{{Follow: true}, {Follow: true, Stream: "stdout", Offset: 3}} {
		go func() {
			var all strings.Builder
			if err := ada.CopyLog(t.Context(), run.ID, q, &all, &all); err != nil {
				t.Error(err)
			}
			follow <- all.String()
		}()
	}
	r.gates.release("before")
	r.wait(ada, before.ID)
	r.gates.release("gate")
	r.wait(ada, run.ID)
	got := []string{<-follow, <-follow}
	slices.Sort(got)
	if want := []string{"héllo\noh\nmore\n", "llo\nmore\n"}; !slices.Equal(got, want) {
		t.Errorf("followers got %q", got)
	}
	for query, want := range map[string]string{
		"": "héllo\noh\nmore\n", "?stream=stderr": "oh\n", "?stream=stdout&offset=7": "more\n", "?offset=100": "", "?follow=true&offset=9": "\nmore\n",
	} {
		res, data := r.ask(token, "GET", "/v1/runs/"+run.ID+"/logs"+query, nil)
		if string(data) != want || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%q: %q %s", query, data, res.Header.Get("Content-Type"))
		}
	}
	var lines []v1.LogLine
	for l, err := range ada.Log(t.Context(), run.ID, client.LogQuery{Offset: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if len(lines) != 3 || lines[0].Text != nil || lines[0].Offset != 2 || lines[1].Stream != "stderr" || lines[1].Offset != 7 || lines[1].At.IsZero() {
		t.Errorf("%+v", lines)
	}
}

// TestLogOfAttempts: offsets count through all attempts, whose pieces are told apart. Where bytes that a client has are gone, as their
// server did not come back, it misses none of a later attempt.
func TestLogOfAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{service: func(c *durable.Config) { c.Backoff = time.Millisecond }})
	r.task()
	ada, token := r.client("ada", access.Caller), r.secret("ada", access.Caller)
	run := r.retried("ada", "say", "fail", "more", " again\n")
	r.wait(ada, run)
	for query, want := range map[string]string{
		"": "fail again\nfail again\n", "?offset=6": "gain\nfail again\n", "?offset=13&attempt=2": "il again\n", "?offset=11&attempt=1": "fail again\n", "?offset=30": "",
		"?offset=300&attempt=1&follow=true": "fail again\n",
	} {
		if _, data := r.ask(token, "GET", "/v1/runs/"+run+"/logs"+query, nil); string(data) != want {
			t.Errorf("%q: %q", query, data)
		}
	}
	var attempts []int
	for l, err := range ada.Log(t.Context(), run, client.LogQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		attempts = append(attempts, l.Attempt)
	}
	if !slices.Equal(attempts, []int{1, 1, 2, 2}) {
		t.Errorf("attempts %v", attempts)
	}
}

// retried submits a run that is tried twice if it fails.
func (r *rig) retried(account string, inputs ...string) string {
	r.t.Helper()
	sub := durable.Submission{Task: "t", Inputs: map[string]json.RawMessage{}, Retry: durable.Retry{Max: 1, On: []task.Code{task.ReasonExit}}}
	for i := 0; i < len(inputs); i += 2 {
		sub.Inputs[inputs[i]], _ = json.Marshal(inputs[i+1]) // a text
	}
	run, _, err := r.svc.Submit(r.t.Context(), account, sub)
	if err != nil {
		r.t.Fatal(err)
	}
	return run.ID
}

// TestRevokedStream: what lasts ends when the token counts no more, and asking again tells why.
func TestRevokedStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Heartbeat = 10 * time.Millisecond }})
	r.task()
	ada := r.client("ada", access.Caller)
	run := r.submit(ada, "say", "one", "wait", "gate")
	begun := make(chan struct{})
	ended := make(chan error, 3)
	go func() {
		for _, err := range ada.Log(t.Context(), run.ID, client.LogQuery{Follow: true}) {
			if err != nil {
				ended <- err
				return
			}
			close(begun) // there is one piece before the gate
		}
		ended <- nil
	}()
	go func() {
		for _, err := range ada.Events(t.Context(), run.ID, 0) {
			if err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	go func() {
		_, err := ada.Wait(t.Context(), run.ID)
		ended <- err
	}()
	<-begun
	self, err := ada.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.admin.RevokeToken(t.Context(), self.Token); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		wantErr(t, <-ended, task.CodeAccess, "revoked")
	}
}

// TestRevokedDownload: a file that takes long to send is cut off, too.
func TestRevokedDownload(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Heartbeat = time.Millisecond }})
	r.task()
	ada := r.client("ada", access.Caller)
	run := r.file(ada, "file", strings.Repeat("x", 32<<20))
	secret := r.secret("ada", access.Caller)
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/v1/runs/"+run.ID+"/outputs/file", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	who, err := r.keeper.Check(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.admin.RevokeToken(t.Context(), who.Token); err != nil {
		t.Fatal(err)
	}
	got, buf := 0, make([]byte, 64<<10)
	for err == nil {
		var n int
		n, err = res.Body.Read(buf)
		got += n
		if _, serr := r.admin.Self(t.Context()); serr != nil { // as slow as a question and its answer
			t.Fatal(serr)
		}
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || got == 32<<20 {
		t.Errorf("%d bytes came, %v", got, err)
	}
}

// TestStuckReader: a client that never reads is dropped, and keeps no more than the connection's buffers.
func TestStuckReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Stall = 2 * time.Second }}) // long enough for its own upload on a busy machine
	r.task()
	ada := r.client("ada", access.Caller)
	run := r.file(ada, "file", strings.Repeat("x", 32<<20))
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /v1/runs/" + run.ID + "/outputs/file HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + r.secret("ada", access.Caller) + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	r.idle(t)
}

// TestSlowSender: a client that sends a part of a body and then nothing is answered and dropped.
func TestSlowSender(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Stall = 200 * time.Millisecond }})
	r.task()
	for _, path := range []string{"/v1/uploads", "/v1/runs"} {
		conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nContent-Type: application/json\r\nAuthorization: Bearer " + r.secret("ada", access.Caller) + "\r\n\r\nabc")); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusBadRequest || res.Header.Get("Content-Type") != v1.ProblemType {
			t.Errorf("%s: %s", path, res.Status)
		}
		res.Body.Close()
	}
}

// TestWaitLonger: a request that waits for longer than a body may stall is not given up.
func TestWaitLonger(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Stall = 50 * time.Millisecond }})
	r.task()
	ada := r.client("ada", access.Caller)
	opened := time.AfterFunc(500*time.Millisecond, r.gates.openAll)
	defer opened.Stop()
	run, err := ada.Submit(t.Context(), v1.RunRequest{Task: "t", Inputs: inputs("wait", "gate")}, client.SubmitOptions{Wait: 20 * time.Second})
	if err != nil || run.State != task.Succeeded {
		t.Errorf("%+v, %v", run, err)
	}
}

// TestResume: a client goes on where its connection broke.
func TestResume(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	proxy := newBreaker(t, r.server.Listener.Addr().String())
	ada, err := client.New(client.Options{URL: "http://" + proxy.listener.Addr().String(), Token: r.secret("ada", access.Caller)})
	if err != nil {
		t.Fatal(err)
	}
	run := r.submit(ada, "say", "one ", "wait", "gate", "more", "two")
	waited := make(chan v1.Run)
	go func() {
		got, err := ada.Wait(t.Context(), run.ID)
		if err != nil {
			t.Error(err)
		}
		waited <- got
	}()
	told := make(chan []int)
	go func() {
		var ns []int
		for e, err := range ada.Events(t.Context(), run.ID, 0) {
			if err != nil {
				t.Error(err)
			}
			ns = append(ns, e.N)
			if e.State == task.Running {
				proxy.cut()
			}
		}
		told <- ns
	}()
	var log strings.Builder
	for l, err := range ada.Log(t.Context(), run.ID, client.LogQuery{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		log.Write(l.Content())
		if log.String() == "one " {
			proxy.cut()
			r.gates.release("gate")
		}
	}
	if log.String() != "one two" {
		t.Errorf("log %q", log.String())
	}
	if got := <-waited; got.State != task.Succeeded {
		t.Errorf("%+v", got)
	}
	if ns := <-told; !slices.IsSorted(ns) || len(slices.Compact(slices.Clone(ns))) != len(ns) {
		t.Errorf("events %v", ns)
	}
}

// breaker is a proxy whose connections can be cut.
type breaker struct {
	listener net.Listener
	cuts     chan func()
}

func newBreaker(t *testing.T, to string) *breaker {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &breaker{listener: l, cuts: make(chan func(), 1000)}
	t.Cleanup(func() { l.Close(); b.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			end := func() { in.Close(); out.Close() }
			b.cuts <- end
			go func() { defer end(); pipe(out, in) }()
			go func() { defer end(); pipe(in, out) }()
		}
	}()
	return b
}

func pipe(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cut ends all connections that there are.
func (b *breaker) cut() {
	for {
		select {
		case end := <-b.cuts:
			end()
		default:
			return
		}
	}
}

// TestRelay: a live log, the events and the page of a run that another server holds come from there.
func TestRelay(t *testing.T) {
	t.Parallel()
	page := func(of string) func(*api.Config) {
		return func(c *api.Config) {
			c.Web = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the page of "+of) })
		}
	}
	one := newRig(t, options{api: page("one")})
	one.task()
	two := newRig(t, options{share: one, service: func(c *durable.Config) { c.Name = "two"; c.Slots = 1 }, api: page("two")})
	ada := one.client("ada", access.Caller)
	run := one.submit(ada, "say", "live", "wait", "gate")
	here, err := client.New(client.Options{URL: two.server.URL, Token: one.secret("ada", access.Caller)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for l, err := range here.Log(ctx, run.ID, client.LogQuery{Follow: true}) {
		if err != nil || string(l.Content()) != "live" {
			t.Fatalf("%+v, %v", l, err)
		}
		break
	}
	for e, err := range here.Events(ctx, run.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State == task.Running {
			break
		}
	}
	if _, page := two.ask(two.secret("ada", access.Caller), "GET", "/runs/"+run.ID, nil); string(page) != "the page of one" {
		t.Errorf("its page is %q", page)
	}
	for who, want := range map[string]string{two.secret("bob", access.Caller): "the page of two", "": "the page of two"} {
		if _, page := two.ask(who, "GET", "/runs/"+run.ID, nil); string(page) != want {
			t.Errorf("a stranger got %q", page)
		}
	}
	one.gates.release("gate")
	if got, err := here.Wait(ctx, run.ID); err != nil || got.State != task.Succeeded {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHandedOver: who follows a run that waits goes on where it was claimed.
func TestHandedOver(t *testing.T) {
	t.Parallel()
	one := newRig(t, options{service: func(c *durable.Config) { c.Slots = 1; c.Lease = time.Hour }})
	one.task()
	ada := one.client("ada", access.Caller)
	first := one.submit(ada, "wait", "first")
	run := one.submit(ada, "say", "elsewhere", "wait", "gate")
	log, events, said := make(chan string), make(chan []task.State), make(chan struct{}, 10)
	go func() {
		var b strings.Builder
		for l, err := range ada.Log(t.Context(), run.ID, client.LogQuery{Follow: true}) {
			if err != nil {
				t.Error(err)
			}
			b.Write(l.Content())
			said <- struct{}{}
		}
		log <- b.String()
	}()
	go func() {
		var states []task.State
		for e, err := range ada.Events(t.Context(), run.ID, 0) {
			if err != nil {
				t.Error(err)
			}
			states = append(states, e.State)
		}
		events <- states
	}()
	two := newRig(t, options{share: one, service: func(c *durable.Config) { c.Name = "two"; c.Lease = time.Hour; c.Poll = 50 * time.Millisecond }})
	<-said // live, from where it runs
	two.gates.release("gate")
	one.gates.release("first")
	if got := <-log; got != "elsewhere" {
		t.Errorf("log %q", got)
	}
	states := <-events
	if len(states) < 3 || len(slices.Compact(slices.Sorted(slices.Values(states)))) != len(states) || states[len(states)-1] != task.Succeeded {
		t.Errorf("states %v", states)
	}
	one.wait(ada, first.ID)
	if got := one.wait(ada, run.ID); got.State != task.Succeeded {
		t.Errorf("%+v", got)
	}
}
