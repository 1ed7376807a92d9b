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

// The tables below hold rows of the Cytomine reference, section 11, that the tests beside them hold in other spellings. The
// verdicts on descriptors (11.1) are TestVerdicts', memory amounts (11.2) TestMemoryAmounts', texts (11.3) TestOutputTexts'.

// answer is what the App Engine says to a value given in JSON, "" for ok.
func answer(t *testing.T, typ, value string) string {
	t.Helper()
	tk := typed(t, typ)
	_, err := prepared(t, tk, task.Given{JSON: []byte(value)})
	if e, ok := errors.AsType[*task.Error](err); ok {
		_, text, _ := strings.Cut(e.Findings[0].What, ": ")
		return text
	}
	return ""
}

// TestReferenceConstraints holds section 11.4.
func TestReferenceConstraints(t *testing.T) {
	const (
		gt, geq      = "value must be greater than defined constraint", "value must be greater than or equal to define constraint"
		lt, leq      = "value must be less than defined constraint", "value must be less than or equal to defined constraint"
		nan, inf, no = "value cannot be nan", "value cannot be infinity", "value does not match defined constraint."
	)
	both := "{id: number, infinity_allowed: true, nan_allowed: true"
	times := `{id: datetime, after: "2024-01-01T00:00:00Z", before: "2024-12-31T00:00:00Z"}`
	colours := "{id: enumeration, values: [red, green]}"
	for _, c := range []struct{ typ, value, want string }{
		{"{id: integer, lt: 10}", "10", lt}, {"{id: integer, lt: 10}", "9", ""},
		{"{id: integer, leq: 10}", "11", leq}, {"{id: integer, leq: 10}", "10", ""},
		{"{id: integer, gt: 3}", "3", gt}, {"{id: integer, gt: 3}", "4", ""},
		{"{id: integer, geq: 3}", "2", geq}, {"{id: integer, geq: 3}", "3", ""},
		{"{id: number, geq: 0, leq: 1}", "-0.01", geq}, {"{id: number, geq: 0, leq: 1}", "1.0001", leq}, {"{id: number, geq: 0, leq: 1}", "1", ""},
		{"number", `"nan"`, nan}, {"number", `"NaN"`, nan}, {"number", `"inf"`, inf}, {"number", `"-Infinity"`, inf},
		{both + "}", `"nan"`, ""}, {both + "}", `"INF"`, ""}, {both + "}", `"-inf"`, ""},
		{both + ", leq: 5}", `"inf"`, leq}, {both + ", leq: 5}", `"nan"`, ""},
		{"{id: string, min_length: 2, max_length: 4}", `"a"`, gt}, {"{id: string, min_length: 2, max_length: 4}", `"abcde"`, geq},
		{"{id: string, min_length: 2, max_length: 4}", `"abcd"`, ""},
		{colours, `"blue"`, no}, {colours, `"Red"`, no}, {colours, `"green"`, ""},
		{times, `"2023-06-01T00:00:00Z"`, "date must be after the defined constraint"}, {times, `"2025-01-01T00:00:00Z"`, "date must be before the defined constraint"},
		{times, `"2024-01-01T01:00:00+01:00"`, ""},
		{"boolean", "false", ""}, {"boolean", `"true"`, no}, {"boolean", "1", no}, {colours, "1", no},
		{"geometry", "3", "invalid parameter type"}, {"integer", `"3"`, "invalid parameter type"},
		{"{id: array, subtype: boolean}", "[true, 1]", no}, {"{id: array, subtype: {id: array, subtype: {id: integer, lt: 3}}}", "[[1], [2, 3]]", lt},
		{"{id: array, subtype: integer, min_size: 2}", "[1]", "invalid collection dimensions"}, {"{id: array, subtype: boolean}", "3", "invalid parameter type"},
	} {
		if got := answer(t, c.typ, c.value); got != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.typ, c.value, got, c.want)
		}
	}
}

