package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/blob"
	"longshore/internal/task"
)

// TestProblems: whatever is wrong with a request, the answer says what, with a status, a code and what to do.
func TestProblems(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	r.task()
	for _, c := range []struct {
		name, method, path, body, kind string
		status                         int
		code                           task.Code
		detail, hint                   string
	}{
		{"unknown path", "GET", "/v1/runz", "", "", 404, task.CodeMissing, "/v1/runz", "openapi.json"},
		{"unknown path outside", "GET", "/nothing", "", "", 404, task.CodeMissing, "/nothing", ""},
		{"wrong method", "DELETE", "/v1/runs", "", "", 405, task.CodeUsage, "DELETE", "GET"},
		{"unknown field", "POST", "/v1/runs", `{"task":"t","lables":{}}`, "", 422, task.CodeUsage, "lables", "did you mean labels?"},
		{"unknown field inside", "POST", "/v1/runs", `{"task":"t","limits":{"memry":"1G"}}`, "", 422, task.CodeUsage, "limits.memry", "did you mean memory?"},
		{"unknown field in a map", "POST", "/v1/runs", `{"task":"t","files":{"a":{"digset":"x"}}}`, "", 422, task.CodeUsage, "digset", "did you mean digest?"},
		{"unknown field in a list", "POST", "/v1/runs", `{"task":"t","files":{"a":{"entries":[{"paht":"x"}]}}}`, "", 422, task.CodeUsage, "paht", "did you mean path?"},
		{"unknown field of a plain body", "POST", "/v1/tokens", `{"account":"a","scopes":["caller"],"expires":"1h"}`, "application/json", 422, task.CodeUsage, "expires", ""},
		{"a field without a name", "POST", "/v1/runs", `{"task":"t","":1}`, "", 422, task.CodeUsage, "unexpected property", "there are"},
		{"a field without a name in a plain body", "PUT", "/v1/accounts/a", `{"":null}`, "application/json", 422, task.CodeUsage, "unexpected property", "disabled"},
		{"no version", "GET", "/v1", "", "", 404, task.CodeMissing, "/v1", "openapi.json"},
		{"a slash too many", "GET", "/v1/runs/", "", "", 404, task.CodeMissing, "/v1/runs/", "did you mean /v1/runs?"},
		{"a retry for no reason", "POST", "/v1/runs", `{"task":"t","retry":{"max":1,"on":["often"]}}`, "", 422, task.CodeUsage, "retry.on", ""},
		{"a run for no reason", "GET", "/v1/runs?reason=often", "", "", 422, task.CodeUsage, "reason", ""},
		{"a form's type", "POST", "/v1/runs", "a=b", "application/x-www-form-urlencoded", 415, task.CodeUsage, "x-www-form-urlencoded", "application/json or"},
		{"a form's type, plain", "POST", "/v1/tokens", "a=b", "application/x-www-form-urlencoded", 415, task.CodeUsage, "x-www-form-urlencoded", "application/json"},
		{"wrong type", "POST", "/v1/runs", `{"task":5}`, "", 422, task.CodeUsage, "task", ""},
		{"missing field", "POST", "/v1/runs", `{}`, "", 422, task.CodeUsage, "task", ""},
		{"out of range", "POST", "/v1/runs", `{"task":"t","priority":1001}`, "", 422, task.CodeUsage, "priority", ""},
		{"broken JSON", "POST", "/v1/runs", `{"task":`, "", 400, task.CodeUsage, "no JSON", ""},
		{"broken JSON, where", "POST", "/v1/runs", "{\"task\": \"t\",\n  nope}", "", 400, task.CodeUsage, "line 2, column 3", ""},
		{"a number out of range", "POST", "/v1/runs", "{\"task\":\"t\",\n\"inputs\":{\"a\":1e400}}", "", 400, task.CodeUsage, "line 2, column 15, holds a number that is out of range: 1e400", ""},
		{"two documents", "POST", "/v1/runs", `{"task":"t"} {}`, "", 400, task.CodeUsage, "no JSON", ""},
		{"no body", "POST", "/v1/runs", "", "", 400, task.CodeUsage, "no body", ""},
		{"no body, plain", "POST", "/v1/tokens", "", "application/json", 400, task.CodeUsage, "body", ""},
		{"too large", "POST", "/v1/runs", `"` + strings.Repeat("x", 8<<20) + `"`, "", 413, task.CodeLimit, "larger", "as files"},
		{"too large, plain", "POST", "/v1/tokens", `"` + strings.Repeat("x", 8<<20) + `"`, "application/json", 413, task.CodeLimit, "larger", ""},
		{"media type", "POST", "/v1/runs", "x", "text/csv", 415, task.CodeUsage, "Content-Type", "multipart/form-data"},
		{"media type, plain", "POST", "/v1/tokens", "x", "text/csv", 415, task.CodeUsage, "", ""},
		{"a name of zero bytes", "POST", "/v1/tokens", `{"account":"a","scopes":["caller"],"name":"a\u0000"}`, "application/json", 400, task.CodeUsage, "zero byte", ""},
		{"a query cut off", "GET", "/v1/runs?search=%zz", "", "", 400, task.CodeUsage, "query", "%XX"},
		{"a query of zero bytes", "GET", "/v1/tasks?search=a%00b", "", "", 400, task.CodeUsage, "zero byte", ""},
		{"a query of no characters", "GET", "/v1/tasks?search=%ff", "", "", 400, task.CodeUsage, "UTF-8", ""},
		{"a path of no characters", "GET", "/v1/tasks/%ff", "", "", 400, task.CodeUsage, "UTF-8", ""},
		{"a zone as it is", "GET", "/v1/runs?since=2026-05-01T12:00:00+02:00&limit=0", "", "", 422, task.CodeUsage, "limit", ""},
		{"unknown query", "GET", "/v1/runs?staet=failed", "", "", 422, task.CodeUsage, "staet", "did you mean state?"},
		{"query value", "GET", "/v1/runs?state=broken", "", "", 422, task.CodeUsage, "state", ""},
		{"query limit", "GET", "/v1/runs?limit=1001", "", "", 422, task.CodeUsage, "limit", ""},
		{"query cursor", "GET", "/v1/runs?cursor=';DROP", "", "", 422, task.CodeUsage, "cursor", ""},
		{"query time", "GET", "/v1/runs?since=yesterday", "", "", 422, task.CodeUsage, "since", ""},
		{"query wait", "GET", "/v1/runs/0?wait=1h", "", "", 422, task.CodeUsage, "5m", ""},
		{"query label", "GET", "/v1/runs?label=x", "", "", 400, task.CodeUsage, "name=value", ""},
		{"unknown run", "GET", "/v1/runs/0123456789abcdef0123", "", "", 404, task.CodeMissing, "no run", ""},
		{"unknown task", "GET", "/v1/tasks/none", "", "", 404, task.CodeMissing, "none", "import"},
		{"wrong value", "POST", "/v1/runs", `{"task":"t","inputs":{"n":"abc"}}`, "", 422, task.ReasonInput, `"n"`, ""},
		{"unknown input", "POST", "/v1/runs", `{"task":"t","inputs":{"sya":"abc"}}`, "", 422, task.ReasonInput, `"sya"`, "say"},
		{"no such file", "POST", "/v1/runs", `{"task":"t","inputs":{"file":"@x"}}`, "", 422, task.ReasonInput, `"x"`, ""},
		{"can never fit", "POST", "/v1/runs", `{"task":"t","limits":{"cpu":"1000"}}`, "", 403, task.ReasonPolicy, "never", ""},
		{"network", "POST", "/v1/runs", `{"task":"t","network":true}`, "", 403, task.ReasonPolicy, "no network", "network: allowed"},
		{"no quantity", "POST", "/v1/runs", `{"task":"t","limits":{"memory":"much"}}`, "", 400, task.CodeUsage, "limits.memory", ""},
		{"no duration", "POST", "/v1/runs", `{"task":"t","timeouts":{"run":"soon"}}`, "", 400, task.CodeUsage, "timeouts.run", "90s"},
		{"no upload", "POST", "/v1/runs", `{"task":"t","files":{"f":{"digest":"sha256:00"}}}`, "", 404, task.CodeMissing, "upload", ""},
		{"no digest", "GET", "/v1/uploads/sha256:xyz", "", "", 422, task.CodeUsage, "digest", ""},
		{"path without end", "POST", "/v1/runs", `{"task":"t","files":{"f":{"entries":[{"path":"` + strings.Repeat("a/", 1<<21) + `a","digest":"x"}]}}}`, "", 400, task.CodeUsage, "a path in it", ""},
		{"key", "POST", "/v1/runs", `{"task":"t"}`, "key", 400, task.CodeUsage, "key", ""},
		{"import of two", "POST", "/v1/tasks", `{"image":"a","git":"git+b"}`, "application/json", 400, task.CodeUsage, "one thing", ""},
		{"import of no image", "POST", "/v1/tasks", `{"image":"a"}`, "application/json", 404, task.CodeMissing, "image", ""},
	} {
		kind, key := c.kind, ""
		if kind == "key" {
			kind, key = "", "with spaces in it"
		}
		res, data := r.ask(r.secret("root", access.Admin), c.method, c.path, strings.NewReader(c.body), "Content-Type", kind, "Idempotency-Key", key)
		p := r.problem(res, data, c.status, c.code)
		if !strings.Contains(p.Detail, c.detail) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
	// A package with errors is answered with all findings, and a dry run keeps nothing.
	token := r.secret("amy", access.Author)
	res, data := r.ask(token, "POST", "/v1/tasks?filename=bad&dryRun=true", strings.NewReader("x"), "Content-Type", "application/octet-stream")
	if p := r.problem(res, data, 422, task.CodePackage); len(p.Findings) != 2 || p.Findings[0].Rule != "P1" || p.Findings[0].Line != 1 || p.Findings[0].Mend == "" {
		t.Errorf("%+v", p)
	}
}

// TestStorageAway: what may work later is told as such, and without the storage's own words.
func TestStorageAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) {
		c.Checks = append(c.Checks, api.Check{Name: "blobs", Ask: func(context.Context) error { return fmt.Errorf("%w: bucket b of 10.0.0.1", blob.ErrAway) }})
	}})
	res, data := r.ask("", "GET", "/readyz", nil)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(data), "storage of files does not answer") || strings.Contains(string(data), "10.0.0.1") {
		t.Errorf("%s %s", res.Status, data)
	}
}

