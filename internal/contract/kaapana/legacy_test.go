package kaapana_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// legacy loads an image by the legacy contract.
func legacy(t *testing.T) *task.Task {
	t.Helper()
	src := contract.Source{Image: image{facts: task.ImageFacts{Reference: "old:1"}}}
	tk, findings := kaapana.New().Load(src, contract.Options{Legacy: true})
	if task.HasErrors(findings) || tk == nil {
		t.Fatal(findings)
	}
	return tk
}

func TestLegacyLoad(t *testing.T) {
	src := folder(map[string]string{"Dockerfile": "FROM local-only/base-python-cpu:latest\nLABEL IMAGE=\"otsu\"\nLABEL VERSION=\"0.2\"\n", "processing-container.json": "{"})
	tk, findings := kaapana.New().Load(src, contract.Options{Legacy: true})
	if task.HasErrors(findings) || tk.Image.Name != "otsu:0.2" || tk.Image.LocalBases[0] != "local-only/" {
		t.Errorf("%+v %v", tk, findings)
	}
	if notes := strings.Join(tk.Notes, "\n"); !strings.Contains(notes, "local-only/base-python-cpu:latest, which must be in the local store") || !strings.Contains(notes, "processing-container.json is not used") {
		t.Error(notes)
	}
	if _, findings = kaapana.New().Load(folder(nil), contract.Options{Legacy: true}); find(findings, "dockerfile-missing") == nil {
		t.Error(findings)
	}
	if _, findings = kaapana.New().Load(src, contract.Options{Legacy: true, Variant: "x"}); find(findings, "template-unknown") == nil {
		t.Error(findings)
	}
}

func TestLegacyPrepare(t *testing.T) {
	in := t.TempDir()
	for _, name := range []string{"b/2.dcm", "a/1.dcm", "beside.txt"} {
		writeFile(t, filepath.Join(in, name), name)
	}
	must(t, os.Symlink("/etc", filepath.Join(in, "etc")))
	x := prepared(t, legacy(t), task.Request{
		Inputs: map[string]task.Given{
			"input": {Path: in}, "conf": task.GivenText(`{"workflow_form": {"single": false, "Name": "x"}, "other": 1}`), "name": task.GivenText("y"), "OPERATOR_OUT_DIR": task.GivenText("seg"),
			"RUN_ID": task.GivenText("run-1"),
		},
		Env: []task.EnvVar{{Name: "TASK_ID", Value: "otsu"}, {Name: "EXTRA", Value: "e"}}, Words: []string{"--fast"},
	})
	env := map[string]string{}
	for _, e := range x.Process.Env {
		env[e.Name] = e.Value
	}
	for name, want := range map[string]string{
		"WORKFLOW_DIR": "/kaapana/mounted/data/run-1", "BATCH_NAME": "batch", "BATCHES_INPUT_DIR": "/kaapana/mounted/data/run-1/batch", "OPERATOR_IN_DIR": "input",
		"OPERATOR_OUT_DIR": "seg", "RUN_ID": "run-1", "TASK_ID": "otsu", "SINGLE": "False", "NAME": "y", "EXTRA": "e", "MINIO_URL": "", "SERVICES_NAMESPACE": "", "KAAPANA_SERVICES_NAMESPACE": "",
	} {
		if got, ok := env[name]; !ok || got != want {
			t.Errorf("%s=%q %v, want %q", name, got, ok, want)
		}
	}
	want := []task.Mount{
		{Name: "workflow", Target: "/kaapana/mounted/data/run-1", Links: task.LinksKeptInside, Only: []string{"batch", "seg"}, Files: []task.File{
			{Path: "batch", Dir: true}, {Path: "conf", Dir: true}, {Path: "batch/a/input", Dir: true}, {Path: "batch/b/input", Dir: true},
		}},
		{Name: "item-1", Target: "/kaapana/mounted/data/run-1/batch/a/input", ReadOnly: true, Source: filepath.Join(in, "a")},
		{Name: "item-2", Target: "/kaapana/mounted/data/run-1/batch/b/input", ReadOnly: true, Source: filepath.Join(in, "b")},
		{Name: "conf", Target: "/kaapana/mounted/data/run-1/conf", ReadOnly: true, Files: []task.File{{
			Path: "conf.json", Text: `{"workflow_form":{"single":false,"Name":"x","name":"y"},"other":1}` + "\n",
		}}},
	}
	if diff := cmp.Diff(want, x.Mounts); diff != "" {
		t.Error(diff)
	}
	if x.Resources.Shm != task.HalfOfMemory || x.Process.Entrypoint != nil || x.Process.Args[0] != "--fast" {
		t.Errorf("%+v %+v", x.Resources, x.Process)
	}
	if len(x.Warnings) != 1 || !strings.Contains(x.Warnings[0], "2 files or links beside them") {
		t.Error(x.Warnings)
	}
}

