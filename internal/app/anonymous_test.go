package app_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"longshore/internal/app"
	"longshore/internal/task"
)

// TestAnonymous: what strangers' packages name is pulled without the operator's registry logins, and the refusal says what to do.
func TestAnonymous(t *testing.T) {
	var shown atomic.Bool
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			shown.Store(true)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(registry.Close)
	host := strings.TrimPrefix(registry.URL, "http://")
	logins := t.TempDir()
	t.Setenv("DOCKER_CONFIG", logins)
	if err := os.WriteFile(filepath.Join(logins, "config.json"), []byte(`{"auths":{"`+host+`":{"auth":"YTpi"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "Dockerfile"), []byte("FROM "+host+"/private:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]task.ImageSource{
		"image": {Kind: task.ImageReference, Name: host + "/private:1"},
		"base":  {Kind: task.ImageBuild, Name: "built:1", Context: base, Dockerfile: "Dockerfile"},
	} {
		for _, anonymous := range []bool{false, true} {
			shown.Store(false)
			a, err := app.New(app.Config{Home: t.TempDir(), Anonymous: anonymous})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = a.Build(t.Context(), src)
			if shown.Load() == anonymous || err == nil {
				t.Errorf("%s, anonymous %v: the login was sent: %v; %v", name, anonymous, shown.Load(), err)
			}
			if e, ok := err.(*task.Error); !ok || strings.Contains(e.Hint, "longshore image pull") != anonymous {
				t.Errorf("%s, anonymous %v: %#v", name, anonymous, err)
			}
		}
	}
}