// TestRequestID: answers and the log call a request by the ID that the caller gave it, where it is plain, and else by a new one.
func TestRequestID(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	const header = "X-Request-Id"
	for given, kept := range map[string]bool{"build-7.retry_2": true, "": false, "a b": false, "<script>": false, strings.Repeat("x", 65): false} {
		res, data := r.ask(r.secret("root", access.Admin), "GET", "/v1/runs/none", nil, header, given)
		p := r.problem(res, data, http.StatusNotFound, task.CodeMissing)
		if id := res.Header.Get(header); id == "" || (id == given) != kept || p.Request != id {
			t.Errorf("%q: header %q, problem %q", given, id, p.Request)
		}
	}
	r.away.Store(true)
	res, data := r.ask(r.secret("root", access.Admin), "GET", "/v1/runs", nil, header, "seven")
	p := r.problem(res, data, http.StatusServiceUnavailable, task.ReasonEngine)
	if err := p.Err(); !strings.Contains(err.Error(), "(request seven)") {
		t.Errorf("what people see: %v", err)
	}
	res, data = r.ask("", "PATCH", "/v1/runs", nil, header, "eight")
	if p := r.problem(res, data, http.StatusMethodNotAllowed, task.CodeUsage); p.Request != "eight" {
		t.Errorf("%+v", p)
	}
}

