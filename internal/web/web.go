// Package web is the page for people: what there is to run, a form to run it, and what became of it. It is drawn on the server
// from durable.Service, works without the internet and without a front-end build, and what it changes goes through the REST API
// like everybody else's requests. It knows no contract: everything is shown by its type.
//
// What packages and containers say is hostile: it is shown as text, and files are never served as something that a browser
// would execute.
package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Records is what the page shows of the store beyond the service.
type Records interface {
	Versions(ctx context.Context, f store.VersionFilter) ([]store.Version, string, error)
	ListAccounts(ctx context.Context) ([]store.Account, error)
	ListTokens(ctx context.Context, account string) ([]store.Token, error)
	Entries(ctx context.Context, account, action string, limit int, after string) ([]store.Entry, string, error)
}

// Config says what the page works with. Service and Records must be set. Who asks is the principal in the request's context
// (access.From); nobody that is known is shown how to sign in.
type Config struct {
	Service *durable.Service
	Records Records
	// Leftovers lists what crashed runs left on this machine, for people; nil when nobody can tell.
	Leftovers func(ctx context.Context) ([]string, error)
	// URL is where callers reach the API, for the examples beside forms; empty means the address that the browser used.
	URL string
	Log *slog.Logger // nil discards
	Now func() time.Time
}

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

type site struct {
	cfg    Config
	pages  map[string]*template.Template
	assets string // a hash of what is in static, so that browsers keep it until it changes
}

// New makes the handler of everything that is not the API's. It answers GET and HEAD only.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &site{cfg: cfg, assets: hashOf(staticFiles)}
	s.pages = s.parse()
	mux := http.NewServeMux()
	mux.Handle("GET /static/{hash}/{file}", s.static())
	mux.HandleFunc("GET /favicon.ico", s.favicon)
	for pattern, h := range map[string]page{
		"GET /{$}":                             s.tasks,
		"GET /tasks/{ref}":                     s.task,
		"GET /import":                          s.importPage,
		"GET /runs":                            s.runs,
		"GET /runs/{id}":                       s.run,
		"GET /runs/{id}/{side}/view/{path...}": s.view,
		"GET /runs/{id}/{side}/file/{path...}": s.file,
		"GET /usage":                           s.usage,
		"GET /system":                          s.system,
		"GET /access":                          s.access,
		"GET /audit":                           s.audit,
	} {
		mux.Handle(pattern, s.known(h))
	}
	mux.Handle("/", s.known(func(http.ResponseWriter, *http.Request, Caller) error {
		return (&task.Error{Code: task.CodeMissing, Message: "there is no such page"}).WithHint("the pages are in the menu above")
	}))
	return secure(mux)
}

// page answers a request of somebody who is known. It has written nothing when it returns an error.
type page func(w http.ResponseWriter, r *http.Request, c Caller) error

// known lets only those in who are known, and shows errors.
func (s *site) known(h page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		c, ok := callerOf(r)
		if !ok {
			s.render(w, r, http.StatusUnauthorized, "signin", view{Title: "Sign in"})
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			s.fail(w, r, c, http.StatusMethodNotAllowed, task.Errorf(task.CodeUsage, "this page can only be read"))
			return
		}
		if err := h(w, r, c); err != nil && !errors.Is(err, context.Canceled) {
			s.fail(w, r, c, statusOf(err), err)
		}
	})
}

// statuses translates the codes that pages meet.
var statuses = map[task.Code]int{
	task.CodeMissing: http.StatusNotFound, task.CodeUsage: http.StatusBadRequest, task.ReasonInput: http.StatusBadRequest,
	task.ReasonPolicy: http.StatusForbidden, task.CodeAccess: http.StatusForbidden, task.CodePackage: http.StatusUnprocessableEntity, task.ReasonImage: http.StatusUnprocessableEntity,
}

func statusOf(err error) int {
	if status, ok := statuses[task.CodeOf(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// fail shows an error as a page.
func (s *site) fail(w http.ResponseWriter, r *http.Request, c Caller, status int, err error) {
	shown, ok := errors.AsType[*task.Error](err)
	if !ok || status >= http.StatusInternalServerError {
		s.cfg.Log.Error("a page could not be shown", "path", r.URL.Path, "error", err)
	}
	if !ok {
		shown = (&task.Error{Code: task.ReasonEngine, Message: "the server could not make this page"}).WithHint("try again; the server's log tells more")
	}
	s.render(w, r, status, "error", view{Title: http.StatusText(status), Caller: c, Data: shown})
}

// secure sets what holds for every answer: nothing from elsewhere, no inline scripts, in nobody's frame.
func secure(h http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd.Set("Content-Security-Policy", policy)
		hd.Set("X-Content-Type-Options", "nosniff")
		hd.Set("Referrer-Policy", "no-referrer")
		hd.Set("Cross-Origin-Opener-Policy", "same-origin")
		hd.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// view is what a template is filled with.
type view struct {
	Title string
	// Nav is the menu entry that the page belongs to.
	Nav    string
	Caller Caller
	Data   any

	Assets string
	Now    time.Time
}

func (s *site) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.Assets, v.Now = "/static/"+s.assets, s.cfg.Now()
	var b bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		s.cfg.Log.Error("a page could not be drawn", "page", name, "error", err)
		http.Error(w, "the page could not be drawn; the server's log tells more", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // a reader that is gone misses nothing
	}
}

// show renders a page that was found.
func (s *site) show(w http.ResponseWriter, r *http.Request, name string, v view) error {
	s.render(w, r, http.StatusOK, name, v)
	return nil
}

// static serves the style and the scripts, for ever under their hash.
func (s *site) static() http.Handler {
	sub, err := fs.Sub(staticFiles, "static")
	if err != nil {
		panic("web: " + err.Error()) // they are embedded
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		if r.PathValue("hash") != s.assets {
			w.Header().Set("Cache-Control", "no-store") // of another version of the server
		}
		http.ServeFileFS(w, r, sub, r.PathValue("file"))
	})
}

func (s *site) favicon(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, staticFiles, "static/icon.svg")
}

func hashOf(files fs.FS) string {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, p)
		h.Write(data)
		return err
	})
	if err != nil {
		panic("web: " + err.Error()) // they are embedded
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
