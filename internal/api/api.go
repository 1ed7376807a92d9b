// Package api is Longshore's own REST API, /v1, with its OpenAPI document, and the door of the server: it tells who somebody is,
// what they may, how much, and writes down who changed what. It translates between HTTP and the use cases of dispatch, and
// decides nothing about runs itself.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"longshore/internal/access"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
)

// Config says what the API works with. Service, Store and Keeper must be set.
type Config struct {
	Service *durable.Service
	Store   store.Store
	// Keeper lets people in. The server asks it for the one-time link.
	Keeper  *access.Keeper
	Version string

	// Checks tell whether the server can work, beside its database.
	Checks []Check
	// MaxUpload bounds the files of one request, in bytes; zero means 10 GiB.
	MaxUpload int64
	// Rate is how many requests a second one token may make on average, Burst how many at once. Zero means 200 and 400;
	// negative does not limit. Tries with wrong tokens are limited to two a second, 20 at once, by address.
	Rate  float64
	Burst int
	// Hosts are names by which clients reach the server. A server on loopback answers no other name than these and its own
	// without a token, so that no web page can reach it by having its name point there.
	Hosts []string
	// Forwarded believes the last X-Forwarded-For and X-Forwarded-Proto: only behind a proxy that sets them.
	Forwarded bool

	// Metrics answers /metrics; Web answers every path that is none of the API's. Both may be nil. In a request to Web,
	// access.From tells who is signed in.
	Metrics, Web http.Handler
	// Observe, when not nil, is told of every request once it is answered. Route is the pattern, empty for Web.
	Observe func(route string, status int, took time.Duration)
	// Peers talks to the other servers of the database; nil means the default transport.
	Peers http.RoundTripper

	// Heartbeat is how often a stream with nothing to tell says so; zero means 15 seconds. Stall is how long a client may
	// take no byte, or send none, before it is dropped; zero means 30 seconds.
	Heartbeat, Stall time.Duration
	Log              *slog.Logger // nil discards
	Now              func() time.Time
}

// Check is one thing that a server needs.
type Check struct {
	Name string
	Ask  func(context.Context) error
}

// API answers HTTP. It is safe for concurrent use.
type API struct {
	cfg     Config
	svc     *durable.Service
	keeper  *access.Keeper
	huma    huma.API
	mux     *http.ServeMux
	table   []Route
	origins *http.CrossOriginProtection
	journal *journal
	tokens  *limiter // by token
	strays  *limiter // by address, for those who are not let in
}

// New makes an API. Close ends it.
func New(cfg Config) *API {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&cfg.MaxUpload, 10<<30)
	setDefault(&cfg.Rate, 200)
	setDefault(&cfg.Burst, 400)
	setDefault(&cfg.Heartbeat, 15*time.Second)
	setDefault(&cfg.Stall, 30*time.Second)
	if cfg.Peers == nil {
		cfg.Peers = http.DefaultTransport
	}
	a := &API{
		cfg: cfg, svc: cfg.Service, keeper: cfg.Keeper, mux: http.NewServeMux(), origins: http.NewCrossOriginProtection(),
		tokens: newLimiter(cfg.Rate, cfg.Burst, cfg.Now), strays: newLimiter(2, 20, cfg.Now), journal: newJournal(cfg.Store, cfg.Log),
	}
	a.huma = newHuma(a.mux, cfg.Version)
	a.huma.UseMiddleware(a.guard)
	a.routes()
	return a
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Close writes down what is still to be written down. No request may come afterwards.
func (a *API) Close() {
	a.journal.close()
	a.keeper.Close()
}

// NewServer makes an HTTP server with the time limits that keep slow clients from holding it up.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // it tells of clients that break off
	}
}
