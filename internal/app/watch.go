package app

import (
	"context"
	"net/http"
	"time"

	"longshore/internal/config"
	"longshore/internal/dispatch/durable"
	"longshore/internal/telemetry"
)

// Watch is how operators look at a server: metrics always, traces when they are asked for.
type Watch struct {
	metrics *telemetry.Metrics
	traces  *telemetry.Traces // nil without
}

// NewWatch begins to watch. server and version name this one.
func NewWatch(ctx context.Context, version, server string, c config.Traces) (*Watch, error) {
	w := &Watch{metrics: telemetry.NewMetrics(version)}
	if c.URL == "" {
		return w, nil
	}
	var err error
	w.traces, err = telemetry.NewTraces(ctx, telemetry.TraceConfig{URL: c.URL, Headers: c.Headers, Ratio: c.Ratio, Server: server, Version: version})
	return w, err
}

// Observer is what a service tells of ends.
func (w *Watch) Observer() durable.Observer {
	if w.traces == nil {
		return w.metrics
	}
	return telemetry.Observers{w.metrics, w.traces}
}

// Look has every scrape ask a service.
func (w *Watch) Look(s *durable.Service) error { return w.metrics.Watch(s) }

// Metrics answers /metrics.
func (w *Watch) Metrics() http.Handler { return w.metrics.Handler() }

// HTTP watches the requests that next answers.
func (w *Watch) HTTP(next http.Handler) http.Handler {
	next = w.metrics.HTTP(next)
	if w.traces != nil {
		next = w.traces.HTTP(next) // hands on a copy of the request, in which the route is noted for those within
	}
	return next
}

// Close sends what is left, for a moment.
func (w *Watch) Close() error {
	if w.traces == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_ = w.traces.Close(ctx) // a collector that does not answer is no reason to end with an error
	return nil
}

// Retention is the configuration's as the service takes it.
func Retention(r config.Retention) durable.Retention {
	return durable.Retention{Files: r.Files, Runs: r.Runs, Audit: r.Audit, Disk: r.Disk}
}
