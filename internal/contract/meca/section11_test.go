package meca_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/meca"
	"longshore/internal/task"
)

// TestReferenceExamples holds the MECA reference, section 11.1: the verdicts on the examples of the published packages, and what
// the two that cannot be replayed are told.
func TestReferenceExamples(t *testing.T) {
	for _, c := range []struct {
		pkg, in, out, reply  string
		inSize, outSize      int
		inPrefix, outPrefix  string
		cpu                  task.MilliCPU
		memory               task.Bytes
		config, title, image string
	}{
		{
			"python-template", "{\"json\": \"example input for the task\"}\n\n", "{\"json\": \"example input for the task\"}\n", `{"json": "example input for the task"}`, 40, 39,
			"798877a6b6bf350c", "c8c58a76cbcb7c6e", 1000, 128 << 20, `{"resource": {"cpu": 1, "mem": 128}}`, "name of the task", "meca/name-of-the-task:latest",
		},
		{
			"knn", "{\"dataset\":[[1,2],[3,4],[5,6],[7,8],[9,10]],\"point\":[2,3],\"k\":2,\"num_processes\":2}\n", "[0, 1]\n", "[0, 1]", 83, 7,
			"dbe3d77b942f8651", "848fd97f69214032", 2000, 1024 << 20, `{"resource": {"cpu": 2, "mem": 1024}}`, "knn", "meca/knn:latest",
		},
	} {
		if prefix(c.in) != c.inPrefix || prefix(c.out) != c.outPrefix || len(c.in) != c.inSize || len(c.out) != c.outSize {
			t.Errorf("%s: the example is not the published one", c.pkg)
		}
		src := folder(t, with(map[string]string{"example_input.bin": c.in, "example_output.bin": c.out, "config.json": c.config, "name.txt": c.title}))
		got, found := meca.New().Load(src, contract.Options{})
		if len(found) > 0 || got.Resources.CPU != c.cpu || got.Resources.Memory != c.memory || got.Image.Name != c.image {
			t.Errorf("%s: %+v %v", c.pkg, got, found)
		}
		if v := meca.Compare([]byte(c.out), []byte(c.reply)); !v.Pass || v.Word != "match-trim" {
			t.Errorf("%s: %+v", c.pkg, v)
		}
	}

	diffusion := folder(t, with(map[string]string{
		"config.json": `{"resource": {"cpu": 16, "mem": 32000}}`, "name.txt": "stable_diffusion_example",
		"example_input.bin": `'{\"prompt\": \"cute cat\", \"num_inference_steps\": 8}'`, "example_output.bin": "\x89PNG\n\x1a\n\x00\x00\x00\rIHDR",
	}))
	_, found := meca.New().Load(diffusion, contract.Options{})
	for _, rule := range []string{"MECA012", "MECA013", "MECA020"} {
		if !slices.ContainsFunc(found, func(f task.Finding) bool { return f.Rule == rule && f.Severity == task.SeverityWarning }) {
			t.Errorf("stablediffusion: no %s in %v", rule, said(found))
		}
	}
	sgx := folder(t, config(`{"resource": {"cpu": 1, "memory": 128, "use_sgx": true}}`))
	for pkg, src := range map[string]contract.Source{"stablediffusion": diffusion, "sgx-task": sgx} {
		if list := examples(t, src); !strings.HasPrefix(list[0].Skip, "not-replayable") {
			t.Errorf("%s: %+v", pkg, list)
		}
	}
}

