package cytomine_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

// base is the descriptor of the reference's verdict table: one input, one output, no finding.
const base = `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: Cell count
name_short: cells
namespace: org.example.cells
version: "1.2.3"
authors:
  - {first_name: A, last_name: B, organization: C, email: a@b.org, is_contact: true}
configuration:
  input_folder: /inputs
  output_folder: /outputs
inputs:
  n: {display_name: N, description: the count, type: integer}
outputs:
  sum: {display_name: Sum, description: the sum, type: number}
`

// changed returns base with pairs of old and new text replaced; each old text must be there.
func changed(t testing.TB, pairs ...string) string {
	t.Helper()
	s := base
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("the descriptor has no %q", pairs[i])
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

// withInput and withOutput return base with another parameter in place of n or sum.
func withInput(t testing.TB, param string) string {
	return changed(t, "n: {display_name: N, description: the count, type: integer}", param)
}

func withOutput(t testing.TB, param string) string {
	return changed(t, "sum: {display_name: Sum, description: the sum, type: number}", param)
}

var noOptions contract.Options

const recipe = "FROM busybox\nENTRYPOINT [\"true\"]\n"

// folder writes files into a fresh folder and opens it.
func folder(t testing.TB, files map[string]string) contract.Source {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pkg")
	write(t, dir, files)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return contract.Source{Given: "pkg", FS: root.FS(), Dir: dir}
}

// write makes files below dir; paths ending in a slash are folders.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for p, s := range files {
		at := filepath.Join(dir, filepath.FromSlash(p))
		if strings.HasSuffix(p, "/") {
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// described opens a folder with that descriptor and a Dockerfile.
func described(t testing.TB, descriptor string) contract.Source {
	return folder(t, map[string]string{"descriptor.yml": descriptor, "Dockerfile": recipe})
}

// member is one entry of a bundle.
type member struct {
	name, content string
	store         bool
	mode          os.FileMode
}

// bundle writes a zip and opens it.
func bundle(t testing.TB, members ...member) contract.Source {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		if m.store {
			h.Method = zip.Store
		}
		if m.mode != 0 {
			h.SetMode(m.mode)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.content)); err != nil && m.content != "" {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return archive(t, b.Bytes())
}

// archive opens the bytes of a bundle.
func archive(t testing.TB, data []byte) contract.Source {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cells.zip")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	src := contract.Source{Given: name, Archive: name}
	if r, err := zip.OpenReader(name); err == nil {
		t.Cleanup(func() { r.Close() })
		src.FS = &r.Reader
	}
	return src
}

// imageTar is a docker-archive of one empty layer, tagged.
func imageTar(t testing.TB, tags ...string) string {
	t.Helper()
	layer := tarOf(t, map[string]string{})
	sum := sha256.Sum256([]byte(layer))
	config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Cmd":["true"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}`, hex.EncodeToString(sum[:]))
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": tags, "Layers": []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	return tarOf(t, map[string]string{"config.json": config, "layer.tar": layer, "manifest.json": string(manifest)})
}

func tarOf(t testing.TB, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// load returns the task of a package that has no errors.
func load(t testing.TB, src contract.Source) *task.Task {
	t.Helper()
	tk, findings := cytomine.New().Load(src, contract.Options{})
	if task.HasErrors(findings) || tk == nil {
		t.Fatalf("the package has errors: %v", findings)
	}
	return tk
}

// said returns findings as one line each, without Why and Mend.
func said(findings []task.Finding) []string {
	var lines []string
	for _, f := range findings {
		line := string(f.Severity) + " " + f.Rule + " " + f.What
		if p := f.Position(); p != "" {
			line = p + ": " + line
		}
		lines = append(lines, line)
	}
	return lines
}

// errorsOf keeps the lines that are errors.
func errorsOf(findings []task.Finding) []task.Finding {
	var list []task.Finding
	for _, f := range findings {
		if f.Severity == task.SeverityError {
			list = append(list, f)
		}
	}
	return list
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
