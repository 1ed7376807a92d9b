package kaapana_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// A new task loads, takes the template's values, and runs once its folders are there.
func TestNewTask(t *testing.T) {
	tk, _ := kaapana.New().Load(contract.Source{Image: carrying(example)}, contract.Options{Variant: "grow"})
	doc, notes, err := kaapana.New().(contract.TaskWriter).NewTask(tk)
	must(t, err)
	var got map[string]any
	must(t, json.Unmarshal(doc, &got))
	want := map[string]any{
		"name": "mask-tools-grow", "api_version": 1.0, "image": "mask-tools:1.0", "taskTemplate": "grow",
		"inputs": []any{
			map[string]any{"name": "masks", "volume_source": map[string]any{"host_path": "./in/masks"}},
			map[string]any{"name": "reference", "volume_source": map[string]any{"host_path": "./in/reference"}},
		},
		"outputs": []any{map[string]any{"name": "grown", "volume_source": map[string]any{"host_path": "./out/grown"}}},
		"env":     []any{map[string]any{"name": "RADIUS", "value": "2"}, map[string]any{"name": "SHAPE", "value": "ball"}},
		"resources": map[string]any{
			"limits": map[string]any{"memory": "500Mi", "cpu": "2"}, "requests": map[string]any{"memory": "100Mi"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(notes) != 2 {
		t.Error(diff, notes)
	}

	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "in/masks"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "in/reference"), 0o755))
	src := folder(map[string]string{"task.json": string(doc)})
	src.Dir, src.File = dir, "task.json"
	again, findings := kaapana.New().Load(src, contract.Options{Own: true})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	full, findings := kaapana.New().(contract.ImageChecker).CheckImage(again, src, carrying(example))
	if task.HasErrors(findings) || find(findings, "resources-replaced") != nil {
		t.Fatal(findings)
	}
	if x := prepared(t, full, task.Request{}); x.Resources.CPU != 2000 || len(x.Mounts) != 3 {
		t.Errorf("%+v", x)
	}
}

func TestNewTaskRefusals(t *testing.T) {
	write := func(src contract.Source, opts contract.Options) ([]byte, []string, error) {
		tk, _ := kaapana.New().Load(src, opts)
		return kaapana.New().(contract.TaskWriter).NewTask(tk)
	}
	if _, _, err := write(container(example), contract.Options{}); err == nil || !strings.Contains(err.(*task.Error).Hint, "grow, measure") {
		t.Error(err)
	}
	if _, _, err := write(folder(map[string]string{"task.json": `{"name": "t", "image": "x", "taskTemplate": "g"}`}), contract.Options{}); err == nil {
		t.Error("a task of a task")
	}
	if _, _, err := write(contract.Source{Image: image{}}, contract.Options{Legacy: true}); err == nil {
		t.Error("a task of a legacy container")
	}
	// A default that no caller could give is left out, and told; fixed variables are not repeated.
	doc, notes, err := write(container(pieces{env: `{"name": "C", "value": "", "choices": ["a", "b"]}, {"name": "F", "value": "f", "adjustable": false}`}.String()), contract.Options{})
	must(t, err)
	if !strings.Contains(string(doc), `"env": []`) || !strings.Contains(strings.Join(notes, "\n"), "add a value of C to env: one of a, b") || !strings.Contains(string(doc), `"limits": {}`) {
		t.Errorf("%s %v", doc, notes)
	}
}

// What the caller gives stands in for a folder of the task file that is not there; the names of variables come from the caller.
func TestTaskGivenAndVariables(t *testing.T) {
	src := folder(map[string]string{"task.json": `{"name": "{{ env.LONGSHORE_TEST_UNSET }}{{ custom.c }}", "image": "x:1", "taskTemplate": "g", "inputs": [{"name": "a", "volume_source": {"host_path": "/nope"}}]}`})
	src.Dir, src.File = t.TempDir(), "task.json"
	tk, findings := kaapana.New().Load(src, contract.Options{Own: true, Given: []string{"input.a"}, Variables: map[string]string{"LONGSHORE_TEST_UNSET": "e", "custom.c": "c"}})
	if task.HasErrors(findings) || tk.Name != "ec" {
		t.Errorf("%+v %v", tk, findings)
	}
	if _, findings = kaapana.New().Load(src, contract.Options{Own: true}); find(findings, "volume-missing") == nil || find(findings, "jinja-undefined") == nil {
		t.Error(findings)
	}
}