// prefix is how the reference tells contents apart.
func prefix(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// TestReferenceVerdicts holds section 11.2: what MECA's own test says of a folder, and the rule that it breaks here, "" for none.
func TestReferenceVerdicts(t *testing.T) {
	const passes = "Folder structure is correct."
	for _, c := range []struct {
		row      string
		changes  map[string]string
		upstream string
		rule     string
		valid    bool
	}{
		{"all seven entries", nil, passes, "", true},
		{"without src", map[string]string{"src/app.py": "-"}, "Missing pkg/src", "MECA001", false},
		{"empty src", map[string]string{"src/app.py": "-", "src/": ""}, "Empty pkg/src", "MECA002", false},
		{"src is a file", map[string]string{"src/app.py": "-", "src": "x"}, passes, "MECA003", false},
		{"empty name.txt", map[string]string{"name.txt": ""}, passes, "MECA011", true},
		{"config.json = {", map[string]string{"config.json": "{"}, passes, "MECA004", false},
		{`{"resource":{"cpu":"2"}}`, map[string]string{"config.json": `{"resource":{"cpu":"2"}}`}, passes, "MECA005", false},
		{`{"resource":{"cpu":1,"memory":128,"use_sgx":true}}`, map[string]string{"config.json": `{"resource":{"cpu":1,"memory":128,"use_sgx":true}}`}, passes, "MECA008", true},
		{`{"resource":{"use_gpu":true}}`, map[string]string{"config.json": `{"resource":{"use_gpu":true}}`}, passes, "MECA007", false},
		{"extra file README.md", map[string]string{"README.md": "more"}, passes, "", true},
	} {
		src := folder(t, with(c.changes))
		_, found := meca.New().Load(src, contract.Options{})
		named := c.rule == "" && len(found) == 0 || slices.ContainsFunc(found, func(f task.Finding) bool { return f.Rule == c.rule })
		if !named || task.HasErrors(found) == c.valid {
			t.Errorf("%s: want %q, valid %v, got %v", c.row, c.rule, c.valid, said(found))
		}
		lines, wrong := meca.New().TestStructure(src)
		if last := lines[len(lines)-1]; c.upstream == passes && (wrong != "" || last != passes) || c.upstream != passes && wrong != c.upstream {
			t.Errorf("%s: the structure test ends with %q, %q, want %q", c.row, last, wrong, c.upstream)
		}
	}
	lines, _ := meca.New().TestStructure(folder(t, with(map[string]string{"src/app.py": "-"})))
	if diff := cmp.Diff([]string{"Checking Dockerfile", "Checking src"}, lines); diff != "" {
		t.Errorf("without src: %s", diff)
	}
}

// TestReferenceResources holds the rows of section 11.3 that a config.json can ask for too; the exchanges themselves are the
// executor's.
func TestReferenceResources(t *testing.T) {
	for _, c := range []struct {
		resource string
		want     task.Resources
		rule     string
	}{
		{`{"cpu":0.5,"mem":128}`, task.Resources{CPU: 500, Memory: 128 << 20}, ""},
		{`{"cpu":1}`, task.Resources{CPU: 1000, Memory: 128 << 20}, ""},
		{`{"cpu":-1,"mem":128}`, task.Resources{CPU: 1000, Memory: 128 << 20}, "MECA006"},
		{`{"cpu":1,"mem":128,"use_gpu":true,"gpu_count":1}`, task.Resources{CPU: 1000, Memory: 128 << 20, GPUs: 1}, ""},
	} {
		got, found := meca.New().Load(folder(t, config(`{"resource": `+c.resource+`}`)), contract.Options{})
		if diff := cmp.Diff(c.want, got.Resources); diff != "" {
			t.Errorf("%s: %s", c.resource, diff)
		}
		if c.rule == "" && len(found) > 0 || c.rule != "" && (len(found) == 0 || found[0].Rule != c.rule) {
			t.Errorf("%s: %v", c.resource, said(found))
		}
	}
	left := reply(t, 400, []byte("<html>Bad Request</html>"))
	got, err := meca.New().Collect(nil, nil, left)
	if err != nil || got.Failure == nil || !strings.HasPrefix(got.Failure.Message, "task answered HTTP 400: ") {
		t.Errorf("the task answers HTTP 400: %+v, %v", got, err)
	}
}
