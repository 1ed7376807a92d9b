package app_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longshore/internal/app"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// newServer opens a server that carries nothing out.
func newServer(t *testing.T) *app.Server {
	t.Helper()
	a, err := app.New(app.Config{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.NewServer(t.Context(), app.ServerConfig{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// importFile uploads data, and imports it under a file's name.
func importFile(t *testing.T, s *app.Server, data []byte, in durable.Import) (durable.Imported, error) {
	t.Helper()
	i, err := s.Upload(t.Context(), "ada", bytes.NewReader(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	in.Upload = i.Digest
	return s.Import(t.Context(), "ada", in)
}

func folderTar(t *testing.T, top string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: top + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))}
		if target, ok := strings.CutPrefix(files[name], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, files[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func folderZip(t *testing.T, top string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(top + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// example reads a folder of the examples.
func example(t *testing.T, name string) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := os.DirFS(filepath.Join("../../examples", name))
	list, err := listFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		data, err := os.ReadFile(filepath.Join("../../examples", name, f))
		if err != nil {
			t.Fatal(err)
		}
		files[f] = string(data)
	}
	return files
}

func TestImportForms(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, c := range []struct{ example, contract string }{
		{"meca/echo", "meca"}, {"cytomine/integer-addition", "cytomine"}, {"kaapana/greeting", "kaapana"}, {"iexec/word-count", "iexec"}, {"racetrack/tiny", "racetrack"},
	} {
		files, base := example(t, c.example), filepath.Base(c.example)
		var first store.Version
		for n, data := range [][]byte{folderTar(t, "", files), folderTar(t, base+"/", files), folderZip(t, "", files), folderZip(t, base+"/", files)} {
			got, err := importFile(t, s, data, durable.Import{FileName: base + []string{".tar", ".tar", ".zip", ".zip"}[n]})
			if err != nil {
				t.Errorf("%s, form %d: %v", c.example, n, err)
				continue
			}
			v := got.Version
			if v.Contract != c.contract || v.ID == "" || v.Form != "tar" || strings.Contains(v.Name, v.Package[7:19]) {
				t.Errorf("%s, form %d: %+v", c.example, n, v)
			}
			if n == 0 {
				first = v
			}
			if v.Name != first.Name || v.Task.Description != first.Task.Description || len(v.Task.Parameters) != len(first.Task.Parameters) {
				t.Errorf("%s, form %d: another task than the first form (%s, %s)", c.example, n, v.Name, first.Name)
			}
		}
	}
}

func TestImportAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	data := folderTar(t, "", example(t, "iexec/word-count"))
	dry, err := importFile(t, s, data, durable.Import{FileName: "w.tar", DryRun: true})
	if err != nil || dry.Version.ID != "" || dry.Version.Name == "" {
		t.Errorf("dry run: %+v, %v", dry.Version, err)
	}
	if list, _, err := s.Store.Versions(t.Context(), store.VersionFilter{All: true}); err != nil || len(list) != 0 {
		t.Errorf("a dry run kept %v, %v", list, err)
	}
	one, err := importFile(t, s, data, durable.Import{FileName: "w.tar"})
	if err != nil || one.Again {
		t.Fatalf("%+v, %v", one, err)
	}
	two, err := importFile(t, s, data, durable.Import{FileName: "other.tar"})
	if err != nil || !two.Again || two.Version.ID != one.Version.ID {
		t.Errorf("the same package again: %+v, %v", two, err)
	}
	three, err := importFile(t, s, data, durable.Import{FileName: "w.tar", Version: "2.0"})
	if err != nil || three.Again || three.Version.Version != "2.0" {
		t.Errorf("under another version: %+v, %v", three, err)
	}
	if _, err := importFile(t, s, folderTar(t, "", example(t, "meca/echo")), durable.Import{FileName: "e.tar", Name: one.Version.Name}); task.CodeOf(err) != task.CodeUsage || !strings.Contains(err.Error(), "taken") {
		t.Errorf("another contract's package under the same name: %v", err)
	}
	for _, name := range []string{"A", "a b", "../a", "a:1", strings.Repeat("a", 200)} {
		if _, err := importFile(t, s, data, durable.Import{FileName: "w.tar", Name: name}); task.CodeOf(err) != task.CodeUsage {
			t.Errorf("name %q: %v", name, err)
		}
	}
	// A hidden version runs no more, and gives its name free.
	for _, v := range []store.Version{one.Version, three.Version} {
		if err := s.Store.HideVersion(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Submit(t.Context(), "ada", durable.Submission{Task: one.Version.ID}); task.CodeOf(err) != task.CodeMissing || !strings.Contains(err.Error(), "hidden") {
		t.Errorf("a run of a hidden version: %v", err)
	}
	if again, err := importFile(t, s, data, durable.Import{FileName: "w.tar"}); err != nil || again.Again || again.Version.ID == one.Version.ID {
		t.Errorf("import after hiding: %+v, %v", again, err)
	}
}

// TestImportDocument imports single documents, whose name tells what they are.
func TestImportDocument(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	doc := []byte(`{"name": "t", "image": "x:1", "taskTemplate": "g", "inputs": [{"name": "a", "input": {"local_path": "/etc"}}], "outputs": []}`)
	for _, name := range []string{"task.json", "second.json", "../../third.json"} {
		got, err := importFile(t, s, doc, durable.Import{FileName: name, Contract: "kaapana"})
		if err != nil || got.Version.Form != "file" || got.Version.Contract != "kaapana" {
			t.Errorf("%s: %+v, %v", name, got.Version, err)
			continue
		}
		if text, err := json.Marshal(got.Version.Task); err != nil || strings.Contains(string(text), "/etc") {
			t.Errorf("%s: a host path came through: %s, %v", name, text, err)
		}
	}
}

// TestImportStrangers sees that a package cannot have the server read what is outside of it.
func TestImportStrangers(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("KEY=top-secret-text\nFROM top-secret-text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LONGSHORE_TEST_SECRET", "top-secret-text")
	s := newServer(t)
	racetrack := func(line string) map[string]string {
		f := example(t, "racetrack/tiny")
		f["job.yaml"] += "\n" + line + "\n"
		return f
	}
	with := func(base, name, content string) map[string]string {
		f := example(t, base)
		f[name] = content
		return f
	}
	up := strings.Repeat("../", 40) + strings.TrimPrefix(outside, "/")
	for name, c := range map[string]struct {
		files map[string]string
		want  string // in the error; empty when the package is taken
	}{
		"secrets by absolute path":  {racetrack("secret_runtime_env_file: " + outside), "package"},
		"secrets above":             {racetrack("secret_runtime_env_file: " + up), "leaves the package"},
		"build secrets above":       {racetrack("secret_build_env_file: " + up), "leaves the package"},
		"Dockerfile by link":        {with("meca/echo", "Dockerfile", "-> "+outside), "leads out"},
		"Dockerfile by link, up":    {with("iexec/word-count", "Dockerfile", "-> "+up), "leads out"},
		"manifest by link":          {with("iexec/word-count", "iexec.json", "-> "+outside), "leads out"},
		"build context by link":     {with("meca/echo", "src/stolen", "-> "+filepath.Dir(outside)), "leads out"},
		"task file with a template": {map[string]string{"task.json": `{"name": "{{ env.LONGSHORE_TEST_SECRET }}x", "image": "x:1", "taskTemplate": "g", "inputs": [{"name": "a", "input": {"local_path": "` + outside + `"}}], "outputs": []}`}, ""},
	} {
		for _, contract := range []string{"", "kaapana", "racetrack", "iexec", "meca", "cytomine"} {
			got, err := importFile(t, s, folderTar(t, "", c.files), durable.Import{FileName: "p.tar", Contract: contract, DryRun: true})
			text, merr := json.Marshal(got)
			if merr != nil {
				t.Fatal(merr)
			}
			if said := string(text) + fmt.Sprint(err); strings.Contains(said, "top-secret-text") || contract == "kaapana" && c.want == "" && strings.Contains(said, outside) {
				t.Errorf("%s as %q: it was read: %s, %v", name, contract, text, err)
			}
			if contract == "" && c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v, want it to say %q", name, err, c.want)
			}
		}
	}
}

func listFiles(root fs.FS) (files []string, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

// TestImportBundle uses a bundle as it is: its image lies in it.
func TestImportBundle(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	files := example(t, "cytomine/integer-addition")
	image := folderTar(t, "", map[string]string{
		"config.json":   `{"architecture":"amd64","os":"linux","config":{"Cmd":["true"]},"rootfs":{"type":"layers","diff_ids":[]}}`,
		"manifest.json": `[{"Config":"config.json","RepoTags":["com/example/integer_addition:1.0.0"],"Layers":[]}]`,
	})
	bundle := folderZip(t, "", map[string]string{"descriptor.yml": files["descriptor.yml"], "com.example.integer_addition-1.0.0.tar": string(image)})
	got, err := importFile(t, s, bundle, durable.Import{FileName: "addition.zip"})
	if err != nil {
		t.Fatalf("%v: %+v", err, got.Version.Findings)
	}
	if v := got.Version; v.Form != "file" || v.Contract != "cytomine" || v.Task.Image.Kind != task.ImageArchive {
		t.Errorf("%+v", v)
	}
}

// TestServerBlobs opens storage that is there, and says what is wrong with the other.
func TestServerBlobs(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]string{"s3://": "names no bucket", "s3://bucket?endpoint=nonsense": "endpoint", "/dev/null/folder": "folder"} {
		a, err := app.New(app.Config{Home: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.NewServer(t.Context(), app.ServerConfig{Name: "test", Blobs: where}); task.CodeOf(err) != task.CodeUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", where, err, want)
		}
	}
	dir := t.TempDir()
	a, err := app.New(app.Config{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.NewServer(t.Context(), app.ServerConfig{Name: "test", Blobs: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Upload(t.Context(), "ada", strings.NewReader("x"), 0); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(filepath.Join(dir, "blobs")); err != nil || len(list) != 1 {
		t.Errorf("%v, %v; want the blob in the folder that was named", list, err)
	}
}
