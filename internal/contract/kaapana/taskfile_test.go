package kaapana_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// worked is the reference's worked example, without the volume that names no channel.
const worked = `{
  "name": "My_Task name",
  "api_version": 1,
  "image": "{{ env.LONGSHORE_TEST_REGISTRY }}/mask-tools:1.0",
  "taskTemplate": "grow",
  "inputs": [{"name": "masks", "volume_source": {"host_path": "%s"}}],
  "outputs": [{"name": "grown", "volume_source": {"host_path": "out/grown"}}],
  "env": [{"name": "RADIUS", "value": "3"}, {"name": "EXTRA", "value": "x"}],
  "resources": {"limits": {"memory": "1Gi"}},
  "config": {"type": "k8s", "namespace": "demo", "imagePullSecrets": ["pull"], "labels": {"team": "a"}}
}`

func loadTask(t *testing.T, doc string) (*task.Task, []task.Finding) {
	t.Helper()
	src := folder(map[string]string{"task.json": doc})
	src.Dir, src.File = t.TempDir(), "task.json"
	return kaapana.New().Load(src, contract.Options{Own: true})
}

func TestTaskFile(t *testing.T) {
	t.Setenv("LONGSHORE_TEST_REGISTRY", "reg.example")
	in := masks(t)
	tk, findings := loadTask(t, fmt.Sprintf(worked, in))
	if task.HasErrors(findings) {
		t.Fatal(findings)
	}
	if tk.Image.Name != "reg.example/mask-tools:1.0" || tk.Image.Kind != task.ImageReference || tk.Labels["team"] != "a" || tk.Name != "My_Task name" {
		t.Errorf("%+v", tk)
	}
	req := task.Request{Unbound: []string{"reference"}}
	if _, err := task.Bind(tk, req); err != nil {
		t.Errorf("before the image is there, values pass: %v", err)
	}
	full, findings := kaapana.New().(contract.ImageChecker).CheckImage(tk, contract.Source{}, carrying(example))
	if task.HasErrors(findings) {
		t.Fatal(findings)
	}
	if f := find(findings, "resources-replaced"); f == nil || !strings.Contains(f.What, "loses requests.memory, limits.cpu.") {
		t.Errorf("%v", findings)
	}
	if _, err := task.Bind(full, task.Request{}); err == nil || !strings.Contains(err.Error(), "reference") {
		t.Errorf("an unbound input is an error: %v", err)
	}
	x := prepared(t, full, req)
	want := []task.EnvVar{{Name: "RADIUS", Value: "3"}, {Name: "SHAPE", Value: "ball"}, {Name: "LICENCE", Value: "research"}, {Name: "EXTRA", Value: "x"}}
	if diff := cmp.Diff(want, x.Process.Env); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(task.Resources{Memory: 1677721600}, x.Resources); diff != "" {
		t.Error(diff)
	}
	if x.Mounts[0].Source != in || x.Mounts[0].Target != "/data/masks" || len(x.Mounts) != 2 {
		t.Errorf("%+v", x.Mounts)
	}
}