// TestReferenceGeometries holds section 11.5.
func TestReferenceGeometries(t *testing.T) {
	const point = `{"type":"Point","coordinates":[1.0,2.0]}`
	feature := func(properties string) string {
		return `{"type":"Feature","geometry":` + point + `,"properties":` + properties + `}`
	}
	for document, want := range map[string]string{
		point: "",
		`{"type":"MultiPoint","coordinates":[[1,2],[3,4]]}`:                   "",
		`{"type":"LineString","coordinates":[[1,2],[3,4]]}`:                   "",
		`{"type":"MultiLineString","coordinates":[[[1,2],[3,4]]]}`:            "",
		`{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4],[0,0]]]}`:        "",
		`{"type":"MultiPolygon","coordinates":[[[[0,0],[4,0],[4,4],[0,0]]]]}`: "",
		feature("{}"):                    "",
		feature("null"):                  "",
		feature(`{"subType":"Circle"}`):  "missing radius parameter",
		feature(`{"subType":"Ellipse"}`): "unsupported geometry subtype",
		feature(`{"label":"x"}`):         "",
		`{"type":"Polygon","coordinates":[[[0,0],[2,2],[2,0],[0,2],[0,0]]]}`: "invalid GeoJSON object",
		`{"type":"GeometryCollection","geometries":[]}`:                      "unsupported geometry type",
		"not json": "failed to parse the given GeoJSON object",
		`{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4]]]}`: "failed to parse the given GeoJSON object",
	} {
		_, err := prepared(t, typed(t, "geometry"), task.GivenText(document))
		if got := strings.TrimPrefix(problem(t, err), value); got != want {
			t.Errorf("%s: got %q, want %q", document, got, want)
		}
	}
}

// TestReferenceArrays holds what section 11.6 says of folders; what it says of requests is the server's.
func TestReferenceArrays(t *testing.T) {
	for _, c := range []struct {
		typ, value string
		want       []task.File
	}{
		{"{id: array, min_size: 0, max_size: 9, subtype: integer}", "[4, 1, -1]", []task.File{
			{Path: "n/array.yml", Text: "size: 3"}, {Path: "n/0", Text: "4"}, {Path: "n/1", Text: "1"}, {Path: "n/2", Text: "-1"},
		}},
		{"{id: array, min_size: 0, max_size: 9, subtype: {id: array, min_size: 0, max_size: 9, subtype: integer}}", "[[1]]", []task.File{
			{Path: "n/array.yml", Text: "size: 1"}, {Path: "n/0/array.yml", Text: "size: 1"}, {Path: "n/0/0", Text: "1"},
		}},
		{"{id: array, min_size: 0, max_size: 9, subtype: integer}", `[{"index":1,"value":1},{"index":0,"value":4}]`, []task.File{
			{Path: "n/array.yml", Text: "size: 2"}, {Path: "n/0", Text: "4"}, {Path: "n/1", Text: "1"},
		}},
		{"{id: array, min_size: 0, max_size: 9, subtype: {id: array, min_size: 0, max_size: 9, subtype: integer}}", `[{"index":0,"value":[{"index":0,"value":1}]}]`, []task.File{
			{Path: "n/array.yml", Text: "size: 1"}, {Path: "n/0/array.yml", Text: "size: 1"}, {Path: "n/0/0", Text: "1"},
		}},
	} {
		x, err := prepared(t, typed(t, c.typ), task.GivenText(c.value))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, x.Mounts[0].Files); diff != "" {
			t.Error(diff)
		}
	}
}

