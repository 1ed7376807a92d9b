package task_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/task"
)

func TestParseQuantity(t *testing.T) {
	for _, c := range []struct {
		in   string
		want task.Bytes
		ok   bool
	}{
		{"128974848", 128974848, true}, {"129e6", 129e6, true}, {"129M", 129e6, true}, {"123Mi", 123 << 20, true}, {"1.5Gi", 3 << 29, true},
		{"1E3", 1000, true}, {"2E", 2e18, true}, {"0.5", 1, true}, {"100m", 1, true}, {".5Ki", 512, true}, {"0", 0, true}, {"+1k", 1000, true},
		{"", 0, false}, {"1 Gi", 0, false}, {"1GB", 0, false}, {"1K", 0, false}, {"-1", 0, false}, {"1e99", 0, false}, {"20E", 0, false}, {"Mi", 0, false}, {"1e99999", 0, false},
	} {
		got, err := task.ParseBytes(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d, ok %v", c.in, got, err, c.want, c.ok)
		}
	}
	if c, err := task.ParseCPU("0.1234"); err != nil || c != 124 || c.String() != "0.124" {
		t.Errorf("ParseCPU = %v, %v", c, err)
	}
	if s := (task.Bytes(1536 << 20)).String(); s != "1.5 GiB" {
		t.Errorf("String = %s", s)
	}
}

func one(n int) *int { return &n }

func TestParseGiven(t *testing.T) {
	text := func(s string) task.Given { return task.GivenText(s) }
	js := func(s string) task.Given { return task.Given{JSON: json.RawMessage(s)} }
	dir := t.TempDir()
	file := filepath.Join(dir, "n")
	if err := os.WriteFile(file, []byte("7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	integers := task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Integer, GE: "0"}, MaxItems: one(2)}
	for _, c := range []struct {
		name string
		typ  task.Type
		in   task.Given
		want string // the text, or "" with an error that holds err
		err  string
	}{
		{"boolean", task.Type{Kind: task.Boolean}, text("TRUE"), "true", ""},
		{"boolean json", task.Type{Kind: task.Boolean}, js("false"), "false", ""},
		{"boolean as string", task.Type{Kind: task.Boolean}, js(`"false"`), "", "must be a JSON boolean"},
		{"boolean word", task.Type{Kind: task.Boolean}, text("maybe"), "", "not a boolean"},
		{"integer", task.Type{Kind: task.Integer}, text("+42"), "42", ""},
		{"integer with zero fraction", task.Type{Kind: task.Integer}, js("300.0"), "300", ""},
		{"integer of any size", task.Type{Kind: task.Integer}, text("123456789012345678901234567890"), "123456789012345678901234567890", ""},
		{"integer fraction", task.Type{Kind: task.Integer}, text("1.5"), "", "not an integer"},
		{"integer from file", task.Type{Kind: task.Integer}, task.Given{Path: file}, "7", ""},
		{"bound exactly", task.Type{Kind: task.Integer, GT: "9007199254740992"}, text("9007199254740993"), "9007199254740993", ""},
		{"at the bound", task.Type{Kind: task.Integer, GT: "9007199254740993"}, text("9007199254740993"), "", "greater than"},
		{"number", task.Type{Kind: task.Number, LE: "0.1"}, text("0.1"), "0.1", ""},
		{"number too large", task.Type{Kind: task.Number, LT: "1"}, text("1e400"), "", ""},
		{"nan refused", task.Type{Kind: task.Number}, text("nan"), "", "NaN is not allowed"},
		{"nan allowed", task.Type{Kind: task.Number, AllowNaN: true, GT: "5"}, text("NaN"), "NaN", ""},
		{"infinity meets bounds", task.Type{Kind: task.Number, AllowInfinity: true, LT: "5"}, text("inf"), "", "above the upper bound"},
		{"hex is no number", task.Type{Kind: task.Number}, text("0x1p3"), "", "not a number"},
		{"string length counts characters", task.Type{Kind: task.String, MaxLength: one(2)}, text("éé"), "éé", ""},
		{"string too short", task.Type{Kind: task.String, MinLength: one(3)}, text("éé"), "", "at least 3"},
		{"enumeration", task.Type{Kind: task.Enumeration, Choices: []string{"a", "b"}}, text("c"), "", "one of a, b"},
		{"datetime", task.Type{Kind: task.Datetime}, text("2024-02-23T18:00:00.123456789+02:00"), "2024-02-23T18:00:00.123456789+02:00", ""},
		{"datetime without zone", task.Type{Kind: task.Datetime}, text("2024-02-23T18:00:00"), "", "not a date"},
		{"json", task.Type{Kind: task.JSON}, text(`{"a": [1]}`), `{"a": [1]}`, ""},
		{"json broken", task.Type{Kind: task.JSON}, text(`{"a": `), "", "not valid JSON"},
		{"geometry object", task.Type{Kind: task.Geometry}, js(`{"type":"Point"}`), `{"type":"Point"}`, ""},
		{"array too long", integers, text("[1,2,3]"), "", "at most 2"},
		{"array item", integers, text("[1,-2]"), "", "item 1"},
		{"array is no list", integers, text("1"), "", "list of integer"},
		{"file as text", task.Type{Kind: task.FileKind}, text("x"), "", "put @"},
		{"file missing", task.Type{Kind: task.FileKind}, task.Given{Path: filepath.Join(dir, "no")}, "", "does not exist"},
		{"list by index, a hole", task.Type{Kind: task.Array, Indexed: true, Item: &task.Type{Kind: task.Integer}}, text(`[{"index":0,"value":1},{"index":2,"value":1}]`), "", "item 1: its index is 2"},
		{"list by index, one twice", task.Type{Kind: task.Array, Indexed: true, Item: &task.Type{Kind: task.Integer}}, text(`[{"index":0,"value":1},{"index":0,"value":1}]`), "", "each once"},
		{"list by index, where it is none", task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Integer}}, text(`[{"index":0,"value":1}]`), "", "must be an integer"},
		{"collection without features", task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Geometry}}, text(`{"type":"FeatureCollection"}`), "", "list of geometry"},
		{"collection without geometries", task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Geometry}}, text(`{"type":"GeometryCollection"}`), "", "list of geometry"},
		{"folder for a file", task.Type{Kind: task.FileKind}, task.Given{Path: dir}, "", "is a folder"},
	} {
		v, err := task.ParseGiven(c.typ, c.in)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %+v, error %v; want an error with %q", c.name, v, err, c.err)
			}
			continue
		}
		if err != nil || v.Text != c.want {
			t.Errorf("%s: %+v, error %v; want %q", c.name, v, err, c.want)
		}
	}
}

