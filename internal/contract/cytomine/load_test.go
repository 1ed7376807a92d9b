package cytomine_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

// The verdicts that a descriptor can get.
const (
	accept = "accept"
	warn   = "warn"   // accepted with a warning
	schema = "schema" // the upstream schema refuses it
	refuse = "refuse" // the schema accepts it, Longshore does not
)

// schemaRules are the rules whose verdict is that of the upstream schema.
func schemaRule(id string) bool {
	return strings.Contains("CYT003 CYT005 CYT006 CYT007 CYT008 CYT009 CYT010 CYT011", id)
}

func verdictOf(findings []task.Finding) string {
	v := accept
	for _, f := range findings {
		switch {
		case f.Severity == task.SeverityError && schemaRule(f.Rule):
			return schema
		case f.Severity == task.SeverityError:
			v = refuse
		case v == accept && f.Severity == task.SeverityWarning:
			v = warn
		}
	}
	return v
}

func TestVerdicts(t *testing.T) {
	input := func(typ string) string {
		return withInput(t, "n: {display_name: N, description: the count, type: "+typ+"}")
	}
	withDefault := func(typ, def string) string {
		return withInput(t, "n: {display_name: N, description: the count, type: "+typ+", default: "+def+"}")
	}
	array := func(rest string) string { return input("{id: array, min_size: 0, max_size: 9, " + rest + "}") }
	resources := func(s string) string {
		return changed(t, "output_folder: /outputs", "output_folder: /outputs\n  resources: {"+s+"}")
	}
	name := func(s string) string { return changed(t, "name: Cell count", "name: "+s) }
	namespace := func(s string) string { return changed(t, "org.example.cells", s) }
	version := func(s string) string { return changed(t, `"1.2.3"`, s) }
	author := func(old, new string) string { return changed(t, old, new) }
	output := func(rest string) string {
		return withOutput(t, "sum: {display_name: Sum, description: the sum, type: number, "+rest+"}")
	}
	document := editorSchema(t)
	for _, c := range []struct {
		name, descriptor, want string
	}{
		{"base", base, accept},
		{"unknown top-level key", base + "colour: red\n", warn},
		{"unknown configuration key", changed(t, "output_folder: /outputs", "output_folder: /outputs\n  colour: red"), warn},
		{"empty configuration", changed(t, "configuration:\n  input_folder: /inputs\n  output_folder: /outputs", "configuration: {}"), warn},
		{"no inputs", changed(t, "inputs:\n  n: {display_name: N, description: the count, type: integer}", "inputs: {}"), warn},
		{"no outputs", changed(t, "outputs:\n  sum: {display_name: Sum, description: the sum, type: number}", "outputs: {}"), accept},
		{"dois", base + "external: {dois: [x]}\n", accept},
		{"no $schema", changed(t, "$schema: https://cytomine.com/schema-store/tasks/task.v0.json\n", ""), schema},
		{"$schema is no URI", changed(t, "https://cytomine.com/schema-store/tasks/task.v0.json", "task.v0.json"), schema},
		{"name of 2", name("ab"), schema},
		{"name of 31", name(strings.Repeat("a", 31)), schema},
		{"name with dot", name("a.bc"), schema},
		{"name with accent", name("café"), schema},
		{"name of 30", name(strings.Repeat("a", 30)), accept},
		{"name of dashes", name(`"---"`), accept},
		{"description of 2049", base + "description: " + strings.Repeat("a", 2049) + "\n", schema},
		{"description of 2048", base + "description: " + strings.Repeat("a", 2048) + "\n", accept},
		{"no authors", changed(t, "authors:\n  - {first_name: A, last_name: B, organization: C, email: a@b.org, is_contact: true}", "authors: []"), schema},
		{"author without email", author(", email: a@b.org", ""), schema},
		{"author email", author("a@b.org", "nobody"), schema},
		{"is_contact text", author("is_contact: true", `is_contact: "yes"`), schema},
		{"is_contact absent", author(", is_contact: true", ""), warn},
		{"no name_short", changed(t, "name_short: cells\n", ""), warn},
		{"namespace leading dot", namespace(".cells"), accept},
		{"namespace of two words", namespace("org.example"), accept},
		{"namespace with dash", namespace("org.ex-ample"), warn},
		{"namespace in upper case", namespace("Org.Example"), warn},
		{"namespace with underscore", namespace("a_b.c"), accept},
		{"namespace without dot", namespace("cells"), schema},
		{"namespace with early dash", namespace("org-x.cells"), schema},
		{"namespace with two dots", namespace("org..cells"), schema},
		{"namespace with final dot", namespace("org.cells."), schema},
		{"version 1.0.0", version("1.0.0"), accept},
		{"version rc", version("1.0.0-rc.1"), accept},
		{"version build", version("1.0.0+b.5"), warn},
		{"version of two numbers", version(`"1.0"`), schema},
		{"version float", version("1.0"), schema},
		{"version empty", version(""), schema},
		{"version 01.0.0", version("01.0.0"), schema},
		{"version v1.0.0", version("v1.0.0"), schema},
		{"version 1.0.0-01", version("1.0.0-01"), schema},
		{"doi text", base + "external: {doi: https://doi.org/1}\n", schema},
		{"input_folder relative", changed(t, "input_folder: /inputs", "input_folder: inputs"), schema},
		{"input_folder root", changed(t, "input_folder: /inputs", "input_folder: /"), refuse},
		{"input_folder with ..", changed(t, "input_folder: /inputs", "input_folder: /a/../b"), refuse},
		{"input_folder in the output folder", changed(t, "input_folder: /inputs", "input_folder: /outputs/in"), refuse},
		{"input_folder /proc", changed(t, "input_folder: /inputs", "input_folder: /proc/self"), refuse},
		{"folders alike", changed(t, "input_folder: /inputs", "input_folder: /outputs/"), refuse},
		{"image.file number", changed(t, "output_folder: /outputs", "output_folder: /outputs\n  image: {file: 3}"), refuse},
		{"image text", changed(t, "output_folder: /outputs", "output_folder: /outputs\n  image: image.tar"), refuse},
		{"ram 1Gi", resources("ram: 1Gi"), accept},
		{"ram 100 MiB", resources("ram: 100 MiB"), warn},
		{"ram 0.5Gi", resources("ram: 0.5Gi"), accept},
		{"ram 1.5 G", resources("ram: 1.5 G"), warn},
		{"ram 2 GiB", resources("ram: 2 GiB"), warn},
		{"ram 1Gxyz", resources("ram: 1Gxyz"), refuse},
		{"ram in bits", resources("ram: 1Gbit"), refuse},
		{"ram 0Gi", resources("ram: 0Gi"), refuse},
		{"ram 1000", resources(`ram: "1000"`), schema},
		{"ram 100B", resources("ram: 100B"), schema},
		{"ram 1K", resources("ram: 1K"), schema},
		{"ram 01Gi", resources("ram: 01Gi"), schema},
		{"ram 1000m", resources("ram: 1000m"), schema},
		{"ram number", resources("ram: 1073741824"), schema},
		{"cpus 1", resources("cpus: 1"), accept},
		{"cpus 1.0", resources("cpus: 1.0"), accept},
		{"cpus 0", resources("cpus: 0"), refuse},
		{"cpus -1", resources("cpus: -1"), refuse},
		{"gpus -1", resources("gpus: -1"), refuse},
		{"cpus 1.5", resources("cpus: 1.5"), schema},
		{"cpus text", resources(`cpus: "2"`), schema},
		{"internet text", resources(`internet: "no"`), schema},
		{"internet no", resources(`internet: no`), schema},
		{"inputs list", changed(t, "inputs:\n  n: {display_name: N, description: the count, type: integer}", "inputs: []"), schema},
		{"input key", withInput(t, "my-in: {display_name: N, description: the count, type: integer}"), schema},
		{"no parameter description", withInput(t, "n: {display_name: N, type: integer}"), schema},
		{"no parameter type", withInput(t, "n: {display_name: N, description: x}"), schema},
		{"empty display_name", withInput(t, `n: {display_name: "", description: x, type: integer}`), schema},
		{"optional text", withInput(t, `n: {display_name: N, description: x, type: integer, optional: "yes"}`), schema},
		{"no display_name", withInput(t, "n: {description: x, type: integer}"), warn},
		{"optional output", output("optional: true"), warn},
		{"output default", output("default: 3"), warn},
		{"enumeration in short form", input("enumeration"), schema},
		{"array in short form", input("array"), schema},
		{"wsi", input("wsi"), schema},
		{"text", input("text"), schema},
		{"type without id", input("{geq: 1}"), schema},
		{"type a number", input("3"), schema},
		{"leq 300.0", input("{id: integer, leq: 300.0}"), accept},
		{"unknown option", input("{id: integer, unit: mm}"), warn},
		{"gt and geq", input("{id: integer, gt: 1, geq: 2}"), warn},
		{"leq text", input(`{id: integer, leq: "3"}`), schema},
		{"lt 1.5", input("{id: integer, lt: 1.5}"), schema},
		{"nan_allowed text", input(`{id: number, nan_allowed: "true"}`), schema},
		{"empty range", input("{id: integer, gt: 5, lt: 5}"), refuse},
		{"empty range of integers", input("{id: integer, gt: 5, lt: 6}"), refuse},
		{"range of numbers", input("{id: number, gt: 5, lt: 6}"), accept},
		{"range of one", input("{id: number, geq: 5, leq: 5}"), accept},
		{"empty range of numbers", input("{id: number, gt: 5, leq: 5}"), refuse},
		{"min_length -1", input("{id: string, min_length: -1}"), refuse},
		{"lengths", input("{id: string, min_length: 5, max_length: 2}"), refuse},
		{"sizes", input("{id: array, subtype: integer, min_size: 3, max_size: 1}"), refuse},
		{"max_width 0", input("{id: image, max_width: 0}"), refuse},
		{"enumeration without values", input("{id: enumeration}"), schema},
		{"enumeration of none", input("{id: enumeration, values: []}"), schema},
		{"enumeration of two lines", input(`{id: enumeration, values: ["a\nb"]}`), schema},
		{"enumeration of numbers", input("{id: enumeration, values: [1]}"), schema},
		{"enumeration of long values", input("{id: enumeration, values: [" + strings.Repeat("a", 257) + "]}"), schema},
		{"enumeration twice", input("{id: enumeration, values: [a, a]}"), warn},
		{"before", input(`{id: datetime, before: "2024-01-01T00:00:00Z"}`), warn},
		{"before a day", input(`{id: datetime, before: "2024-01-01"}`), schema},
		{"after later than before", input(`{id: datetime, before: "2024-01-01T00:00:00Z", after: "2025-01-01T00:00:00Z"}`), refuse},
		{"datetime default", withDefault("datetime", "yesterday"), schema},
		{"image formats", input("{id: image, formats: [png, bmp]}"), schema},
		{"no image formats", input("{id: image, formats: []}"), schema},
		{"max_file_size 2048B", input("{id: image, max_file_size: 2048B}"), schema},
		{"file formats", input("{id: file, formats: [csv]}"), schema},
		{"max_file_size 100Mi", input("{id: image, max_file_size: 100Mi}"), warn},
		{"max_file_size 100MiB", input("{id: image, max_file_size: 100MiB}"), accept},
		{"max_width 10.0", input("{id: image, max_width: 10.0}"), accept},
		{"text file", input("{id: file, formats: [text]}"), accept},
		{"array without subtype", array("x_: 1"), schema},
		{"array of short enumeration", array("subtype: enumeration"), schema},
		{"array of wsi", array("subtype: wsi"), schema},
		{"array of arrays of images", array("subtype: {id: array, min_size: 1, max_size: 2, subtype: image}"), accept},
		{"array with one bound", input("{id: array, subtype: integer, min_size: 1}"), warn},
		{"allow_missing", array("subtype: integer, allow_missing: true"), warn},
		{"integer default 3", withDefault("integer", "3"), accept},
		{"integer default 3.0", withDefault("integer", "3.0"), accept},
		{"number default 1", withDefault("number", "1"), accept},
		{"number default nan", withDefault("{id: number, nan_allowed: true}", ".nan"), accept},
		{"integer default text", withDefault("integer", `"3"`), schema},
		{"number default text", withDefault("number", `"nan"`), schema},
		{"boolean default text", withDefault("boolean", `"true"`), schema},
		{"string default number", withDefault("string", "5"), schema},
		{"enumeration default", withDefault("{id: enumeration, values: [a]}", "b"), refuse},
		{"default out of range", withDefault("{id: integer, geq: 4}", "3"), refuse},
		{"geometry default", withDefault("geometry", "x"), warn},
		{"array default", withDefault("{id: array, min_size: 0, max_size: 1, subtype: integer}", "[1]"), warn},
		{"empty dependencies", output("dependencies: {}"), warn},
		{"derived_from number", output("dependencies: {derived_from: 42}"), refuse},
		{"derived_from nobody", output("dependencies: {derived_from: inputs/zz}"), refuse},
		{"derived_from", output("dependencies: {derived_from: inputs/n}"), accept},
		{"output dependencies list", output("dependencies: [x]"), schema},
		{"array dependencies list", withInput(t, "n: {display_name: N, description: x, type: {id: array, min_size: 0, max_size: 1, subtype: integer}, dependencies: [x]}"), schema},
		{"scalar matching", withInput(t, "n: {display_name: N, description: x, type: integer, dependencies: {matching: [outputs/sum]}}"), refuse},
		{"names differ in case", withInput(t, "n: {display_name: N, description: x, type: integer}\n  N: {display_name: N, description: x, type: integer}"), refuse},
		{"duplicate key", base + "name: again\n", refuse},
		{"empty image", changed(t, "output_folder: /outputs", "output_folder: /outputs\n  image:"), accept},
		{"alias", withInput(t, "n: &n {display_name: N, description: the count, type: integer}\n  m: *n"), warn},
		{"merge key", withInput(t, "n: &n {display_name: N, description: the count, type: integer}\n  m: {<<: *n, display_name: M}"), warn},
		{"directive", "%YAML 1.2\n---\n" + base, accept},
		{"second document", base + "---\nname: again\n", schema},
		{"no mapping", "- a\n", schema},
		{"not YAML", "a: [\n", schema},
		{"unknown tag", strings.Replace(base, "Cell count", "!!python/object x", 1), schema},
	} {
		t.Run(c.name, func(t *testing.T) {
			tk, findings := cytomine.New().Load(described(t, c.descriptor), contract.Options{})
			if got := verdictOf(findings); got != c.want {
				t.Errorf("the verdict is %s, want %s: %v", got, c.want, said(findings))
			}
			if err := document.validate(c.descriptor); err != nil && c.want != schema && c.want != refuse || err == nil && c.want == schema {
				t.Errorf("the verdict is %s, and the schema for editors says %v", c.want, err)
			}
			for _, f := range findings {
				if f.What == "" || f.File == "" || f.Severity != severity(f.Rule) {
					t.Errorf("finding %+v lacks a text, a file, or the severity of its rule", f)
				}
				if f.Line == 0 && f.Rule != "CYT003" {
					t.Errorf("finding %v has no line", f)
				}
			}
			if tk == nil && verdictOf(findings) != schema {
				t.Error("there is no task")
			}
		})
	}
}

