package kaapana_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// masks makes the folder of the reference's worked example, with sparse files.
func masks(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int64{"p1/m.nrrd": 200 << 20, "p2/m.nrrd": 90 << 20} {
		writeFile(t, filepath.Join(dir, name), "")
		must(t, os.Truncate(filepath.Join(dir, name), size))
	}
	writeFile(t, filepath.Join(dir, "p1/n.txt"), "text")
	return dir
}

func prepare(t *testing.T, tk *task.Task, req task.Request) (*task.Execution, error) {
	t.Helper()
	v, err := task.Bind(tk, req)
	if err != nil {
		return nil, err
	}
	return kaapana.New().Prepare(tk, task.ImageFacts{Entrypoint: []string{"/entry"}}, v)
}

func prepared(t *testing.T, tk *task.Task, req task.Request) *task.Execution {
	t.Helper()
	x, err := prepare(t, tk, req)
	must(t, err)
	return x
}

func TestPrepare(t *testing.T) {
	in, ref := masks(t), t.TempDir()
	x := prepared(t, loaded(t, container(example), "grow"), task.Request{
		Inputs: map[string]task.Given{"masks": {Path: in}, "input.reference": {Path: ref}, "RADIUS": task.GivenText("+03")},
		Env:    []task.EnvVar{{Name: "SHAPE", Value: "cube"}},
	})
	x.Detail = nil
	want := &task.Execution{
		Process: task.Process{
			Entrypoint: []string{"/bin/sh", "/app/grow.sh"},
			Env:        []task.EnvVar{{Name: "RADIUS", Value: "+03"}, {Name: "SHAPE", Value: "cube"}, {Name: "LICENCE", Value: "research"}},
		},
		Mounts: []task.Mount{
			{Name: "input-1", Target: "/data/masks", ReadOnly: true, Source: in},
			{Name: "input-2", Target: "/data/ref", ReadOnly: true, Source: ref},
			{Name: "output-1", Target: "/data/out", Links: task.LinksKeptInside},
		},
		Resources: task.Resources{CPU: 2000, Memory: 1677721600, MinMemory: 100 << 20},
		Notes: []string{
			"command: the template's command replaces the image's ENTRYPOINT, as on Kubernetes",
			"scale rule on input masks: 8 × max_item_sum of *.nrrd = 1677721600 B of memory as limit (measured 209715200 B in 2 files)",
		},
		Warnings: []string{"memory limit 1.6 GiB (1677721600 B) by the scale rules (declared: 500 MiB (524288000 B))"},
	}
	if diff := cmp.Diff(want, x); diff != "" {
		t.Error(diff)
	}
}

// A stored task can be prepared again.
func TestPrepareStored(t *testing.T) {
	tk := loaded(t, container(example), "measure")
	data, err := json.Marshal(tk)
	must(t, err)
	var again task.Task
	must(t, json.Unmarshal(data, &again))
	req := task.Request{Inputs: map[string]task.Given{"masks": {Path: t.TempDir()}}}
	if diff := cmp.Diff(prepared(t, tk, req), prepared(t, &again, req)); diff != "" {
		t.Error(diff)
	}
}

func TestPrepareProcess(t *testing.T) {
	dir := t.TempDir()
	in := map[string]task.Given{"masks": {Path: dir}}
	if x := prepared(t, loaded(t, container(example), "measure"), task.Request{Inputs: in}); x.Process.Entrypoint != nil || x.Process.Args != nil {
		t.Errorf("no command means the image's own process: %+v", x.Process)
	}
	x := prepared(t, loaded(t, container(example), "measure"), task.Request{Inputs: in, Words: []string{"ls", "-l"}})
	if diff := cmp.Diff([]string{"ls", "-l"}, x.Process.Entrypoint); diff != "" {
		t.Error(diff)
	}
}

