package contracttest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// runs: the inputs of every example bind, Prepare is pure, and Collect bears whatever was left.
func (s Suite) runs(t *testing.T, dir string) {
	x, ok := s.Contract.(contract.Exampler)
	src := source(t, dir)
	loaded, found := s.Contract.Load(src, contract.Options{})
	if loaded == nil || task.HasErrors(found) {
		t.Errorf("%s is not valid: %v", dir, found)
		return
	}
	examples := []contract.Example{{Name: "nothing given", Request: task.Request{}}}
	if ok {
		own, err := x.Examples(src, loaded)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		if len(own) > 0 {
			examples = own
		}
	}
	for _, e := range examples {
		if e.Skip != "" || len(e.From) > 0 {
			continue
		}
		used := loaded
		if e.Variant != loaded.Variant {
			if used, found = s.Contract.Load(src, contract.Options{Variant: e.Variant}); used == nil || task.HasErrors(found) {
				t.Errorf("%s: the example %s is of a use that cannot be loaded: %v", dir, e.Name, found)
				continue
			}
		}
		values, err := task.Bind(used, e.Request)
		if err != nil {
			if ok && e.Name != "nothing given" {
				t.Errorf("%s: the inputs of the example %s are refused: %v", dir, e.Name, err)
			}
			continue
		}
		s.prepare(t, fmt.Sprintf("%s, %s", filepath.Base(dir), e.Name), used, values)
	}
}

// prepare: the same values give the same execution, and nothing that was handed over changes.
func (s Suite) prepare(t *testing.T, what string, tk *task.Task, v task.Values) {
	img := task.ImageFacts{Reference: "example/image:1", Digest: "sha256:" + strings.Repeat("a", 64), Entrypoint: []string{"/bin/program"}}
	before := asJSON(t, tk, v, img)
	first, err := s.Contract.Prepare(tk, img, v)
	second, err2 := s.Contract.Prepare(tk, img, v)
	if err != nil || err2 != nil {
		t.Errorf("%s: %v, %v", what, err, err2)
		return
	}
	if !same(first, second) {
		t.Errorf("%s: prepared twice, it is not the same:\n%+v\n%+v", what, first, second)
	}
	if after := asJSON(t, tk, v, img); after != before {
		t.Errorf("%s: Prepare changed what it was given:\n%s\n%s", what, before, after)
	}
	for _, e := range []task.Exit{{}, {Code: 1}, {Code: 137, Signal: 9, OOM: true}} {
		for _, l := range leftovers {
			s.collect(t, fmt.Sprintf("%s, %s, exit code %d", what, l.name, e.Code), tk, first, e, l.fill)
		}
	}
}

func asJSON(t *testing.T, values ...any) string {
	t.Helper()
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// leftovers are what a container may have left in each writable folder; outputs are the names of the task's.
var leftovers = []struct {
	name string
	fill func(dir string, outputs []string) error
}{
	{"nothing", func(string, []string) error { return nil }},
	{"empty files", func(dir string, outputs []string) error { return each(dir, outputs, "") }},
	{"noise", func(dir string, outputs []string) error { return each(dir, outputs, "\xff\x00{\"a\": [") }},
	{"huge number", func(dir string, outputs []string) error { return each(dir, outputs, "1e999999999") }},
	{"deep JSON", func(dir string, outputs []string) error { return each(dir, outputs, strings.Repeat("[", 50000)) }},
	{"folders", func(dir string, outputs []string) error {
		for _, name := range outputs {
			if err := os.MkdirAll(filepath.Join(dir, name, "deeper"), 0o755); err != nil {
				return err
			}
		}
		return nil
	}},
	{"strange names", func(dir string, _ []string) error {
		return each(dir, []string{"\xff\xfe", "a\nb", " ", "...", "-rf", strings.Repeat("n", 255)}, "x")
	}},
	{"own documents", func(dir string, _ []string) error {
		return each(dir, []string{"computed.json", "determinism.iexec", "consensus.iexec", "array.yml"}, `{"deterministic-output-path": "/../../etc/passwd", "size": -1}`)
	}},
}

func each(dir string, names []string, content string) error {
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// collect: whatever was left, Collect does not panic, writes nothing, gives the same twice, finds no fault of ours, and names
// only outputs that the task declares and that lie among the leftovers.
func (s Suite) collect(t *testing.T, what string, tk *task.Task, x *task.Execution, exit task.Exit, fill func(string, []string) error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: panic: %v", what, p)
		}
	}()
	dir := t.TempDir()
	left := s.left(t, dir, tk, x, exit, fill)
	before := tree(t, dir)
	got, err := s.Contract.Collect(tk, x, left)
	again, _ := s.Contract.Collect(tk, x, left)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if !same(got, again) {
		t.Errorf("%s: collected twice, it is not the same:\n%+v\n%+v", what, got, again)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("%s: Collect wrote:\n%s\n%s", what, before, after)
	}
	for name, v := range got.Outputs {
		if tk.Parameter(task.Output, name) == nil {
			t.Errorf("%s: the output %q is not declared", what, name)
		}
		if _, err := os.Stat(v.Path); err != nil || !strings.HasPrefix(v.Path, dir+"/") {
			t.Errorf("%s: the output %s does not lie among the leftovers: %q, %v", what, name, v.Path, err)
		}
	}
}

// left lays out what the container left in dir.
func (s Suite) left(t *testing.T, dir string, tk *task.Task, x *task.Execution, exit task.Exit, fill func(string, []string) error) task.Leftovers {
	t.Helper()
	var outputs []string
	for _, p := range tk.Outputs() {
		if filepath.IsLocal(p.Name) {
			outputs = append(outputs, p.Name)
		}
	}
	left := task.Leftovers{Exit: exit, Mounts: map[string]string{}}
	for _, m := range x.Mounts {
		if m.ReadOnly || m.Discard {
			continue
		}
		folder := filepath.Join(dir, "mounts", m.Name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := fill(folder, outputs); err != nil {
			t.Fatal(err)
		}
		left.Mounts[m.Name] = folder
	}
	for name, field := range map[string]*string{"stdout": &left.Stdout, "stderr": &left.Stderr, "log": &left.Log} {
		*field = filepath.Join(dir, name)
		if err := os.WriteFile(*field, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if x.HTTP != nil {
		bodies := filepath.Join(dir, "response")
		if err := os.MkdirAll(bodies, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := fill(bodies, []string{"body"}); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(filepath.Join(bodies, "body")); err == nil && st.Mode().IsRegular() {
			left.Response = &task.Response{Status: 200, BodyPath: filepath.Join(bodies, "body"), Size: st.Size()}
		}
	}
	return left
}

// tree is what lies in a folder, with sizes and times of change.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			fmt.Fprintf(&b, "%q %v %d %v\n", p, info.Mode(), info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