// TestPlainNumbers: what a YAML reader like the App Engine's takes for a number, and the editors' schema test does not get to see.
func TestPlainNumbers(t *testing.T) {
	for parameter, want := range map[string]string{
		"type: {id: number, geq: 1e-5, leq: 1E3}":                          accept,
		"type: {id: integer, leq: 1_000}, default: 1_0":                    accept,
		"type: {id: number, leq: 123456789012345678901234567890}":          accept,
		"type: {id: number, leq: 1}, default: 1e-4":                        accept,
		"type: {id: number, leq: 1}, default: 1e4":                         refuse,
		`type: {id: number, leq: "1e3"}`:                                   schema,
		"type: string, default: 1e3":                                       schema,
		"type: {id: enumeration, values: [1e3]}":                           schema,
		"type: {id: enumeration, values: [1e3x, e3, 1.0.0, yes, on, 1-2]}": accept,
	} {
		_, findings := cytomine.New().Load(described(t, withInput(t, "n: {display_name: N, description: x, "+parameter+"}")), contract.Options{})
		if got := verdictOf(findings); got != want {
			t.Errorf("%s: the verdict is %s, want %s: %v", parameter, got, want, said(findings))
		}
	}
}

// editor is the schema of descriptors, as editors read it.
type editor struct{ compiled *jsonschema.Schema }