// TestReferenceBundles holds section 11.8: which image a bundle has, or the code that its upload is refused with.
func TestReferenceBundles(t *testing.T) {
	image := imageTar(t, "org/example/cells:1.2.3")
	d := func(s string) member { return member{name: "descriptor.yml", content: s} }
	tarred := func(name string) member { return member{name: name, content: image} }
	named := func(file string) string {
		return changed(t, "output_folder: /outputs", "output_folder: /outputs\n  image: {file: "+file+"}")
	}
	bad := strings.Replace(named("/absent.tar"), "name: Cell count", "name: x", 1)
	index := tarOf(t, map[string]string{
		"index.json": `{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:aa","annotations":{"io.containerd.image.name":"org/example/cells:1.2.3","org.opencontainers.image.ref.name":"1.2.3"}}]}`,
		"blobs/sha256/aa": `{"manifests":[{"digest":"sha256:bb","platform":{"os":"linux","architecture":"amd64"}},
			{"digest":"sha256:ee","platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest"}}]}`,
		"blobs/sha256/bb": `{"config":{"digest":"sha256:cc"},"layers":[]}`, "blobs/sha256/cc": "{}",
	})
	const bundleError, schemaError = "APPE-internal-bundle-validation-error", "APPE-internal-bundle-schema-validation-error"
	codes := map[string]string{}
	for _, r := range cytomine.Rules() {
		codes[r.ID] = r.Code
	}
	for _, c := range []struct {
		row     string
		members []member
		want    string // the entry, or the code of the first error
	}{
		{"descriptor + image.tar, no image.file: rule 3", []member{d(base), tarred("image.tar")}, "image.tar"},
		{"descriptor + org.example.cells-1.2.3.tar: rule 2", []member{d(base), tarred("org.example.cells-1.2.3.tar"), tarred("image.tar")}, "org.example.cells-1.2.3.tar"},
		{"image.file: /x.tar, entry X.TAR: rule 1 ignoring case", []member{d(named("/x.tar")), tarred("X.TAR")}, "X.TAR"},
		{"image.file: /x.tar, only y-2.tar: rule 4, warning", []member{d(named("/x.tar")), tarred("y-2.tar")}, "y-2.tar"},
		{"image.file: docker/image.tar, entries a.tar and b.tar", []member{d(named("docker/image.tar")), tarred("a.tar"), tarred("b.tar")}, bundleError},
		{"tar first, bad descriptor whose image.file names an absent entry", []member{tarred("a.tar"), d(bad)}, bundleError},
		{"bad descriptor first, same", []member{d(bad), tarred("a.tar")}, schemaError},
		{"no tar", []member{d(base)}, bundleError},
		{"no descriptor", []member{tarred("image.tar")}, bundleError},
		{"task/descriptor.yml in a folder", []member{{name: "task/descriptor.yml", content: base}, tarred("image.tar")}, bundleError},
		{"OCI index with one amd64 manifest and one attestation", []member{d(base), {name: "org.example.cells-1.2.3.tar", content: index}}, "org.example.cells-1.2.3.tar"},
		{"tar whose manifest names a missing blob", []member{d(base), {name: "image.tar", content: tarOf(t, map[string]string{
			"manifest.json": `[{"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]`, "c.json": "{}",
		})}}, bundleError},
		{"2 KB of zeros as tar", []member{d(base), {name: "image.tar", content: strings.Repeat("\x00", 2048)}}, bundleError},
	} {
		tk, found := cytomine.New().Load(bundle(t, c.members...), contract.Options{})
		got := ""
		if bad := errorsOf(found); len(bad) > 0 {
			got = codes[bad[0].Rule]
		} else if tk != nil {
			got = tk.Image.Entry
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q: %v", c.row, got, c.want, said(found))
		}
	}
	for row, data := range map[string]string{"7z": "7z\xbc\xaf'\x1c", "gzip": "\x1f\x8b\x08\x00\x00\x00\x00\x00"} {
		_, found := cytomine.New().Load(archive(t, []byte(data)), contract.Options{})
		if len(found) != 1 || codes[found[0].Rule] != "APPE-internal-descriptor-extraction-error" {
			t.Errorf("%s file as body: %v", row, said(found))
		}
	}
}

// TestReferenceRun holds section 11.9 without the requests: org.example.cells, whose n is an integer of at least 1.
func TestReferenceRun(t *testing.T) {
	tk := load(t, described(t, withInput(t, "n: {display_name: N, description: x, type: {id: integer, geq: 1}}")))
	if _, err := cytomine.New().Prepare(tk, task.ImageFacts{}, task.Values{}); !strings.HasSuffix(problem(t, err), "not provisioned") {
		t.Errorf("not provisioned: %v", err)
	}
	if _, err := direct(t, tk, task.Value{Text: "0"}); problem(t, err) != value+"value must be greater than or equal to define constraint" {
		t.Errorf("n = 0: %v", err)
	}
	x, err := prepared(t, tk, task.GivenText("3"))
	if err != nil || fmt.Sprint(x.Mounts[0].Files) != fmt.Sprint([]task.File{{Path: "n", Text: "3"}}) || x.Mounts[0].Target != "/inputs" {
		t.Errorf("n = 3: %+v, %v", x, err)
	}
	for _, c := range []struct {
		row      string
		left     map[string]string
		exit     int
		fault    string
		warnings int
	}{
		{"echo 2.5", map[string]string{"sum": "2.5\n"}, 0, "", 0},
		{"/outputs/sum.txt", map[string]string{"sum.txt": "2.5\n"}, 0, `missing-output-files "sum": file structure for primitive parameter is missing`, 1},
		{"/outputs/extra too", map[string]string{"sum": "2.5\n", "extra": "x"}, 0, "", 1},
		{"nan", map[string]string{"sum": "nan"}, 0, value + `"sum": value cannot be nan`, 0},
	} {
		got, _ := collect(t, tk, c.left, task.Exit{Code: c.exit})
		if fault := strings.Join(faults(got.Failure), "; "); fault != c.fault || len(got.Warnings) != c.warnings {
			t.Errorf("%s: %q, want %q; %v", c.row, fault, c.fault, got.Warnings)
		}
		if c.fault == "" && got.Outputs["sum"].Text != "2.5" {
			t.Errorf("%s: %+v", c.row, got.Outputs)
		}
	}
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "sum")); err != nil {
		t.Fatal(err)
	}
	if got := collectDir(t, tk, dir, task.Exit{}); got.Failure == nil {
		t.Errorf("a link to /etc/passwd: %+v", got)
	}
}
