package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// TraceConfig says where spans go.
type TraceConfig struct {
	// URL is the collector's, such as "http://127.0.0.1:4318"; "/v1/traces" is added when it has no path.
	URL     string
	Headers []string // NAME=VALUE
	// Ratio of traces that are kept, 0 to 1.
	Ratio float64
	// Server and Version name this server.
	Server, Version string
}

// Traces sends a span for every request and, once it has ended, for every run with one for each of its stages. A run's trace
// has an ID that is made of the run's, so that every server adds to the same one; a run whose label "traceparent" is a W3C
// trace context is a part of that trace instead. Spans are sent in the background, and dropped when the collector is too slow.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	caller   propagation.TraceContext
}

var _ durable.Observer = (*Traces)(nil)

// NewTraces begins to send. It does not need the collector to be there yet.
func NewTraces(ctx context.Context, cfg TraceConfig) (*Traces, error) {
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(endpoint(cfg.URL))}
	if len(cfg.Headers) > 0 {
		headers := map[string]string{}
		for _, h := range cfg.Headers {
			name, v, _ := strings.Cut(h, "=")
			headers[name] = v
		}
		options = append(options, otlptracehttp.WithHeaders(headers))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, task.Errorf(task.CodeUsage, "traces cannot be sent to %s: %w", cfg.URL, err)
	}
	p := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter), sdk.WithIDGenerator(ids{}), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(cfg.Ratio))),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "longshore"), attribute.String("service.version", cfg.Version), attribute.String("service.instance.id", cfg.Server))),
	)
	return &Traces{provider: p, tracer: p.Tracer("longshore")}, nil
}

func endpoint(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	if !strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
		return strings.TrimSuffix(url, "/") + "/v1/traces"
	}
	return url
}

// Close sends what is left, for as long as ctx lasts.
func (t *Traces) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// HTTP makes a span of every request that next answers.
func (t *Traces) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := t.caller.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, knownMethod(r.Method), trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path)))
		rec := &recorder{ResponseWriter: w}
		r = r.WithContext(ctx)
		defer func() {
			span.SetName(knownMethod(r.Method) + " " + route(r))
			span.SetAttributes(attribute.String("http.route", route(r)), attribute.Int("http.response.status_code", rec.code()))
			if rec.code() >= 500 {
				span.SetStatus(codes.Error, http.StatusText(rec.code()))
			}
			span.End()
		}()
		next.ServeHTTP(rec, r)
	})
}

// Ended implements durable.Observer.
func (t *Traces) Ended(run store.Run, e store.End) {
	if e.State == task.Queued {
		return
	}
	ctx := context.WithValue(context.Background(), runKey{}, run.ID)
	if parent := run.Labels["traceparent"]; parent != "" {
		ctx = t.caller.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	ctx, span := t.tracer.Start(ctx, "run "+run.TaskName, trace.WithTimestamp(run.CreatedAt), trace.WithAttributes(
		attribute.String("longshore.run", run.ID), attribute.String("longshore.task", run.TaskName), attribute.String("longshore.contract", run.Contract),
		attribute.String("longshore.account", run.Account), attribute.Int("longshore.attempt", run.Attempt), attribute.String("longshore.state", string(e.State))))
	defer span.End(trace.WithTimestamp(e.EndedAt))
	if e.State == task.Failed {
		span.SetStatus(codes.Error, string(e.Reason))
		span.SetAttributes(attribute.String("longshore.reason", string(e.Reason)))
	}
	t.stages(context.WithValue(ctx, runKey{}, nil), run, e)
}

// stages draws a run's stages one after the other so that the last one ends with the run; what is before them is the queue.
func (t *Traces) stages(ctx context.Context, run store.Run, e store.End) {
	stages := stagesOf(e)
	at := e.EndedAt
	for _, s := range stages {
		at = at.Add(-time.Duration(s.Seconds * float64(time.Second)))
	}
	if at.Before(run.CreatedAt) {
		at = run.CreatedAt
	}
	draw := func(name task.State, from, to time.Time) {
		_, span := t.tracer.Start(ctx, string(name), trace.WithTimestamp(from))
		span.End(trace.WithTimestamp(to))
	}
	draw(task.Queued, run.CreatedAt, at)
	for _, s := range stages {
		end := at.Add(time.Duration(s.Seconds * float64(time.Second)))
		draw(s.Stage, at, end)
		at = end
	}
}

// runKey carries a run's ID to the generator of IDs, which is handed nothing else.
type runKey struct{}

// ids makes the IDs of traces and spans: random, but for a run's own span.
type ids struct{}

// NewIDs implements sdk.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var t trace.TraceID
	if id, ok := ctx.Value(runKey{}).(string); ok {
		sum := sha256.Sum256([]byte("longshore run " + id))
		copy(t[:], sum[:])
	} else {
		binary.LittleEndian.PutUint64(t[:8], rand.Uint64())
		binary.LittleEndian.PutUint64(t[8:], rand.Uint64()|1)
	}
	return t, g.NewSpanID(ctx, t)
}

// NewSpanID implements sdk.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var s trace.SpanID
	binary.LittleEndian.PutUint64(s[:], rand.Uint64()|1)
	return s
}

// Observers tells several.
type Observers []durable.Observer

// Ended implements durable.Observer.
func (o Observers) Ended(run store.Run, e store.End) {
	for _, one := range o {
		one.Ended(run, e)
	}
}