func editorSchema(t *testing.T) editor {
	t.Helper()
	const name = "descriptor.schema.json"
	text, err := jsonschema.UnmarshalJSON(strings.NewReader(cytomine.New().Schemas()[0].JSON))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, text); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return editor{compiled}
}

// validate returns what is wrong with a YAML document, a document that cannot be read included.
func (e editor) validate(text string) error {
	n, err := contract.ParseYAML([]byte(strings.ReplaceAll(text, ".nan", "0"))) // JSON has no such number; editors read YAML
	if err != nil {
		return err
	}
	if len(n.Duplicates()) > 0 {
		return errors.New("a key occurs twice")
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(n.JSON()))
	if err != nil {
		return err
	}
	return e.compiled.Validate(v)
}

func severity(id string) task.Severity {
	for _, r := range cytomine.Rules() {
		if r.ID == id {
			return r.Severity
		}
	}
	return "unknown rule"
}

func TestMessages(t *testing.T) {
	descriptor := `name: Cell count
namespace: org.example.cells
version: 1.0
description: 5
authors: []
colour: red
configuration:
  input_folder: inputs
  imput: 1
  resources: {ram: 1Gxyz, cpus: 0, gpus: 1.5}
inputs:
  my-in: {}
  a: {display_name: A, description: x, type: intger}
  b: {display_name: A, description: x, type: {id: enumeration, values: [x, x]}, default: y}
  B: {display_name: A, description: x, type: array, optional: 1}
  c: {display_name: A, description: x, type: {id: integer, gt: 5, lt: 5, geq: 5}}
  d: {display_name: A, description: x, type: wsi, dependencies: {}}
outputs:
  e: {display_name: A, description: x, type: geometry, dependencies: {derived_from: inputs/aa, matching: [inputs/a]}}
`
	_, findings := cytomine.New().Load(described(t, descriptor), contract.Options{})
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	golden(t, "messages.txt", strings.Join(lines, "\n")+"\n")
}