// The first operator of a workflow has nothing before it; a folder without sub-folders, or a file, is one item.
func TestLegacyItems(t *testing.T) {
	in := t.TempDir()
	writeFile(t, filepath.Join(in, "1.dcm"), "x")
	x := prepared(t, legacy(t), task.Request{Inputs: map[string]task.Given{"input": {Path: in}, "models": {Path: in}}})
	if m := x.Mounts[1]; m.Target != "/kaapana/mounted/data/longshore/batch/item-1/input" || m.Source != in || x.Mounts[3].Target != "/models" || !x.Mounts[3].ReadOnly {
		t.Errorf("%+v", x.Mounts)
	}
	x = prepared(t, legacy(t), task.Request{})
	for _, e := range x.Process.Env {
		if e.Name == "OPERATOR_IN_DIR" {
			t.Errorf("%+v", e)
		}
	}
	for name, value := range map[string]string{"RUN_ID": "../x", "OPERATOR_IN_DIR": "/in", "OPERATOR_OUT_DIR": "input", "conf": "[]", "a=b": "1"} {
		if _, err := prepare(t, legacy(t), task.Request{Inputs: map[string]task.Given{name: task.GivenText(value)}}); err == nil {
			t.Errorf("%s=%s is taken", name, value)
		}
	}
}

func TestLegacyCollect(t *testing.T) {
	tk := legacy(t)
	x := prepared(t, tk, task.Request{})
	tree := t.TempDir()
	for _, name := range []string{"batch/a/output/r.txt", "batch/b/other/r.txt", "output/all.txt", "conf/x"} {
		writeFile(t, filepath.Join(tree, name), name)
	}
	c, err := kaapana.New().Collect(tk, x, task.Leftovers{Mounts: map[string]string{"workflow": tree}})
	must(t, err)
	want := map[string]task.Value{
		"output": {Members: map[string]string{"a": filepath.Join(tree, "batch/a/output")}}, "output-batch": {Path: filepath.Join(tree, "output")},
	}
	if diff := cmp.Diff(want, c.Outputs); diff != "" {
		t.Error(diff)
	}
	notes := strings.Join(c.Notes, "\n")
	if !strings.Contains(notes, "not kept: batch/b/other/r.txt") || !strings.Contains(notes, "not kept: conf/x") || strings.Contains(notes, "all.txt") {
		t.Error(notes)
	}
}

// Vectors from Python's str().
func TestPythonStr(t *testing.T) {
	for in, want := range map[string]string{
		`true`: "True", `false`: "False", `null`: "None", `5`: "5", `-0`: "0", `0.5`: "0.5", `1.0`: "1.0", `1e3`: "1000.0", `1e16`: "1e+16", `123456789012345.0`: "123456789012345.0",
		`0.0001`: "0.0001", `0.00001`: "1e-05", `1e999`: "inf", `-1e999`: "-inf", `12345678901234567890`: "12345678901234567890", `"a'b"`: "a'b", `["a", "b"]`: "['a', 'b']",
		`["it's", "\"", "'\""]`: `["it's", '"', '\'"']`, `["\n\u0001é\u200b\\"]`: `['\n\x01é\u200b\\']`, `{"a": [1, 2.50, null], "b": {}}`: "{'a': [1, 2.5, None], 'b': {}}", `[]`: "[]",
		`{"a": 1, "b": 2, "a": 3}`: "{'a': 3, 'b': 2}",
	} {
		n, err := contract.ParseJSON([]byte(in))
		must(t, err)
		if got := kaapana.PythonStr(n); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
