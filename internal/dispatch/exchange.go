package dispatch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"longshore/internal/engine"
	"longshore/internal/task"
)

// defaultMaxResponse bounds an HTTP task's answer when the policy says nothing: 2 GiB.
const defaultMaxResponse = 2 << 30

// exchange waits until an HTTP task is ready, makes the one request, and ends the container.
func (r *run) exchange(ctx context.Context) *task.Failure {
	dialer, ok := r.d.Engine.(engine.Dialer)
	if !ok {
		return &task.Failure{Reason: task.ReasonEngine, Message: fmt.Sprintf("the %s engine cannot reach servers inside containers", r.d.Engine.Name()), Hint: "use another engine"}
	}
	x := &exchange{run: r, dialer: dialer, died: make(chan struct{})}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go x.watch(watch)
	defer func() { cancel(); <-x.watched() }()

	port, f := x.ready(ctx)
	if f != nil {
		return f
	}
	r.move(task.Running)
	if f := x.request(ctx, port); f != nil {
		return f
	}
	// The answer is here; what the server still does is of no interest.
	r.finishUsage(ctx)
	return nil
}

// finishUsage ends the server and books what it used.
func (r *run) finishUsage(ctx context.Context) {
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := r.d.Engine.Stop(stop, *r.handle, 0); err != nil {
		r.warn("the container could not be stopped: %v", err)
		return
	}
	if e, err := r.d.Engine.Wait(stop, *r.handle); err == nil {
		r.ended(e)
	}
}

type exchange struct {
	*run
	dialer engine.Dialer
	died   chan struct{} // closed when the container has ended, or watching has
	exit   engine.Exit
	err    error
}

func (x *exchange) watch(ctx context.Context) {
	defer close(x.died)
	x.exit, x.err = x.d.Engine.Wait(ctx, *x.handle)
}

func (x *exchange) watched() <-chan struct{} { return x.died }

// dead says why the container ended while it was still needed.
func (x *exchange) dead(when string) *task.Failure {
	if x.err != nil {
		return x.failed(task.Errorf(task.ReasonEngine, "the container was lost: %w", x.err))
	}
	x.ended(x.exit)
	<-x.follow.done // all of its log is there now
	if f := x.exitFailure(x.exit); f != nil && f.Reason != task.ReasonExit {
		return f
	}
	what := fmt.Sprintf("the container exited with code %d %s", x.exit.Code, when)
	if x.exit.Signal != 0 {
		what = fmt.Sprintf("the container was ended by signal %d (%s) %s", x.exit.Signal, syscall.Signal(x.exit.Signal), when)
	}
	f := &task.Failure{Reason: task.ReasonExit, Message: what, LogTail: x.logTail(), Hint: "an HTTP task must keep its server running; see the last lines of its log"}
	if x.exit.Code == 0 {
		f.Reason = task.ReasonNotReady
		if x.state == task.Running {
			f.Reason = task.ReasonBadResponse
		}
	}
	if f.LogTail == "" {
		f.Hint = "an HTTP task must keep its server running; it wrote nothing to its log"
	}
	return f
}

// ready waits for the mark and, when probing is allowed, for a port. Port.Number is zero when the request itself shall find
// out.
func (x *exchange) ready(ctx context.Context) (task.Port, *task.Failure) {
	h := x.exec.HTTP
	limit, cancel := context.WithTimeout(ctx, positive(x.times.Ready))
	defer cancel()
	if h.ReadyMark != "" {
		before := "before printing " + h.ReadyMark
		select {
		case <-x.follow.ready:
		case <-x.died:
			// The end may be noticed before the last of the log is.
			<-x.follow.done
			select {
			case <-x.follow.ready:
				before = "right after printing " + h.ReadyMark
			default:
			}
			return task.Port{}, x.dead(before)
		case <-limit.Done():
			if ctx.Err() != nil {
				return task.Port{}, x.failed(ctx.Err())
			}
			return task.Port{}, &task.Failure{
				Reason: task.ReasonNotReady, Message: fmt.Sprintf("%s not seen on stdout within %s", h.ReadyMark, x.times.Ready),
				Hint: x.follow.markHint(), LogTail: x.logTail(),
			}
		}
	}
	if !h.Probe {
		return task.Port{}, nil
	}
	wait := newBackoff()
	for {
		for _, p := range h.Ports {
			c, err := x.dialer.Dial(limit, *x.handle, p.Number)
			if err == nil {
				c.Close()
				x.result.Notes = append(x.result.Notes, fmt.Sprintf("port %d answered (%s)", p.Number, p.Why))
				return p, nil
			}
		}
		select {
		case <-wait.next():
		case <-x.died:
			return task.Port{}, x.dead("before it listened on " + portNames(h.Ports))
		case <-limit.Done():
			if ctx.Err() != nil {
				return task.Port{}, x.failed(ctx.Err())
			}
			return task.Port{}, &task.Failure{
				Reason: task.ReasonNotReady, Message: fmt.Sprintf("nothing listens on %s after %s", portNames(h.Ports), x.times.Ready),
				Hint: "the server must listen on one of these ports", LogTail: x.logTail(),
			}
		}
	}
}

