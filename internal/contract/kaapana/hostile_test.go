package kaapana_test

import (
	"fmt"
	"strings"
	"testing"

	"longshore/internal/task"
)

func repeated(n int, format string) string {
	var items []string
	for i := range n {
		items = append(items, strings.ReplaceAll(format, "#", fmt.Sprint(i)))
	}
	return strings.Join(items, ", ")
}

// hostileDocuments are nearly as large as a document may be; checking one takes time and findings in proportion, and no more (what
// was quadratic took minutes for each).
var hostileDocuments = []struct {
	name string
	doc  fmt.Stringer
	rule string
	sev  task.Severity
}{
	{"resources", rest(`"resources": {"limits": {` + repeated(30_000, `"k#": 1`) + `}, "requests": {}}`), "resources-unknown-key", W},
	{"one resource", rest(`"resources": {"limits": {` + repeated(40_000, `"a": 1`) + `}, "requests": {}}`), "json-duplicate-key", W},
	{"a deep path", channelAt(strings.Repeat("/a", 500_000)), "channel-path-forbidden", E},
	{"nested paths", pieces{inputs: nestedChannels(900)}, "channel-path-nested", W},
	{"complexity", scaleRule(`"type": "limit", "mode": "sum", "complexity": ".` + strings.Repeat("1", 900_000) + `*n**1"`), "scale-complexity", E},
	{"scale_factor", scaleRule(`"type": "limit", "mode": "sum", "scale_factor": ` + strings.Repeat("1", 900_000)), "scale-factor", E},
	{"quantity", limits(`"memory": "0.` + strings.Repeat("1", 900_000) + `"`), "resources-quantity", E},
	{"many regexes", pieces{inputs: repeated(1500, `{"name": "c#", "mounted_path": "/c#", "description": "d", "scale_rule":
{"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "(\\w{1000}){1}"}}`)}, "scale-regex-basename", N},
	{"a long regex", scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "[` + strings.Repeat("[:", 400_000) + `]"`), "scale-regex", E},
	{"flags", scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "` + strings.Repeat("(?i)", 2000) + `.*"`), "scale-regex", W},
	{"templates", text(`{"name": "n", "description": "d", "templates": [` + repeated(40_000, `{}`) + `]}`), "field-missing", E},
	{"variables", pieces{env: repeated(20_000, `{"name": "A", "value": ""}`)}, "env-duplicate", W},
	{"choices", env(`"name": "A", "value": "q", "choices": [` + repeated(60_000, `"x#"`) + `]`), "env-choice", W},
	{"a long key", text(`{"` + strings.Repeat("x", 1_000_000) + `": 1}`), "unknown-field", W},
}

func nestedChannels(n int) string {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`{"name": "c%d", "mounted_path": "%s", "description": "d"}`, i, strings.Repeat("/a", i+1)))
	}
	return strings.Join(items, ", ")
}

func TestHostileDocuments(t *testing.T) {
	for _, c := range hostileDocuments {
		t.Run(c.name, func(t *testing.T) {
			_, findings := load(t, container(c.doc.String()), "")
			f := find(findings, c.rule)
			if f == nil || f.Severity != c.sev {
				t.Errorf("%+v, want %s %s", f, c.sev, c.rule)
			}
			size := 0
			for _, f := range findings {
				size += len(f.String())
			}
			if len(findings) > 1000 || size > 1<<20 {
				t.Errorf("%d findings, %d bytes", len(findings), size)
			}
		})
	}
}

// A task file with as many variables and channels as fit is merged with its template in one go.
func TestHostileTaskFile(t *testing.T) {
	const n = 6000
	_, findings := loadTask(t, `{"name": "n", "image": "x:1", "taskTemplate": {"identifier": "t", "description": "d", "inputs": [], "outputs": [], "env": [`+
		repeated(n, `{"name": "VARIABLE_#", "value": ""}`)+`]}, "env": [`+repeated(n, `{"name": "OTHER_#", "value": ""}`)+`], "outputs": [`+
		repeated(n, `{"name": "o#", "volume_source": {"host_path": "/tmp/o#"}}`)+`]}`)
	for _, rule := range []string{"env-unknown", "input-unknown"} {
		if find(findings, rule) == nil {
			t.Errorf("no %s in %d findings", rule, len(findings))
		}
	}
	if len(findings) > 1000 {
		t.Errorf("%d findings", len(findings))
	}
}

