package kaapana_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// Any document gives findings, a task, or both; and what loads without errors can be stored, bound and prepared.
func FuzzLoad(f *testing.F) {
	for _, c := range ruleCases {
		f.Add(c.doc.String())
	}
	f.Add(example)
	f.Add(flat)
	f.Add(worked)
	f.Fuzz(func(t *testing.T, doc string) {
		for _, src := range []contract.Source{container(doc), {Image: carrying(doc)}} {
			kaapana.New().Recognise(src)
			got, findings := kaapana.New().Load(src, contract.Options{})
			if got == nil {
				if !task.HasErrors(findings) {
					t.Fatalf("no task and no error: %v", findings)
				}
				continue
			}
			if task.HasErrors(findings) {
				continue
			}
			v, err := task.Bind(got, task.Request{})
			if err != nil {
				continue
			}
			if x, err := kaapana.New().Prepare(got, task.ImageFacts{}, v); err == nil {
				if _, err := kaapana.New().Collect(got, x, task.Leftovers{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func FuzzJinja(f *testing.F) {
	for _, s := range []string{"{{ env.A | default('x') }}", "{% if a %}{% elif b %}{% else %}{% endif %}", "{% raw %}{% endraw %}", "{# #}", "{{ (a ~ 'b')[env.c] }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { kaapana.Render(s, map[string]string{"A": "b"}) })
}

func FuzzPatterns(f *testing.F) {
	f.Add(`(?i).*\.d[cC]m`, "a.dcm")
	f.Add(`[]!a-z]*?[!x]`, "]a")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		re, err := kaapana.CompileRegex(pattern)
		if err == nil {
			re.MatchString(name)
		}
		if _, told := kaapana.CheckRegex(pattern); len(pattern) < 1000 && (told == nil) != (err == nil) {
			t.Errorf("%q: %v when checked, %v when compiled", pattern, told, err)
		}
		if _, err := kaapana.ParseGlob(pattern); err == nil {
			kaapana.MatchName(pattern, name)
		}
	})
}

// The vectors were made with CPython 3.11's fnmatch and re.
func TestVectors(t *testing.T) {
	var names [][3]any
	read(t, "testdata/names.json", &names)
	for _, v := range names {
		if got := kaapana.MatchName(v[0].(string), v[1].(string)); got != v[2].(bool) {
			t.Errorf("%q matches %q: %v", v[0], v[1], got)
		}
	}
	var regexes [][3]json.RawMessage
	read(t, "testdata/regexes.json", &regexes)
	for _, v := range regexes {
		var pattern string
		var names []string
		var matches []bool
		must(t, json.Unmarshal(v[0], &pattern))
		must(t, json.Unmarshal(v[1], &names))
		must(t, json.Unmarshal(v[2], &matches))
		re, err := kaapana.CompileRegex(pattern)
		if err != nil {
			t.Errorf("%q: %v", pattern, err)
			continue
		}
		for i, n := range names {
			if got := re.MatchString(n); got != matches[i] {
				t.Errorf("%q matches %q: %v", pattern, n, got)
			}
		}
	}
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	must(t, err)
	must(t, json.Unmarshal(data, into))
}

// Hostile patterns take time in proportion, not for ever.
func TestPatternsAreFast(t *testing.T) {
	name := strings.Repeat("a", 255)
	for _, p := range []string{strings.Repeat("*a", 2000) + "b", strings.Repeat("[", 4000), strings.Repeat("*[", 2000), strings.Repeat("[a]*", 2000), strings.Repeat("*?", 200) + "b"} {
		done := make(chan bool, 1)
		go func() { done <- kaapana.MatchName(p, name) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%.20q takes too long", p)
		}
	}
}

// FuzzTask holds that any task file gives a task or a reason, and that what it names is completed from its image or refused.
func FuzzTask(f *testing.F) {
	f.Add(worked)
	f.Add(`{"name": "t", "image": "x:1", "inputs": [{"name": "masks", "input": {"local_path": "x"}}], "outputs": null, "config": {"type": "docker"}}`)
	f.Add(`{"name": "t", "image": "x:1", "taskTemplate": {"identifier": "i", "description": "d", "inputs": [], "outputs": [], "env": null, "command": ["a"]}, "env": [{"name": "A", "value": "1"}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		src := folder(map[string]string{"task.json": doc})
		src.File = "task.json"
		got, findings := kaapana.New().Load(src, contract.Options{})
		if got == nil {
			if !task.HasErrors(findings) {
				t.Fatal("no task and no error")
			}
			return
		}
		if task.HasErrors(findings) {
			return
		}
		full, findings := kaapana.New().(contract.ImageChecker).CheckImage(got, contract.Source{}, carrying(example))
		if full == nil || task.HasErrors(findings) {
			return
		}
		if v, err := task.Bind(full, task.Request{Unbound: []string{"masks", "reference"}}); err == nil {
			_, _ = kaapana.New().Prepare(full, task.ImageFacts{}, v) // a refusal is as good as an execution
		}
	})
}

// FuzzLegacyConf holds that a legacy run's configuration is taken or refused as an input.
func FuzzLegacyConf(f *testing.F) {
	f.Add(`{"workflow_form": {"single": false, "Name": "x", "list": [1, null, {"a": 1e3}]}, "other": 1}`)
	f.Add(`{"workflow_form": {"A=B": "\u0000"}}`)
	tk, findings := kaapana.New().Load(contract.Source{Image: image{facts: task.ImageFacts{Reference: "old:1"}}}, contract.Options{Legacy: true})
	if task.HasErrors(findings) {
		f.Fatal(findings)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, conf string) {
		v, err := task.Bind(tk, task.Request{Inputs: map[string]task.Given{"input": {Path: dir}, "conf": task.GivenText(conf)}})
		if err != nil {
			return
		}
		if _, err := kaapana.New().Prepare(tk, task.ImageFacts{}, v); err != nil && task.CodeOf(err) == task.ReasonEngine {
			t.Error(err)
		}
	})
}

// FuzzDockerfile holds that no Dockerfile beside the document makes Load fail in another way than by findings.
func FuzzDockerfile(f *testing.F) {
	f.Add("FROM local-only/base:latest AS a\nLABEL IMAGE=\"my tools\"\nLABEL VERSION='1'\nCOPY files/*.json /\nENTRYPOINT [\"a\"]\n")
	f.Add("FROM scratch\nCOPY [ . /\nADD --from=$x . .\n")
	f.Fuzz(func(t *testing.T, text string) {
		tk, _ := load(t, folder(map[string]string{"processing-container.json": example, "Dockerfile": text}), "grow")
		if tk == nil || tk.Image.Name == "" {
			t.Errorf("%+v", tk)
		}
	})
}
