package gitsource_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"longshore/internal/gitsource"
)

// TestDial: whatever git connects to over http and https is dialled by who cloned, redirects included, and what that refuses is told.
func TestDial(t *testing.T) {
	tmp, bare := isolate(t), repository(t)
	backend := filepath.Join(gitIn(t, "/", "--exec-path"), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skip("git-http-backend is not installed")
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, moved := strings.CutPrefix(r.URL.Path, "/moved/"); moved {
			http.Redirect(w, r, "http://"+rest+"?"+r.URL.RawQuery, http.StatusFound)
			return
		}
		(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1"}}).ServeHTTP(w, r)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSL_CAINFO", ca)
	t.Setenv("no_proxy", "*") // which would have git connect by itself
	refused := errors.New("not there")
	var mu sync.Mutex
	var dialled []string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		dialled = append(dialled, address)
		mu.Unlock()
		switch address {
		case "example.com:80":
			address = plain.Listener.Addr().String()
		case "example.com:443": // as the certificate has it
			address = secure.Listener.Addr().String()
		default:
			return nil, refused
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	for given, want := range map[string]struct {
		err     error
		dialled string
	}{
		"git+http://example.com/bare.git#dev":                           {nil, "example.com:80"},
		"git+https://example.com/bare.git#dev":                          {nil, "example.com:443"},
		"git+http://example.com/moved/example.com/bare.git#dev":         {nil, "example.com:80"},
		"git+http://example.com/moved/169.254.169.254/latest/meta-data": {refused, "169.254.169.254:80"},
		"git+http://127.0.0.1/x":                                        {refused, "127.0.0.1:80"},
		"git+https://[::1]:8443/x":                                      {refused, "[::1]:8443"},
	} {
		dialled = nil
		ref, err := gitsource.Parse(given)
		if err != nil {
			t.Fatal(err)
		}
		got, cleanup, err := gitsource.Clone(t.Context(), gitsource.Options{Ref: ref, TempDir: tmp, Dial: dial})
		if !errors.Is(err, want.err) || !slices.Contains(dialled, want.dialled) {
			t.Errorf("%s: %v; dialled %v", given, err, dialled)
		}
		if err == nil && read(t, got.RepoDir, "job.yaml") != "name: dev\n" {
			t.Errorf("%s: another content", given)
		}
		cleanup()
	}
}