// golden compares with a file of testdata; UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestBundles(t *testing.T) {
	image := imageTar(t, "org/example/cells:1.2.3")
	named := func(file string) string {
		return changed(t, "output_folder: /outputs", "output_folder: /outputs\n  image: {file: "+file+"}")
	}
	bad := strings.Replace(named("/absent.tar"), "name: Cell count", "name: x", 1)
	d := func(s string) member { return member{name: "descriptor.yml", content: s} }
	tarred := func(name string) member { return member{name: name, content: image} }
	for _, c := range []struct {
		name    string
		members []member
		entry   string
		want    []string
	}{
		{"seed era", []member{d(base), tarred("image.tar")}, "image.tar", []string{"image.tar: warning CYT023 image.tar: works in Longshore; today's App Engine takes the image's name from that of the file"}},
		{"tar first", []member{tarred("org.example.cells-1.2.3.tar"), d(base)}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: warning CYT023 org.example.cells-1.2.3.tar: works in Longshore; today's App Engine reads a bundle from its beginning, and wants descriptor.yml first"}},
		{"stored", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: image, store: true}}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: warning CYT023 org.example.cells-1.2.3.tar: works in Longshore; today's App Engine cannot read a stored entry whose size stands behind it"}},
		{"upper case", []member{{name: "Descriptor.YAML", content: base}, tarred("ORG.EXAMPLE.CELLS-1.2.3.TAR")}, "ORG.EXAMPLE.CELLS-1.2.3.TAR", nil},
		{"named, ignoring case", []member{d(named("/x.tar")), tarred("X.TAR"), tarred("image.tar")}, "X.TAR",
			[]string{"X.TAR: warning CYT023 X.TAR: works in Longshore; today's App Engine takes the image's name from that of the file",
				"X.TAR: warning CYT023 X.TAR: works in Longshore; today's App Engine takes every one of the bundle's 2 tars, and the last one wins"}},
		{"named as today", []member{d(named("/org.example.cells-1.2.3.tar")), tarred("org.example.cells-1.2.3.tar")}, "org.example.cells-1.2.3.tar", nil},
		{"named in a folder", []member{d(named("docker/x.tar")), tarred("docker/x.tar"), tarred("image.tar")}, "docker/x.tar",
			[]string{"docker/x.tar: warning CYT023 docker/x.tar: works in Longshore; today's App Engine takes the image's name from that of the file",
				"docker/x.tar: warning CYT023 docker/x.tar: works in Longshore; today's App Engine takes every one of the bundle's 2 tars, and the last one wins"}},
		{"another one", []member{d(named("/x.tar")), tarred("y-2.tar")}, "y-2.tar", []string{
			`descriptor.yml:11:17: warning CYT026 configuration.image.file: there is no "x.tar"; the image is "y-2.tar"`,
			"y-2.tar: warning CYT023 y-2.tar: works in Longshore; today's App Engine takes the image's name from that of the file",
		}},
		{"two tars", []member{d(named("docker/image.tar")), tarred("a.tar"), tarred("b.tar")}, "", []string{
			"descriptor.yml:11:17: error CYT025 image not found in configured place in descriptor and not in the root directory"}},
		{"no tar", []member{d(base)}, "", []string{"error CYT025 image not found in configured place in descriptor and not in the root directory"}},
		{"tar before a bad descriptor", []member{tarred("y.tar"), d(bad)}, "", []string{
			"descriptor.yml:11:17: error CYT025 image not found in configured place in descriptor and not in the root directory",
			`descriptor.yml:2:7: error CYT007 name: "x" does not match 3 to 30 letters, digits, blanks, "_" and "-"`,
		}},
		{"tar after a bad descriptor", []member{d(bad), tarred("y.tar")}, "", []string{
			`descriptor.yml:2:7: error CYT007 name: "x" does not match 3 to 30 letters, digits, blanks, "_" and "-"`,
			"descriptor.yml:11:17: error CYT025 image not found in configured place in descriptor and not in the root directory",
		}},
		{"no descriptor", []member{tarred("image.tar")}, "", []string{"error CYT001 descriptor is not found in the default location"}},
		{"descriptor in a folder", []member{{name: "task/descriptor.yml", content: base}, tarred("task/image.tar")}, "", []string{"error CYT001 descriptor is not found in the default location"}},
		{"two descriptors", []member{d(base), {name: "descriptor.yaml", content: base}, tarred("org.example.cells-1.2.3.tar")}, "org.example.cells-1.2.3.tar",
			[]string{"descriptor.yaml: error CYT002 two descriptors in the bundle"}},
		{"macOS", []member{d(base), tarred("x.tar"), {name: "__MACOSX/._x.tar", content: "x"}}, "x.tar", []string{
			"x.tar: warning CYT023 x.tar: works in Longshore; today's App Engine takes the image's name from that of the file"}},
		{"zeros", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: strings.Repeat("\x00", 2048)}}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: error CYT027 org.example.cells-1.2.3.tar: image is not invalid manifest is missing"}},
		{"no tar inside", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: strings.Repeat("x", 600)}}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: error CYT027 org.example.cells-1.2.3.tar: unknown image archive format: archive/tar: invalid tar header"}},
		{"missing layer", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: tarOf(t, map[string]string{
			"manifest.json": `[{"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]`, "c.json": "{}"})}}, "org.example.cells-1.2.3.tar",
			[]string{`org.example.cells-1.2.3.tar: error CYT027 org.example.cells-1.2.3.tar: manifest.json names "l.tar", which the archive does not hold`}},
		{"missing blob", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: tarOf(t, map[string]string{
			"index.json": `{"manifests":[{"digest":"sha256:00"},{"digest":"sha256:11","annotations":{"vnd.docker.reference.type":"attestation-manifest"}}]}`})}}, "org.example.cells-1.2.3.tar",
			[]string{`org.example.cells-1.2.3.tar: error CYT027 org.example.cells-1.2.3.tar: index.json names "blobs/sha256/00", which the archive does not hold`}},
		{"missing layer of an image", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: tarOf(t, map[string]string{
			"index.json":      `{"manifests":[{"digest":"sha256:aa","annotations":{"io.containerd.image.name":"org/example/cells:1.2.3","org.opencontainers.image.ref.name":"1.2.3"}}]}`,
			"blobs/sha256/aa": `{"config":{"digest":"sha256:bb"},"layers":[{"digest":"sha256:cc"}]}`, "blobs/sha256/bb": "{}"})}}, "org.example.cells-1.2.3.tar",
			[]string{`org.example.cells-1.2.3.tar: error CYT027 org.example.cells-1.2.3.tar: index.json names "blobs/sha256/cc", which the archive does not hold`}},
		{"index with attestation and an absent platform", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: tarOf(t, map[string]string{
			"index.json":      `{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:aa","annotations":{"io.containerd.image.name":"org/example/cells:1.2.3"}}]}`,
			"blobs/sha256/aa": `{"manifests":[{"digest":"sha256:dd"},{"digest":"sha256:bb"},{"digest":"sha256:ee","platform":{"os":"unknown"}}]}`,
			"blobs/sha256/bb": `{"config":{"digest":"sha256:cc"},"layers":[]}`, "blobs/sha256/cc": "{}"})}}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: warning CYT023 org.example.cells-1.2.3.tar: works in Longshore; today's App Engine cannot read an index of several platforms or with attestations"}},
		{"index without ref.name", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: tarOf(t, map[string]string{
			"index.json":      `{"manifests":[{"digest":"sha256:aa","annotations":{"io.containerd.image.name":"org/example/cells:1.2.3"}}]}`,
			"blobs/sha256/aa": `{"config":{"digest":"sha256:cc"},"layers":[]}`, "blobs/sha256/cc": "{}"})}}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: warning CYT023 org.example.cells-1.2.3.tar: works in Longshore; today's App Engine needs the annotation org.opencontainers.image.ref.name in the archive's index.json"}},
		{"no tag", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: imageTar(t)}}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: warning CYT023 org.example.cells-1.2.3.tar: works in Longshore; today's App Engine needs a tag in the archive's manifest.json",
				"org.example.cells-1.2.3.tar: warning CYT024 image is tagged with nothing; the task page asks for org/example/cells:1.2.3"}},
		{"another tag", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: imageTar(t, "local:latest")}}, "org.example.cells-1.2.3.tar",
			[]string{"org.example.cells-1.2.3.tar: warning CYT024 image is tagged local:latest; the task page asks for org/example/cells:1.2.3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := bundle(t, c.members...)
			tk, findings := cytomine.New().Load(src, contract.Options{})
			if diff := cmp.Diff(c.want, said(findings)); diff != "" {
				t.Error(diff)
			}
			if c.entry == "" {
				if !task.HasErrors(findings) {
					t.Error("there is no error")
				}
				return
			}
			want := task.ImageSource{Kind: task.ImageArchive, Name: "org/example/cells:1.2.3", Archive: src.Archive, Entry: c.entry}
			if diff := cmp.Diff(want, tk.Image); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHostileBundles(t *testing.T) {
	good := []member{{name: "descriptor.yml", content: base}, {name: "org.example.cells-1.2.3.tar", content: imageTar(t, "org/example/cells:1.2.3")}}
	for _, c := range []struct {
		name string
		bad  []member
		want string
	}{
		{"leaves", []member{{name: "../evil", content: "x"}}, `entry "../evil": its path leaves the bundle`},
		{"absolute", []member{{name: "/etc/passwd", content: "x"}}, `entry "/etc/passwd": its path is absolute`},
		{"backslash", []member{{name: `..\evil`, content: "x"}}, `entry "..\evil": its name holds a backslash or a zero byte`},
		{"link", []member{{name: "logo.png", content: "/etc/passwd", mode: os.ModeSymlink | 0o777}}, `entry "logo.png": it is a symbolic link`},
		{"pipe", []member{{name: "logo.png", mode: os.ModeNamedPipe | 0o666}}, `entry "logo.png": it is a named pipe`},
		{"not clean", []member{{name: "a//b", content: "x"}}, `entry "a//b": its path is not clean`},
		{"twice", []member{{name: "descriptor.yml", content: base}}, `entry "descriptor.yml": another entry has the same path`},
		{"file as folder", []member{{name: "descriptor.yml/x", content: "x"}}, `entry "descriptor.yml/x": a file stands where its folder would be`},
		{"bomb", []member{{name: "bomb", content: strings.Repeat("\x00", 65<<20)}}, "decompression bomb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, findings := cytomine.New().Load(bundle(t, append(good[:2:2], c.bad...)...), contract.Options{})
			bad := errorsOf(findings)
			if len(bad) != 1 || bad[0].Rule != "CYT028" || !strings.Contains(bad[0].What, c.want) {
				t.Errorf("got %v, want CYT028 %s", said(findings), c.want)
			}
		})
	}
}

