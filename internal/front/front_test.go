package front_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/front"
	"longshore/internal/task"
)

// slotsFor makes a slot of each kind in places of one kind below dir.
func slotsFor(place task.PlaceKind, dir string) []contract.Slot {
	file := task.Type{Kind: task.FileKind}
	var slots []contract.Slot
	for name, t := range map[string]task.Type{
		"flag": {Kind: task.Boolean}, "count": {Kind: task.Integer}, "word": {Kind: task.String}, "list": {Kind: task.Array, Item: &task.Type{Kind: task.Integer}},
		"doc": {Kind: task.JSON}, "blob": file, "tree": {Kind: task.Directory}, "blobs": {Kind: task.Array, Item: &file},
	} {
		slots = append(slots, contract.Slot{Name: name, Source: "the " + name, Type: t, Place: task.Place{Kind: place, Path: filepath.Join(dir, name), Name: name}})
	}
	return slots
}

// values are checked inputs for slotsFor, whose files lie in dir.
func values(t *testing.T, dir string) task.Values {
	t.Helper()
	write(t, filepath.Join(dir, "blob"), "\x00\xff")
	write(t, filepath.Join(dir, "second"), "text")
	write(t, filepath.Join(dir, "tree", "a", "b.txt"), "b")
	write(t, filepath.Join(dir, "tree", "c"), "\xfe")
	return task.Values{Inputs: map[string]task.Value{
		"the flag": {Text: "true"}, "the count": {Text: "-7"}, "the word": {Text: " é \n"}, "the list": {Items: []task.Value{{Text: "1"}, {Text: "2"}}},
		"the doc": {Text: `{"x":[1]}`}, "the blob": {Path: filepath.Join(dir, "blob")}, "the tree": {Path: filepath.Join(dir, "tree")},
		"the blobs": {Items: []task.Value{{Path: filepath.Join(dir, "blob")}, {Path: filepath.Join(dir, "second")}}},
	}}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// meaning is what a request means to a task: files by content.
func meaning(t *testing.T, f contract.Front, r task.Request) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, s := range f.Inputs {
		g, ok := r.Inputs[s.Source]
		if !ok {
			continue
		}
		v, err := task.ParseGiven(s.Type, g)
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		out[s.Name] = content(t, s.Type, v)
	}
	return out
}

