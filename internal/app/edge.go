package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/blob"
	"longshore/internal/config"
	"longshore/internal/web"
)

// EdgeConfig says how requests are answered.
type EdgeConfig struct {
	// URL is where callers reach the server; Hosts are further names of it.
	URL     string
	Hosts   []string
	Version string
	// Forwarded believes a reverse proxy's headers.
	Forwarded bool
	Limits    config.Limits
	// Metrics answers /metrics, for those who may see them.
	Metrics http.Handler
	Log     *slog.Logger
}

// Edge is what callers meet: the API and the web page.
type Edge struct {
	*api.API
	keeper *access.Keeper
	url    string
}

// NewEdge puts API and web page before a server. The caller closes it after the last request.
func (s *Server) NewEdge(cfg EdgeConfig) *Edge {
	keeper := access.NewKeeper(s.Store, time.Now)
	hosts := cfg.Hosts
	if u, err := url.Parse(cfg.URL); err == nil && u.Hostname() != "" {
		hosts = append(slices.Clone(hosts), u.Hostname())
	}
	rate := float64(cfg.Limits.Rate)
	if cfg.Limits.Rate == 0 {
		rate = -1 // none
	}
	return &Edge{
		keeper: keeper, url: cfg.URL,
		API: api.New(api.Config{
			Service: s.Service, Store: s.Store, Keeper: keeper, Version: cfg.Version, MaxUpload: int64(cfg.Limits.Upload), Rate: rate, Burst: cfg.Limits.Burst,
			Checks: []api.Check{{Name: "blobs", Ask: s.blobsAnswer}, {Name: "worker", Ask: s.Worker.Start}, {Name: "writes", Ask: s.Writes}},
			Hosts:  hosts, Forwarded: cfg.Forwarded, Metrics: cfg.Metrics, Log: cfg.Log,
			Web: web.New(web.Config{Service: s.Service, Records: s.Store, Leftovers: s.app.leftovers, URL: cfg.URL, Log: cfg.Log}),
		}),
	}
}

// blobsAnswer asks for a blob that is not there: that it is not is an answer too.
func (s *Server) blobsAnswer(ctx context.Context) error {
	_, err := s.Blobs.Stat(ctx, "sha256:"+strings.Repeat("0", 64))
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	return err
}

// LoginLink makes a link that lets an administrator in, once.
func (e *Edge) LoginLink() string {
	return e.url + "/login?code=" + url.QueryEscape(e.keeper.LoginCode())
}

// Managed tells whether somebody has an administrator's token that counts.
func (e *Edge) Managed(ctx context.Context) (bool, error) {
	list, err := e.keeper.List(ctx, "")
	if err != nil {
		return false, err
	}
	now := time.Now()
	for _, t := range list {
		if slices.Contains(t.Scopes, string(access.Admin)) && t.RevokedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt)) {
			return true, nil
		}
	}
	return false, nil
}

// NewHTTPServer makes a server with the time limits that keep slow clients from holding it up.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server { return api.NewServer(h, log) }