func TestNotABundle(t *testing.T) {
	for name, data := range map[string]string{"7z": "7z\xbc\xaf'\x1c", "empty": "", "cut": "PK\x03\x04xxxx"} {
		t.Run(name, func(t *testing.T) {
			tk, findings := cytomine.New().Load(archive(t, []byte(data)), contract.Options{})
			if tk != nil || len(findings) != 1 || findings[0].Rule != "CYT033" {
				t.Errorf("got %v", said(findings))
			}
		})
	}
	tk, findings := cytomine.New().Load(contract.Source{Given: "image:x"}, contract.Options{})
	if tk != nil || len(findings) != 1 || findings[0].Rule != "CYT032" {
		t.Errorf("got %v", said(findings))
	}
}

// lyingZip has an entry that unpacks to more than its header says.
func TestLyingZip(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "descriptor.yml", Method: zip.Store, CompressedSize64: 400, UncompressedSize64: 4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(base[:400])); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, findings := cytomine.New().Load(archive(t, b.Bytes()), contract.Options{}); !task.HasErrors(findings) {
		t.Error("the bundle is accepted")
	}
}

func TestFolders(t *testing.T) {
	image := imageTar(t, "org/example/cells:1.2.3")
	for _, c := range []struct {
		name  string
		files map[string]string
		want  task.ImageSource
		said  []string
	}{
		{"Dockerfile", map[string]string{"descriptor.yml": base, "Dockerfile": recipe},
			task.ImageSource{Kind: task.ImageBuild, Name: "org/example/cells:1.2.3", Context: "DIR", Dockerfile: "Dockerfile"}, nil},
		{"tar", map[string]string{"descriptor.yaml": base, "image.tar": image},
			task.ImageSource{Kind: task.ImageArchive, Name: "org/example/cells:1.2.3", Archive: "DIR/image.tar"},
			[]string{"image.tar: warning CYT023 image.tar: works in Longshore; today's App Engine takes the image's name from that of the file"}},
		{"both", map[string]string{"descriptor.yml": base, "Dockerfile": recipe, "image.tar": image},
			task.ImageSource{Kind: task.ImageBuild, Name: "org/example/cells:1.2.3", Context: "DIR", Dockerfile: "Dockerfile"}, nil},
		{"neither", map[string]string{"descriptor.yml": base}, task.ImageSource{Name: "org/example/cells:1.2.3"},
			[]string{"error CYT025 image not found in configured place in descriptor and not in the root directory"}},
		{"broken Dockerfile", map[string]string{"descriptor.yml": base, "Dockerfile": "FORM x\n"},
			task.ImageSource{Kind: task.ImageBuild, Name: "org/example/cells:1.2.3", Context: "DIR", Dockerfile: "Dockerfile"},
			[]string{"Dockerfile:1:1: error CYT030 not valid Dockerfile: unknown instruction: FORM (did you mean FROM?)"}},
		{"version with build", map[string]string{"descriptor.yml": changed(t, `"1.2.3"`, "1.2.3+b"), "Dockerfile": recipe},
			task.ImageSource{Kind: task.ImageBuild, Name: "org/example/cells-ead35aea:1.2.3_b", Context: "DIR", Dockerfile: "Dockerfile"},
			[]string{`descriptor.yml:5:10: warning CYT023 version: works in Longshore; today's App Engine cannot push an image with "+" in its tag`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := folder(t, c.files)
			tk, findings := cytomine.New().Load(src, contract.Options{})
			if diff := cmp.Diff(c.said, said(findings)); diff != "" {
				t.Error(diff)
			}
			c.want.Context = strings.Replace(c.want.Context, "DIR", src.Dir, 1)
			c.want.Archive = strings.Replace(c.want.Archive, "DIR", src.Dir, 1)
			if diff := cmp.Diff(c.want, tk.Image); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImageNamesAreReferences(t *testing.T) {
	names := map[string]string{}
	for _, c := range [][2]string{
		{"com.my.task", "1.0.0"}, {".cells", "1.0.0"}, {"Org.Example", "1.0.0"}, {"org.Example", "1.0.0"}, {"org.example", "1.0.0"},
		{"a.-", "1.0.0"}, {"a.__", "1.0.0"}, {"_._", "1.0.0+b"}, {"a.b", "1.0.0-" + strings.Repeat("x", 200)}, {"localhost.x", "1.0.0"},
		{"a." + strings.Repeat("b", 300), "1.0.0"},
	} {
		src := described(t, changed(t, "org.example.cells", c[0], `"1.2.3"`, c[1]))
		tk, findings := cytomine.New().Load(src, contract.Options{})
		if task.HasErrors(findings) {
			t.Fatal(said(findings))
		}
		if _, err := reference.ParseNormalizedNamed(tk.Image.Name); err != nil {
			t.Errorf("%v: %s: %v", c, tk.Image.Name, err)
		}
		if other := names[tk.Image.Name]; other != "" {
			t.Errorf("%v and %s are both %s", c, other, tk.Image.Name)
		}
		names[tk.Image.Name] = c[0] + " " + c[1]
	}
}

// A fault has one finding: what refused entries would have been is not missing besides.
func TestRefusedEntriesAreNotMissing(t *testing.T) {
	image := imageTar(t, "org/example/cells:1.2.3")
	for _, members := range [][]member{
		{{name: "/descriptor.yml", content: base}, {name: "image.tar", content: image}},
		{{name: "descriptor.yml", content: base}, {name: "./image.tar", content: image}},
	} {
		_, found := cytomine.New().Load(bundle(t, members...), contract.Options{})
		if bad := errorsOf(found); len(bad) != 1 || bad[0].Rule != "CYT028" {
			t.Errorf("%v", said(found))
		}
	}
}

// What a message quotes of a package is short and safe to print, and stands there as it is written.
func TestMessagesQuoteSafely(t *testing.T) {
	for typ, want := range map[string]string{
		`{id: enumeration, values: [a]}, default: "a\x00b"`:                         `inputs.n.default: "a\x00b" is not allowed`,
		"{id: string, max_length: 9}, default: " + strings.Repeat("x", 5000):        `xx…" is not allowed`,
		"{id: array, subtype: integer, max_size: -1000000000000000000000000000000}": "max_size: -1000000000000000000000000000000 and",
	} {
		_, found := cytomine.New().Load(described(t, withInput(t, "n: {display_name: N, description: x, type: "+typ+"}")), contract.Options{})
		if text := strings.Join(said(found), "\n"); !strings.Contains(text, want) || len(text) > 2000 {
			t.Errorf("%s: %d bytes: %.300s", typ[:40], len(text), text)
		}
	}
}

func TestTask(t *testing.T) {
	tk := load(t, described(t, `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: All types
name_short: all
namespace: org.example.all
version: 1.0.0-rc.1
description: every type there is
authors:
  - {first_name: A, last_name: B, organization: C, email: a@b.org}
configuration:
  input_folder: /data/in/
  output_folder: /data/out
  resources: {ram: 100 MiB, cpus: 2, gpus: 1, internet: true}
inputs:
  b: {description: x, type: boolean, default: true}
  i: {description: x, type: {id: integer, gt: 1, leq: 9.0}, default: 3.0}
  n: {description: x, type: {id: number, geq: -0.5, lt: 1000.25, infinity_allowed: true, nan_allowed: true}, default: 1.50}
  s: {description: x, type: {id: string, min_length: 1, max_length: 4}, optional: true}
  e: {description: x, type: {id: enumeration, values: [red, green]}}
  d: {description: x, type: {id: datetime, after: "2024-01-01T00:00:00Z"}}
  g: {description: x, type: geometry}
  f: {description: x, type: {id: file, max_file_size: 1kB, formats: [text]}}
  m: {description: x, type: {id: image, max_file_size: 1kB, max_width: 10, max_height: 20, formats: [png]}}
  w: {description: x, type: {id: image, max_file_size: 1kB}}
outputs:
  a: {description: x, display_name: The array, type: {id: array, min_size: 1, max_size: 3, allow_missing: true, subtype: {id: array, subtype: image}}, dependencies: {derived_from: inputs/m, matching: [outputs/z]}}
  z: {description: x, type: {id: array, subtype: string}, optional: true}
`))
	data := toJSON(t, tk)
	golden(t, "task.json", strings.ReplaceAll(data, tk.Image.Context, "DIR")+"\n")
}

func TestDefaults(t *testing.T) {
	tk := load(t, described(t, base))
	want := task.Resources{CPU: 1000, Memory: 4 << 30, MinMemory: 128 << 20}
	if diff := cmp.Diff(want, tk.Resources); diff != "" {
		t.Error(diff)
	}
	if tk.Network {
		t.Error("the network is open")
	}
}

func TestRecognise(t *testing.T) {
	image := imageTar(t)
	for _, c := range []struct {
		name string
		src  contract.Source
		want contract.Certainty
	}{
		{"folder", described(t, base), contract.Certain},
		{"bundle", bundle(t, member{name: "descriptor.yml", content: base}, member{name: "image.tar", content: image}), contract.Certain},
		{"upper case", folder(t, map[string]string{"DESCRIPTOR.YAML": base}), contract.Certain},
		{"broken descriptor", folder(t, map[string]string{"descriptor.yml": "a: ["}), contract.Likely},
		{"zipped folder", bundle(t, member{name: "task/descriptor.yml", content: base}), contract.Possible},
		{"zipped folder of a Mac", bundle(t, member{name: "task/descriptor.yml", content: base}, member{name: "__MACOSX/task/._descriptor.yml", content: "x"}), contract.Possible},
		{"two entries of one name", bundle(t, member{name: "descriptor.yml", content: base}, member{name: "descriptor.yml", content: base}), contract.Likely},
		{"repository of tasks", folder(t, map[string]string{"README.md": "", "a/Dockerfile": recipe, "b/descriptor.yml": base}), contract.Possible},
		{"folder of another thing", folder(t, map[string]string{"b/descriptor.yml": "a: 1", "c/other.yml": base}), contract.No},
		{"nothing", folder(t, map[string]string{"Dockerfile": recipe}), contract.No},
		{"no tree", contract.Source{}, contract.No},
		{"other file", named(described(t, base), "Dockerfile"), contract.No},
		{"the descriptor", named(described(t, base), "descriptor.yml"), contract.Certain},
		{"descriptor of another name", named(folder(t, map[string]string{"task.yml": base}), "task.yml"), contract.Certain},
		{"other document", named(folder(t, map[string]string{"job.yml": "a: 1"}), "job.yml"), contract.No},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cytomine.New().Recognise(c.src)
			if r.Certainty != c.want || (r.Evidence == "") != (c.want == contract.No) {
				t.Errorf("got %+v, want %d", r, c.want)
			}
		})
	}
}

func named(src contract.Source, file string) contract.Source {
	src.File = file
	return src
}

// TestMends: what is said of packages that have all they need, in other places.
func TestMends(t *testing.T) {
	image := imageTar(t)
	whole := bundle(t, member{name: "descriptor.yml", content: base}, member{name: "image.tar", content: image + strings.Repeat("\x00", 1<<20)})
	data, err := os.ReadFile(whole.Archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		src        contract.Source
	}{
		{"one below", "there is one at app/descriptor.yml: name that folder", folder(t, map[string]string{"Dockerfile": recipe, "app/descriptor.yml": base})},
		{"several below", "there are 2, the first at a/descriptor.yml: name the folder of one", folder(t, map[string]string{"a/descriptor.yml": base, "b/descriptor.yaml": base})},
		{"zipped folder", "there is one at task/descriptor.yml: zip the files, not the folder", bundle(t, member{name: "task/descriptor.yml", content: base}, member{name: "__MACOSX/task/._descriptor.yml", content: "x"})},
		{"recipe below", "there is docker/Dockerfile: move it beside the descriptor", folder(t, map[string]string{"descriptor.yml": base, "docker/Dockerfile": recipe})},
		{"recipe of another name", "there is Dockerfile.prod: move it beside the descriptor", folder(t, map[string]string{"descriptor.yml": base, "Dockerfile.prod": recipe})},
		{"nothing to build", "`longshore bundle --image NAME` makes a bundle", folder(t, map[string]string{"descriptor.yml": base})},
		{"packed archive", "if image.tar.gz is the image, name it in configuration.image.file", bundle(t, member{name: "descriptor.yml", content: base}, member{name: "image.tar.gz", content: "x"})},
		{"docker export", "the output of docker export", bundle(t, member{name: "descriptor.yml", content: base}, member{name: "image.tar", content: tarOf(t, map[string]string{"bin/sh": "x"})})},
		{"type of Python", "did you mean integer?", described(t, withInput(t, "n: {display_name: N, description: x, type: int}"))},
		{"option of JSON Schema", "did you mean geq?", described(t, withInput(t, "n: {display_name: N, description: x, type: {id: integer, minimum: 1, leq: x}}"))},
		{"key of Compose", "did you mean ram?", described(t, strings.Replace(base, "output_folder: /outputs", "output_folder: /outputs\n  resources: {memory: 1Gi, cpus: 0}", 1))},
		{"memory as a number", "write a number and a prefix (k M G … Ki Mi Gi …), such as 512Mi", described(t, strings.Replace(base, "output_folder: /outputs", "output_folder: /outputs\n  resources: {ram: 512}", 1))},
		{"a part of a CPU", "write a whole number, without quotes and unit", described(t, strings.Replace(base, "output_folder: /outputs", "output_folder: /outputs\n  resources: {cpus: 500m}", 1))},
		{"name with a dash", "rename it, e.g. my_in", described(t, withInput(t, "my-in: {display_name: N, description: x, type: integer}"))},
		{"reference without side", "did you mean inputs/n?", described(t, withOutput(t, "sum: {display_name: Sum, description: x, type: number, dependencies: {derived_from: n}}"))},
		{"one format", `write a list: ["png"]`, described(t, withInput(t, "n: {display_name: N, description: x, type: {id: image, formats: png}}"))},
		{"wsi", "or take the package as it is with --legacy", described(t, withInput(t, "n: {display_name: N, description: x, type: wsi}"))},
		{"latin 1", "descriptor.yml:7:18: error: not valid YAML: the file is not UTF-8 text", described(t, strings.Replace(base, "first_name: A", "first_name: \xc9", 1))},
		{"damaged behind the image", "image.tar: unknown image archive format: zip: checksum error", archive(t, damaged(t, data))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, findings := cytomine.New().Load(c.src, contract.Options{})
			text := ""
			for _, f := range findings {
				text += f.String() + "\n"
			}
			if !task.HasErrors(findings) || !strings.Contains(text, c.want) {
				t.Errorf("%q is not in %s", c.want, text)
			}
		})
	}
}

// Old versions of Docker save a layer that occurs twice as a link; a link that leads nowhere in the archive is no layer.
func TestLinkedLayers(t *testing.T) {
	for to, want := range map[string]bool{"../b/layer.tar": true, "../c/layer.tar": false, "/etc/passwd": false, "../../etc/passwd": false, "../a/layer.tar": false} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		add := func(h tar.Header, content string) {
			h.Mode, h.Size = 0o644, int64(len(content))
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		add(tar.Header{Name: "a/layer.tar", Typeflag: tar.TypeSymlink, Linkname: to}, "")
		add(tar.Header{Name: "b/layer.tar"}, "layer")
		add(tar.Header{Name: "c.json"}, "{}")
		add(tar.Header{Name: "manifest.json"}, `[{"Config":"c.json","RepoTags":["org/example/cells:1.2.3"],"Layers":["a/layer.tar","b/layer.tar"]}]`)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, findings := cytomine.New().Load(bundle(t, member{name: "descriptor.yml", content: base}, member{name: "image.tar", content: b.String()}), contract.Options{})
		if task.HasErrors(findings) == want {
			t.Errorf("a layer that is a link to %s: %v", to, said(findings))
		}
	}
}

// An image or a Dockerfile that is there and cannot be taken is named, and nothing waits for it.
func TestUnusableImage(t *testing.T) {
	for _, c := range []struct {
		name, want string
		add        func(file string) error
	}{
		{"image.tar", "image.tar is a symbolic link that leads out of the package, or nowhere", func(file string) error { return os.Symlink("/etc/passwd", file) }},
		{"org.example.cells-1.2.3.tar", "org.example.cells-1.2.3.tar is a folder, not a file", func(file string) error { return os.Mkdir(file, 0o755) }},
		{"Dockerfile", "Dockerfile is a named pipe, not a file", func(file string) error { return syscall.Mkfifo(file, 0o644) }},
	} {
		src := described(t, base)
		if err := os.Remove(filepath.Join(src.Dir, "Dockerfile")); err != nil {
			t.Fatal(err)
		}
		if err := c.add(filepath.Join(src.Dir, c.name)); err != nil {
			t.Fatal(err)
		}
		_, findings := cytomine.New().Load(src, contract.Options{})
		if bad := errorsOf(findings); len(bad) != 1 || bad[0].Why != c.want {
			t.Errorf("%s: %v", c.name, findings)
		}
	}
}

// damaged returns a zip whose last entry has another checksum than it says.
func damaged(t *testing.T, data []byte) []byte {
	t.Helper()
	last := bytes.LastIndex(data, []byte("PK\x01\x02"))
	if last < 0 {
		t.Fatal("no central directory")
	}
	data = bytes.Clone(data)
	data[last+16] ^= 0xff
	return data
}

// A named pipe for a descriptor must not be opened: that waits for a writer.
func TestPipe(t *testing.T) {
	src := folder(t, map[string]string{"Dockerfile": recipe})
	if err := syscall.Mkfifo(filepath.Join(src.Dir, "descriptor.yml"), 0o644); err != nil {
		t.Skip(err)
	}
	cytomine.New().Recognise(src)
	if _, findings := cytomine.New().Load(src, contract.Options{}); !task.HasErrors(findings) {
		t.Error("there is no error")
	}
}

// A descriptor that is a link out of the folder is not read.
func TestLink(t *testing.T) {
	src := folder(t, map[string]string{"Dockerfile": recipe})
	outside := filepath.Join(t.TempDir(), "d.yml")
	if err := os.WriteFile(outside, []byte(base), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(src.Dir, "descriptor.yml")); err != nil {
		t.Fatal(err)
	}
	if tk, findings := cytomine.New().Load(src, contract.Options{}); tk != nil || !task.HasErrors(findings) {
		t.Error("the descriptor is read")
	}
}

type fakeImage struct{ facts task.ImageFacts }

func (fakeImage) ReadFile(string, int64) ([]byte, error) { return nil, os.ErrNotExist }
func (f fakeImage) Facts() task.ImageFacts               { return f.facts }

func TestCheckImage(t *testing.T) {
	tk := &task.Task{}
	if _, findings := cytomine.New().CheckImage(tk, contract.Source{}, fakeImage{task.ImageFacts{Cmd: []string{"x"}}}); findings != nil {
		t.Errorf("got %v", findings)
	}
	if got, findings := cytomine.New().CheckImage(tk, contract.Source{}, fakeImage{}); got != tk || len(findings) != 1 || findings[0].Rule != "CYT031" {
		t.Errorf("got %v", findings)
	}
}

func TestScaffold(t *testing.T) {
	for _, name := range []string{"My task", "123", "true", "s", "a/b.c", strings.Repeat("long ", 20)} {
		files, err := cytomine.New().Scaffold(name, "")
		if err != nil {
			t.Fatal(err)
		}
		src := folder(t, files)
		tk, findings := cytomine.New().Load(src, contract.Options{})
		if len(findings) > 0 {
			t.Errorf("%s: %v", name, said(findings))
		}
		examples, err := cytomine.New().Examples(src, tk)
		if err != nil || len(examples) != 1 || examples[0].Skip != "" || examples[0].Check == nil {
			t.Errorf("%s: the examples are %+v, %v", name, examples, err)
		}
	}
	if _, err := cytomine.New().Scaffold("é", ""); task.CodeOf(err) != task.CodeUsage {
		t.Errorf("got %v", err)
	}
}
