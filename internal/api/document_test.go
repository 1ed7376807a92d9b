package api_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write docs/openapi.json and docs/api.md anew")

// TestDocuments: the documents in docs say what the API does.
func TestDocuments(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	doc, err := r.Document()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"openapi.json": doc, "api.md": []byte(r.Reference())} {
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current (%v): go test ./internal/api -run TestDocuments -update", name, err)
		}
	}
	if _, data := r.ask("", "GET", "/v1/openapi.json", nil); !bytes.Equal(data, doc) {
		t.Error("/v1/openapi.json is another document")
	}
}
