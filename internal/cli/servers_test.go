package cli_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "longshore/internal/api/v1"
	"longshore/internal/cli"
)

// listing is a server that knows one token and one task, whose name tries to be more than that.
func listing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var answer any = v1.Self{Account: "ada", Scopes: []string{"caller"}}
	if r.URL.Path == "/v1/tasks" {
		answer = v1.Page[v1.TaskSummary]{Items: []v1.TaskSummary{{Name: "adder\nforged\x1b[2J", Version: "1"}}}
	}
	if r.Header.Get("Authorization") != "Bearer lsk_x" {
		w.Header().Set("Content-Type", v1.ProblemType)
		w.WriteHeader(http.StatusUnauthorized)
		answer = v1.Problem{Status: http.StatusUnauthorized, Code: "access", Detail: "no"}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// TestReachingServers: how a server is named, and what makes it trusted.
func TestReachingServers(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(listing))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(listing))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(plain.URL, "http://")
	for _, c := range []struct {
		name, home, server, token string
		args                      []string
		code                      int
		out, err                  string
	}{
		{"without a home, by the environment", "", plain.URL, "lsk_x", []string{"tasks"}, 0, "adder forged", ""},
		{"without a scheme", "", host, "lsk_x", []string{"tasks"}, 0, "adder forged", ""},
		{"without anything", "", "", "", []string{"tasks"}, 64, "", "no server is known"},
		{"without a token", "", plain.URL, "", []string{"tasks"}, 76, "", "LONGSHORE_TOKEN"},
		{"an untrusted certificate", dir, "", "lsk_x", []string{"login", secure.URL}, 70, "", "--ca FILE"},
		{"no certificate", dir, "", "lsk_x", []string{"login", secure.URL, "--ca", filepath.Join(dir, "none")}, 66, "", "none"},
		{"a trusted certificate", dir, "", "lsk_x", []string{"login", secure.URL, "--ca", ca, "--name", "mine"}, 0, "logged in to mine as ada", ""},
		{"what was kept", dir, "", "", []string{"tasks"}, 0, "adder forged", ""},
		{"by name", dir, "", "", []string{"tasks", "--server", "mine"}, 0, "adder forged", ""},
		{"no name", dir, "", "", []string{"tasks", "--server", "mnie"}, 64, "", "did you mean mine?"},
		{"a login without a scheme", dir, "", "lsk_x", []string{"login", host}, 0, "logged in to " + host, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("HOME", c.home)
			t.Setenv("XDG_CONFIG_HOME", "")
			t.Setenv("LONGSHORE_SERVER", c.server)
			t.Setenv("LONGSHORE_TOKEN", c.token)
			var out, errs bytes.Buffer
			code := cli.Main(c.args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
			if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
				t.Errorf("%d\n%s\n%s", code, out.String(), errs.String())
			}
			if strings.ContainsRune(out.String(), 0x1b) || strings.Contains(out.String(), "\nforged") {
				t.Errorf("a name took over: %q", out.String())
			}
		})
	}
}
