package kaapana_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// pieces of a document with one template; a case replaces some of them.
type pieces struct {
	top, inputs, outputs, env, rest string
}

func (p pieces) String() string {
	or := func(s, def string) string {
		if s == "" {
			return def
		}
		return s
	}
	return fmt.Sprintf(`{%s, "templates": [{"identifier": "t", "description": "d", "inputs": [%s], "outputs": [%s], "env": [%s]%s}]}`,
		or(p.top, `"name": "n", "description": "d"`), p.inputs, p.outputs, p.env, p.rest)
}

func input(fields string) pieces {
	return pieces{inputs: `{"name": "in", "mounted_path": "/in", "description": "d"` + fields + `}`}
}
func scaleRule(fields string) pieces { return input(`, "scale_rule": {` + fields + `}`) }
func channelAt(p string) pieces {
	return pieces{inputs: `{"name": "in", "mounted_path": "` + p + `", "description": "d"}`}
}
func channelNamed(n string) pieces {
	return pieces{inputs: `{"name": "` + n + `", "mounted_path": "/in", "description": "d"}`}
}
func env(fields string) pieces  { return pieces{env: `{` + fields + `}`} }
func rest(fields string) pieces { return pieces{rest: ", " + fields} }
func limits(l string) pieces {
	return rest(`"resources": {"limits": {` + l + `}, "requests": {}}`)
}
func version(v string) pieces {
	return pieces{top: `"name": "n", "description": "d", "api_version": ` + v}
}

const (
	E = task.SeverityError
	W = task.SeverityWarning
	N = task.SeverityNote
)

