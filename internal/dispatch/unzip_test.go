package dispatch

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longshore/internal/task"
)

// zipOf makes an archive whose entry names are taken as they are.
func zipOf(t testing.TB, entries map[string]os.FileMode) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, mode := range entries {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if _, err := w.Write([]byte("/etc/passwd")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack unpacks data in a folder of its own and tells whether anything lies outside of where it should.
func unpack(t testing.TB, data []byte) error {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, "archive")
	if err := os.WriteFile(archive, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if ok, err := isZip(archive); !ok {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	uerr := (&run{}).unpackZip(t.Context(), task.File{Source: archive}, root, ".", 0o755, 0o644)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("beside the folder lie %v, %v", entries, err)
	}
	err = filepath.WalkDir(filepath.Join(dir, "in"), func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !e.Type().IsRegular() {
			t.Errorf("%s is a %s", p, e.Type())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return uerr
}

// A name that is refused may lie deeper, and the archive is told by where it came from.
func TestUnpackZipRefuses(t *testing.T) {
	for name, refused := range map[string]bool{"Dockerfile": true, "app/Dockerfile": false, "dockerfile": false} {
		archive := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(archive, zipOf(t, map[string]os.FileMode{name: 0o644}), 0o600); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		err = (&run{}).unpackZip(t.Context(), task.File{Source: archive, URL: "http://a/in.zip", Refuse: []string{"Dockerfile"}}, root, ".", 0o755, 0o644)
		const want = `refusing entry "Dockerfile" of http://a/in.zip: Dockerfile is not supported in the input directory`
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Flat leaves out the folders of the archive; two files of one name are still refused.
func TestUnpackZipFlat(t *testing.T) {
	flat := func(entries map[string]os.FileMode) ([]string, error) {
		dir := t.TempDir()
		archive := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(archive, zipOf(t, entries), 0o600); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		uerr := (&run{}).unpackZip(t.Context(), task.File{Source: archive, Flat: true}, root, ".", 0o755, 0o644)
		var names []string
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names, uerr
	}
	names, err := flat(map[string]os.FileMode{"top/": os.ModeDir | 0o755, "top/a": 0o644, "top/b": 0o644})
	if err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%v, %v", names, err)
	}
	for _, bad := range []map[string]os.FileMode{{"x/a": 0o644, "y/a": 0o644}, {"../a": 0o644}} {
		if _, err := flat(bad); err == nil {
			t.Errorf("%v was unpacked", bad)
		}
	}
}

func TestUnpackZip(t *testing.T) {
	if err := unpack(t, zipOf(t, map[string]os.FileMode{"a": 0o644, "b/c": 0o755, "d/": os.ModeDir | 0o700})); err != nil {
		t.Error(err)
	}
	for name, mode := range map[string]os.FileMode{
		"../a": 0o644, "/a": 0o644, "a/../../b": 0o644, `..\a`: 0o644, "": 0o644, ".": 0o644, "a\x00b": 0o644,
		"link": os.ModeSymlink | 0o777, "pipe": os.ModeNamedPipe | 0o644, "device": os.ModeDevice | 0o644,
	} {
		if err := unpack(t, zipOf(t, map[string]os.FileMode{name: mode})); err == nil {
			t.Errorf("the entry %q with mode %s was unpacked", name, mode)
		}
	}
}

func FuzzUnpackZip(f *testing.F) {
	for _, name := range []string{"a", "../a", "/a", "b/c", "d/"} {
		f.Add(zipOf(f, map[string]os.FileMode{name: 0o644, "x/y": 0o644}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = unpack(t, data) // refusing is as good as unpacking; unpack checks that nothing leaves the folder
	})
}
