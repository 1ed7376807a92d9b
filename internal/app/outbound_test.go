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
	"longshore/internal/outbound"
	"longshore/internal/task"
)

// TestOutbound: images, bases and files to add that lie where a server must not be sent to are not asked for, and the refusal names
// the setting; what is allowed by name is.
func TestOutbound(t *testing.T) {
	var asked atomic.Bool
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Store(true)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(inner.Close)
	host := strings.TrimPrefix(inner.URL, "http://")
	dir := t.TempDir()
	for name, text := range map[string]string{"base": "FROM " + host + "/x:1\n", "add": "FROM scratch\nADD " + inner.URL + "/file /file\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func(file string) task.ImageSource {
		return task.ImageSource{Kind: task.ImageBuild, Name: "built:1", Context: dir, Dockerfile: file}
	}
	for name, src := range map[string]task.ImageSource{"image": {Kind: task.ImageReference, Name: host + "/x:1"}, "base": build("base"), "add": build("add")} {
		for _, allow := range [][]string{{outbound.Private}, {"127.0.0.0/8"}} {
			asked.Store(false)
			a, err := app.New(app.Config{Home: t.TempDir(), Sources: allow})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = a.Build(t.Context(), src)
			refused := task.CodeOf(err) == task.ReasonPolicy && strings.Contains(err.(*task.Error).Hint, "sources.allow")
			if wanted := allow[0] == outbound.Private; err == nil || refused != wanted || asked.Load() == wanted {
				t.Errorf("%s, allowed %v: asked %v; %#v", name, allow, asked.Load(), err)
			}
		}
	}
}
