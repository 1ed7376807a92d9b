package cytomine_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

const sidesTask = `n: {display_name: N, description: x, type: integer, optional: true}
  crop: {display_name: N, description: x, type: image, optional: true}
  crops: {display_name: N, description: x, type: {id: array, min_size: 0, max_size: 9, subtype: {id: array, min_size: 0, max_size: 9, subtype: file}}}`

func TestSideFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "x", "region": `{"type":"Point", "coordinates":[1,2]}`})
	file, region := filepath.Join(dir, "a"), filepath.Join(dir, "region")
	tk := load(t, described(t, withInput(t, sidesTask)))
	point := `{"type":"Point","coordinates":[1,2]}`
	for _, c := range []struct {
		name, side string
		given      task.Given
		want       []task.File
		problem    string
	}{
		{"from a file", "crop.geojson", task.Given{Path: region}, []task.File{{Path: "crop.geojson", Text: `{"type":"Point", "coordinates":[1,2]}`}}, ""},
		{"an object", "crop.geojson", task.Given{JSON: []byte(point)}, []task.File{{Path: "crop.geojson", Text: point}}, ""},
		{"text that holds one", "crop.geojson", task.Given{JSON: []byte(`"{\"type\":\"Point\"}"`)}, []task.File{{Path: "crop.geojson", Text: `{"type":"Point"}`}}, ""},
		{"of an item", "crops/0/1.geojson", task.GivenText(point), []task.File{{Path: "crops/0/1.geojson", Text: point}}, ""},
		{"null", "crop.geojson", task.Given{JSON: []byte("null")}, nil, ""},
		{"beyond the items", "crops/0/2.geojson", task.GivenText(point), nil, "task-run-provisions-not-found"},
		{"of an inner array", "crops/0.geojson", task.GivenText(point), nil, "input-unknown"},
		{"of an integer", "n.geojson", task.GivenText(point), nil, "input-unknown"},
		{"another name", "cropp", task.GivenText("x"), nil, "input-unknown"},
		{"leaves", "crop/../../x.geojson", task.GivenText(point), nil, "input-unknown"},
		{"no JSON", "crop.geojson", task.GivenText("x"), nil, "request-validation-error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := task.Bind(tk, task.Request{Inputs: map[string]task.Given{
				"crop": {Path: file}, "crops": task.GivenText(`[["@` + file + `", "@` + file + `"]]`), c.side: c.given,
			}})
			if err != nil {
				t.Fatal(err)
			}
			x, err := cytomine.New().Prepare(tk, task.ImageFacts{}, v)
			if c.problem != "" {
				if got := problem(t, err); !strings.HasPrefix(got, c.problem+" ") {
					t.Errorf("got %v, want %s", err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []task.File
			for _, f := range x.Mounts[0].Files {
				if filepath.Ext(f.Path) == ".geojson" {
					got = append(got, f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, err := cytomine.New().Prepare(tk, task.ImageFacts{}, task.Values{
		Inputs: map[string]task.Value{"crops": {Items: []task.Value{}}}, Free: []task.FreeValue{{Name: "crop.geojson", JSON: []byte(point)}},
	})
	if got := problem(t, err); !strings.HasPrefix(got, "task-run-provisions-not-found ") {
		t.Error("a side file without its value is accepted")
	}
}

// The side files in inputs/ of the task page's local test belong to the example.
func TestExampleSides(t *testing.T) {
	src := folder(t, map[string]string{
		"descriptor.yml": withInput(t, sidesTask), "Dockerfile": recipe, "inputs/crop": "x", "inputs/crop.geojson": "{}",
		"inputs/crops/array.yml": "size: 1", "inputs/crops/0/array.yml": "size: 1", "inputs/crops/0/0": "x", "inputs/crops/0/0.geojson": "{}",
	})
	tk := load(t, src)
	examples, err := cytomine.New().Examples(src, tk)
	if err != nil || len(examples) != 1 || examples[0].Skip != "" {
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
	var got []string
	for _, f := range x.Mounts[0].Files {
		got = append(got, f.Path)
	}
	want := []string{"crop", "crops/array.yml", "crops/0/array.yml", "crops/0/0", "crop.geojson", "crops/0/0.geojson"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
