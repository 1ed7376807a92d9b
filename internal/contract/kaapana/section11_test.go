package kaapana_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// TestReferenceVerdicts holds rows of the Kaapana reference, section 11.1, that change one place of a whole document. worst is
// the most serious finding, "" for none above a note.
func TestReferenceVerdicts(t *testing.T) {
	const document = `{"name": "n", "description": "d", "api_version": 1, "templates": [{"identifier": "t", "description": "d",
"inputs": [{"name": "i", "mounted_path": "/i", "description": "d"%s}], "outputs": [], "env": [{"name": "E", "value": "1"%s}]%s}]}`
	cases := []struct {
		rule, env, template string
		worst               task.Severity
	}{
		{},
		{env: `, "type": "float"`, worst: task.SeverityWarning},
		{env: `, "adjustable": "maybe"`, worst: task.SeverityWarning},
		{env: `, "choices": [1, 2]`, worst: task.SeverityError},
		{template: `, "command": "ls"`, worst: task.SeverityError},
		{template: `, "command": [1]`, worst: task.SeverityError},
		{template: `, "resources": {}`},
		{template: `, "resources": {"limits": {"memory": 500, "cpu": 1}}`, worst: task.SeverityWarning},
		{template: `, "a": 1, "a": 2`, worst: task.SeverityWarning},
		{rule: `, "scale_rule": {"complexity": "10*n**1", "type": "limit", "mode": "sum"}`},
		{rule: `, "scale_rule": {"scale_factor": 1, "type": "Limit", "mode": "sum"}`, worst: task.SeverityError},
		{rule: `, "scale_rule": {"scale_factor": -1, "type": "limit", "mode": "sum"}`, worst: task.SeverityWarning},
		{rule: `, "scale_rule": {"scale_factor": 2.5, "type": "limit", "mode": "sum"}`, worst: task.SeverityError},
	}
	for _, c := range cases {
		text := fmt.Sprintf(document, c.rule, c.env, c.template)
		_, found := kaapana.New().Load(container(text), contract.Options{})
		worst := task.Severity("")
		for _, f := range found {
			if f.Severity == task.SeverityError || f.Severity == task.SeverityWarning && worst == "" {
				worst = f.Severity
			}
		}
		if worst != c.worst {
			t.Errorf("%s: %q, want %q: %v", strings.TrimPrefix(c.rule+c.env+c.template, ", "), worst, c.worst, found)
		}
	}
}

// TestReferenceDocuments holds the rows of section 11.1 that are whole documents, with their rule; "" for none above a note.
func TestReferenceDocuments(t *testing.T) {
	const head = `{"name": "n", "description": "d", "api_version": 1, `
	const template = `"identifier": "t", "description": "d", "inputs": [], "outputs": []`
	for doc, want := range map[string]string{
		example: "", flat: "",
		head + `"templates": []}`: "no-templates", `{"name": "n", "description": "d"}`: "field-missing", `[]`: "not-object",
		head + `"templates": [{` + template + `}]}`:                                                            "field-missing",
		head + `"templates": [{` + template + `, "env": [{"name": "E", "value": 5}]}]}`:                        "env-value-type",
		head + `"templates": [{` + template + `, "env": [{"name": "E", "value": true}]}]}`:                     "env-value-type",
		head + `"templates": [{` + template + `, "env": [{"name": "E", "value": null}]}]}`:                     "env-value-type",
		head + `"templates": [{` + template + `, "env": [{"name": "E", "value": ""}]}]}`:                       "",
		head + `"templates": [{` + template + `, "env": [], "command": []}]}`:                                  "command-empty",
		head + `"templates": [{` + template + `, "env": [], "more": 1}]}`:                                      "unknown-field",
		head + `"templates": [{` + template + `, "env": []},]}`:                                                "json-syntax",
		"\ufeff" + head + `"templates": [{` + template + `, "env": []}]}`:                                      "json-bom",
		`{"name": "n", "description": "d", "api_version": 2, "templates": []}`:                                 "api-version",
		`{"name": "n", "description": "d", "api_version": null, "templates": [{` + template + `, "env": []}]}`: "api-version",
	} {
		_, found := kaapana.New().Load(container(doc), contract.Options{})
		if want != "" && find(found, want) == nil {
			t.Errorf("%s: no %s in %v", doc, want, found)
		}
		for _, f := range found {
			if want == "" && f.Severity != task.SeverityNote && f.Rule != "channel-name" {
				t.Errorf("%s: %v", doc, f)
			}
		}
	}
}