func content(t *testing.T, ty task.Type, v task.Value) any {
	t.Helper()
	if ty.Kind == task.Array {
		var list []any
		for _, it := range v.Items {
			list = append(list, content(t, *ty.Item, it))
		}
		return list
	}
	if !ty.Kind.OnDisk() {
		return v.Text
	}
	if ty.Kind == task.Directory {
		files := map[string]string{}
		for _, p := range []string{"a/b.txt", "c"} {
			data, err := os.ReadFile(filepath.Join(v.Path, p))
			if err != nil {
				t.Error(err)
			}
			files[p] = string(data)
		}
		return files
	}
	data, err := os.ReadFile(v.Path)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

var wanted = map[string]any{
	"flag": "true", "count": "-7", "word": " é \n", "list": []any{"1", "2"}, "doc": `{"x":[1]}`, "blob": "\x00\xff",
	"tree": map[string]string{"a/b.txt": "b", "c": "\xfe"}, "blobs": []any{"\x00\xff", "text"},
}

// TestRoundTrip: what the conversion writes as an example is read back in the container as the same values, in every form.
func TestRoundTrip(t *testing.T) {
	for _, place := range []task.PlaceKind{task.PlaceFile, task.PlaceFolder} {
		t.Run(string(place), func(t *testing.T) {
			dir := t.TempDir()
			f := contract.Front{Inputs: slotsFor(place, filepath.Join(dir, "in"))}
			if _, err := front.PlaceInputs(f, values(t, dir), filepath.Join(dir, "in")); err != nil {
				t.Fatal(err)
			}
			r, err := front.ReadFiles(f, os.LookupEnv, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wanted, meaning(t, f, r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("env", func(t *testing.T) {
		dir := t.TempDir()
		f := contract.Front{}
		for _, s := range slotsFor(task.PlaceEnv, dir) {
			if _, onDisk := map[string]bool{"blob": true, "tree": true, "blobs": true}[s.Name]; !onDisk {
				f.Inputs = append(f.Inputs, s)
			}
		}
		ex, err := front.PlaceInputs(f, values(t, dir), dir)
		if err != nil {
			t.Fatal(err)
		}
		r, err := front.ReadFiles(f, func(name string) (string, bool) { v, ok := ex.Env[name]; return v, ok }, dir)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"flag": "true", "count": "-7", "word": " é \n", "list": []any{"1", "2"}, "doc": `{"x":[1]}`}
		if diff := cmp.Diff(want, meaning(t, f, r)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("body", func(t *testing.T) {
		dir := t.TempDir()
		f := contract.Front{Inputs: slotsFor(task.PlaceBodyMember, dir)}
		body, err := front.InputBody(f, values(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		r, err := front.ReadBody(f, "application/json", body, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, meaning(t, f, r)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestForm: a form's parts are the inputs, with the names of files.
func TestForm(t *testing.T) {
	dir := t.TempDir()
	f := contract.Front{Inputs: slotsFor(task.PlaceBodyMember, dir)}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part := func(name, file, text string) {
		t.Helper()
		create := func() (io.Writer, error) { return w.CreateFormField(name) }
		if file != "" {
			create = func() (io.Writer, error) { return w.CreateFormFile(name, file) }
		}
		to, err := create()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(to, text)
	}
	part("flag", "", "true\n")
	part("count", "", "-7")
	part("word", "", " é \n")
	part("list", "", "[1, 2]")
	part("doc", "", `{"x":[1]}`)
	part("blob", "../../my.bin", "\x00\xff")
	part("tree", "t.zip", zipped(t, map[string]string{"a/b.txt": "b", "c": "\xfe"}))
	part("blobs", "one", "\x00\xff")
	part("blobs", "two", "text")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := front.ReadBody(f, w.FormDataContentType(), b.Bytes(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, meaning(t, f, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if at := r.Inputs["the blob"].Path; filepath.Base(at) != "my.bin" || !strings.HasPrefix(at, dir) {
		t.Errorf("the file lies at %s", at)
	}
}

func zipped(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHostileBodies: nothing that a caller writes is taken for a path, and nothing leaves the folder it belongs into.
func TestHostileBodies(t *testing.T) {
	evil := base64.StdEncoding.EncodeToString([]byte(zipped(t, map[string]string{"../../x": "x"})))
	for _, c := range []struct{ body, want string }{
		{`{"tree": {"../x": "1"}}`, "escapes"},
		{`{"tree": {"/etc/x": "1"}}`, "escapes"},
		{`{"tree": {"a": "1", "a/b": "2"}}`, "a/b"},
		{`{"tree": "@/etc"}`, "a folder is an object"},
		{`{"tree": {"base64": "` + evil + `"}}`, "leaves the folder"},
		{`{"blob": {"base64": "!"}}`, "base64"},
		{`{"blobs": "@/etc/passwd"}`, "must be a list"},
		{`{"nothing": 1}`, `no input "nothing"`},
		{`[1, 2]`, "no JSON object"},
		{`{`, "no JSON object"},
	} {
		f := contract.Front{Inputs: slotsFor(task.PlaceBodyMember, "")}
		dir := t.TempDir()
		_, err := front.ReadBody(f, "application/json", []byte(c.body), dir)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.body, err, c.want)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "x")); len(left) > 0 {
			t.Errorf("%s wrote %v", c.body, left)
		}
	}
	f := contract.Front{Inputs: slotsFor(task.PlaceBodyMember, "")}
	r, err := front.ReadBody(f, "", []byte(`{"blob": "@/etc/passwd", "word": "@/etc/passwd", "blobs": ["@/etc/passwd"], "tree": {"a/b.txt": "@/etc/passwd", "c": ""}}`), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"blob": "@/etc/passwd", "word": "@/etc/passwd", "blobs": []any{"@/etc/passwd"}, "tree": map[string]string{"a/b.txt": "@/etc/passwd", "c": ""}}
	if diff := cmp.Diff(want, meaning(t, f, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPlainBody: a body that is no object is the only input that must be given.
func TestPlainBody(t *testing.T) {
	blob := contract.Slot{Name: "blob", Source: "blob", Type: task.Type{Kind: task.FileKind}, Place: task.Place{Kind: task.PlaceBodyMember}}
	word := contract.Slot{Name: "word", Source: "word", Type: task.Type{Kind: task.String}, Optional: true, Place: task.Place{Kind: task.PlaceBodyMember}}
	f := contract.Front{Inputs: []contract.Slot{word, blob}}
	r, err := front.ReadBody(f, "application/octet-stream", []byte("\x89PNG"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"blob": "\x89PNG"}, meaning(t, f, r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	whole := contract.Front{Inputs: []contract.Slot{{Name: "body", Body: true, Type: task.Type{Kind: task.FileKind}}}}
	if r, err = front.ReadBody(whole, "", []byte("not json"), t.TempDir()); err != nil || r.Body == nil || r.Body.Text != "not json" {
		t.Errorf("got %+v, %v: the body of a server is passed on as it is", r.Body, err)
	}
}

// results lays outputs out as a run leaves them.
func results(t *testing.T, dir string) *task.Result {
	t.Helper()
	values(t, dir)
	write(t, filepath.Join(dir, "count"), "-7\n")
	write(t, filepath.Join(dir, "blobs", "0"), "\x00\xff")
	write(t, filepath.Join(dir, "blobs", "1"), "text")
	res := &task.Result{}
	for name, value := range map[string]any{"count": json.RawMessage("-7"), "blob": nil, "tree": nil, "blobs": nil} {
		res.Outputs = append(res.Outputs, task.OutputResult{Name: "the " + name, Path: name, Value: value})
	}
	return res
}

func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	res := results(t, dir)
	var f contract.Front
	for _, s := range slotsFor(task.PlaceBodyMember, dir) {
		switch s.Name {
		case "count", "blob", "tree", "blobs":
			f.Outputs = append(f.Outputs, s)
		}
	}
	kind, body, err := front.OutputBody(f, res, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"blob":{"base64":"AP8="},"blobs":[{"base64":"AP8="},"text"],"count":-7,"tree":{"a/b.txt":"b","c":{"base64":"/g=="}}}`
	if kind != "application/json" || string(body) != want {
		t.Errorf("got %s %s", kind, body)
	}
	for name, want := range map[string]string{"count": "-7\n", "blob": "\x00\xff", "tree": `{"a/b.txt":"b","c":{"base64":"/g=="}}`} {
		one := contract.Front{}
		for _, s := range f.Outputs {
			if s.Name == name {
				one.Outputs = []contract.Slot{s}
			}
		}
		if _, body, err = front.OutputBody(one, res, dir); err != nil || string(body) != want {
			t.Errorf("%s alone: %q, %v", name, body, err)
		}
	}
	f.Outputs = append(f.Outputs, contract.Slot{Name: "gone", Source: "gone"})
	if _, _, err = front.OutputBody(f, res, dir); task.CodeOf(err) != task.ReasonOutput {
		t.Errorf("a missing output: %v", err)
	}
}

// TestVarying: an example does not promise what may differ from run to run, and equal folders give equal archives.
func TestVarying(t *testing.T) {
	dir := t.TempDir()
	res := results(t, dir)
	f := contract.Front{}
	for _, s := range slotsFor(task.PlaceFile, "") {
		if s.Name == "tree" || s.Name == "count" {
			f.Outputs = append(f.Outputs, s)
		}
	}
	var archives []string
	for range 2 {
		to := filepath.Join(t.TempDir(), "out")
		if err := front.PlaceOutputs(f, res, dir, to, []string{"the count"}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(to, "count")); err == nil {
			t.Error("the varying output is promised")
		}
		data, err := os.ReadFile(filepath.Join(to, "tree"))
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, string(data))
	}
	if archives[0] != archives[1] {
		t.Error("two archives of one folder differ")
	}
}