func portNames(ports []task.Port) string {
	var s []string
	for _, p := range ports {
		s = append(s, strconv.Itoa(p.Number))
	}
	if len(s) == 1 {
		return "port " + s[0]
	}
	return "ports " + strings.Join(s, ", ")
}

// positive turns "no limit" into a very long one.
func positive(t time.Duration) time.Duration {
	if t <= 0 {
		return 1000 * time.Hour
	}
	return t
}

// backoff gives growing pauses, from 2 to 200 ms.
type backoff struct{ pause time.Duration }

func newBackoff() *backoff { return &backoff{pause: 2 * time.Millisecond} }

func (b *backoff) next() <-chan time.Time {
	p := b.pause
	b.pause = min(b.pause*3/2, 200*time.Millisecond)
	return time.After(p)
}

// request sends the real request, again and again while the connection is refused and nothing of it was accepted.
func (x *exchange) request(ctx context.Context, port task.Port) *task.Failure {
	h := x.exec.HTTP
	ports := h.Ports
	if port.Number != 0 {
		ports = []task.Port{port}
	}
	limit, cancel := context.WithTimeout(ctx, positive(x.times.Run))
	defer cancel()
	// The request also ends when the container does: its sockets die with it, but not always at once.
	go func() {
		select {
		case <-x.died:
			time.AfterFunc(time.Second, cancel)
		case <-limit.Done():
		}
	}()
	until := x.d.now().Add(positive(x.times.Connect))
	wait := newBackoff()
	for {
		for _, p := range ports {
			resp, err := x.try(limit, p)
			if err == nil {
				return x.keep(limit, ctx, p, resp)
			}
			if !notConnected(err) {
				return x.noAnswer(ctx, p, err)
			}
		}
		if x.d.now().After(until) {
			f := &task.Failure{Reason: task.ReasonNotReady, Message: fmt.Sprintf("nothing listens on %s, %s after it said it was ready", portNames(ports), x.times.Connect), LogTail: x.logTail()}
			f.Hint = "the server must listen on that port inside the container"
			return f
		}
		select {
		case <-wait.next():
		case <-x.died:
			return x.dead("before it accepted a connection on " + portNames(ports))
		case <-limit.Done():
			return x.noAnswer(ctx, ports[0], limit.Err())
		}
	}
}

// notConnected tells whether a request failed before any byte of it was sent, so that it can be made again.
func notConnected(err error) bool {
	d, ok := errors.AsType[*dialError](err)
	return ok && (errors.Is(d, syscall.ECONNREFUSED) || errors.Is(d, syscall.ECONNRESET))
}

// dialError is a connection that did not come about.
type dialError struct{ error }

func (d *dialError) Unwrap() error { return d.error }

// maxHeader bounds the head of an answer: 1 MiB.
const maxHeader = 1 << 20

// try makes the request once, on a connection of its own. The caller closes the response's body. It does without the standard
// client's pool, which takes an answer that comes before the request is written, as simple servers give it, for a fault.
func (x *exchange) try(ctx context.Context, p task.Port) (*http.Response, error) {
	req, err := x.newRequest(ctx, p)
	if err != nil {
		return nil, err
	}
	conn, err := x.dialer.Dial(ctx, *x.handle, p.Number)
	if err != nil {
		req.Body.Close()
		return nil, &dialError{err}
	}
	stop := context.AfterFunc(ctx, func() {
		if conn.SetDeadline(time.Unix(1, 0)) != nil {
			conn.Close()
		}
	})
	sent := make(chan error, 1)
	go func() { sent <- req.Write(conn) }() // beside reading: an answer may come before all of a large body is taken
	head := &io.LimitedReader{R: conn, N: maxHeader}
	r := bufio.NewReader(head)
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			stop()
			conn.Close()
			if werr := <-sent; errors.Is(err, io.ErrUnexpectedEOF) && werr != nil {
				err = werr
			}
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // "100 Continue" and its like come before the answer
		}
		head.N = math.MaxInt64
		resp.Body = &answerBody{resp.Body, func() { stop(); conn.Close(); <-sent }}
		return resp, nil
	}
}