// ruled prepares a run of one channel over dir with the rest of a rule whose requirement is its target size.
func ruled(t *testing.T, dir, fields string) (*task.Execution, []task.Finding, error) {
	t.Helper()
	tk, found := load(t, container(scaleRule(`"scale_factor": 1, "type": "limit", `+fields).String()), "")
	if task.HasErrors(found) {
		return nil, found, nil
	}
	x, err := prepare(t, tk, task.Request{Inputs: map[string]task.Given{"in": {Path: dir}}})
	return x, found, err
}

// TestReferenceTree holds the rows of section 11.2 that a document decides: null, and places outside the channel.
func TestReferenceTree(t *testing.T) {
	root := scaleTree(t)
	for _, field := range []string{"target_dir", "target_regex", "target_glob"} {
		x, found, err := ruled(t, root, `"mode": "sum", "`+field+`": null`)
		if err != nil || x == nil || !strings.Contains(strings.Join(x.Notes, "\n"), "measured 921 B") {
			t.Errorf("%s: null: %+v %v %v, want 921", field, x, found, err)
		}
	}
	for fields, rule := range map[string]string{
		`"target_dir": ".."`: "scale-target-dir", `"target_dir": "/etc"`: "scale-target-dir", `"target_glob": "/x"`: "scale-glob", `"target_glob": "../*"`: "scale-glob",
		`"target_regex": "("`: "scale-regex",
	} {
		if _, found, _ := ruled(t, root, `"mode": "sum", `+fields); find(found, rule) == nil || !task.HasErrors(found) {
			t.Errorf("%s: no %s in %v", fields, rule, found)
		}
	}
	single := t.TempDir()
	writeFile(t, filepath.Join(single, "only.dcm"), "xxx")
	x, _, err := ruled(t, single, `"mode": "max_item_sum"`)
	if err != nil || !strings.Contains(strings.Join(x.Warnings, "\n"), "[scale-no-items]") {
		t.Errorf("a channel that holds only a file: %+v %v", x, err)
	}
	if _, _, err := ruled(t, filepath.Join(root, "nope"), `"mode": "sum"`); task.CodeOf(err) != task.ReasonInput {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestReferenceComplexity holds section 11.4: what a complexity makes of a channel of 1000 bytes. A limit of less than 6 MiB is
// raised to that, so the requirement is looked for in what is told.
func TestReferenceComplexity(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), strings.Repeat("x", 1000))
	for text, want := range map[string]string{
		"25*n**1": "25000", "2*n**2": "2000000", "2*n**0": "2", "1.5*n**2": "1500000", "2n": "2000", "n": "1000", ".5*n": "500",
	} {
		tk := loaded(t, container(scaleRule(`"type": "limit", "mode": "sum", "complexity": "`+text+`"`).String()), "")
		x := prepared(t, tk, task.Request{Inputs: map[string]task.Given{"in": {Path: dir}}})
		if notes := strings.Join(append(x.Notes, x.Warnings...), "\n"); !strings.Contains(notes, "= "+want+" B") {
			t.Errorf("%s: %s, want %s B", text, notes, want)
		}
	}
}