// ruleCases hold every rule that a document alone can break.
var ruleCases = []struct {
	doc  fmt.Stringer
	rule string
	sev  task.Severity
	what string // a part of the message
}{
	{text(`[]`), "not-object", E, "Expected an object, found list."},
	{text(`{"name": "n",}`), "json-syntax", E, ""},
	{text(`{"a": 1 // no`), "json-syntax", E, ""},
	{text("{\n \"name\": \"caf\xe9\"}"), "json-syntax", E, "the byte 0xe9 is no UTF-8"},
	{text("\ufeff" + pieces{}.String()), "json-bom", W, "The file starts with a byte-order mark; Kaapana's CLI refuses it."},
	{pieces{top: `"name": "x", "name": "n", "description": "d"`}, "json-duplicate-key", W, "`name` occurs twice; the last one wins."},
	{text(`{"name": "n", "description": "d", "templates": []}`), "no-templates", W, "The file offers no template; nothing can be run."},
	{text(`{"name": "n", "description": "d"}`), "field-missing", E, "`templates` is required"},
	{text(`{"name": "n", "description": "d", "templates": [1]}`), "field-type", E, "`templates[0]` must be an object, found number"},
	{text(`{"name": "n", "description": "d", "templates": [{"identifier": "t", "description": "d", "inputs": [], "outputs": []}]}`), "field-missing", E, "`templates[0].env` is required"},
	{pieces{top: `"description": "d"`}, "field-missing", E, "`name` is required"},
	{pieces{top: `"name": 5, "description": "d"`}, "field-type", E, "`name` must be a string, found number"},
	{pieces{top: `"name": "n", "descripton": "d", "description": "d"`}, "unknown-field", W, "`descripton` is not a field of the processing-container; Kaapana ignores it. Did you mean `description`?"},
	{rest(`"commando": []`), "unknown-field", W, "Did you mean `command`?"},
	{version(`2`), "api-version", E, "api_version must be 1"},
	{version(`null`), "api-version", E, ""},
	{version(`1.5`), "api-version", E, ""},
	{version(`"x"`), "api-version", E, ""},
	{version(`false`), "api-version", E, ""},
	{version(`"1"`), "api-version", W, ""},
	{version(`1.0`), "api-version", W, ""},
	{version(`true`), "api-version", W, ""},

	{env(`"name": "", "value": ""`), "env-name", E, "`` cannot be a name"},
	{env(`"name": "A=B", "value": ""`), "env-name", E, ""},
	{env(`"name": "A-B", "value": ""`), "env-name", W, "`A-B` is an unusual name for an environment variable"},
	{pieces{env: `{"name": "A", "value": "1"}, {"name": "A", "value": "2"}`}, "env-duplicate", W, "`A` is declared twice; the last value reaches the container."},
	{env(`"name": "A", "value": 5`), "env-value-type", E, "`value` must be a string: write \"5\"."},
	{env(`"name": "A", "value": true`), "env-value-type", E, "write \"true\""},
	{env(`"name": "A", "value": null`), "env-value-type", E, ""},
	{env(`"name": "A"`), "field-missing", E, "`templates[0].env[0].value` is required"},
	{env(`"name": "A", "value": "", "type": "float"`), "env-type", W, "`float` counts as string"},
	{env(`"name": "A", "value": "x", "type": "int"`), "env-type", W, "`A` is an int; `x` is not one."},
	{env(`"name": "A", "value": "", "adjustable": "maybe"`), "field-type", W, "counts as true"},
	{env(`"name": "A", "value": "c", "choices": ["a", "b"]`), "env-choice", W, "`A` must be one of a, b; found `c`."},
	{env(`"name": "A", "value": "", "choices": [1, 2]`), "field-type", E, "`templates[0].env[0].choices[0]` must be a string, found number"},
	{env(`"name": "HOME", "value": ""`), "env-reserved", W, "Kaapana overwrites `HOME` on the platform."},
	{env(`"name": "KAAPANA_MINIO_URL", "value": ""`), "env-reserved", W, ""},
	{env(`"name": "A", "value": "\u0000"`), "field-type", E, "NUL"},

	{pieces{inputs: `{"name": "in", "mounted_path": "/in"}`}, "channel-description", N, "The seed asks for a description; say how the data is laid out."},
	{pieces{inputs: `{"name": "in", "mounted_path": "/in", "description": "d"}, {"name": "in", "mounted_path": "/b", "description": "d"}`}, "channel-duplicate", E, "Channel `in` is declared twice; nothing can be bound to it unambiguously."},
	{pieces{inputs: `{"name": "x", "mounted_path": "/in", "description": "d"}`, outputs: `{"name": "x", "mounted_path": "/out", "description": "d"}`}, "channel-name-shared", W, "Kaapana's Kubernetes runner makes two volumes `vol-x`, which the API server refuses."},
	{channelNamed("a/b"), "channel-name", E, "`a/b` cannot be a directory name"},
	{channelNamed(""), "channel-name", E, ""},
	{channelNamed(".."), "channel-name", E, ""},
	{channelNamed("A_b"), "channel-name", W, "`A_b` is no Kubernetes volume name (`vol-A_b`)"},
	{channelNamed(strings.Repeat("a", 60)), "channel-name", W, ""},
	{channelAt("data"), "channel-path-relative", W, "`data` is taken as `/data`; Docker refuses relative mount paths."},
	{channelAt("/"), "channel-path-forbidden", E, "Nothing may be mounted at `/`."},
	{channelAt(""), "channel-path-forbidden", E, ""},
	{channelAt("/a/../b"), "channel-path-forbidden", E, ""},
	{channelAt("/a:b"), "channel-path-forbidden", E, ""},
	{channelAt("/proc/1"), "channel-path-forbidden", E, ""},
	{channelAt("//sys/./x"), "channel-path-forbidden", E, ""},
	{channelAt("/dev"), "channel-path-forbidden", E, ""},
	{pieces{inputs: `{"name": "a", "mounted_path": "/d", "description": "d"}`, outputs: `{"name": "b", "mounted_path": "/d/", "description": "d"}`}, "channel-path-duplicate", E, "`a` and `b` are both mounted at `/d`; Kaapana drops the second."},
	{pieces{inputs: `{"name": "a", "mounted_path": "/d/in", "description": "d"}`, outputs: `{"name": "b", "mounted_path": "/d", "description": "d"}`}, "channel-path-nested", W, "`/d/in` lies inside `/d`; the mount point must exist there."},
	{pieces{outputs: `{"name": "o", "mounted_path": "/o", "description": "d", "scale_rule": {"scale_factor": 1, "type": "limit", "mode": "sum"}}`}, "channel-output-scale-rule", W, "Scale rules work on inputs only; this one is ignored."},

	{rest(`"command": "ls"`), "command-type", E, "`command` is a list: [\"/bin/sh\", \"-c\", \"…\"]."},
	{rest(`"command": [1]`), "field-type", E, "`templates[0].command[0]` must be a string, found number"},
	{rest(`"command": []`), "command-empty", W, "An empty command means the image's own process."},

	{limits(`"memory": "5 Gi"`), "resources-quantity", E, "`5 Gi` is not a quantity: use 512Mi, 1Gi, 500M, 0.5, 250m."},
	{limits(`"memory": ""`), "resources-quantity", E, ""},
	{limits(`"memory": "-1Mi"`), "resources-quantity", E, ""},
	{limits(`"memory": "1K"`), "resources-quantity", E, ""},
	{limits(`"memory": "500MB"`), "resources-quantity", E, ""},
	{limits(`"memory": true`), "resources-quantity", E, ""},
	{limits(`"nvidia.com/gpu": "0.5"`), "resources-quantity", E, ""},
	{limits(`"memory": "1Yi"`), "resources-quantity", W, "`1Yi` is no Kubernetes quantity"},
	{limits(`"memory": "1B"`), "resources-quantity", W, "`1B` is no Kubernetes quantity"},
	{limits(`"memory": "500M"`), "resources-quantity-kaapana", W, "Kaapana 0.6 reads only <number><Ki|Mi|Gi|Ti…> here."},
	{limits(`"memory": 500`), "resources-quantity-kaapana", W, ""},
	{rest(`"resources": {"limits": {"memory": "1Gi"}}`), "resources-one-sided", W, "Kaapana's Kubernetes runner crashes unless both are given; its local runner does not."},
	{rest(`"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}`), "resources-request-over-limit", E, "Kubernetes refuses a request above the limit."},
	{rest(`"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}`), "resources-request-over-limit", E, ""},
	{limits(`"hugepages-2Mi": "1"`), "resources-unknown-key", W, "`hugepages-2Mi` is not enforced by Longshore."},
	{limits(`"memory": "400m"`), "resources-milli-bytes", W, "`400m` of memory is 0.4 bytes; did you mean 400M or 400Mi?"},

	{scaleRule(`"type": "limit", "mode": "sum"`), "scale-missing", E, "A scale rule needs `scale_factor` (or the older `complexity`)."},
	{scaleRule(`"type": "Limit", "mode": "sum", "scale_factor": 1`), "field-type", E, "must be limit or request, found `Limit`"},
	{scaleRule(`"type": "limit", "mode": "max", "scale_factor": 1`), "field-type", E, ""},
	{scaleRule(`"mode": "sum", "scale_factor": 1`), "field-missing", E, ".type` is required"},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 2, "complexity": "3*n**1"`), "scale-both", E, "`scale_factor` 2 and `complexity` 3*n**1 disagree."},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 2.5`), "scale-factor", E, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": "x"`), "scale-factor", E, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": null`), "scale-factor", E, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 0`), "scale-factor", W, "`scale_factor` 0 has no effect."},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": -1`), "scale-factor", W, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": true`), "scale-factor", W, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "complexity": "2 * n"`), "scale-complexity", E, "`complexity` is <coefficient>*n**<exponent>, for example 10*n**1."},
	{scaleRule(`"type": "limit", "mode": "sum", "complexity": "2*n**1.5"`), "scale-complexity", E, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "complexity": "2*N"`), "scale-complexity", E, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "complexity": "-2*n**1"`), "scale-complexity", W, "has no effect"},
	{scaleRule(`"type": "limit", "mode": "sum", "complexity": "10*n**1"`), "dialect", N, "Uses the early dialect (2025-09-03 to 2025-10-31); Kaapana 0.6 refuses it."},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "("`), "scale-regex", E, "It must match the whole path relative to the channel."},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "(?=a).*"`), "scale-regex", E, "look-ahead"},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": ".*[[:alpha:]]"`), "scale-regex", W, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "1\\.dcm"`), "scale-regex-basename", N, "the relative path is compared, not the file name"},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_glob": "/x"`), "scale-glob", E, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_glob": "../*"`), "scale-glob", E, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_glob": ""`), "scale-glob", W, "selects nothing"},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_glob": "{*.a,*.b}"`), "scale-glob", W, ""},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_dir": "a/../.."`), "scale-target-dir", E, "`target_dir` must stay inside the channel."},
	{scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_dir": null`), "scale-null", N, "null means the default here; Kaapana fails on it."},

	{text("{% if %}"), "jinja-syntax", E, "start an expression in files on disk."},
	{text(strings.Replace(pieces{}.String(), `"n"`, `"n{{ env.NOPE }}"`, 1)), "jinja-undefined", W, "`env.NOPE` is not set and became an empty string."},
	{text("{{ nope.x }}"), "jinja-undefined", E, "`nope` is not set"},

	{text(`{"name": "t", "image": "x:1", "taskTemplate": "g", "inputs": [{"name": "in"}]}`), "volume-source", E, "Channel `in` needs volume_source.host_path."},
	{text(`{"name": "t", "image": "x:1", "taskTemplate": "g", "config": {"type": "podman"}}`), "task-config", W, ""},
	{text(`{"name": "t", "image": "x:1", "taskTemplate": "g", "registryPassword": "p"}`), "task-config", W, "The file holds a password."},
	{text(`{"name": "t", "image": "x:1", "taskTemplate": {"identifier": "i", "description": "d", "inputs": [], "outputs": [], "env": []}, "inputs": [{"name": "in", "input": {"local_path": "x"}}]}`), "input-unknown", E, "Template `i` has no channel `in`."},
	{text(`{"name": "t", "image": "x:1", "taskTemplate": {"identifier": "i", "description": "d", "inputs": [], "outputs": [], "env": [], "resources": {"limits": {"cpu": "1"}, "requests": {}}}, "resources": {"limits": {"memory": "1Gi"}, "requests": {}}}`), "resources-replaced", W, "which loses limits.cpu"},
}