func TestTaskMerge(t *testing.T) {
	one := func(fields string) string {
		return `{"name": "t", "image": "x:1", "taskTemplate": {"identifier": "i", "description": "d",
			"inputs": [{"name": "in", "mounted_path": "/in", "description": "d", "scale_rule": {"scale_factor": 2, "type": "limit", "mode": "sum", "target_glob": "*.x"}}],
			"outputs": [], "env": [{"name": "B", "value": "b"}, {"name": "F", "value": "f", "adjustable": false}], "command": ["run"]}, ` + fields + `}`
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f.y"), strings.Repeat("x", 1000))
	req := task.Request{Inputs: map[string]task.Given{"in": {Path: dir}}}

	tk, findings := loadTask(t, one(`"env": [{"name": "B", "value": "x"}, {"name": "B", "value": "y"}, {"name": "C", "value": "1"}, {"name": "C", "value": "2"}], "command": [],
		"inputs": [{"name": "in", "volume_source": {"host_path": "`+dir+`"}, "scale_rule": {"scale_factor": 9000, "type": "request", "mode": "max_file_size"}}]`))
	if task.HasErrors(findings) || find(findings, "env-duplicate") == nil {
		t.Fatal(findings)
	}
	x := prepared(t, tk, task.Request{})
	want := []task.EnvVar{{Name: "B", Value: "x"}, {Name: "F", Value: "f"}, {Name: "C", Value: "2"}}
	if diff := cmp.Diff(want, x.Process.Env); diff != "" {
		t.Error(diff)
	}
	if x.Process.Entrypoint != nil {
		t.Errorf("[] in a task means the image's own process: %v", x.Process)
	}
	if x.Resources.MinMemory != 9000000 {
		t.Errorf("a task's rule replaces the template's whole rule: %+v", x.Resources)
	}

	tk, findings = loadTask(t, one(`"env": null`))
	if task.HasErrors(findings) {
		t.Errorf("null is []: %v", findings)
	}
	if x := prepared(t, tk, req); len(x.Process.Entrypoint) != 1 {
		t.Errorf("%+v", x.Process)
	}
	tk, findings = loadTask(t, strings.Replace(one(`"env": [{"name": "RADIUS", "value": "1"}, {"name": "UNLIKE", "value": "1"}]`), `"name": "B"`, `"name": "RADII"`, 1))
	x = prepared(t, tk, req)
	if w, n := strings.Join(x.Warnings, "\n"), strings.Join(x.Notes, "\n"); !strings.Contains(w, "env RADIUS: set by the task, and not a variable of the template `i`; did you mean RADII?") || !strings.Contains(n, "env UNLIKE: set by the task") {
		t.Errorf("variables that the template lacks: %q %q %v", w, n, findings)
	}
	for _, key := range []string{"inputs", "outputs"} {
		if _, findings = loadTask(t, one(`"`+key+`": null`)); find(findings, "field-type") == nil {
			t.Errorf("%s: null passes here, and fails in Kaapana: %v", key, findings)
		}
	}
	if _, findings = loadTask(t, one(`"env": [{"name": "F", "value": "other"}]`)); find(findings, "env-not-adjustable") == nil {
		t.Errorf("%v", findings)
	}
}

func TestTaskPaths(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "in"), 0o755))
	doc := `{"name": "t", "image": "x:1", "taskTemplate": "g", "inputs": [{"name": "a", "input": {"local_path": "%s"}}], "outputs": [{"name": "o", "volume_source": {"host_path": "%s"}}]}`
	at := func(in, out string, own bool) (*task.Task, []task.Finding) {
		src := folder(map[string]string{"task.json": fmt.Sprintf(doc, in, out)})
		src.Dir, src.File = dir, "task.json"
		return kaapana.New().Load(src, contract.Options{Own: own})
	}
	tk, findings := at("in", "out", true)
	if task.HasErrors(findings) || tk.Parameters[0].Default.Path != filepath.Join(dir, "in") {
		t.Errorf("beside the task file: %+v %v", tk.Parameters, findings)
	}
	if _, findings = at("nope", "out", true); find(findings, "volume-missing") == nil {
		t.Errorf("%v", findings)
	}
	if _, findings = at(dir, dir+"/in", true); find(findings, "volume-overlap") == nil {
		t.Errorf("%v", findings)
	}
	tk, findings = at("/etc", "out", false)
	if task.HasErrors(findings) || tk.Parameters[0].Default != nil {
		t.Errorf("a stranger's task file names host paths: %+v %v", tk.Parameters, findings)
	}
}

func TestTaskFlat(t *testing.T) {
	tk, findings := loadTask(t, `{"name": "t", "image": "x:1", "inputs": [{"name": "in", "input": {"local_path": "`+t.TempDir()+`"}}], "outputs": [],
		"namespace": "n", "imagePullSecrets": ["p"], "registryUrl": "r"}`)
	if task.HasErrors(findings) {
		t.Fatal(findings)
	}
	full, findings := kaapana.New().(contract.ImageChecker).CheckImage(tk, contract.Source{}, carrying(flat))
	if task.HasErrors(findings) || full.Variant != "default" {
		t.Errorf("%+v %v", full, findings)
	}
	_, findings = kaapana.New().(contract.ImageChecker).CheckImage(tk, contract.Source{}, carrying(example))
	if find(findings, "template-required") == nil {
		t.Errorf("%v", findings)
	}
	_, findings = kaapana.New().(contract.ImageChecker).CheckImage(tk, contract.Source{}, image{})
	if find(findings, "file-missing") == nil {
		t.Errorf("%v", findings)
	}
}

