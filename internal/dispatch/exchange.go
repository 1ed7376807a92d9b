package dispatch

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
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
	for {
		x := &exchange{run: r, dialer: dialer, open: map[int]net.Conn{}}
		f := x.make(ctx)
		x.closeOpen()
		if f == nil || x.accepted || !r.seat.reused() || ctx.Err() != nil {
			return f
		}
		// A server that was kept took no connection any more. It was not told anything, so a fresh one can be asked.
		r.leave(true)
		if err := r.start(ctx); err != nil {
			return r.failed(err)
		}
	}
}

// make makes the exchange, with a server that is watched meanwhile.
func (x *exchange) make(ctx context.Context) *task.Failure {
	var end func()
	if x.watched, end = x.server(ctx); end != nil {
		defer end()
	}
	port, ready := x.seat.port()
	if !ready {
		var f *task.Failure
		if port, f = x.ready(ctx); f != nil {
			return f
		}
		x.seat.opened(port)
	}
	if x.state != task.Running {
		x.move(task.Running)
	}
	if f := x.request(ctx, port); f != nil {
		return f
	}
	if x.seat.keep(x.openEnded) {
		x.usageSoFar(ctx)
		return nil
	}
	// The answer is here; what the server still does is of no interest.
	x.finishUsage(ctx)
	if x.openEnded && x.run.exit != nil && brokeDown(*x.run.exit) {
		<-x.died
		x.watched.exit.Stopped = false // stopping came too late to be the cause
		return x.dead("while it answered the request")
	}
	return nil
}

// server is what watches the run's server: that of the pool, or one that lasts until end is called.
func (x *exchange) server(ctx context.Context) (w *watched, end func()) {
	if x.seat != nil {
		return x.seat.watched, nil
	}
	return x.d.watch(ctx, *x.handle)
}

// watched is a container whose end is waited for.
type watched struct {
	died chan struct{} // closed when the container has ended, or watching has
	exit engine.Exit
	err  error
}

// watch begins to wait for a container's end; end ends waiting.
func (d *Dispatcher) watch(ctx context.Context, h engine.Handle) (w *watched, end func()) {
	w = &watched{died: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(w.died)
		w.exit, w.err = d.Engine.Wait(ctx, h)
	}()
	return w, func() { cancel(); <-w.died }
}

// brokeDown tells whether a container ended by its own failure. One that was stopped was killed, unless it was ending already.
func brokeDown(e engine.Exit) bool {
	if e.Signal == int(syscall.SIGKILL) && e.Stopped {
		return e.OOM
	}
	return e.Code != 0 || e.Signal != 0 || e.OOM
}

// usageSoFar books what a server that goes on has used.
func (r *run) usageSoFar(ctx context.Context) {
	s, ok := r.d.Engine.(engine.Stater)
	if !ok {
		return
	}
	if u, err := s.Stats(ctx, *r.handle); err == nil {
		r.result.Usage = usageOf(u)
	}
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
	*watched
	dialer engine.Dialer
	// accepted is set once the server took a connection for the request.
	accepted bool
	// openEnded is set when the answer had no other end than the connection's: a server that broke down may have cut it short.
	openEnded bool
	// open are connections that looking for a port left, by its number.
	open map[int]net.Conn
}