// text is a document as it stands.
type text string

func (s text) String() string { return string(s) }

// elsewhere are the rules that other tests break: they need an image, a machine's folders, or values.
var elsewhere = []string{
	"file-missing", "file-not-copied", "file-differs", "file-kind", "jinja-in-image", "dockerfile-missing", "dockerfile-syntax", "dockerfile-copy", "template-duplicate",
	"env-not-adjustable", "env-unknown", "command-entrypoint", "command-not-found", "channel-path-hides", "scale-no-items", "template-unknown", "template-required",
	"input-unbound", "volume-missing", "volume-overlap",
}

func TestRules(t *testing.T) {
	known := map[string]kaapana.Rule{}
	for _, r := range kaapana.Rules() {
		known[r.ID] = r
	}
	seen := map[string]bool{}
	for _, id := range elsewhere {
		seen[id] = true
	}
	for i, c := range ruleCases {
		seen[c.rule] = true
		_, findings := load(t, container(c.doc.String()), "")
		ok := false
		for _, f := range findings {
			ok = ok || f.Rule == c.rule && f.Severity == c.sev && strings.Contains(f.What, c.what)
			r, declared := known[f.Rule]
			if !declared || f.Severity != r.Severity && f.Severity != r.Softer && f.Rule != "field-type" {
				t.Errorf("case %d: the finding %v is not in the table of rules", i, f)
			}
			if f.File == "" {
				t.Errorf("case %d: no file: %v", i, f)
			}
			if f.Line == 0 && f.Rule != "resources-replaced" && f.Rule != "dialect" {
				t.Errorf("case %d: no position: %v", i, f)
			}
		}
		if !ok {
			t.Errorf("case %d: %s %s %q not in %v", i, c.rule, c.sev, c.what, findings)
		}
	}
	for id := range known {
		if !seen[id] {
			t.Errorf("no test breaks %s", id)
		}
	}
}

