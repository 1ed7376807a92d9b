package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"longshore/internal/access"
	"longshore/internal/api"
	"longshore/internal/task"
)

// TestEveryRoute walks all routes with every scope, without a token, and with wrong ones: who is not named by the route is not
// let through, whatever else is wrong with the request.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{api: func(c *api.Config) { c.Web = http.NotFoundHandler() }})
	routes := r.Routes()
	if len(routes) < 40 {
		t.Fatalf("%d routes", len(routes))
	}
	fill := strings.NewReplacer("{id}", "00000000000000000000", "{task}", "none", "{path}", "a/b", "{digest}", "sha256:"+strings.Repeat("0", 64), "{account}", "ada")
	for _, route := range routes {
		path := fill.Replace(route.Path)
		for _, scope := range access.Scopes() {
			res, data := r.ask(r.secret("walker", scope), route.Method, path, strings.NewReader("{}"), "Content-Type", "application/json")
			may := route.Public || scope == access.Admin || slices.Contains(route.Scopes, scope)
			refused := res.StatusCode == http.StatusForbidden && strings.Contains(string(data), "this token may not do that")
			if may == refused || res.StatusCode == http.StatusUnauthorized {
				t.Errorf("%s %s as %s: %s", route.Method, route.Path, scope, res.Status)
			}
			if route.ID == "logout" || res.StatusCode >= 500 && route.ID != "get-metrics" {
				if res.StatusCode >= 500 {
					t.Errorf("%s %s as %s: %s %s", route.Method, route.Path, scope, res.Status, data)
				}
			}
		}
		for _, token := range []string{"", "lsk_wrong", access.SecretPrefix + strings.Repeat("A", 43)} {
			res, data := r.ask(token, route.Method, path, strings.NewReader("{}"), "Content-Type", "application/json")
			if route.Public {
				continue
			}
			if res.StatusCode == http.StatusTooManyRequests {
				r.Forgive()
				res, data = r.ask(token, route.Method, path, strings.NewReader("{}"), "Content-Type", "application/json")
			}
			r.problem(res, data, http.StatusUnauthorized, task.CodeAccess)
			if res.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: no WWW-Authenticate", route.Method, route.Path)
			}
		}
		if len(route.Scopes) == 0 && !route.Public {
			t.Errorf("%s names no scope", route.ID)
		}
	}
}

// TestPublic lists what is open to everybody, so that nothing joins it by mistake.
func TestPublic(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	var open []string
	for _, route := range r.Routes() {
		if route.Public {
			open = append(open, route.Method+" "+route.Path)
		}
	}
	want := []string{"GET /v1/openapi.json", "GET /healthz", "GET /readyz", "GET /login", "POST /login"}
	if !slices.Equal(open, want) {
		t.Errorf("open to everybody: %q", open)
	}
}

func mustJSON(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
}
