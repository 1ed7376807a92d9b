package client_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := client.New(client.Options{URL: s.URL + "/", Token: "lsk_x", Patience: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func refuse(w http.ResponseWriter, status int, code task.Code) {
	w.Header().Set("Content-Type", v1.ProblemType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v1.Problem{Status: status, Code: code, Detail: "no", Hint: "do", Findings: []task.Finding{{Rule: "R", What: "w"}}})
}

// TestRetries: what can happen twice is asked again, with the same key; what cannot is not.
func TestRetries(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	keys := make(chan string, 10)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Idempotency-Key")
		switch asked.Add(1) {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			refuse(w, http.StatusServiceUnavailable, task.ReasonEngine)
		default:
			fmt.Fprint(w, `{"id":"1","state":"queued"}`)
		}
	})
	run, err := c.Submit(t.Context(), v1.RunRequest{Task: "t"}, client.SubmitOptions{})
	if err != nil || run.ID != "1" || asked.Load() != 3 {
		t.Errorf("%+v, %v after %d tries", run, err, asked.Load())
	}
	if a, b := <-keys, <-keys; a == "" || a != b {
		t.Errorf("keys %q and %q", a, b)
	}
	asked.Store(0)
	if _, err := c.CreateToken(t.Context(), v1.TokenRequest{}); err == nil || asked.Load() != 1 {
		t.Errorf("a token was asked for %d times, %v", asked.Load(), err)
	}
}

// TestErrors: what the server says arrives whole, and what is no Longshore server is told so.
func TestErrors(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/runs/a":
			refuse(w, http.StatusNotFound, task.CodeMissing)
		case "/v1/runs/b":
			http.Error(w, "<html>nginx", http.StatusForbidden)
		case "/v1/runs/c":
			fmt.Fprint(w, "<html>welcome")
		case "/v1/runs/d":
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		}
	})
	for id, want := range map[string]task.Code{"a": task.CodeMissing, "b": task.CodeAccess, "c": task.ReasonEngine, "d": task.CodeUsage} {
		_, err := c.Run(t.Context(), id)
		if task.CodeOf(err) != want {
			t.Errorf("%s: %v (%s)", id, err, task.CodeOf(err))
		}
		if e, ok := err.(*task.Error); id == "a" && (!ok || e.Hint != "do" || len(e.Findings) != 1 || e.Message != "no") {
			t.Errorf("%#v", err)
		}
	}
	gone, err := client.New(client.Options{URL: "127.0.0.1:1", Patience: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Self(t.Context()); task.CodeOf(err) != task.ReasonEngine || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Error(err)
	}
	for _, bad := range []string{"ftp://x", "http://", "://"} {
		if _, err := client.New(client.Options{URL: bad}); task.CodeOf(err) != task.CodeUsage {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestDownload writes nothing outside its folder, notices damage, and goes on where a connection broke.
func TestDownload(t *testing.T) {
	t.Parallel()
	const text = "0123456789"
	sum := sha256.Sum256([]byte(text))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	var files []v1.File
	var cut atomic.Bool
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/outputs") {
			_ = json.NewEncoder(w).Encode(v1.Page[v1.File]{Items: files})
			return
		}
		w.Header().Set("ETag", `"x"`)
		if !cut.Swap(true) {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte(text[:4]))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
	dir := filepath.Join(t.TempDir(), "out")
	files = []v1.File{{Path: "a/b", Digest: digest, Size: 10}, {Path: "empty", Mode: "dir"}, {Path: "link", Mode: "link", Target: "a/b"}}
	if _, err := c.Download(t.Context(), "1", dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "link")); err != nil || string(got) != text {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []v1.File{
		{Path: "../x", Digest: digest}, {Path: "/x", Digest: digest}, {Path: "l", Mode: "link", Target: "../../x"}, {Path: "l", Mode: "link", Target: "/etc/passwd"},
		{Path: "damaged", Digest: "sha256:" + strings.Repeat("0", 64)},
	} {
		files = []v1.File{bad}
		if _, err := c.Download(t.Context(), "1", dir); task.CodeOf(err) != task.ReasonOutput {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	// Each of these lies inside by its words, and the last leads out by way of the first.
	files = []v1.File{{Path: "p/q/up", Mode: "link", Target: "../.."}, {Path: "result.json", Mode: "link", Target: "p/q/up/../../x"}}
	if _, err := c.Download(t.Context(), "1", dir); task.CodeOf(err) != task.ReasonOutput {
		t.Errorf("a link by way of a link: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "result.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link is there: %v", err)
	}
	if got, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*")); err != nil || len(got) != 1 {
		t.Errorf("beside the folder: %v, %v", got, err)
	}
}