// What is right has no findings beyond notes.
func TestNoFindings(t *testing.T) {
	for _, doc := range []pieces{
		{},
		input(`, "scale_rule": null`),
		scaleRule(`"type": "request", "mode": "max_file_size", "scale_factor": "3"`),
		scaleRule(`"type": "request", "mode": "max_file_size", "scale_factor": "2.0", "complexity": "2*n**1"`),
		scaleRule(`"type": "limit", "mode": "sum", "complexity": "n"`),
		scaleRule(`"type": "limit", "mode": "sum", "complexity": ".5*n"`),
		env(`"name": "A", "value": "", "type": "int", "choices": null`),
		env(`"name": "A", "value": "5", "choices": []`),
		env(`"name": "A", "value": "TRUE", "type": "boolean", "description": null`),
		scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "(?u).*"`),
		rest(`"command": null, "resources": null`),
		rest(`"resources": {}`),
		rest(`"resources": {"limits": {"memory": "1.5Gi", "cpu": "0.5", "nvidia.com/gpu": "1"}, "requests": {"memory": "0", "cpu": null}}`),
	} {
		_, findings := load(t, container(doc.String()), "")
		for _, f := range findings {
			if f.Severity != N && f.Rule != "resources-quantity-kaapana" {
				t.Errorf("%s: %v", doc, f)
			}
		}
	}
}

// What is meant for whole paths is not taken for a pattern of file names.
func TestRegexBasename(t *testing.T) {
	for regex, told := range map[string]bool{
		`1\\.dcm`: true, `[\\w.-]+`: true, `1.*\\.dcm`: true, `^abc$`: true, `(?i)x\\.dcm`: true,
		`.*1\\.dcm`: false, `^.*\\.txt$`: false, `(?i).*\\.dcm`: false, `(?s:.*)`: false, `(.*\\.nii|x)`: false, `\\A(?P<n>.*)`: false, `a/1`: false,
	} {
		_, findings := load(t, container(scaleRule(`"type": "limit", "mode": "sum", "scale_factor": 1, "target_regex": "`+regex+`"`).String()), "")
		if f := find(findings, "scale-regex-basename"); (f != nil) != told || task.HasErrors(findings) {
			t.Errorf("%s: %v, want a note: %v", regex, findings, told)
		}
	}
}

// Every finding above a note says how to mend it.
func TestMends(t *testing.T) {
	for _, c := range ruleCases {
		_, findings := load(t, container(c.doc.String()), "")
		for _, f := range findings {
			if f.Severity != N && f.Mend == "" {
				t.Errorf("%s: %v has no mend", c.doc, f)
			}
		}
	}
}

// Positions are those of the offending value.
func TestPositions(t *testing.T) {
	doc := strings.Replace(example, `"value": "2"`, `"value": 2`, 1)
	_, findings := load(t, container(doc), "")
	f := find(findings, "env-value-type")
	if f == nil || f.Position() != "processing-container.json:16:37" {
		t.Errorf("got %+v", f)
	}
}

func TestFolderRules(t *testing.T) {
	for _, c := range []struct {
		name string
		src  contract.Source
		rule string
	}{
		{"nothing", folder(map[string]string{"Dockerfile": "FROM x"}), "file-missing"},
		{"workflow", folder(map[string]string{"processing-containers/a/files/processing-container.json": example}), "file-missing"},
		{"too large", container(example + strings.Repeat(" ", 1<<20)), "file-kind"},
		{"no Dockerfile", folder(map[string]string{"processing-container.json": example}), "dockerfile-missing"},
		{"broken Dockerfile", folder(map[string]string{"processing-container.json": example, "Dockerfile": "FROM\nWHAT\n"}), "dockerfile-syntax"},
		{"a source that is not there", folder(map[string]string{"processing-container.json": example, "Dockerfile": "FROM a\nCOPY processing-container.json gone /\n"}), "dockerfile-copy"},
		{"twice", container(strings.Replace(example, `"measure"`, `"grow"`, 1)), "template-duplicate"},
		{"jinja in image", contract.Source{Image: carrying(strings.Replace(example, "Fixed", "{{ x }}", 1))}, "jinja-in-image"},
		{"a folder of that name", folder(map[string]string{"processing-container.json/x": ""}), "file-kind"},
	} {
		_, findings := load(t, c.src, "")
		if find(findings, c.rule) == nil {
			t.Errorf("%s: no %s in %v", c.name, c.rule, findings)
		}
	}
}

func TestQuantities(t *testing.T) {
	for text, want := range map[string]task.Bytes{
		`"500Mi"`: 524288000, `"1.5Gi"`: 1610612736, `"500M"`: 500000000, `"1G"`: 1000000000, `"1k"`: 1000, `"134217728"`: 134217728,
		`"1e3"`: 1000, `"1E3"`: 1000, `"1E"`: 1e18, `"1.Mi"`: 1048576, `".5Mi"`: 524288, `"128974848000m"`: 128974848, `"400m"`: 1, `"0.1"`: 1,
		`"1n"`: 1, `"1.0000001Ki"`: 1025, `"2.1Gi"`: 2254857831, `"+1Gi"`: 1073741824, `"0"`: 0, `"1B"`: 1, `500`: 500, `1E3`: 1000, `null`: 0,
	} {
		got := loaded(t, container(limits(`"memory": `+text).String()), "")
		if got.Resources.Memory != want {
			t.Errorf("%s: %d, want %d", text, got.Resources.Memory, want)
		}
	}
	for _, text := range []string{`"1K"`, `"500MB"`, `"500mi"`, `"1KI"`, `"1e3Ki"`, `"5 Gi"`, `" 1Gi"`, `"1Gi "`, `"-1Mi"`, `""`, `[]`} {
		_, findings := load(t, container(limits(`"memory": `+text).String()), "")
		if !task.HasErrors(findings) {
			t.Errorf("%s is accepted", text)
		}
	}
	got := loaded(t, container(limits(`"cpu": "250m", "nvidia.com/gpu": 2, "ephemeral-storage": "1Gi"`).String()), "")
	if r := got.Resources; r.CPU != 250 || r.GPUs != 2 || r.Disk != 1<<30 {
		t.Errorf("%+v", r)
	}
}

func TestComplexity(t *testing.T) {
	for _, c := range []struct {
		coefficient string
		exponent    int
		size        int64
		want        string
	}{
		{"25", 1, 1000, "25000"}, {"2", 2, 1000, "2000000"}, {"2", 0, 1000, "2"}, {"3/2", 2, 1000, "1500000"}, {"1/2", 1, 1001, "501"},
		{"9223372036854775807", 2, 1 << 40, "11150372599265311569558933316709551578284032"}, {"5", 1, 0, "0"},
	} {
		if got, err := kaapana.Requirement(c.coefficient, c.exponent, c.size); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

// The committed examples load without errors or warnings.
func TestExamplesLoad(t *testing.T) {
	dirs, err := filepath.Glob("../../../examples/kaapana/*/Dockerfile")
	must(t, err)
	if len(dirs) == 0 {
		t.Fatal("no examples")
	}
	for _, d := range dirs {
		dir := filepath.Dir(d)
		got, findings := load(t, contract.Source{Given: dir, FS: os.DirFS(dir), Dir: dir}, "")
		for _, f := range findings {
			if f.Severity == E || f.Severity == W && f.Rule != "env-choice" {
				t.Errorf("%s: %v", dir, f)
			}
		}
		_, err := kaapana.New().(contract.Exampler).Examples(contract.Source{FS: os.DirFS(dir), Dir: dir}, got)
		must(t, err)
	}
}
