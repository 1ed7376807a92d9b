package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"longshore/internal/access"
	"longshore/internal/store"
)

// relayedBy marks requests that another server sends on, so that they go no further.
const relayedBy = "Longshore-Relayed-By"

// holder is where the server can be reached that holds a run, nil when it is held here, by nobody, or out of reach.
func (a *API) holder(r *http.Request, run store.Run) *url.URL {
	if run.Owner == "" || run.Owner == a.svc.Name() || run.State.Terminal() || r.Header.Get(relayedBy) != "" {
		return nil
	}
	servers, err := a.cfg.Store.Servers(r.Context())
	if err != nil {
		return nil // it is answered from here, as far as it goes
	}
	i := slices.IndexFunc(servers, func(s store.Server) bool { return s.Name == run.Owner })
	if i < 0 || servers[i].URL == "" {
		return nil
	}
	base, err := url.Parse(servers[i].URL)
	if err != nil {
		return nil
	}
	return base
}

// relayed has the server that holds a run answer, when that is another one which can be reached. It tells whether it did.
func (a *API) relayed(w http.ResponseWriter, r *http.Request, run store.Run) bool {
	base := a.holder(r, run)
	if base == nil {
		return false
	}
	res, err := a.ask(r, base)
	if err != nil {
		a.cfg.Log.Warn("the server that holds a run does not answer", "server", run.Owner, "run", run.ID, "error", err)
		return false
	}
	defer res.Body.Close()
	pass(w, r, res)
	return true
}

// page answers a page. That of a run which another server holds comes from there: only it knows the run's stages, and what it uses.
func (a *API) page(w http.ResponseWriter, r *http.Request) {
	id, ofRun := strings.CutPrefix(r.URL.Path, "/runs/")
	if p := access.From(r.Context()); ofRun && p != nil && r.Method == http.MethodGet && !strings.Contains(id, "/") {
		run, err := a.svc.Run(r.Context(), id)
		if err == nil && p.Sees(run.Account) && a.relayed(w, r, run) {
			return
		}
	}
	a.cfg.Web.ServeHTTP(w, r)
}

// passed are the headers of another server's answer that are passed on.
func passed() []string {
	return []string{
		"Content-Type", "X-Accel-Buffering", "Retry-After", "Cache-Control", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy",
		"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
	}
}

// goOn has the server that has claimed a run go on with a stream that was begun here.
func (a *API) goOn(w http.ResponseWriter, r *http.Request, run store.Run) {
	if !a.relayed(w, r, run) {
		panic(http.ErrAbortHandler) // the client asks again
	}
}

// watching is how often it is looked who holds a run that is followed and waits.
const watching = time.Second

// until ends a context when a run that waits is claimed by another server which can be reached. The returned function, called once
// the stream has come to its end here, answers that run.
func (a *API) until(r *http.Request, run store.Run) (context.Context, func() (store.Run, bool)) {
	ctx, cancel := context.WithCancel(r.Context())
	found := make(chan store.Run, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer cancel()
		t := time.NewTicker(watching)
		defer t.Stop()
		for run.Owner != a.svc.Name() && !run.State.Terminal() {
			if a.holder(r, run) != nil {
				found <- run
				return
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
			if now, err := a.svc.Run(ctx, run.ID); err == nil {
				run = now
			}
		}
		<-ctx.Done()
	}()
	return ctx, func() (store.Run, bool) {
		cancel()
		<-over
		select {
		case run := <-found:
			return run, true
		default:
			return run, false
		}
	}
}

// ask sends a request on, with what shows who sent it.
func (a *API) ask(r *http.Request, base *url.URL) (*http.Response, error) {
	to := *r.URL
	to.Scheme, to.Host, to.Path = base.Scheme, base.Host, strings.TrimSuffix(base.Path, "/")+r.URL.Path
	out, err := http.NewRequestWithContext(r.Context(), r.Method, to.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"Authorization", "Last-Event-ID", "Accept"} {
		if v := r.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	if c, err := r.Cookie(cookieName(r)); err == nil && out.Header.Get("Authorization") == "" {
		out.Header.Set("Authorization", "Bearer "+c.Value)
	}
	out.Header.Set(relayedBy, a.svc.Name())
	return a.cfg.Peers.RoundTrip(out)
}

// pass copies an answer, each piece at once.
func pass(w http.ResponseWriter, r *http.Request, res *http.Response) {
	for _, name := range passed() {
		if v := res.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	if out := writerOf(w); out == nil || out.status == 0 {
		w.WriteHeader(res.StatusCode)
	} else if res.StatusCode != http.StatusOK {
		panic(http.ErrAbortHandler) // a stream that was begun here cannot become an error: the client asks again
	}
	control := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			if control.Flush() != nil {
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}
