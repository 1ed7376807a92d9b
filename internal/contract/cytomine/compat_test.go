package cytomine_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

// compat loads a task as today's App Engine reads it.
func compat(t testing.TB, descriptor string) *task.Task {
	t.Helper()
	tk, findings := cytomine.New().Load(described(t, descriptor), contract.Options{Compat: cytomine.New().CompatModes()[0]})
	if task.HasErrors(findings) {
		t.Fatal(said(findings))
	}
	return tk
}

func TestCompatOutputs(t *testing.T) {
	const kind = value + `"sum": invalid parameter type`
	label := `{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"label":"x"}}`
	for _, c := range []struct{ typ, content, want, fault string }{
		{"integer", "010", "10", ""}, {"integer", "08", "8", ""}, {"integer", "-2147483648", "-2147483648", ""},
		{"integer", "0x10", "", kind}, {"integer", "1_000", "", kind}, {"integer", "2147483648", "", kind},
		{"geometry", label, "", value + `"sum": unsupported GeoJSON subtype`},
		{"geometry", strings.Replace(label, `{"label":"x"}`, "{}", 1), strings.Replace(label, `{"label":"x"}`, "{}", 1), ""},
		{"{id: file, formats: [text], max_file_size: 0.001k}", "\x00\x00", "", ""},
	} {
		got, dir := collect(t, compat(t, withOutput(t, "sum: {display_name: N, description: x, type: "+c.typ+"}")), map[string]string{"sum": c.content}, task.Exit{})
		var want []string
		if c.fault != "" {
			want = []string{c.fault}
		}
		if diff := cmp.Diff(want, faults(got.Failure)); diff != "" {
			t.Errorf("%s %q: %s", c.typ, c.content, diff)
		}
		if diff := cmp.Diff(task.Value{Path: filepath.Join(dir, "sum"), Text: c.want}, got.Outputs["sum"]); diff != "" {
			t.Errorf("%s %q: %s", c.typ, c.content, diff)
		}
	}
}

// Today's App Engine leaves defaults to its web page.
func TestCompatDefaults(t *testing.T) {
	for option, want := range map[string]string{"": "task-run-provisions-not-found not provisioned", ", optional: true": ""} {
		tk := compat(t, withInput(t, "n: {display_name: N, description: x, type: integer, default: 3"+option+"}"))
		v, err := task.Bind(tk, task.Request{})
		if err != nil {
			t.Fatal(err)
		}
		x, err := cytomine.New().Prepare(tk, task.ImageFacts{}, v)
		if problem(t, err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err == nil && len(x.Mounts[0].Files) > 0 {
			t.Errorf("got %v", x.Mounts[0].Files)
		}
	}
}

// Release 0.1.0 had a type of its own for slides.
func TestLegacySlides(t *testing.T) {
	for typ, want := range map[string][]string{"wsi": {"wsidicom"}, "{id: wsi, formats: [dicom, wsidicom]}": {"dicom", "wsidicom"}} {
		src := described(t, withInput(t, "n: {display_name: N, description: x, type: "+typ+"}"))
		tk, findings := cytomine.New().Load(src, contract.Options{Legacy: true})
		if len(findings) != 1 || findings[0].Rule != "CYT023" {
			t.Errorf("%s: got %v", typ, said(findings))
			continue
		}
		if got := tk.Inputs()[0].Type; got.Kind != task.Image || !cmp.Equal(got.Formats, want) {
			t.Errorf("%s: got %+v", typ, got)
		}
		if _, findings := cytomine.New().Load(src, contract.Options{}); !task.HasErrors(findings) {
			t.Errorf("%s is accepted", typ)
		}
	}
}