func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	tk := loaded(t, container(example), "grow")
	ok := func() map[string]task.Value {
		return map[string]task.Value{"masks": {Path: dir}, "reference": {Path: dir}, "RADIUS": {Text: "2"}, "SHAPE": {Text: "ball"}, "LICENCE": {Text: "research"}}
	}
	for _, c := range []struct {
		name string
		edit func(v *task.Values)
		rule string
		what string
	}{
		{"not adjustable", func(v *task.Values) { v.Inputs["LICENCE"] = task.Value{Text: "free"} }, "env-not-adjustable", "`LICENCE` is fixed by the package (adjustable: false)."},
		{"not a choice", func(v *task.Values) { v.Inputs["SHAPE"] = task.Value{Text: "Ball"} }, "env-choice", "`SHAPE` must be one of ball, cube; found `Ball`."},
		{"not an int", func(v *task.Values) { v.Inputs["RADIUS"] = task.Value{Text: " 3"} }, "env-type", "`RADIUS` is an int; ` 3` is not one."},
		{"empty where the default is not", func(v *task.Values) { v.Inputs["RADIUS"] = task.Value{} }, "env-type", "`RADIUS` is an int; `` is not one."},
		{"unknown variable", func(v *task.Values) { v.Env = []task.EnvVar{{Name: "X"}} }, "env-unknown", "Template `grow` has no `X`. It has RADIUS, SHAPE, LICENCE."},
		{"unknown channel", func(v *task.Values) { v.Free = []task.FreeValue{{Name: "typo"}} }, "input-unknown", "Template `grow` has no channel `typo`."},
		{"unbound", func(v *task.Values) { delete(v.Inputs, "reference") }, "input-unbound", "Input `reference` is not bound. Leave it out on purpose with --unbound reference."},
		{"missing", func(v *task.Values) { v.Inputs["masks"] = task.Value{Path: "/no/such"} }, "volume-missing", "`/no/such` does not exist."},
	} {
		v := task.Values{Inputs: ok()}
		c.edit(&v)
		_, err := kaapana.New().Prepare(tk, task.ImageFacts{}, v)
		e, isError := err.(*task.Error)
		if !isError || e.Code != task.ReasonInput || len(e.Findings) != 1 || e.Findings[0].Rule != c.rule || e.Findings[0].What != c.what {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := kaapana.New().Prepare(loaded(t, container(example), ""), task.ImageFacts{}, task.Values{})
	if e, ok := err.(*task.Error); !ok || e.Findings[0].Rule != "template-required" || e.Findings[0].What != "Choose one of grow, measure." {
		t.Errorf("no template chosen: %v", err)
	}
}

// Values go to the container exactly as they are given; types only check them.
func TestValuesVerbatim(t *testing.T) {
	doc := pieces{env: `{"name": "B", "value": "", "type": "boolean"}, {"name": "I", "value": "7", "type": "int"}, {"name": "S", "value": "x"},
		{"name": "C", "value": "", "choices": ["true", "5"]}`}
	tk := loaded(t, container(doc.String()), "")
	for _, c := range []struct {
		name  string
		given task.Given
		want  string // "" with ok false means refused
		ok    bool
	}{
		{"B", task.GivenText("TRUE"), "TRUE", true},
		{"B", task.GivenText("0"), "0", true},
		{"B", task.GivenText(""), "", true},
		{"B", task.GivenText("yes"), "", false},
		{"B", task.Given{JSON: json.RawMessage(`true`)}, "true", true},
		{"B", task.Given{JSON: json.RawMessage(`null`)}, "", true},
		{"I", task.GivenText("-007"), "-007", true},
		{"I", task.GivenText("1.0"), "", false},
		{"I", task.GivenText(""), "", false},
		{"I", task.Given{JSON: json.RawMessage(`3`)}, "3", true},
		{"I", task.Given{JSON: json.RawMessage(`"3"`)}, "3", true},
		{"I", task.Given{JSON: json.RawMessage(`null`)}, "7", true},
		{"S", task.Given{JSON: json.RawMessage(`[1, "a"]`)}, `[1, "a"]`, true},
		{"S", task.Given{JSON: json.RawMessage(`1.50`)}, "1.5", true},
		{"S", task.GivenText(" a "), " a ", true},
		{"C", task.Given{JSON: json.RawMessage(`true`)}, "true", true},
		{"C", task.Given{JSON: json.RawMessage(`5`)}, "5", true},
		{"C", task.GivenText("6"), "", false},
	} {
		req := task.Request{Inputs: map[string]task.Given{"C": task.GivenText("5")}}
		req.Inputs[c.name] = c.given
		x, err := prepare(t, tk, req)
		if (err == nil) != c.ok {
			t.Errorf("%s=%+v: %v", c.name, c.given, err)
			continue
		}
		for _, e := range envOf(x) {
			if e.Name == c.name && e.Value != c.want {
				t.Errorf("%s=%+v: %q, want %q", c.name, c.given, e.Value, c.want)
			}
		}
	}
	if _, err := prepare(t, tk, task.Request{}); err == nil {
		t.Error("a default outside the choices makes the variable required")
	}
}

func envOf(x *task.Execution) []task.EnvVar {
	if x == nil {
		return nil
	}
	return x.Process.Env
}

// A name that a channel and a variable share is ambiguous; the aliases are not.
func TestSharedName(t *testing.T) {
	doc := pieces{inputs: `{"name": "x", "mounted_path": "/x", "description": "d"}`, env: `{"name": "x", "value": "v"}`}
	tk := loaded(t, container(doc.String()), "")
	dir := t.TempDir()
	if _, err := prepare(t, tk, task.Request{Inputs: map[string]task.Given{"x": {Path: dir}}}); err == nil {
		t.Error("the plain name is accepted")
	}
	x := prepared(t, tk, task.Request{Inputs: map[string]task.Given{"input.x": {Path: dir}, "env.x": task.GivenText("w")}})
	if x.Process.Env[0].Value != "w" || x.Mounts[0].Source != dir {
		t.Errorf("%+v", x)
	}
}

func TestUnboundOnPurpose(t *testing.T) {
	tk := loaded(t, container(example), "grow")
	for _, name := range []string{"reference", "input.reference"} {
		x := prepared(t, tk, task.Request{Inputs: map[string]task.Given{"masks": {Path: t.TempDir()}}, Unbound: []string{name}})
		if len(x.Mounts) != 2 || !strings.Contains(strings.Join(x.Notes, "\n"), "input reference is left out on purpose: nothing is mounted at /data/ref") {
			t.Errorf("%+v", x)
		}
	}
}

func TestMounts(t *testing.T) {
	nested := func(outer, inner string) *task.Task {
		return loaded(t, container(pieces{
			inputs:  `{"name": "a", "mounted_path": "/d/deep/in", "description": "d"}, {"name": "b", "mounted_path": "` + outer + `", "description": "d"}`,
			outputs: `{"name": "o", "mounted_path": "` + inner + `", "description": "d"}`,
		}.String()), "")
	}
	in, host := t.TempDir(), t.TempDir()
	req := task.Request{Inputs: map[string]task.Given{"a": {Path: in}, "b": {Path: host}}}

	// An input inside an output: the output is mounted first, and the mount point is made in it.
	x := prepared(t, nested("/b", "/d"), req)
	if x.Mounts[0].Name != "input-2" || x.Mounts[1].Target != "/d" || x.Mounts[2].Target != "/d/deep/in" {
		t.Errorf("parents first: %+v", x.Mounts)
	}
	if diff := cmp.Diff([]task.File{{Path: "deep/in", Dir: true}}, x.Mounts[1].Files); diff != "" {
		t.Error(diff)
	}

	// An output inside a caller's folder: the mount point must exist there, and is never made.
	if _, err := prepare(t, nested("/b", "/b/out"), req); err == nil || !strings.Contains(err.Error(), "the mount point must exist there") {
		t.Errorf("got %v", err)
	}
	must(t, os.Symlink(in, filepath.Join(host, "out")))
	if _, err := prepare(t, nested("/b", "/b/out"), req); err == nil {
		t.Error("a link is taken for a mount point")
	}
	must(t, os.Remove(filepath.Join(host, "out")))
	must(t, os.Mkdir(filepath.Join(host, "out"), 0o755))
	prepared(t, nested("/b", "/b/out"), req)

	// A single file lies in the channel's root.
	file := filepath.Join(in, "one.nrrd")
	writeFile(t, file, "abc")
	x = prepared(t, loaded(t, container(example), "grow"), task.Request{Inputs: map[string]task.Given{"masks": {Path: file}, "reference": {Path: in}}})
	if diff := cmp.Diff([]task.File{{Path: "one.nrrd", Source: file}}, x.Mounts[0].Files); diff != "" || x.Mounts[0].Source != "" {
		t.Error(diff, x.Mounts[0])
	}
	if !strings.Contains(strings.Join(x.Warnings, "\n"), "scale-no-items") {
		t.Errorf("max_item_sum of a single file counts 0: %v", x.Warnings)
	}
}

func TestScaleLimits(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), strings.Repeat("x", 1000))
	for _, c := range []struct {
		name   string
		rule   string // factor and type
		rest   string
		caller task.Resources
		want   task.Resources
	}{
		{"raises", `"scale_factor": 1000000, "type": "limit"`, `"limits": {"memory": "10Mi"}, "requests": {}`, task.Resources{}, task.Resources{Memory: 1000000000}},
		{"is below", `"scale_factor": 1, "type": "limit"`, `"limits": {"memory": "10Mi"}, "requests": {}`, task.Resources{}, task.Resources{Memory: 10 << 20}},
		{"alone", `"scale_factor": 100000, "type": "limit"`, ``, task.Resources{}, task.Resources{Memory: 100000000}},
		{"below the least", `"scale_factor": 1, "type": "limit"`, ``, task.Resources{}, task.Resources{Memory: 6 << 20}},
		{"no effect", `"scale_factor": -1, "type": "limit"`, ``, task.Resources{}, task.Resources{}},
		{"under ten bytes", `"complexity": "9*n**0", "type": "limit"`, ``, task.Resources{}, task.Resources{}},
		{"request", `"scale_factor": 20000, "type": "request"`, `"limits": {"memory": "1Gi"}, "requests": {"memory": "1Mi"}`, task.Resources{}, task.Resources{Memory: 1 << 30, MinMemory: 20000000}},
		{"request above the limit", `"scale_factor": 20000, "type": "request"`, `"limits": {"memory": "10Mi"}, "requests": {}`, task.Resources{}, task.Resources{Memory: 20000000, MinMemory: 20000000}},
		{"caller's limit", `"scale_factor": 20000, "type": "limit"`, `"limits": {"memory": "10Mi"}, "requests": {}`, task.Resources{Memory: 1 << 30}, task.Resources{Memory: 1 << 30}},
		{"caller below the request", `"scale_factor": 1, "type": "limit"`, `"limits": {"memory": "20Mi"}, "requests": {"memory": "16Mi"}`, task.Resources{Memory: 10 << 20}, task.Resources{Memory: 10 << 20, MinMemory: 10 << 20}},
		{"quadratic", `"complexity": "2*n**2", "type": "limit"`, ``, task.Resources{}, task.Resources{Memory: 6 << 20}},
	} {
		p := scaleRule(`"mode": "sum", ` + c.rule)
		p.rest = `, "resources": {` + c.rest + `}`
		x := prepared(t, loaded(t, container(p.String()), ""), task.Request{Inputs: map[string]task.Given{"in": {Path: dir}}, Resources: c.caller})
		if diff := cmp.Diff(c.want, x.Resources); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	huge := scaleRule(`"mode": "sum", "complexity": "2*n**20", "type": "limit"`)
	_, err := prepare(t, loaded(t, container(huge.String()), ""), task.Request{Inputs: map[string]task.Given{"in": {Path: dir}}})
	if task.CodeOf(err) != task.ReasonPolicy || !strings.Contains(err.Error(), "2000000000000000000000000000000000000000000000000000000000000 bytes") {
		t.Errorf("a figure beyond the machine is refused with it: %v", err)
	}
}

