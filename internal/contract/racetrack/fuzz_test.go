package racetrack_test

import (
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/racetrack"
)

// FuzzTemplate holds that a Dockerfile that is a template is filled in or refused, with a line.
func FuzzTemplate(f *testing.F) {
	f.Add("LABEL n={{ manifest.name }} v={{manifest['version'] | default('x')}}")
	f.Add("{% set a = manifest.git or [1, 'x'] %}{% for k, v in env_vars.items() %}ENV {{ k }}={{ v.replace('a', 'b') }}\n{%- endfor %}")
	f.Add("{% if not manifest.labels and 1 in [true] %}{# #}{% elif a == b %}{% else %}{% endif %}")
	manifest := templated("")["job.yaml"]
	f.Fuzz(func(t *testing.T, template string) {
		src := contract.Source{Given: "pkg", FS: memory(map[string]string{"job.yaml": manifest, "Dockerfile": "FROM busybox\n" + template}), Dir: "/nowhere"}
		_, found := racetrack.New().Load(src, contract.Options{})
		for _, x := range found {
			if x.Rule == "RACETRACK-D10" && !strings.Contains(x.What, "line ") {
				t.Errorf("no line: %v", x)
			}
		}
	})
}

// FuzzOverrides holds that no override makes Load fail in another way than by findings.
func FuzzOverrides(f *testing.F) {
	f.Add("git.branch", "dev")
	f.Add("git", `{"remote": "https://h/q"}`)
	f.Add("labels.a.b", "*x")
	f.Add("extends", "base.yaml")
	f.Fuzz(func(t *testing.T, key, value string) {
		src := contract.Source{Given: "pkg", FS: memory(with(base)), Dir: "/nowhere"}
		tk, found := racetrack.New().Load(src, contract.Options{Overrides: []contract.Override{{Key: key, Value: value}}})
		if tk == nil && len(found) == 0 {
			t.Error("neither a task nor a finding")
		}
	})
}

// FuzzHook holds that a proxy_settings.py is taken for one that changes nothing, or told of, and never run.
func FuzzHook(f *testing.F) {
	f.Add("from typing import Dict\n\ndef rewrite_proxy_paths(content: bytes, headers: Dict[str, str], base_path: str) -> bytes:\n    return content  # as it is\n")
	f.Add("def rewrite_proxy_paths(content, headers, base_path):\n\treturn content.replace(b'/', base_path)\n")
	f.Fuzz(func(t *testing.T, hook string) {
		tree := with(base + "jobtype_extra: {proxy_mode: rewrite}\n")
		tree["proxy_settings.py"] = hook
		if tk, found := racetrack.New().Load(contract.Source{Given: "pkg", FS: memory(tree), Dir: "/nowhere"}, contract.Options{}); tk == nil {
			t.Errorf("no task: %v", found)
		}
	})
}
