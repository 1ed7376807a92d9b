package client_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
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

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
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
			answer(w, v1.Run{ID: "1", State: task.Queued})
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
			http.Redirect(w, r, "https://elsewhere.example/sub"+r.URL.Path, http.StatusFound)
		}
	})
	for id, want := range map[string]task.Code{"a": task.CodeMissing, "b": task.CodeAccess, "c": task.ReasonEngine, "d": task.CodeUsage} {
		_, err := c.Run(t.Context(), id)
		if task.CodeOf(err) != want {
			t.Errorf("%s: %v (%s)", id, err, task.CodeOf(err))
		}
		if e, ok := errors.AsType[*task.Error](err); id == "d" && (!ok || !strings.Contains(e.Hint, "https://elsewhere.example/sub:")) {
			t.Errorf("%v: %+v", err, e)
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

// TestStrangers: what says yes to everything, as a portal or a proxy's page does, is not taken for a server that did it.
func TestStrangers(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome") })
	calls := map[string]func() error{
		"revoke": func() error { return c.RevokeToken(t.Context(), "k1") },
		"hide":   func() error { return c.HideTask(t.Context(), "t") },
		"log": func() error {
			return c.CopyLog(t.Context(), "1", client.LogQuery{Follow: true}, io.Discard, io.Discard)
		},
		"wait":  func() error { _, err := c.Wait(t.Context(), "1"); return err },
		"login": func() error { _, err := c.SignIn(t.Context(), "code"); return err },
		"events": func() error {
			for _, err := range c.Events(t.Context(), "1", 0) {
				return err
			}
			return nil
		},
	}
	for name, call := range calls {
		if err := call(); task.CodeOf(err) != task.ReasonEngine || !strings.Contains(err.Error(), "not as a Longshore server does") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTrust: a certificate that nobody vouches for is told at once, and counts when its authority is named.
func TestTrust(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		answer(w, v1.Self{Account: "ada"})
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	for name, c := range map[string]struct {
		o         client.Options
		who, hint string
	}{
		"nobody":     {client.Options{URL: s.URL}, "", "--ca FILE"},
		"named":      {client.Options{URL: s.URL, CA: ca}, "ada", ""},
		"not by TLS": {client.Options{URL: strings.Replace(s.URL, "https", "http", 1)}, "", "https://"},
		"others":     {client.Options{URL: plain(t), CA: ca}, "", "is its address http://"},
	} {
		c.o.Lost = func(err error) { t.Errorf("%s: asked again after %v", name, err) }
		cl, err := client.New(c.o)
		if err != nil {
			t.Fatal(err)
		}
		self, err := cl.Self(t.Context())
		if e, _ := errors.AsType[*task.Error](err); self.Account != c.who || c.hint != "" && (e == nil || !strings.Contains(e.Hint, c.hint)) {
			t.Errorf("%s: %+v, %v", name, self, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	if _, err := client.New(client.Options{URL: s.URL, CA: "no certificate"}); task.CodeOf(err) != task.CodeUsage {
		t.Error(err)
	}
}

// plain is the address of a server without TLS, written as if it had it.
func plain(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http", "https", 1)
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
			answer(w, v1.Page[v1.File]{Items: files})
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