func TestCollect(t *testing.T) {
	doc := pieces{
		inputs:  `{"name": "i", "mounted_path": "/full/sub", "description": "d"}`,
		outputs: `{"name": "full", "mounted_path": "/full", "description": "d"}, {"name": "empty", "mounted_path": "/empty", "description": "d"}`,
	}
	tk := loaded(t, container(doc.String()), "")
	x := prepared(t, tk, task.Request{Inputs: map[string]task.Given{"i": {Path: t.TempDir()}}, Resources: task.Resources{Memory: 100 << 20}})
	dir := t.TempDir()
	full, empty := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	writeFile(t, filepath.Join(full, "item-1/r.txt"), "r")
	writeFile(t, filepath.Join(full, "item-2/r.txt"), "r")
	must(t, os.MkdirAll(filepath.Join(full, "sub"), 0o755))
	must(t, os.Mkdir(empty, 0o755))
	leftovers := func(e task.Exit) task.Leftovers {
		return task.Leftovers{Exit: e, Mounts: map[string]string{"output-1": full, "output-2": empty}}
	}
	outputs := map[string]task.Value{"full": {Path: full}, "empty": {Path: empty}}
	items := "output full: 2 files in the items item-1, item-2"
	for _, c := range []struct {
		exit task.Exit
		want task.Collected
	}{
		{task.Exit{}, task.Collected{Outputs: outputs, Notes: []string{items}, Warnings: []string{"the output empty is empty"}}},
		{task.Exit{Code: 3}, task.Collected{Outputs: outputs, Notes: []string{items}}},
		{task.Exit{Code: 126}, task.Collected{Outputs: outputs, Notes: []string{items, "skipped: true (Kaapana reads 126 as skipped)"},
			Failure: &task.Failure{Reason: task.ReasonExit, Message: "the container exited with code 126, which Kaapana reads as skipped"}}},
		{task.Exit{Code: 137, OOM: true}, task.Collected{Outputs: outputs, Notes: []string{items}, Failure: &task.Failure{
			Reason:  task.ReasonOOM,
			Message: "the container ran out of memory: its limit is 100 MiB, from the caller; Kaapana's Kubernetes runner would have allowed ten per cent more, 110 MiB (115343360 B)",
		}}},
	} {
		got, err := kaapana.New().Collect(tk, x, leftovers(c.exit))
		must(t, err)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v: %s", c.exit, diff)
		}
	}
	if got, err := kaapana.New().Collect(tk, x, task.Leftovers{Exit: task.Exit{Code: 1}}); err != nil || len(got.Outputs) != 0 || got.Failure != nil {
		t.Errorf("nothing left: %+v %v", got, err)
	}
}

