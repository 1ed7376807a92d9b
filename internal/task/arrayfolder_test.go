package task_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/task"
)

// What a run left as an array can be given to the next one.
func TestArrayFromFolder(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"good/array.yml": "size: 2", "good/0/0": "1\n", "good/0/1": "2", "good/1/array.yml": "size: 0",
		"gap/0/0": "1", "gap/2/0": "1", "bad/0/0": "x", "files/0": "x", "files/0.geojson": "{}", "files/1": "y", "other/a": "x", "other/b": "x",
	} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	integers := task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Integer}}}
	files := task.Type{Kind: task.Array, Item: &task.Type{Kind: task.FileKind}}
	for _, c := range []struct {
		folder string
		typ    task.Type
		want   *task.Value
	}{
		{"good", integers, &task.Value{Items: []task.Value{{Items: []task.Value{{Text: "1"}, {Text: "2"}}}, {Items: []task.Value{}}}}},
		{"files", files, &task.Value{Items: []task.Value{{Path: filepath.Join(dir, "files/0")}, {Path: filepath.Join(dir, "files/1")}}}},
		{"gap", integers, nil}, {"other", files, nil}, {"bad", integers, nil},
	} {
		got, err := task.ParseGiven(c.typ, task.Given{Path: filepath.Join(dir, c.folder)})
		if c.want == nil {
			if err == nil {
				t.Errorf("%s: got %+v", c.folder, got)
			}
			continue
		}
		if diff := cmp.Diff(*c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %s %v", c.folder, diff, err)
		}
	}
}
