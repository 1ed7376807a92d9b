package cytomine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

// collect runs Collect over files that a container left.
func collect(t testing.TB, tk *task.Task, files map[string]string, exit task.Exit) (task.Collected, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	write(t, dir, files)
	return collectDir(t, tk, dir, exit), dir
}

func collectDir(t testing.TB, tk *task.Task, dir string, exit task.Exit) task.Collected {
	t.Helper()
	x := &task.Execution{Detail: []byte(`{"sizes":{"inputs/k":2}}`)}
	c, err := cytomine.New().Collect(tk, x, task.Leftovers{Exit: exit, Mounts: map[string]string{"outputs": dir}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faults are the rules and texts of a failure.
func faults(f *task.Failure) []string {
	if f == nil {
		return nil
	}
	var list []string
	for _, x := range f.Findings {
		list = append(list, strings.TrimPrefix(x.Rule, "APPE-internal-")+" "+strings.TrimPrefix(x.What, "output "))
	}
	return list
}

func TestOutputTexts(t *testing.T) {
	const kind = value + `"sum": invalid parameter type`
	flags := "{id: number, infinity_allowed: true, nan_allowed: true}"
	for _, c := range []struct{ typ, content, want, fault string }{
		{"integer", "42\n", "42", ""}, {"integer", "-1", "-1", ""}, {"integer", "+7", "7", ""},
		{"integer", "3735931646", "3735931646", ""}, {"integer", "0xDEADCAFE", "3735931646", ""}, {"integer", "0b101", "5", ""},
		{"integer", "033653345376", "3735931646", ""}, {"integer", "010", "8", ""}, {"integer", "08", "", kind}, {"integer", "1_000", "1000", ""},
		{"integer", "4.0", "", kind}, {"integer", "-0x10", "-16", ""}, {"integer", "0x", "", kind}, {"integer", "0b_", "", kind}, {"integer", "00", "0", ""},
		{"integer", "9223372036854775807", "9223372036854775807", ""}, {"integer", "9223372036854775808", "", kind},
		{"integer", "1" + strings.Repeat("0", 5000), "", kind},
		{"number", "1", "1", ""}, {"number", "6.8523015e+5", "6.8523015e+5", ""}, {"number", " 2.5\n", "2.5", ""}, {"number", ".5", "0.5", ""},
		{"number", "+1.50", "1.5", ""}, {flags, "NaN", "NaN", ""}, {flags, "-inf", "-Infinity", ""}, {flags, "1e999", "Infinity", ""},
		{"number", "nan", "", value + `"sum": value cannot be nan`}, {"number", "Inf", "", value + `"sum": value cannot be infinity`},
		{"number", "1.5f", "", kind}, {"number", "abc", "", kind}, {"number", "0x1p3", "", kind}, {"number", "1_0", "", kind}, {"number", "\xff", "", kind},
		{"{id: integer, leq: 3}", "4", "", value + `"sum": value must be less than or equal to defined constraint`},
		{"boolean", "TRUE", "true", ""}, {"boolean", "yes", "", kind}, {"boolean", "1", "", kind},
		{"string", "", "", ""}, {"string", " a ", "a", ""}, {"string", " \n", "", ""}, {"{id: string, min_length: 1}", "\n", "", `is-blank "sum": file for parameter is blank`},
		{"number", " \n", "", `is-blank "sum": file for parameter is blank`},
		{"{id: enumeration, values: [red]}", "red\n", "red", ""}, {"{id: enumeration, values: [red]}", "blue", "", value + `"sum": value does not match defined constraint.`},
		{"datetime", "2024-02-23T18:00:00Z\n", "2024-02-23T18:00:00Z", ""}, {"datetime", "now", "", kind},
		{"geometry", "{\"type\":\"Point\",\"coordinates\":[1,2]}\n", `{"type":"Point","coordinates":[1,2]}`, ""},
		{"geometry", "x", "", value + `"sum": failed to parse the given GeoJSON object`},
	} {
		got, dir := collect(t, typed(t, c.typ), map[string]string{"sum": c.content}, task.Exit{})
		want := []string{c.fault}
		if c.fault == "" {
			want = nil
		}
		if c.typ == "boolean" && c.fault == kind {
			want = []string{value + `"sum": value does not match defined constraint.`}
		}
		if diff := cmp.Diff(want, faults(got.Failure)); diff != "" {
			t.Errorf("%s %q: %s", c.typ, c.content, diff)
		}
		if diff := cmp.Diff(task.Value{Path: filepath.Join(dir, "sum"), Text: c.want}, got.Outputs["sum"]); diff != "" {
			t.Errorf("%s %q: %s", c.typ, c.content, diff)
		}
		if warned := len(got.Warnings) > 0; warned != (c.content == "010" || strings.HasPrefix(c.content, "03")) {
			t.Errorf("%q: the warnings are %v", c.content, got.Warnings)
		}
	}
}

func TestOutputStructure(t *testing.T) {
	optional := load(t, described(t, withOutput(t, "sum: {display_name: Sum, description: the sum, type: number, optional: true}")))
	number := load(t, described(t, base))
	for _, c := range []struct {
		name     string
		task     *task.Task
		files    map[string]string
		exit     task.Exit
		want     []string
		warnings int
	}{
		{"right", number, map[string]string{"sum": "2.5\n"}, task.Exit{}, nil, 0},
		{"missing", number, nil, task.Exit{}, []string{`missing-output-files "sum": file structure for primitive parameter is missing`}, 0},
		{"missing optional", optional, nil, task.Exit{}, nil, 0},
		{"with extension", number, map[string]string{"sum.txt": "1"}, task.Exit{}, []string{`missing-output-files "sum": file structure for primitive parameter is missing`}, 1},
		{"directory", number, map[string]string{"sum/x": "1"}, task.Exit{}, []string{`is-directory "sum": file structure for primitive parameter is a directory`}, 0},
		{"extra", number, map[string]string{"sum": "1", "extra": "x"}, task.Exit{}, nil, 1},
		{"failed without outputs", number, nil, task.Exit{Code: 3}, nil, 1},
		{"failed with outputs", number, map[string]string{"sum": "x"}, task.Exit{Code: 3}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := collect(t, c.task, c.files, c.exit)
			if diff := cmp.Diff(c.want, faults(got.Failure)); diff != "" {
				t.Error(diff)
			}
			if len(got.Warnings) != c.warnings {
				t.Errorf("the warnings are %v", got.Warnings)
			}
		})
	}
	got, _ := collect(t, number, map[string]string{"sum.txt": "1"}, task.Exit{})
	want := task.Finding{
		Rule: "APPE-internal-missing-output-files", Severity: task.SeverityError, File: "sum", What: `output "sum": file structure for primitive parameter is missing`,
		Why: "there is /outputs/sum.txt, and no /outputs/sum", Mend: `did you mean "sum"? outputs are named exactly like their parameter and have no extension`,
	}
	if diff := cmp.Diff(want, got.Failure.Findings[0]); diff != "" || got.Failure.Reason != task.ReasonOutput {
		t.Error(diff)
	}
}

func TestOutputLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "sum")); err != nil {
		t.Fatal(err)
	}
	got := collectDir(t, load(t, described(t, base)), dir, task.Exit{})
	if diff := cmp.Diff([]string{`invalid-structure "sum": invalid provision structure`}, faults(got.Failure)); diff != "" {
		t.Error(diff)
	}
	if _, ok := got.Outputs["sum"]; ok {
		t.Error("the link is an output")
	}
}