// One fault is told once, whatever follows from it.
func TestOneFaultOneFinding(t *testing.T) {
	for doc, rule := range map[fmt.Stringer]string{
		text(`{"name": "n", "description": "d", "templates": [{"identifier": 1, "description": "d", "inputs": [], "outputs": [], "env": []}, {"identifier": "", "description": "d", "inputs": [], "outputs": [], "env": []}]}`): "field-type",
		scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_glob": 5`):   "field-type",
		scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": []`): "field-type",
		scaleRule(`"type": "limit", "mode": "sum", "scale_factor": false`):                 "scale-factor",
		channelNamed(`a\u0000b`):                                                 "channel-name",
		channelAt(`/a\u0000b`):                                                   "channel-path-forbidden",
		env(`"name": "A\u0000", "value": ""`):                                    "env-name",
		env(`"name": "A", "value": "\u0000", "choices": ["1"]`):                  "field-type",
		env(`"name": "A", "value": "1", "choices": ["1", 2]`):                    "field-type",
		env(`"name": "A", "value": "x", "type": "int", "choices": ["1", "2"]`):   "env-choice",
		env(`"name": "A", "value": "1", "type": "int", "choices": ["1", "two"]`): "env-type",
		pieces{inputs: `{"name": "a", "mounted_path": "/", "description": "d"}`}: "channel-path-forbidden",
		rest(`"resources": {"limits": 5, "requests": {}}`):                       "field-type",
		rest(`"resources": {"limits": {"memory": "x"}, "requests": {}}`):         "resources-quantity",
		pieces{inputs: `{"name": "a", "mounted_path": "/a/b/c", "description": "d"}, ` +
			`{"name": "b", "mounted_path": "/a/b", "description": "d"}, {"name": "c", "mounted_path": "/x", "description": "d"}`}: "channel-path-nested",
		text(`{"name": "n", "description": "d", "templates": [], "x": 1}`): "no-templates unknown-field",
	} {
		_, findings := load(t, container(doc.String()), "")
		var told []string
		for _, f := range findings {
			if f.Severity != N {
				told = append(told, f.Rule)
			}
		}
		if len(told) != len(strings.Fields(rule)) || find(findings, strings.Fields(rule)[0]) == nil {
			t.Errorf("%s: %v, want %s", doc, told, rule)
		}
	}
}

// What Kaapana's model refuses in a task is refused.
func TestTaskTypes(t *testing.T) {
	for _, c := range []struct{ fields, rule string }{
		{`"config": {"labels": []}`, "field-type"}, {`"config": {"annotations": 5}`, "field-type"}, {`"config": {"namespace": 5}`, "field-type"},
		{`"config": {"imagePullSecrets": "pull"}`, "field-type"}, {`"config": {"imagePullSecrets": [1]}`, "field-type"},
		{`"image": ""`, "field-type"}, {`"inputs": [{"volume_source": {"host_path": "/"}}]`, "field-missing"},
	} {
		_, findings := loadTask(t, `{"name": "n", "image": "x:1", "taskTemplate": "t", `+c.fields+`}`)
		if f := find(findings, c.rule); f == nil || f.Severity != E || f.Line == 0 || f.Mend == "" {
			t.Errorf("%s: %v", c.fields, findings)
		}
	}
	_, findings := loadTask(t, `{"name": "n", "image": "x:1", "taskTemplate": "t", "config": {"namespace": null, "registryUrl": null, "labels": {}, "more": 1}}`)
	if task.HasErrors(findings) {
		t.Errorf("%v", findings)
	}
}