// answerBody closes the connection with the body.
type answerBody struct {
	io.ReadCloser
	done func()
}

func (b *answerBody) Close() error {
	b.done() // first: closing the body would read what is left of it
	return nil
}

func (x *exchange) newRequest(ctx context.Context, p task.Port) (*http.Request, error) {
	h := x.exec.HTTP
	var body io.Reader = strings.NewReader(h.Body.Text)
	length := int64(len(h.Body.Text))
	if h.Body.Path != "" {
		f, err := os.Open(h.Body.Path)
		if err != nil {
			return nil, err
		}
		st, err := f.Stat()
		if err != nil || !st.Mode().IsRegular() {
			f.Close()
			return nil, fmt.Errorf("the request body %s is not a regular file", h.Body.Path)
		}
		body, length = f, st.Size()
	}
	req, err := http.NewRequestWithContext(ctx, h.Method, "http://localhost:"+strconv.Itoa(p.Number)+h.Path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength, req.Close = length, true
	if length == 0 {
		req.Body.Close()
		req.Body = http.NoBody
	}
	if h.ContentType != "" {
		req.Header.Set("Content-Type", h.ContentType)
	}
	req.Header.Set("User-Agent", "longshore")
	return req, nil
}

// keep writes the answer to a file.
func (x *exchange) keep(limit, ctx context.Context, p task.Port, resp *http.Response) *task.Failure {
	defer resp.Body.Close()
	dir, err := x.private("response", 0o700)
	if err != nil {
		return x.failed(err)
	}
	path := filepath.Join(dir, "body")
	most := x.d.Policy.MaxResponse
	if most <= 0 {
		most = defaultMaxResponse
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return x.failed(task.Errorf(task.ReasonEngine, "cannot keep the answer: %w", err))
	}
	n, err := io.Copy(file, io.LimitReader(resp.Body, most+1))
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	r := &task.Response{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), BodyPath: path, Size: n, Port: p}
	switch {
	case n > most:
		return &task.Failure{Reason: task.ReasonBadResponse, Message: fmt.Sprintf("the answer is larger than %s", task.Bytes(most)), Hint: "return less, or let the task write files"}
	case err != nil:
		return x.noAnswer(ctx, p, fmt.Errorf("the answer breaks off after %d bytes: %w", n, err))
	}
	x.left.Response, x.result.Response = r, r
	if resp.StatusCode >= 400 && !x.exec.HTTP.AcceptStatus {
		return &task.Failure{
			Reason: task.ReasonBadResponse, Message: fmt.Sprintf("task answered HTTP %d: %s", resp.StatusCode, firstLine(head(path))),
			Hint: "the program refused the request or failed on it; see its log", LogTail: x.logTail(),
		}
	}
	return nil
}

// head returns the start of a file as text.
func head(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 2000)) // for a message only
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// noAnswer says why a request that was accepted got no usable answer.
func (x *exchange) noAnswer(ctx context.Context, p task.Port, err error) *task.Failure {
	if ctx.Err() != nil {
		return x.failed(ctx.Err())
	}
	select {
	case <-x.died:
		return x.dead("while it answered the request")
	case <-time.After(gracePeriod):
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &task.Failure{Reason: task.ReasonTimeout, Message: fmt.Sprintf("no answer on port %d within %s", p.Number, x.times.Run), Hint: "raise --timeout if it needs more time", LogTail: x.logTail()}
	}
	return &task.Failure{Reason: task.ReasonBadResponse, Message: fmt.Sprintf("no usable answer from port %d: %v", p.Number, plainNetError(err)), Hint: "the server must answer with HTTP; see its log", LogTail: x.logTail()}
}

// gracePeriod is how long a broken connection may be the first sign of a dying container.
const gracePeriod = 300 * time.Millisecond

// plainNetError leaves out the address that every request has.
func plainNetError(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "breaks off") {
		return "it closed the connection without answering"
	}
	return err.Error()
}