// Callers on other machines know their files by the names that they gave them, and this machine's paths are not theirs to read.
func TestFilesGoByTheNamesThatTheCallerGave(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "blob")
	if err := os.WriteFile(file, []byte("xx"), 0o644); err != nil {
		t.Fatal(err)
	}
	most := task.Bytes(1)
	small := task.Type{Kind: task.FileKind, MaxBytes: &most}
	for _, c := range []struct {
		kind task.Type
		in   task.Given
		want string
	}{
		{small, task.Given{Path: file, As: "mine"}, "mine has 2 B, must have at most 1 B"},
		{small, task.Given{Path: dir, As: "mine"}, "mine is a folder, must be a file"},
		{small, task.Given{Path: filepath.Join(dir, "no"), As: "mine"}, "mine does not exist"},
		{task.Type{Kind: task.Integer}, task.Given{Path: dir, As: "mine"}, "mine is not a regular file"},
		{task.Type{Kind: task.Integer}, task.Given{Path: filepath.Join(dir, "no"), As: "mine"}, "cannot read mine: no such file or directory"},
	} {
		p := task.Parameter{Name: "n", Direction: task.Input, Type: c.kind}
		for how, given := range map[string]task.Given{"by itself": c.in, "in a document": {JSON: json.RawMessage(`"@mine"`)}} {
			if how == "in a document" && !c.kind.Kind.OnDisk() {
				continue // a text that begins with "@"
			}
			_, err := task.Bind(&task.Task{Parameters: []task.Parameter{p}}, task.Request{Inputs: map[string]task.Given{"n": given}, Files: map[string]string{"mine": c.in.Path}})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), dir) {
				t.Errorf("%s: got %v, want %s", how, err, c.want)
			}
		}
	}
}