func TestJinja(t *testing.T) {
	env := map[string]string{"REG": "reg.example", "Q": `a"b`, "N": "5"}
	for _, c := range []struct{ in, want, rule string }{
		{`"{{ env.REG }}/x"`, `"reg.example/x"`, ""},
		{`"{{ env['REG'] | upper }}"`, `"REG.EXAMPLE"`, ""},
		{`"{{ env.NOPE }}"`, `""`, "jinja-undefined"},
		{`"{{ env.NOPE | default('d') }}"`, `"d"`, ""},
		{`"{{ env.get('NOPE','d') }}"`, `"d"`, ""},
		{`"{{ custom.b }}"`, `""`, "jinja-undefined"},
		{`"{{ nope }}"`, `""`, "jinja-undefined"},
		{`"{{ custom.b.c }}"`, ``, "jinja-undefined"},
		{`"{{ nope.x }}"`, ``, "jinja-undefined"},
		{`"{{ x"`, ``, "jinja-syntax"},
		{`"use {% of %}"`, ``, "jinja-syntax"},
		{`"{% raw %}{{x}}{% endraw %}"`, `"{{x}}"`, ""},
		{`"{# c #}b"`, `"b"`, ""},
		{`{{ env.Q | tojson }}`, `"a\"b"`, ""},
		{`{{ env.N }}`, `5`, ""},
		{`{% if env.NOPE %}1{% elif env.N == '5' %}2{% else %}3{% endif %}`, `2`, ""},
		{`{% if env.NOPE %}{{ nope.x }}{% else %}3{% endif %}`, `3`, ""},
		{`{% set a = env.N ~ 'x' %}{{ a }}{{ 'y' if a is defined else 'z' }}`, `5xy`, ""},
		{"a {%- if true -%} b {%- endif %} c", "ab c", ""},
		{`{{ (env.N or 'q') if not env.NOPE else 1 }}`, `5`, ""},
		{`{% for x in y %}{% endfor %}`, ``, "jinja-syntax"},
		{`{% if true %}`, ``, "jinja-syntax"},
		{`{% endif %}`, ``, "jinja-syntax"},
		{`{{ env.N | evil }}`, ``, "jinja-syntax"},
		{`{# open`, ``, "jinja-syntax"},
		{`{% raw %}x`, ``, "jinja-syntax"},
	} {
		got, rules := kaapana.Render(c.in, env)
		if got != c.want {
			t.Errorf("%s: %q %v, want %q", c.in, got, rules, c.want)
		}
		if c.rule != "" && !strings.Contains(strings.Join(rules, " "), c.rule) {
			t.Errorf("%s: %v, want %s", c.in, rules, c.rule)
		}
	}
	if _, rules := kaapana.Render(strings.Repeat("{% set a = a ~ a ~ 'xxxxxxxxxxxxxxxx' %}", 200)+"{{ a }}", env); !strings.Contains(strings.Join(rules, " "), "jinja-syntax") {
		t.Errorf("growth has a limit: %v", rules)
	}
	if _, rules := kaapana.Render(strings.Repeat("{{ (", 10000), env); len(rules) == 0 {
		t.Error("depth has a limit")
	}
}

// The variables of this machine are never read for a processing-container.json, nor for a task file that is a stranger's.
func TestJinjaReadsNoSecrets(t *testing.T) {
	t.Setenv("LONGSHORE_TEST_SECRET", "hidden")
	doc := strings.Replace(pieces{}.String(), `"n"`, `"x{{ env.LONGSHORE_TEST_SECRET }}"`, 1)
	tk, _ := kaapana.New().Load(container(doc), contract.Options{Own: true})
	if tk.Name != "x" {
		t.Errorf("name %q", tk.Name)
	}
	src := folder(map[string]string{"task.json": `{"name": "x{{ env.LONGSHORE_TEST_SECRET }}", "image": "x:1", "taskTemplate": "g"}`})
	if tk, _ = kaapana.New().Load(src, contract.Options{}); tk.Name != "x" {
		t.Errorf("name %q", tk.Name)
	}
}