// TestEncodedBodies: a body that is packed is refused, and not kept as if it were the content.
func TestEncodedBodies(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	for _, path := range []string{"/v1/uploads", "/v1/runs", "/v1/tokens", "/v1/tasks"} {
		res, data := r.ask(r.secret("root", access.Admin), "POST", path, strings.NewReader("packed"), "Content-Encoding", "gzip", "Content-Type", "application/octet-stream")
		if p := r.problem(res, data, http.StatusUnsupportedMediaType, task.CodeUsage); !strings.Contains(p.Detail, "Content-Encoding") || p.Hint == "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if res, _ := r.ask(r.secret("root", access.Admin), "POST", "/v1/uploads", strings.NewReader("plain"), "Content-Encoding", "identity"); res.StatusCode != http.StatusCreated {
		t.Errorf("identity: %s", res.Status)
	}
}

// TestReady: a server that cannot work says so, and why.
func TestReady(t *testing.T) {
	t.Parallel()
	broken := errors.New("no worker")
	r := newRig(t, options{api: func(c *api.Config) {
		c.Checks = []api.Check{{Name: "blobs", Ask: func(context.Context) error { return nil }}, {Name: "worker", Ask: func(context.Context) error { return broken }}}
	}})
	res, data := r.ask("", "GET", "/readyz", nil)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(data), `"database":"ok"`) || strings.Contains(string(data), `"worker":"ok"`) {
		t.Errorf("%s %s", res.Status, data)
	}
	if res, _ := r.ask("", "GET", "/healthz", nil); res.StatusCode != http.StatusOK {
		t.Errorf("healthz: %s", res.Status)
	}
	if err := r.svc.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.task()
	res, data = r.ask(r.secret("ada", access.Caller), "POST", "/v1/runs", strings.NewReader(`{"task":"t"}`))
	r.problem(res, data, http.StatusServiceUnavailable, task.ReasonPolicy)
	if res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
