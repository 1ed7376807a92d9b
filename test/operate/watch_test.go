package operate_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"longshore/internal/task"
)

// A server tells Prometheus and a collector of traces what it has done.
func TestMetricsAndTraces(t *testing.T) {
	var mu sync.Mutex
	spans := map[string]int{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var m coltrace.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &m)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range m.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					spans[s.Name]++
				}
			}
		}
	}))
	defer collector.Close()
	open := freeAddress(t)
	s := start(t, t.TempDir(), "--otlp", collector.URL, "--metrics-listen", open)
	s.enter(t)
	c := s.client(t, nil)
	ticker(t.Context(), t, c)
	run, err := submit(t.Context(), c, 1)
	if err == nil {
		run, err = c.Wait(t.Context(), run.ID)
	}
	if err != nil || run.State != task.Succeeded {
		t.Fatal(run.State, err)
	}
	ask := func(url, token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if code, _ := ask(s.url+"/metrics", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	for _, from := range []struct{ url, token string }{{s.url, s.token}, {"http://" + open, ""}} {
		_, text := ask(from.url+"/metrics", from.token)
		for _, want := range []string{
			`longshore_runs_ended_total{contract="cytomine",reason="",state="succeeded"} 1`, `longshore_runs{state="succeeded"} 1`, "longshore_up 1",
			`longshore_run_stage_seconds_count{contract="cytomine",stage="running"} 1`, `longshore_http_requests_total{code="201",method="POST",route="/v1/runs"} 1`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s", from.url, want)
			}
		}
	}
	s.end(syscall.SIGTERM) // sends what is left
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{"run ticker", "queued", "running", "POST /v1/runs", "POST /v1/tasks"} {
		if spans[name] == 0 {
			t.Errorf("no span %q in %v", name, spans)
		}
	}
}