// TestReferenceMerge holds section 11.6: the template grow with the worked task, as each of Kaapana's runners takes it.
func TestReferenceMerge(t *testing.T) {
	t.Setenv("LONGSHORE_TEST_REGISTRY", "reg.example")
	in, ref := masks(t), t.TempDir()
	doc := strings.Replace(fmt.Sprintf(worked, in), `"outputs": [`, `"outputs": [{"name": "typo", "volume_source": {"host_path": "out/typo"}}, `, 1)
	merged := func(doc, compat string) (*task.Task, []task.Finding) {
		src := folder(map[string]string{"task.json": doc})
		src.Dir, src.File = t.TempDir(), "task.json"
		tk, found := kaapana.New().Load(src, contract.Options{Own: true, Compat: compat})
		if task.HasErrors(found) {
			t.Fatal(found)
		}
		return kaapana.New().(contract.ImageChecker).CheckImage(tk, contract.Source{}, carrying(example))
	}
	full, found := merged(doc, "")
	if find(found, "input-unknown") == nil || full == nil {
		t.Errorf("the volume typo: %+v %v", full, found)
	}
	without := func(edits ...string) string { return strings.NewReplacer(edits...).Replace(fmt.Sprintf(worked, in)) }
	const limits = `"resources": {"limits": {"memory": "1Gi"}},`
	for _, c := range []struct {
		row, doc, compat string
		want             task.Resources
	}{
		{"LS", without(), "", task.Resources{Memory: 1677721600}},
		{"Docker: mem_limit 1677721600", without(), "docker", task.Resources{Memory: 1677721600}},
		{"Kubernetes, task without resources: limits 550.0Mi and cpu 2, requests 110.0Mi", without(limits, ""), "kubernetes", task.Resources{Memory: 576716800, MinMemory: 115343360, CPU: 2000, Shm: task.HalfOfMemory}},
		{
			"Kubernetes, limits 1Gi, requests 200Mi and cpu 500m: 1.1Gi, 220.0Mi, 500m", without(limits, `"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "200Mi", "cpu": "500m"}},`), "kubernetes",
			task.Resources{Memory: 1181116007, MinMemory: 230686720, MinCPU: 500, Shm: task.HalfOfMemory},
		},
	} {
		full, found := merged(c.doc, c.compat)
		if task.HasErrors(found) {
			t.Errorf("%s: %v", c.row, found)
			continue
		}
		x := prepared(t, full, task.Request{Inputs: map[string]task.Given{"reference": {Path: ref}}})
		if diff := cmp.Diff(c.want, x.Resources); diff != "" {
			t.Errorf("%s: %s", c.row, diff)
		}
		if env := fmt.Sprint(envOf(x)); env != "[{RADIUS 3} {SHAPE ball} {LICENCE research} {EXTRA x}]" {
			t.Errorf("%s: %s", c.row, env)
		}
	}
}

// TestReferenceDialects holds the cases of section 11.9 that are one document.
func TestReferenceDialects(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "t.txt"), strings.Repeat("x", 1<<20))
	writeFile(t, filepath.Join(dir, "t.bin"), strings.Repeat("x", 1<<20))
	for factor, want := range map[string]task.Bytes{"25": 50 << 20, "60": 60 << 20} {
		doc := `{"name": "t", "image": "x:1", "taskTemplate": {"identifier": "i", "description": "d", "inputs": [{"name": "in", "mounted_path": "/in", "description": "d"}],
			"outputs": [], "env": []}, "inputs": [{"name": "in", "volume_source": {"host_path": "` + dir + `"}, "scale_rule": {"complexity": "` + factor + `*n**1", "type": "limit", "mode": "sum", "target_dir": ".", "target_regex": ".*\\.txt"}}],
			"resources": {"limits": {"memory": "50Mi"}}}`
		tk, found := loadTask(t, doc)
		if task.HasErrors(found) {
			t.Fatal(found)
		}
		if x := prepared(t, tk, task.Request{}); x.Resources.Memory != want {
			t.Errorf("case 5, %s*n: %+v, want max(50Mi, %s × 1Mi)", factor, x.Resources, factor)
		}
	}
}