func TestExamples(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"processing-container.json": example, "data/masks/p1/m.nrrd": "x",
		"tasks/1-measure.json": `{"name": "m", "image": "{{ env.REG }}/x", "taskTemplate": "measure", "inputs": [{"name": "masks", "volume_source": {"host_path": "./out/grown/"}}]}`,
		"tasks/2-grow.json": `{"name": "g", "image": "x", "taskTemplate": "grow", "env": [{"name": "RADIUS", "value": "3"}, {"name": "RADIUS", "value": "4"}, {"name": "EXTRA", "value": "1"}, {"name": "EXTRA", "value": "2"}], "command": ["x"],
			"inputs": [{"name": "masks", "input": {"local_path": "data/masks"}}], "outputs": [{"name": "grown", "input": {"host_path": "out/grown"}}],
			"resources": {"limits": {"memory": "1Gi"}}}`,
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	src := contract.Source{FS: os.DirFS(dir), Dir: dir}
	got, err := kaapana.New().(contract.Exampler).Examples(src, &task.Task{})
	must(t, err)
	want := []contract.Example{
		{Name: "2-grow", Variant: "grow", Request: task.Request{
			Inputs: map[string]task.Given{"masks": {Path: filepath.Join(dir, "data/masks")}}, Env: []task.EnvVar{{Name: "RADIUS", Value: "3"}},
			Words: []string{"x"}, Resources: task.Resources{Memory: 1 << 30},
		}},
		{Name: "1-measure", Variant: "measure", Request: task.Request{Inputs: map[string]task.Given{}}, From: map[string]contract.ExampleOutput{"masks": {Example: "2-grow", Output: "grown"}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(task.Given{}), cmpopts.IgnoreFields(contract.Example{}, "Task")); diff != "" {
		t.Error(diff)
	}
	// Each is run as the task file that it is: with variables that no template declares, and resources that replace all others.
	full, found := kaapana.New().(contract.ImageChecker).CheckImage(got[0].Task, src, carrying(example))
	x := prepared(t, full, task.Request{Inputs: map[string]task.Given{"masks": {Path: dir}, "reference": {Path: dir}}})
	if env := fmt.Sprint(envOf(x)); env != "[{RADIUS 3} {SHAPE ball} {LICENCE research} {EXTRA 2}]" || full.Resources != (task.Resources{Memory: 1 << 30}) || task.HasErrors(found) {
		t.Errorf("%s %+v %v", env, full.Resources, found)
	}
	for _, path := range []string{"/etc", "../../etc", "nope"} {
		writeFile(t, filepath.Join(dir, "tasks/1-measure.json"), `{"name": "m", "image": "x", "taskTemplate": "measure", "inputs": [{"name": "masks", "volume_source": {"host_path": "`+path+`"}}]}`)
		got, err := kaapana.New().(contract.Exampler).Examples(src, &task.Task{})
		must(t, err)
		if e := got[0]; e.Name != "1-measure" || !strings.Contains(e.Skip, "its input masks: "+path+" is not in the package") || e.Request.Inputs["masks"].Path != "" {
			t.Errorf("%s: %+v", path, e)
		}
	}
}

// A fixed value is the package's own: it reaches the program even if no caller could give it.
func TestFixedValue(t *testing.T) {
	for _, fields := range []string{`"choices": ["b", "c"]`, `"type": "int"`, `"type": "boolean"`} {
		tk := loaded(t, container(env(`"name": "E", "value": "a", "adjustable": false, `+fields).String()), "")
		for _, given := range []map[string]task.Given{nil, {"E": task.GivenText("a")}} {
			if got := fmt.Sprint(envOf(prepared(t, tk, task.Request{Inputs: given}))); got != "[{E a}]" {
				t.Errorf("%s, given %v: %s", fields, given, got)
			}
		}
		if _, err := prepare(t, tk, task.Request{Inputs: map[string]task.Given{"E": task.GivenText("b")}}); task.CodeOf(err) != task.ReasonInput {
			t.Errorf("%s: another value is taken: %v", fields, err)
		}
	}
}
