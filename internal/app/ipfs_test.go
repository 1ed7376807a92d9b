package app_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"longshore/internal/app"
	"longshore/internal/ipfs"
	"longshore/internal/task"
)

// mecaFolder writes a MECA folder below dir.
func mecaFolder(t *testing.T, dir string) string {
	t.Helper()
	for name, text := range map[string]string{
		"Dockerfile": "FROM busybox\n", "src/a.txt": "meca-init-done\n", "name.txt": "n\n", "description.txt": "d\n", "config.json": "{}",
		"example_input.bin": "{}", "example_output.bin": "{}", ".hidden": "h",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openFolder(t *testing.T, dir string) (*app.App, *app.Package) {
	t.Helper()
	a, err := app.New(app.Config{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Open(t.Context(), dir, app.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return a, p
}

// A node whose settings overrule the options makes something else of the folder: then nothing is published.
func TestPushFolderComparesWithNode(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"Name":"task","Hash":"bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354","Size":"4"}`)) // the client is gone
	}))
	defer node.Close()
	a, p := openFolder(t, mecaFolder(t, t.TempDir()))
	car := filepath.Join(t.TempDir(), "a.car")
	_, err := a.PushFolder(t.Context(), p, app.PublishOptions{CAR: car, Node: node.URL})
	if task.CodeOf(err) != task.ReasonBadResponse || !strings.Contains(err.Error(), "another CID") {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(car)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// MECA's desktop application uploads the folder in another one.
func TestPullFolderUnwraps(t *testing.T) {
	outer := t.TempDir()
	mecaFolder(t, filepath.Join(outer, "my-task"))
	f, err := os.Create(filepath.Join(t.TempDir(), "wrapped.car"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := ipfs.NewCARWriter(f)
	tree, err := ipfs.Layout(t.Context(), os.DirFS(outer), w)
	if err == nil {
		err = w.Finish(tree.CID)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, _ := openFolder(t, outer+"/my-task")
	out := filepath.Join(t.TempDir(), "out")
	got, err := a.PullFolder(t.Context(), f.Name(), out, app.FetchOptions{})
	if err != nil || got.CID != tree.CID.String() || !strings.Contains(got.Note, "hosts cannot use it") {
		t.Errorf("%+v, %v", got, err)
	}
	if data, err := os.ReadFile(filepath.Join(out, ".hidden")); err != nil || string(data) != "h" {
		t.Errorf("%q, %v", data, err)
	}
}

// What was interrupted, or has no place to go, leaves nothing behind.
func TestFoldersAppearWholeOrNotAtAll(t *testing.T) {
	a, p := openFolder(t, mecaFolder(t, t.TempDir()))
	dir := t.TempDir()
	car := filepath.Join(dir, "a.car")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.PushFolder(cancelled, p, app.PublishOptions{CAR: car}); err == nil {
		t.Error("pushed although cancelled")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := a.PushFolder(t.Context(), p, app.PublishOptions{CAR: car}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.PullFolder(cancelled, car, filepath.Join(dir, "out"), app.FetchOptions{}); err == nil {
		t.Error("pulled although cancelled")
	}
	for _, to := range []string{"/proc/longshore/out", "/dev/null", ""} {
		if _, err := a.PullFolder(t.Context(), car, to, app.FetchOptions{}); task.CodeOf(err) != task.CodeUsage {
			t.Errorf("-o %q: %v", to, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