// A file with two names in the output folder is no output, whichever of them is looked at.
func TestOutputHardLink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"other": "2.5"})
	if err := os.Link(filepath.Join(dir, "other"), filepath.Join(dir, "sum")); err != nil {
		t.Fatal(err)
	}
	got := collectDir(t, load(t, described(t, base)), dir, task.Exit{})
	if diff := cmp.Diff([]string{`invalid-structure "sum": invalid provision structure`}, faults(got.Failure)); diff != "" {
		t.Error(diff)
	}
	if why := got.Failure.Findings[0].Why; why != "it is a hard link" {
		t.Error(why)
	}
}

func TestOutputArrays(t *testing.T) {
	array := func(rest string) string { return "{id: array, min_size: 0, max_size: 3, " + rest + "}" }
	integers := array("subtype: integer")
	for _, c := range []struct {
		name, typ string
		files     map[string]string
		want      []string
		items     any
	}{
		{"right", integers, map[string]string{"array.yml": "size: 2\n", "0": "4\n", "1": "-1"}, nil, []any{"4", "-1"}},
		{"empty", integers, map[string]string{"array.yml": "{size: 0}"}, nil, []any{}},
		{"no metadata", integers, map[string]string{"0": "4"}, []string{`missing-metadata "sum": collection does not have array.yml file`}, nil},
		{"malformed metadata", integers, map[string]string{"array.yml": "size: many"}, []string{`invalid-metadata "sum": collection array.yml is malformed`}, nil},
		{"huge size", integers, map[string]string{"array.yml": "size: 2000000000"}, []string{`invalid-metadata "sum": collection array.yml is malformed`}, nil},
		{"no YAML", integers, map[string]string{"array.yml": "[", "0": "1"}, []string{`invalid-metadata "sum": collection array.yml is malformed`}, nil},
		{"wrong size", integers, map[string]string{"array.yml": "size: 2", "0": "4"}, []string{`invalid-metadata "sum": collection array.yml is malformed`}, nil},
		{"gap", integers, map[string]string{"array.yml": "size: 2", "0": "4", "2": "4"}, []string{`invalid-metadata "sum": collection array.yml is malformed`}, nil},
		{"gap allowed", array("allow_missing: true, subtype: integer"), map[string]string{"array.yml": "size: 3", "0": "4", "2": "4"}, nil, []any{"4", "null", "4"}},
		{"beyond the size", array("allow_missing: true, subtype: integer"), map[string]string{"array.yml": "size: 2", "2": "4"}, []string{`invalid-metadata "sum": collection array.yml is malformed`}, nil},
		{"too many", array("subtype: integer, max_size_: 1"), map[string]string{"array.yml": "size: 4", "0": "1", "1": "1", "2": "1", "3": "1"},
			[]string{`invalid-dimensions "sum": invalid collection dimensions`}, []any{"1", "1", "1", "1"}},
		{"extra file", integers, map[string]string{"array.yml": "size: 1", "0": "1", "0.geojson": "{}"}, []string{`extra-output-files "sum": file structure for parameter contains extra files`}, nil},
		{"leading zero", integers, map[string]string{"array.yml": "size: 1", "00": "1"}, []string{`extra-output-files "sum": file structure for parameter contains extra files`}, nil},
		{"bad items", integers, map[string]string{"array.yml": "size: 3", "0": "x", "1": "", "2/a": "1"}, []string{
			value + `"sum/0": invalid parameter type`, `is-blank "sum/1": file for parameter is blank`,
			`is-directory "sum/2": file structure for primitive parameter is a directory`,
		}, []any{"", "", ""}},
		{"nested", array("subtype: {id: array, min_size: 0, max_size: 9, subtype: boolean}"), map[string]string{"array.yml": "size: 2", "0/array.yml": "size: 1", "0/0": "True", "1/array.yml": "size: 0"}, nil,
			[]any{[]any{"true"}, []any{}}},
		{"nested without metadata", array("subtype: {id: array, min_size: 0, max_size: 9, subtype: boolean}"), map[string]string{"array.yml": "size: 1", "0/0": "true"},
			[]string{`missing-metadata "sum/0": collection does not have array.yml file`}, []any{""}},
		{"slides", array("subtype: image"), map[string]string{"array.yml": "size: 1", "0/a": dicomOf(explicit, 1, 1)}, nil, []any{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{}
			for name, content := range c.files {
				files["sum/"+name] = content
			}
			got, dir := collect(t, typed(t, c.typ), files, task.Exit{})
			if diff := cmp.Diff(c.want, faults(got.Failure)); diff != "" {
				t.Error(diff)
			}
			v := got.Outputs["sum"]
			if v.Path != filepath.Join(dir, "sum") {
				t.Errorf("the path is %s", v.Path)
			}
			for i, it := range v.Items {
				if it.Path != "" && it.Path != filepath.Join(dir, "sum", fmt.Sprint(i)) {
					t.Errorf("the path of item %d is %s", i, it.Path)
				}
			}
			var items any
			if v.Items != nil {
				items = texts(v)
			}
			if diff := cmp.Diff(c.items, items); diff != "" {
				t.Error(diff)
			}
		})
	}
	got, _ := collect(t, typed(t, integers), map[string]string{"sum": "[1]"}, task.Exit{})
	if diff := cmp.Diff([]string{`missing-metadata "sum": collection does not have array.yml file`}, faults(got.Failure)); diff != "" {
		t.Error(diff)
	}
}

