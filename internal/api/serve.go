package api

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"longshore/internal/access"
	"longshore/internal/task"
)

// ServeHTTP answers a request: one of the API's, or one of the web page's.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out := &writer{ResponseWriter: w, control: http.NewResponseController(w), stall: a.cfg.Stall}
	out.deadline()
	if r.Body != nil && r.Body != http.NoBody {
		in := &body{ReadCloser: r.Body, control: out.control, stall: a.cfg.Stall}
		in.deadline() // also for what nobody reads
		r.Body = in
	}
	pattern := ""
	defer func() {
		a.recovered(out, r, recover())
		if a.cfg.Observe != nil {
			a.cfg.Observe(pattern, out.code(), time.Since(start))
		}
	}()
	out.Header().Set(requestHeader, requestID(r))
	out.Header().Set("X-Content-Type-Options", "nosniff")
	out.Header().Set("Referrer-Policy", "no-referrer")
	if err := a.checkHost(r); err != nil {
		a.fail(out, r, err)
		return
	}
	_, pattern = a.mux.Handler(r)
	if pattern == "" {
		a.elsewhere(out, r)
		return
	}
	out.Header().Set("Cache-Control", "no-store")
	a.mux.ServeHTTP(out, r)
}

// recovered answers a request whose handler panicked. http.ErrAbortHandler is how a stream that cannot go on is cut.
func (a *API) recovered(w *writer, r *http.Request, what any) {
	if what == nil {
		return
	}
	if err, ok := what.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(what)
	}
	a.cfg.Log.Error("answering a request failed", "request", w.Header().Get(requestHeader), "method", r.Method, "path", r.URL.Path, "panic", what, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	a.fail(w, r, errors.New("panic"))
}

// elsewhere answers paths that are not the API's, and methods that it does not have there.
func (a *API) elsewhere(w *writer, r *http.Request) {
	probe := &header{h: http.Header{}}
	a.mux.ServeHTTP(probe, r)
	switch allow := probe.h.Get("Allow"); {
	case allow != "":
		w.Header().Set("Allow", allow)
		a.fail(w, r, &refusal{status: http.StatusMethodNotAllowed, err: task.Errorf(task.CodeUsage, "%s cannot be asked for %s", r.URL.Path, r.Method).WithHint("it takes: %s", allow)})
	case a.cfg.Web != nil && !strings.HasPrefix(r.URL.Path+"/", "/v1/"):
		a.page(w, a.guest(r))
	default:
		a.fail(w, r, task.Errorf(task.CodeMissing, "there is nothing at %s", r.URL.Path).WithHint("%s", a.nearby(r)))
	}
}

// nearby says where to look instead of at a path that does not exist.
func (a *API) nearby(r *http.Request) string {
	if path := strings.TrimRight(r.URL.Path, "/"); path != r.URL.Path {
		q := r.Clone(r.Context())
		q.URL.Path, q.URL.RawPath = path, ""
		if _, pattern := a.mux.Handler(q); pattern != "" {
			return "did you mean " + path + "?"
		}
	}
	return "/v1/openapi.json lists what there is"
}

// requestHeader tells a request apart from others, in answers and in the server's log.
const requestHeader = "X-Request-Id"

var plainID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID is the caller's, where it is plain, or a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get(requestHeader); plainID.MatchString(id) {
		return id
	}
	return strings.ToLower(rand.Text()[:16])
}

// guest puts who is signed in, if anybody, into the request.
func (a *API) guest(r *http.Request) *http.Request {
	if p, err := a.authenticate(r); err == nil {
		return r.WithContext(access.With(r.Context(), p))
	}
	return r
}

// header is a ResponseWriter that keeps nothing but the header.
type header struct{ h http.Header }

func (h *header) Header() http.Header         { return h.h }
func (h *header) Write(p []byte) (int, error) { return len(p), nil }
func (h *header) WriteHeader(int)             {}

// writer drops clients that take nothing, and remembers the status.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	status  int
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) deadline() {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.stall)) // tests' recorders have none
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.deadline()
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.deadline()
	return w.ResponseWriter.Write(p)
}

// FlushError sends what was written.
func (w *writer) FlushError() error {
	w.deadline()
	return w.control.Flush()
}

func (w *writer) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// body drops clients that send nothing, and says what became of a body that did not arrive whole.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
}

func (b *body) deadline() {
	_ = b.control.SetReadDeadline(time.Now().Add(b.stall)) // tests' recorders have none
}

func (b *body) Read(p []byte) (int, error) {
	b.deadline()
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		_ = b.control.SetReadDeadline(time.Time{}) // while the answer is made, nothing has to come
		return n, err
	}
	return n, &task.Error{Code: task.CodeUsage, Message: "the request's body did not arrive whole", Hint: "send it again", Cause: err}
}

// checkHost refuses names that a server on loopback does not have, from clients that show no token: a web page can have its own
// name point to this machine, and would then be taken for ours.
func (a *API) checkHost(r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil || bearer(r) != "" {
		return nil
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return nil
	}
	name := hostName(r.Host)
	if ip, err := netip.ParseAddr(name); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(a.cfg.Hosts, name) {
		return nil
	}
	return &refusal{status: http.StatusMisdirectedRequest, err: access.Denied("this server does not go by the name %q", name).
		WithHint("call it localhost, or have the operator allow the name")}
}

func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// remote is the address of the client.
func (a *API) remote(r *http.Request) string {
	if a.cfg.Forwarded {
		list := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
		if last := strings.TrimSpace(list[len(list)-1]); last != "" {
			return last
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// secure tells whether the client came by TLS.
func (a *API) secure(r *http.Request) bool {
	return r.TLS != nil || a.cfg.Forwarded && r.Header.Get("X-Forwarded-Proto") == "https"
}