// dead says why the container ended while it was still needed.
func (x *exchange) dead(when string) *task.Failure {
	if x.err != nil {
		return x.failed(task.Errorf(task.ReasonEngine, "the container was lost: %w", x.err))
	}
	exit := x.watched.exit
	x.ended(exit)
	<-x.follow.done // all of its log is there now
	if f := x.exitFailure(exit); f != nil && f.Reason != task.ReasonExit {
		return f
	}
	what := fmt.Sprintf("the container exited with code %d %s", exit.Code, when)
	if exit.Signal != 0 {
		what = fmt.Sprintf("the container was ended by signal %d (%s) %s", exit.Signal, syscall.Signal(exit.Signal), when)
	}
	f := &task.Failure{Reason: task.ReasonExit, Message: what, LogTail: x.logTail(), Hint: "an HTTP task must keep its server running; see the last lines of its log"}
	if f.LogTail == "" {
		f.Hint = "an HTTP task must keep its server running; it wrote nothing to its log"
	}
	if exit.Code == 0 {
		f.Reason = task.ReasonNotReady
		if x.accepted {
			f.Reason = task.ReasonBadResponse
		}
		f.Hint = "the server must stay in the foreground: the container ends with its first process"
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
	return x.probe(ctx, limit)
}

// earlyNotice is how long a server may listen nowhere that it is asked before somebody is told where it does.
const earlyNotice = 10 * time.Second

// secondLook is how long a port further up the list has to open once another is found open.
const secondLook = 50 * time.Millisecond

// probe looks for an open port until one is found, and once more then: the first in the list's order wins. The connection it
// was found by is kept for the request, so that a server which serves one connection, or stumbles over an empty one, never
// sees another.
func (x *exchange) probe(ctx, limit context.Context) (task.Port, *task.Failure) {
	ports := x.exec.HTTP.Ports
	wait := newBackoff()
	early := time.NewTimer(min(earlyNotice, positive(x.times.Ready)/2))
	defer early.Stop()
	for {
		if x.dialAll(limit, ports) && x.open[ports[0].Number] == nil {
			select {
			case <-time.After(secondLook):
			case <-limit.Done():
			}
			x.dialAll(limit, ports)
		}
		if p, ok := x.choose(ports); ok {
			x.reachable(limit, p)
			return p, nil
		}
		select {
		case <-wait.next():
		case <-early.C:
			x.elsewhere(limit, ports)
		case <-x.died:
			return task.Port{}, x.dead("before it listened on " + portNames(ports))
		case <-limit.Done():
			if ctx.Err() != nil {
				return task.Port{}, x.failed(ctx.Err())
			}
			return task.Port{}, &task.Failure{
				Reason: task.ReasonNotReady, Message: fmt.Sprintf("nothing listens on %s after %s", portNames(ports), x.times.Ready),
				Hint: x.portHint(ctx), LogTail: x.logTail(),
			}
		}
	}
}

// dialAll tries every port that is not open yet, and tells whether any is.
func (x *exchange) dialAll(ctx context.Context, ports []task.Port) bool {
	for _, p := range ports {
		if x.open[p.Number] != nil {
			continue
		}
		if c, err := x.dialer.Dial(ctx, *x.handle, p.Number); err == nil {
			x.open[p.Number] = c
		}
	}
	return len(x.open) > 0
}

// choose takes the first open port, and lets the others go.
func (x *exchange) choose(ports []task.Port) (task.Port, bool) {
	var chosen task.Port
	var others []task.Port
	for _, p := range ports {
		c := x.open[p.Number]
		switch {
		case c == nil:
		case chosen.Number == 0:
			chosen = p
		default:
			others = append(others, p)
			c.Close()
			delete(x.open, p.Number)
		}
	}
	if chosen.Number == 0 {
		return chosen, false
	}
	x.result.Notes = append(x.result.Notes, fmt.Sprintf("port %d answered (%s)", chosen.Number, chosen.Why))
	if len(others) > 0 {
		x.warn("several ports are open: %d is used, and not %s", chosen.Number, portNames(others))
	}
	return chosen, true
}

// connect opens the connection for one request, or takes the one that is open already.
func (x *exchange) connect(ctx context.Context, p task.Port) (net.Conn, error) {
	if c := x.open[p.Number]; c != nil {
		delete(x.open, p.Number)
		return c, nil
	}
	return x.dialer.Dial(ctx, *x.handle, p.Number)
}

func (x *exchange) closeOpen() {
	for _, c := range x.open {
		c.Close()
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
			resp, err := x.try(limit, p, firstCall(h))
			if err != nil && notConnected(err) {
				continue
			}
			x.accepted = true
			if !h.Probe { // else it was looked at when the port was found
				x.reachable(limit, p)
			}
			if err == nil {
				resp, err = x.follows(limit, p, resp)
			}
			if err != nil {
				return x.noAnswer(ctx, p, err)
			}
			return x.keep(limit, ctx, p, resp)
		}
		if x.d.now().After(until) {
			f := &task.Failure{Reason: task.ReasonNotReady, Message: fmt.Sprintf("nothing listens on %s, %s after it said it was ready", portNames(ports), x.times.Connect), LogTail: x.logTail()}
			f.Hint = x.listensOn(ctx) + "the server must listen on that port inside the container"
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
func (x *exchange) try(ctx context.Context, p task.Port, what call) (*http.Response, error) {
	req, err := x.newRequest(ctx, p, what)
	if err != nil {
		return nil, err
	}
	conn, err := x.connect(ctx, p)
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
	go func() { defer close(sent); sent <- req.Write(conn) }() // beside reading: an answer may come before all of a large body is taken
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
			switch {
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case head.N == 0:
				err = fmt.Errorf("the head of its answer is larger than %s", task.Bytes(maxHeader))
			}
			return nil, err
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // "100 Continue" and its like come before the answer
		}
		head.N = math.MaxInt64
		resp.Body = &answerBody{resp.Body, func() {
			stop()
			_ = conn.Close()
			for range sent { // waits for the sender; what it met says nothing once the answer is here
			}
		}}
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

func (x *exchange) newRequest(ctx context.Context, p task.Port, what call) (*http.Request, error) {
	h := x.exec.HTTP
	var body io.Reader = strings.NewReader(h.Body.Text)
	length := int64(len(h.Body.Text))
	switch {
	case !what.body:
		body, length = http.NoBody, 0
	case h.Body.Path != "":
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
	req, err := http.NewRequestWithContext(ctx, what.method, "http://localhost:"+strconv.Itoa(p.Number)+what.path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength, req.Close = length, true
	if length == 0 {
		req.Body.Close()
		req.Body = http.NoBody
	}
	if h.ContentType != "" && what.body {
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
	if own := x.exec.HTTP.MaxResponse; own > 0 {
		most = min(most, own)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return x.failed(task.Errorf(task.ReasonEngine, "cannot keep the answer: %w", err))
	}
	n, err := io.Copy(file, io.LimitReader(x.decoded(resp), most+1))
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if _, ours := errors.AsType[*fs.PathError](err); ours {
		return x.failed(task.Errorf(task.ReasonEngine, "cannot keep the answer: %w", err).WithHint("see that the disk has room for it"))
	}
	r := &task.Response{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), BodyPath: path, Size: n, Port: p}
	switch {
	case n > most:
		return &task.Failure{Reason: task.ReasonBadResponse, Message: fmt.Sprintf("task reply larger than %s", task.Bytes(most)), Hint: "return less, or let the task write files"}
	case err != nil:
		if limit.Err() != nil {
			err = context.Cause(limit)
		}
		return x.noAnswer(ctx, p, &brokenOff{after: n, err: err})
	}
	x.openEnded = resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
	x.left.Response, x.result.Response = r, r
	return x.refused(resp, head(path))
}

// refused judges an answer by its status, unless every status is accepted.
func (x *exchange) refused(resp *http.Response, body string) *task.Failure {
	if x.exec.HTTP.AcceptStatus || resp.StatusCode/100 == 2 {
		return nil
	}
	f := &task.Failure{Reason: task.ReasonBadResponse, Message: fmt.Sprintf("task answered HTTP %d: %s", resp.StatusCode, cmp.Or(oneLine(body), "(empty reply)")), LogTail: x.logTail()}
	f.Hint = "the program refused the request or failed on it; see its log"
	to := resp.Header.Get("Location")
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		f.Message, f.Hint = "task answered HTTP 101: it wants another protocol than HTTP", "answer the request itself"
	case resp.StatusCode < 400 && to != "":
		f.Message = fmt.Sprintf("task answered HTTP %d: it redirects to %s, which is not followed", resp.StatusCode, firstLine(strconv.QuoteToGraphic(to)))
		f.Hint = "answer the request itself, or redirect to another path of the same server"
	case resp.StatusCode < 400:
		f.Message, f.Hint = fmt.Sprintf("task answered HTTP %d without a result", resp.StatusCode), "answer the request itself"
	}
	return f
}

// decoded is an answer's body as its server meant it: gzip, which some servers use unasked, is undone, as the HTTP clients
// of the platforms do.
func (x *exchange) decoded(resp *http.Response) io.Reader {
	switch coding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); coding {
	case "", "identity":
	case "gzip", "x-gzip":
		x.result.Notes = append(x.result.Notes, "the answer came compressed (gzip); it is kept uncompressed")
		return &gunzip{from: bufio.NewReader(resp.Body)}
	default:
		x.warn("the answer is encoded (Content-Encoding %s); it is kept as it is", firstLine(strconv.QuoteToGraphic(coding)))
	}
	return resp.Body
}

// gunzip uncompresses what it reads; nothing at all is uncompressed to nothing.
type gunzip struct {
	from *bufio.Reader
	z    *gzip.Reader
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.z == nil {
		if _, err := g.from.Peek(1); err != nil {
			return 0, err
		}
		z, err := gzip.NewReader(g.from)
		if err != nil {
			return 0, fmt.Errorf("it is not what its Content-Encoding says: %w", err)
		}
		g.z = z
	}
	return g.z.Read(p)
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
		what := "no answer"
		if b, ok := errors.AsType[*brokenOff](err); ok {
			what = fmt.Sprintf("no complete answer (%d bytes)", b.after)
		}
		return &task.Failure{Reason: task.ReasonTimeout, Message: fmt.Sprintf("%s on port %d within %s", what, p.Number, x.times.Run), Hint: "raise --timeout if it needs more time", LogTail: x.logTail()}
	}
	return &task.Failure{Reason: task.ReasonBadResponse, Message: fmt.Sprintf("no usable answer from port %d: %v", p.Number, plainNetError(err)), Hint: "the server must answer with HTTP; see its log", LogTail: x.logTail()}
}

// gracePeriod is how long a broken connection may be the first sign of a dying container.
const gracePeriod = 300 * time.Millisecond

// brokenOff is an answer whose head came and whose body did not come whole.
type brokenOff struct {
	after int64 // bytes
	err   error
}

func (b *brokenOff) Error() string {
	if errors.Is(b.err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("the answer breaks off after %d bytes", b.after)
	}
	return fmt.Sprintf("the answer breaks off after %d bytes: %v", b.after, plainNetError(b.err))
}

func (b *brokenOff) Unwrap() error { return b.err }

// plainNetError leaves out the address that every request has.
func plainNetError(err error) string {
	_, began := errors.AsType[*brokenOff](err)
	op, onNet := errors.AsType[*net.OpError](err)
	switch {
	case began:
		return err.Error()
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection without answering"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "it broke the connection"
	case onNet:
		return op.Err.Error()
	}
	return err.Error()
}