func texts(v task.Value) []any {
	list := []any{}
	for _, it := range v.Items {
		if it.Items != nil {
			list = append(list, texts(it))
			continue
		}
		list = append(list, it.Text)
	}
	return list
}

func TestMatching(t *testing.T) {
	array := "{id: array, min_size: 0, max_size: 9, allow_missing: true, subtype: integer}"
	tk := load(t, described(t, changed(t,
		"n: {display_name: N, description: the count, type: integer}", "k: {display_name: N, description: x, type: "+array+"}",
		"sum: {display_name: Sum, description: the sum, type: number}",
		`a: {display_name: Sum, description: x, type: `+array+`, dependencies: {derived_from: inputs/k, matching: [outputs/b]}}
  b: {display_name: Sum, description: x, type: `+array+`, dependencies: {derived_from: inputs/k, matching: [inputs/k]}}
  c: {display_name: Sum, description: x, type: `+array+`, optional: true, dependencies: {derived_from: inputs/k, matching: [outputs/a]}}`)))
	pair := func(name string) map[string]string {
		return map[string]string{name + "/array.yml": "size: 2", name + "/0": "1", name + "/1": "1"}
	}
	join := func(maps ...map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range maps {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"all of two", join(pair("a"), pair("b"), pair("c")), nil},
		{"optional absent", join(pair("a"), pair("b")), nil},
		{"one of one", join(pair("b"), map[string]string{"a/array.yml": "size: 1", "a/0": "1"}), []string{`not-matching "a": collections don't have the same size`}},
		{"not aligned", join(pair("b"), map[string]string{"a/array.yml": "size: 3", "a/0": "1", "a/2": "1"}), []string{`not-matching "a": collections indexes are not aligned`}},
	} {
		got, _ := collect(t, tk, c.files, task.Exit{})
		if diff := cmp.Diff(c.want, faults(got.Failure)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestOutputImages(t *testing.T) {
	tk := typed(t, "{id: image, formats: [png], max_width: 9}")
	for content, want := range map[string]string{
		pngOf(t, 9, 9): "", pngOf(t, 10, 9): "invalid image width", "x": "invalid image format", "PK\x03\x04": "invalid image format",
	} {
		got, _ := collect(t, tk, map[string]string{"sum": content}, task.Exit{})
		if f := strings.Join(faults(got.Failure), ""); f != strings.TrimSuffix(value+`"sum": `+want, value+`"sum": `) {
			t.Errorf("got %q, want %q", f, want)
		}
	}
	got, _ := collect(t, tk, map[string]string{"sum/a": dicomOf(explicit, 1, 1)}, task.Exit{})
	if len(faults(got.Failure)) != 1 {
		t.Errorf("a folder is accepted for a PNG image: %v", got.Failure)
	}
}

func TestCollectManyFaults(t *testing.T) {
	files := map[string]string{"sum/array.yml": "size: 200"}
	for i := range 200 {
		files[fmt.Sprintf("sum/%d", i)] = "x"
	}
	got, _ := collect(t, typed(t, "{id: array, min_size: 0, max_size: 999, subtype: integer}"), files, task.Exit{})
	if len(got.Failure.Findings) != 50 || !strings.HasPrefix(got.Failure.Message, "200 outputs are wrong") {
		t.Errorf("%d findings: %s", len(got.Failure.Findings), got.Failure.Message)
	}
}

func TestCollectWithoutFolder(t *testing.T) {
	tk := load(t, described(t, base))
	if _, err := cytomine.New().Collect(tk, &task.Execution{}, task.Leftovers{}); err == nil {
		t.Error("there is no error")
	}
	if _, err := cytomine.New().Collect(tk, &task.Execution{}, task.Leftovers{Exit: task.Exit{Code: 1}}); err != nil {
		t.Error(err)
	}
}

// every type there is, in the layout of the task page's local test.
const everyType = `b: {display_name: N, description: x, type: boolean}
  i: {display_name: N, description: x, type: integer}
  s: {display_name: N, description: x, type: string}
  g: {display_name: N, description: x, type: geometry}
  d: {display_name: N, description: x, type: datetime}
  f: {display_name: N, description: x, type: file}
  a: {display_name: N, description: x, type: {id: array, min_size: 0, max_size: 9, subtype: {id: array, min_size: 0, max_size: 9, subtype: file}}}
  n: {display_name: N, description: x, type: {id: array, min_size: 0, max_size: 9, subtype: {id: number, nan_allowed: true}}}
`

func everyValue() map[string]string {
	return map[string]string{
		"b": "true", "i": "0x10", "s": " two\nlines\n", "g": `{"type":"Point","coordinates":[1,2]}`, "d": "2024-02-23T18:00:00Z", "f": "\x00\xff",
		"a/array.yml": "size: 1", "a/0/array.yml": "size: 2", "a/0/0": "x", "a/0/1": "y", "n/array.yml": "size: 2", "n/0": "nan", "n/1": "1.5",
	}
}

func TestExamples(t *testing.T) {
	descriptor := changed(t, "n: {display_name: N, description: the count, type: integer}\n", everyType, "sum: {display_name: Sum, description: the sum, type: number}\n", everyType)
	files := map[string]string{"descriptor.yml": descriptor, "Dockerfile": recipe}
	for name, content := range everyValue() {
		files["inputs/"+name], files["outputs/"+name] = content, content
	}
	src := folder(t, files)
	tk := load(t, src)
	examples, err := cytomine.New().Examples(src, tk)
	if err != nil || len(examples) != 1 || examples[0].Skip != "" || examples[0].Check == nil {
		t.Fatalf("got %+v, %v", examples, err)
	}
	v, err := task.Bind(tk, examples[0].Request)
	if err != nil {
		t.Fatal(err)
	}
	x, err := cytomine.New().Prepare(tk, task.ImageFacts{}, v)
	if err != nil {
		t.Fatal(err)
	}
	// What is staged is what lies in inputs/, the integer as decimal.
	for _, f := range x.Mounts[0].Files {
		want := everyValue()[f.Path]
		got := f.Text
		if f.Source != "" {
			data, err := os.ReadFile(f.Source)
			if err != nil {
				t.Fatal(err)
			}
			got = string(data)
		}
		if f.Path == "i" {
			want = "16"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", f.Path, got, want)
		}
	}
	check := func(changes map[string]string) contract.Verdict {
		out := t.TempDir()
		files := everyValue()
		for name, content := range changes {
			files[name] = content
		}
		write(t, out, files)
		res := &task.Result{}
		for _, p := range tk.Outputs() {
			res.Outputs = append(res.Outputs, task.OutputResult{Name: p.Name, Path: p.Name})
		}
		return examples[0].Check(res, out)
	}
	if v := check(map[string]string{"i": "16", "d": "2024-02-23T19:00:00+01:00", "g": `{ "type":"Point","coordinates":[1, 2] }`, "n/1": "15e-1"}); !v.Pass || v.Word != "match" {
		t.Errorf("got %+v", v)
	}
	for name, content := range map[string]string{"b": "false", "i": "17", "s": "x", "f": "\x00", "a/0/1": "z", "n/1": "2", "n/0": "1", "g": `{"type":"Point","coordinates":[1,3]}`} {
		if v := check(map[string]string{name: content}); v.Pass || v.Word != "mismatch" || v.Detail == "" {
			t.Errorf("%s: got %+v", name, v)
		}
	}
	if v := examples[0].Check(&task.Result{}, t.TempDir()); v.Pass {
		t.Errorf("got %+v", v)
	}
}

// TestExampleMends: what is said of an inputs/ folder that is not quite right.
func TestExampleMends(t *testing.T) {
	examplesOf := func(inputs map[string]string) ([]contract.Example, error) {
		files := map[string]string{"descriptor.yml": base, "Dockerfile": recipe}
		for name, content := range inputs {
			files["inputs/"+name] = content
		}
		src := folder(t, files)
		return cytomine.New().Examples(src, load(t, src))
	}
	const want = "inputs/ has no n (there is n.txt: inputs are named exactly like their parameter and have no extension)"
	if examples, err := examplesOf(map[string]string{"n.txt": "1", ".gitkeep": ""}); err != nil || len(examples) != 1 || examples[0].Skip != want {
		t.Errorf("got %+v, %v", examples, err)
	}
	_, err := examplesOf(map[string]string{"n": "x"})
	e, ok := errors.AsType[*task.Error](err)
	if !ok || e.Message != `the example's input "n": invalid parameter type` || len(e.Findings) != 1 || !strings.HasPrefix(e.Findings[0].What, `input "n"`) {
		t.Errorf("got %v", err)
	}
}

func TestNoExamples(t *testing.T) {
	src := described(t, base)
	if examples, err := cytomine.New().Examples(src, load(t, src)); err != nil || examples != nil {
		t.Errorf("got %v, %v", examples, err)
	}
	src = folder(t, map[string]string{"descriptor.yml": base, "Dockerfile": recipe, "inputs/": ""})
	examples, err := cytomine.New().Examples(src, load(t, src))
	if err != nil || len(examples) != 1 || examples[0].Skip != "inputs/ has no n" {
		t.Errorf("got %v, %v", examples, err)
	}
	src = folder(t, map[string]string{"descriptor.yml": base, "Dockerfile": recipe, "inputs/n": "x"})
	if _, err := cytomine.New().Examples(src, load(t, src)); task.CodeOf(err) != task.CodePackage {
		t.Errorf("got %v", err)
	}
}

// The examples of the repository load without a finding, and their own inputs can be prepared.
func TestRepositoryExamples(t *testing.T) {
	for _, name := range []string{"integer-addition", "image-filter"} {
		dir, err := filepath.Abs(filepath.Join("../../../examples/cytomine", name))
		if err != nil {
			t.Fatal(err)
		}
		src := contract.Source{Given: dir, Dir: dir, FS: os.DirFS(dir)}
		tk, findings := cytomine.New().Load(src, contract.Options{})
		if len(findings) > 0 {
			t.Fatal(said(findings))
		}
		examples, err := cytomine.New().Examples(src, tk)
		if err != nil || len(examples) != 1 || examples[0].Skip != "" {
			t.Fatalf("got %v, %v", examples, err)
		}
		v, err := task.Bind(tk, examples[0].Request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cytomine.New().Prepare(tk, task.ImageFacts{}, v); err != nil {
			t.Fatal(err)
		}
		c := collectDir(t, tk, filepath.Join(dir, "outputs"), task.Exit{})
		if c.Failure != nil || len(c.Outputs) != len(tk.Outputs()) {
			t.Errorf("got %+v", c)
		}
	}
}
