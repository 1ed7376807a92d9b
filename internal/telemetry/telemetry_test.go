package telemetry_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
	"longshore/internal/telemetry"
)

// source is a service with one old run in its queue.
type source struct{ err error }

func (s source) System(context.Context) (durable.System, error) {
	return durable.System{
		Slots: 8, Busy: 3, Runs: map[task.State]int64{task.Queued: 2, task.Running: 3}, BlobBytes: 100, FreeBytes: -1,
		Capacity: task.Resources{CPU: 2000, Memory: 1 << 30}, Free: task.Resources{CPU: 500, Memory: 1 << 20},
		Servers: []store.Server{{Name: "a", SeenAt: time.Now()}, {Name: "dead", SeenAt: time.Now().Add(-time.Hour)}},
	}, s.err
}

func (s source) Runs(_ context.Context, f store.RunFilter) ([]store.Run, string, error) {
	return []store.Run{{CreatedAt: time.Now().Add(-time.Minute)}}, "", s.err
}

func ended(t *testing.T) (store.Run, store.End) {
	t.Helper()
	result, err := json.Marshal(task.Result{Stages: []task.StageTime{{Stage: task.Preparing, Seconds: 1}, {Stage: task.Running, Seconds: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return store.Run{ID: "0123456789abcdef0123", Contract: "meca", TaskName: "echo", Account: "alice", Attempt: 2, CreatedAt: at},
		store.End{State: task.Failed, Reason: task.ReasonExit, EndedAt: at.Add(10 * time.Second), Result: result, Usage: task.Usage{CPUSeconds: 2.5}}
}

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := telemetry.NewMetrics("1.2.3")
	if err := m.Watch(source{}); err != nil {
		t.Fatal(err)
	}
	run, end := ended(t)
	m.Ended(run, end)
	m.Ended(run, store.End{State: task.Queued, Reason: task.ReasonEngine})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/runs/{id}", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		if f, ok := w.(http.Flusher); !ok {
			t.Error("no http.Flusher")
		} else {
			f.Flush()
		}
	})
	h := m.HTTP(mux)
	for _, path := range []string{"/v1/runs/1", "/v1/runs/2", "/stream", "/a", "/b", "/../c"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://x"+path, nil))
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("BREW", "http://x/tea", nil))
	text := scrape(t, m)
	for _, want := range []string{
		`longshore_runs_ended_total{contract="meca",reason="exit",state="failed"} 1`,
		`longshore_run_retries_total{contract="meca",reason="engine"} 1`,
		`longshore_run_stage_seconds_sum{contract="meca",stage="running"} 3`,
		`longshore_run_queued_seconds_sum 6`,
		`longshore_run_cpu_seconds_total{contract="meca"} 2.5`,
		`longshore_http_requests_total{code="404",method="GET",route="/v1/runs/{id}"} 2`,
		`longshore_http_requests_total{code="200",method="GET",route="/stream"} 1`,
		`longshore_http_requests_total{code="404",method="other",route="other"} 1`, `longshore_http_requests_total{code="404",method="GET",route="other"} 2`,
		`longshore_runs{state="running"} 3`, `longshore_capacity{resource="cpus"} 2`, `longshore_capacity_free{resource="cpus"} 0.5`,
		`longshore_servers 1`, `longshore_up 1`, `longshore_blob_bytes 100`, `longshore_build_info{version="1.2.3"} 1`, "longshore_queue_oldest_seconds 60",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "longshore_blob_free_bytes ") {
		t.Error("what is not known is told all the same")
	}
}

// A database that does not answer leaves a scrape that says so.
func TestMetricsOfABrokenServer(t *testing.T) {
	m := telemetry.NewMetrics("x")
	if err := m.Watch(source{err: errors.New("gone")}); err != nil {
		t.Fatal(err)
	}
	if text := scrape(t, m); !strings.Contains(text, "longshore_up 0") || !strings.Contains(text, "go_goroutines") {
		t.Error(text)
	}
}

var metricName = regexp.MustCompile(`\b(longshore|process|go)_[a-z_]+`)

// Every metric that the dashboard and the manual name is there.
func TestDashboard(t *testing.T) {
	m := telemetry.NewMetrics("x")
	if err := m.Watch(source{}); err != nil {
		t.Fatal(err)
	}
	run, end := ended(t)
	m.Ended(run, end)
	m.Ended(run, store.End{State: task.Queued})
	m.HTTP(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	text := scrape(t, m) + "\nlongshore_blob_free_bytes 1\n" // not known to the source here
	data, err := os.ReadFile("../../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			found := metricName.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("panel %q asks for no metric: %s", p.Title, target.Expr)
			}
			named = append(named, found...)
		}
	}
	if len(named) < 15 {
		t.Errorf("only %d metrics in the dashboard", len(named))
	}
	manual, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	named = append(named, regexp.MustCompile(`\blongshore_[a-z_]+`).FindAllString(string(manual), -1)...)
	slices.Sort(named)
	for _, name := range slices.Compact(named) {
		if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("there is no metric %s", name)
		}
	}
}

// Spans reach a collector by OTLP: one for the request, and the run's with one for each stage, in a trace of its own.
func TestTraces(t *testing.T) {
	got := make(chan *coltrace.ExportTraceServiceRequest, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var m coltrace.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &m)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Key") != "k=1" {
			t.Errorf("%s %v %v", r.URL, r.Header, err)
		}
		got <- &m
	}))
	defer collector.Close()
	tr, err := telemetry.NewTraces(t.Context(), telemetry.TraceConfig{URL: collector.URL, Headers: []string{"X-Key=k=1"}, Ratio: 1, Server: "s1", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/runs/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	r := httptest.NewRequest("GET", "/v1/runs/7", nil)
	r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	tr.HTTP(mux).ServeHTTP(httptest.NewRecorder(), r)
	run, end := ended(t)
	tr.Ended(run, end)
	tr.Ended(run, end) // as another server, or this one after a restart, would tell it
	run.Labels = map[string]string{"traceparent": "00-11111111111111111111111111111111-2222222222222222-01"}
	tr.Ended(run, end)
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{} // by trace
	for len(got) > 0 {
		for _, rs := range (<-got).ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					id := hex.EncodeToString(s.TraceId)
					names[id] = append(names[id], s.Name)
				}
			}
		}
	}
	if len(names) != 3 {
		t.Fatalf("%d traces: %v", len(names), names)
	}
	if s := names["0af7651916cd43dd8448eb211c80319c"]; !slices.Equal(s, []string{"GET /v1/runs/{id}"}) {
		t.Errorf("the request's trace: %v", s)
	}
	if s := names["11111111111111111111111111111111"]; !slices.Contains(s, "run echo") || !slices.Contains(s, "running") || !slices.Contains(s, "queued") {
		t.Errorf("the trace named by a label: %v", s)
	}
}
