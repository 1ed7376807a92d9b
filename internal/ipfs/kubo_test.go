package ipfs_test

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"longshore/internal/ipfs"
	"longshore/internal/ipfs/ipfstest"
	"longshore/internal/task"
)

func TestNodeRoundTrip(t *testing.T) {
	server := ipfstest.NewKubo()
	defer server.Close()
	folder := worked()
	folder[`odd "name"; é%2F+ ü`] = &fstest.MapFile{Data: []byte("odd")}
	folder["empty"] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	tree, err := ipfs.Layout(t.Context(), folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{server.URL, server.URL + "/", strings.TrimPrefix(server.URL, "http://"), multiaddrOf(server.URL), server.URL + "/api/v0"} {
		node, err := ipfs.NewKubo(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := node.Add(t.Context(), folder); err != nil || got != tree.CID {
			t.Fatalf("%s: added as %s, %v; want %s", addr, got, err, tree.CID)
		}
		var archive bytes.Buffer
		if err := node.Export(t.Context(), tree.CID, &archive, 1<<20); err != nil {
			t.Fatal(err)
		}
		if _, got, err := unpack(t, archive.Bytes(), ipfs.Limits{}); err != nil || got.CID != tree.CID || got.Files != 8 {
			t.Errorf("%s: %+v, %v", addr, got, err)
		}
		err = node.Export(t.Context(), tree.CID, &archive, 100)
		if task.CodeOf(err) != task.ReasonPolicy {
			t.Errorf("more than the limit: %v", err)
		}
	}
}

func multiaddrOf(url string) string {
	host, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	return "/ip4/" + host + "/tcp/" + port
}

func TestNodeAddresses(t *testing.T) {
	for _, good := range []string{"localhost:5001", "https://node.example.org", "/dns4/node.example.org/tcp/443/https", "/ip6/::1/tcp/5001"} {
		if _, err := ipfs.NewKubo(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "http://", "unix:///run/ipfs", "http://x?a=b", "/ip4/127.0.0.1/udp/5001", "/onion3/x/tcp/1", "/ip4/127.0.0.1", "http://[::1"} {
		if _, err := ipfs.NewKubo(bad); task.CodeOf(err) != task.CodeUsage {
			t.Errorf("NewKubo(%q): %v", bad, err)
		}
	}
}

func TestNodeErrors(t *testing.T) {
	id, err := ipfs.Parse(workedCID)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body)) // the client is gone
		}
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"a command's error", answer(500, `{"Message":"repo is \u001b[31mfull","Code":0,"Type":"error"}`), "repo is  [31mfull"},
		{"no such method", answer(404, "404 page not found\n"), "404 Not Found 404 page not found"},
		{"forbidden", answer(403, "403 - Forbidden\n"), "403 - Forbidden"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, "307 Temporary Redirect"},
		{"an error between the entries", answer(200, `{"Name":"task/a","Hash":"x"}`+"\n"+`{"Message":"context canceled","Code":0,"Type":"error"}`), "context canceled"},
		{"no folder", answer(200, `{"Name":"task/a","Hash":"x"}`), "does not name the folder"},
		{"no CID", answer(200, `{"Name":"task","Hash":"x"}`), "CID cannot be read"},
		{"no JSON", answer(200, `<html>`), "the answer cannot be read"},
		{"an error at the end", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Stream-Error")
			w.WriteHeader(200)
			w.Header().Set("X-Stream-Error", "disk full")
		}, "disk full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			node, err := ipfs.NewKubo(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = node.Add(t.Context(), worked()); task.CodeOf(err) != task.ReasonBadResponse || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		server := ipfstest.NewKubo()
		defer server.Close()
		node, err := ipfs.NewKubo(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		var archive bytes.Buffer
		if err := node.Export(t.Context(), id, &archive, 1<<20); err == nil || !strings.Contains(err.Error(), "could not find "+workedCID) {
			t.Error(err)
		}
	})
	t.Run("no node", func(t *testing.T) {
		node, err := ipfs.NewKubo("127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.Add(t.Context(), worked()); task.CodeOf(err) != task.CodeMissing {
			t.Error(err)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		defer server.Close()
		node, err := ipfs.NewKubo(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1)
		defer cancel()
		if err := node.Export(ctx, id, nil, 1); task.CodeOf(err) != task.ReasonTimeout {
			t.Error(err)
		}
	})
}