// An "@path" anywhere in a document of inputs is relative to the document.
func TestParseGivenPathsInDocuments(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	list := task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Array, Item: &task.Type{Kind: task.FileKind}}}
	doc, err := json.Marshal([][]string{{"@f"}, {"@" + file}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := task.ParseGiven(list, task.Given{JSON: doc, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range v.Items {
		if item.Items[0].Path != file {
			t.Errorf("item %d: %+v", i, item)
		}
	}
}

func bound() *task.Task {
	return &task.Task{Exchange: task.Files, Parameters: []task.Parameter{
		{Name: "n", Direction: task.Input, Type: task.Type{Kind: task.Integer}, Aliases: []string{"input.n"}},
		{Name: "opt", Direction: task.Input, Type: task.Type{Kind: task.String}, Optional: true},
		{Name: "def", Direction: task.Input, Type: task.Type{Kind: task.String}, Default: &task.Value{Text: "d"}},
		{Name: "fix", Direction: task.Input, Type: task.Type{Kind: task.String}, Default: &task.Value{Text: "f"}, Fixed: true, Place: task.Place{Kind: task.PlaceEnv, Name: "FIX"}},
		{Name: "out", Direction: task.Output, Type: task.Type{Kind: task.String}},
	}}
}

func TestBind(t *testing.T) {
	v, err := task.Bind(bound(), task.Request{Inputs: map[string]task.Given{"input.n": task.GivenText("3"), "fix": task.GivenText("f")}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]task.Value{"n": {Text: "3"}, "def": {Text: "d"}, "fix": {Text: "f"}}
	if d := cmp.Diff(want, v.Inputs); d != "" {
		t.Error(d)
	}
}

// A JSON null means "not given", as forms send it for what was left empty (Cytomine, Kaapana); where any JSON document may
// stand it is a value.
func TestBindTakesNullForNotGiven(t *testing.T) {
	null := task.Given{JSON: json.RawMessage(" null ")}
	tk := bound()
	tk.Parameters = append(tk.Parameters, task.Parameter{Name: "any", Direction: task.Input, Type: task.Type{Kind: task.JSON}})
	given := map[string]task.Given{"n": task.GivenText("3"), "opt": null, "def": null, "any": null}
	v, err := task.Bind(tk, task.Request{Inputs: given})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]task.Value{"n": {Text: "3"}, "def": {Text: "d"}, "fix": {Text: "f"}, "any": {Text: "null"}}
	if d := cmp.Diff(want, v.Inputs); d != "" || v.Given["opt"] || v.Given["def"] {
		t.Error(d, v.Given)
	}
	given["n"] = null
	if _, err := task.Bind(tk, task.Request{Inputs: given}); err == nil || !strings.Contains(err.Error(), `input "n": is required`) {
		t.Errorf("a required input given as null: %v", err)
	}
}

func TestBindSaysWhatAnInputTakes(t *testing.T) {
	_, err := task.Bind(bound(), task.Request{Inputs: map[string]task.Given{"n": {JSON: json.RawMessage("[1]")}}})
	var e *task.Error
	if !errors.As(err, &e) || e.Message != `input "n": must be an integer, found [1]` || e.Hint != "it takes: integer; for example -i n=1" {
		t.Errorf("%+v", e)
	}
}

// What is given as an example is allowed.
func TestExamplesOfInputs(t *testing.T) {
	for want, typ := range map[string]task.Type{
		"n=1":                   {Kind: task.Integer},
		"n=4":                   {Kind: task.Integer, GT: "3", LT: "300"},
		"n=0":                   {Kind: task.Integer, LE: "0"},
		"n=-6":                  {Kind: task.Number, LT: "-5"},
		"n=0.5":                 {Kind: task.Number, GT: "0", LT: "1"},
		"n=0.25":                {Kind: task.Number, GE: "0.25", LT: "0.5"},
		"n='[4, …]'":            {Kind: task.Array, Item: &task.Type{Kind: task.Integer, GE: "4"}},
		`n='["red", …]'`:        {Kind: task.Array, Item: &task.Type{Kind: task.Enumeration, Choices: []string{"red"}}},
		`n='[["@FILE", …], …]'`: {Kind: task.Array, Item: &task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Image}}},
	} {
		tk := &task.Task{Parameters: []task.Parameter{{Name: "n", Direction: task.Input, Type: typ}}}
		_, err := task.Bind(tk, task.Request{})
		var e *task.Error
		if !errors.As(err, &e) || !strings.HasSuffix(e.Hint, want) {
			t.Errorf("%+v: %v, want %s", typ, e, want)
		}
	}
}

func TestBindReportsEverything(t *testing.T) {
	_, err := task.Bind(bound(), task.Request{
		Inputs: map[string]task.Given{"out": task.GivenText("1"), "x": task.GivenText("1")},
		Env:    []task.EnvVar{{Name: "FIX", Value: "other"}, {Name: "NEW", Value: "1"}},
	})
	var e *task.Error
	if !errors.As(err, &e) || e.Code != task.ReasonInput {
		t.Fatalf("error %v", err)
	}
	var rules []string
	for _, f := range e.Findings {
		rules = append(rules, f.Rule)
	}
	if d := cmp.Diff([]string{"input-unknown", "input-unknown", "input-fixed", "env-unknown", "input-missing"}, rules); d != "" {
		t.Error(d)
	}
}

func TestBindBody(t *testing.T) {
	http := &task.Task{Exchange: task.HTTP, FreeInputs: true, Parameters: []task.Parameter{
		{Name: "a", Direction: task.Input, Type: task.Type{Kind: task.Integer}, Optional: true, Place: task.Place{Kind: task.PlaceBodyMember, Name: "a"}},
	}}
	v, err := task.Bind(http, task.Request{Inputs: map[string]task.Given{"numbers": task.GivenText("[20]"), "name": task.GivenText("x y")}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]task.FreeValue{{Name: "name", JSON: json.RawMessage(`"x y"`)}, {Name: "numbers", JSON: json.RawMessage("[20]")}}, v.Free); d != "" {
		t.Error(d)
	}
	for _, in := range []string{"a", "free"} {
		if _, err := task.Bind(http, task.Request{Body: &task.Body{Text: "{}"}, Inputs: map[string]task.Given{in: task.GivenText("1")}}); err == nil {
			t.Errorf("a body and the input %s were both accepted", in)
		}
	}
}

// TestMovesAreDocumented compares the table in the docs with the code.
func TestMovesAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[task.State][]task.State{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\w+) \| ([\w, ]+) \|$`).FindAllStringSubmatch(string(data), -1) {
		if _, ok := task.Moves[task.State(m[1])]; !ok {
			continue
		}
		for _, to := range strings.Split(m[2], ", ") {
			documented[task.State(m[1])] = append(documented[task.State(m[1])], task.State(to))
		}
	}
	for from, to := range task.Moves {
		if d := cmp.Diff(to, documented[from]); d != "" {
			t.Errorf("%s: %s", from, d)
		}
	}
}

func TestMove(t *testing.T) {
	for from, allowed := range task.Moves {
		if from.Terminal() != (len(allowed) == 0) {
			t.Errorf("%s: terminal %v with moves %v", from, from.Terminal(), allowed)
		}
		for to := range task.Moves {
			got, err := from.Move(to)
			if legal := slices.Contains(allowed, to); legal != (err == nil) || legal && got != to || !legal && got != from {
				t.Errorf("%s → %s: %s, %v", from, to, got, err)
			}
		}
	}
}

func FuzzParseGiven(f *testing.F) {
	f.Add("1e5", `[1,[2]]`)
	f.Add("NaN", `{"type":"Point"}`)
	f.Fuzz(func(t *testing.T, text, doc string) {
		for _, k := range []task.Kind{task.Boolean, task.Integer, task.Number, task.String, task.Datetime, task.JSON, task.Geometry} {
			typ := task.Type{Kind: k, GE: "-5", LT: "1e3"}
			if v, err := task.ParseGiven(typ, task.GivenText(text)); err == nil {
				if _, err := json.Marshal(v.Plain(typ)); err != nil {
					t.Errorf("%s %q: %v", k, text, err)
				}
			}
			list := task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Array, Item: &typ}}
			if v, err := task.ParseGiven(list, task.Given{JSON: json.RawMessage(doc)}); err == nil {
				if _, err := json.Marshal(v.Plain(list)); err != nil {
					t.Errorf("list of %s %q: %v", k, doc, err)
				}
			}
		}
		if _, err := task.ParseQuantity(text); err == nil && len(text) > 1000 {
			t.Errorf("a quantity of %d characters", len(text))
		}
	})
}

// A caller elsewhere can name the files that came with the request, and no others.
func TestFilesOfRequest(t *testing.T) {
	list := task.Type{Kind: task.Array, Item: &task.Type{Kind: task.FileKind}}
	tk := &task.Task{Parameters: []task.Parameter{{Name: "images", Direction: task.Input, Type: list}, {Name: "one", Direction: task.Input, Type: task.Type{Kind: task.FileKind}}}}
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"a": path}
	bind := func(images task.Given, one string) (task.Values, error) {
		return task.Bind(tk, task.Request{Inputs: map[string]task.Given{"images": images, "one": {JSON: json.RawMessage(one)}}, Files: files})
	}
	v, err := bind(task.Given{JSON: json.RawMessage(`["@a"]`)}, `"@a"`)
	if err != nil || v.Inputs["one"].Path != path || v.Inputs["images"].Items[0].Path != path {
		t.Fatalf("got %+v, %v", v.Inputs, err)
	}
	for _, g := range []task.Given{{JSON: json.RawMessage(`["@/etc/passwd"]`)}, task.GivenText(`["@/etc/passwd"]`), {JSON: json.RawMessage(`["@../a"]`)}} {
		if _, err := bind(g, `"@/etc/passwd"`); err == nil || !strings.Contains(err.Error(), "2 inputs are wrong") {
			t.Errorf("%s: got %v, want both refused", g.JSON, err)
		}
	}
}
