package durable

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"longshore/internal/task"
)

// item is an entry of an archive: a file, or what kind says, with link's target.
type item struct {
	name string
	kind byte // of tar
	body string
	mode int64
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Typeflag: tar.TypeReg, Mode: 0o644 | i.mode}
		if i.kind != 0 {
			h.Typeflag, h.Linkname = i.kind, i.body
			i.body = ""
		}
		h.Size = int64(len(i.body))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, i := range items {
		h := &zip.FileHeader{Name: i.name, Method: zip.Deflate}
		mode := map[byte]fs.FileMode{tar.TypeSymlink: fs.ModeSymlink, tar.TypeChar: fs.ModeDevice | fs.ModeCharDevice, tar.TypeFifo: fs.ModeNamedPipe}[i.kind]
		h.SetMode(0o644 | fs.FileMode(i.mode) | mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, i.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// unpackInto unpacks into a folder of its own, and sees that nothing else appeared.
func unpackInto(t *testing.T, archive []byte) (dir string, err error) {
	t.Helper()
	parent := t.TempDir()
	dir, name := filepath.Join(parent, "package"), filepath.Join(parent, "archive")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	err = unpack(t.Context(), name, dir)
	if list, lerr := os.ReadDir(parent); lerr != nil || len(list) != 2 {
		t.Errorf("something was written outside: %v, %v", list, lerr)
	}
	return dir, err
}

func TestUnpackForms(t *testing.T) {
	items := []item{{name: "./", kind: tar.TypeDir}, {name: "./a/b.txt", body: "b"}, {name: "./run", body: "#!", mode: 0o111}, {name: "./a/l", kind: tar.TypeSymlink, body: "../run"}, {name: "A/B.txt", body: "another case"}}
	plain := tarOf(t, items...)
	for name, archive := range map[string][]byte{"tar": plain, "tar.gz": gzipped(t, plain), "tar.zst": zstded(t, plain), "zip": zipOf(t, items[1:]...)} {
		t.Run(name, func(t *testing.T) {
			dir, err := unpackInto(t, archive)
			if err != nil {
				t.Fatal(err)
			}
			for file, want := range map[string]string{"a/b.txt": "b", "run": "#!", "a/l": "#!", "A/B.txt": "another case"} {
				if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v", file, got, err)
				}
			}
			for file, want := range map[string]fs.FileMode{"run": 0o111, "a/b.txt": 0} {
				if st, err := os.Stat(filepath.Join(dir, file)); err != nil || st.Mode()&0o111 != want {
					t.Errorf("%s: %v, %v", file, st.Mode(), err)
				}
			}
		})
	}
}

func TestUnpackHostile(t *testing.T) {
	link := func(name, to string) item { return item{name: name, kind: tar.TypeSymlink, body: to} }
	file := func(name string) item { return item{name: name, body: "x"} }
	deep := strings.Repeat("a/", 3000) + "f"
	both := map[string]struct {
		items []item
		want  string
	}{
		"above":                      {[]item{file("../evil")}, "leads out"},
		"above, in the middle":       {[]item{file("a/../../evil")}, "leads out"},
		"absolute":                   {[]item{file("/etc/evil")}, "leads out"},
		"above, as Windows writes":   {[]item{file(`..\..\evil`)}, "leads out"},
		"link above":                 {[]item{link("l", "../x")}, `link "l" leads out`},
		"absolute link":              {[]item{link("l", "/etc/passwd")}, `link "l" leads out`},
		"file below a link":          {[]item{link("l", "."), file("l/f")}, "both as a folder"},
		"link below a link":          {[]item{{name: "a/b/f", body: "x"}, link("a/b/c", "../.."), link("a/b/c/l", "../../..")}, "both as a folder"},
		"link through a link":        {[]item{link("up", "."), link("l", "up/..")}, `link "l" leads out`},
		"link through several links": {[]item{{name: "d/e/f", body: "x"}, link("one", "d/e"), link("two", "one/../.."), link("three", "two/../x")}, "leads out"},
		"twice":                      {[]item{file("f"), file("f")}, `"f" twice`},
		"file and folder":            {[]item{file("f"), file("f/g")}, "both as a folder"},
		"link and file":              {[]item{link("f", "g"), file("f")}, `"f" twice`},
		"long name":                  {[]item{file(strings.Repeat("n", 300))}, "too long a name"},
		"deep":                       {[]item{file(deep)}, "too long a name"},
		"device":                     {[]item{{name: "d", kind: tar.TypeChar}}, "neither a file"},
		"pipe":                       {[]item{{name: "p", kind: tar.TypeFifo}}, "neither a file"},
	}
	cases := map[string]struct {
		archive []byte
		want    string
	}{
		"hard link":          {tarOf(t, file("f"), item{name: "h", kind: tar.TypeLink, body: "/etc/passwd"}), "neither a file"},
		"cut tar":            {tarOf(t, item{name: "f", body: strings.Repeat("x", 5000)})[:2000], "cannot be unpacked"},
		"cut tar.gz":         {gzipped(t, tarOf(t, item{name: "f", body: strings.Repeat("x", 5000)}))[:60], "cannot be unpacked"},
		"cut zip":            {zipOf(t, file("f"), file("g"))[:100], "cannot be unpacked"},
		"damaged tar.gz":     {damaged(gzipped(t, tarOf(t, file("f"))), -6), "cannot be unpacked"},
		"damaged zip":        {damaged(zipOf(t, item{name: "f", body: strings.Repeat("data", 100)}), 40), "cannot be unpacked"},
		"something else":     {[]byte("\x1f\x8bnothing of the kind"), "cannot be unpacked"},
		"a text, compressed": {gzipped(t, []byte(strings.Repeat("hello ", 1000))), "cannot be unpacked"},
		"two in one":         {gzipped(t, append(tarOf(t, file("f")), bytes.Repeat([]byte("x"), 2<<20)...)), "more data"},
	}
	for name, c := range both {
		cases[name+" (tar)"] = struct {
			archive []byte
			want    string
		}{tarOf(t, c.items...), c.want}
		cases[name+" (zip)"] = struct {
			archive []byte
			want    string
		}{zipOf(t, c.items...), c.want}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := unpackInto(t, c.archive)
			if err == nil || !strings.Contains(err.Error(), c.want) || task.CodeOf(err) != task.CodePackage || len(err.Error()) > 1000 {
				t.Errorf("%v (%s), want it to say %q", err, task.CodeOf(err), c.want)
			}
			if e, ok := errors.AsType[*task.Error](err); strings.Contains(c.want, "link") && (!ok || e.Hint == "") {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

func damaged(archive []byte, at int) []byte {
	if at < 0 {
		at += len(archive)
	}
	archive[at] ^= 0x55
	return archive
}

// TestUnpackHarmless keeps what looks odd and harms nobody.
func TestUnpackHarmless(t *testing.T) {
	dir, err := unpackInto(t, tarOf(t,
		item{name: "a..b", body: "x"}, item{name: "c/../d", body: "x"}, item{name: "nowhere", kind: tar.TypeSymlink, body: "not/there"},
		item{name: "circle", kind: tar.TypeSymlink, body: "circle"}, item{name: "e/", kind: tar.TypeDir}, item{name: "e/", kind: tar.TypeDir},
		item{name: "in.zip", body: string(zipOf(t, item{name: "../evil", body: "x"}))},
	))
	if err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 6 {
		t.Errorf("%v, %v", list, err)
	}
}

// zeros is an endless input.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestUnpackBombs(t *testing.T) {
	dir, name := t.TempDir(), filepath.Join(t.TempDir(), "bomb")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Size: 64 << 20, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	u := &unpacker{ctx: t.Context(), root: root, folders: map[string]bool{}, limit: 1 << 20}
	if err := u.all(in, st.Size()); err == nil || !strings.Contains(err.Error(), "too much for its size") {
		t.Errorf("%v, want it refused", err)
	}
	if got, err := os.Stat(filepath.Join(dir, "zeros")); err != nil || got.Size() > 2<<20 {
		t.Errorf("%v, %v; want it to end at the limit", got.Size(), err)
	}
}

func TestUnpackTooMany(t *testing.T) {
	var items []item
	for n := range 20 {
		items = append(items, item{name: fmt.Sprintf("%d/f", n)}) // each has a folder
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := &unpacker{ctx: t.Context(), root: root, folders: map[string]bool{}, limit: 1, entries: maxEntries - 10}
	if err := u.tar(bytes.NewReader(tarOf(t, items...))); err == nil || !strings.Contains(err.Error(), "more than 200000 entries") {
		t.Errorf("%v, want it refused", err)
	}
}

// TestPack holds that a folder comes out of its archive as it was, without what a clone has of its own.
func TestPack(t *testing.T) {
	from := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"a/run": 0o755, "a/b/text": 0o644, ".git/config": 0o644, ".hidden": 0o600} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("b/text", filepath.Join(from, "a", "link")); err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	if err := pack(&one, from); err != nil {
		t.Fatal(err)
	}
	if err := pack(&two, from); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("the same folder twice is not the same archive (%v)", err)
	}
	dir, err := unpackInto(t, one.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/run": "a/run", "a/b/text": "a/b/text", "a/link": "a/b/text", ".hidden": ".hidden"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		t.Error(".git came with it")
	}
	if st, err := os.Stat(filepath.Join(dir, "a/run")); err != nil || st.Mode()&0o111 == 0 {
		t.Errorf("a/run: %v, %v", st.Mode(), err)
	}
}
