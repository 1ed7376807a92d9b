package cytomine_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

// FuzzDescriptor holds that any descriptor is either refused or makes a task that can be prepared again from its own JSON.
func FuzzDescriptor(f *testing.F) {
	f.Add(base)
	f.Add("a: [")
	f.Add("inputs: {a: {type: {id: array, subtype: {id: array, subtype: wsi}}, default: .inf}}")
	f.Add("configuration: {resources: {ram: 1e9, cpus: 99999999999999999999, gpus: -0x10}}")
	f.Add("authors: [1, {}]\nexternal: 3\n1.0: {}\n")
	f.Fuzz(func(t *testing.T, descriptor string) {
		src := contract.Source{Given: "pkg", FS: fstest.MapFS{
			"descriptor.yml": {Data: []byte(descriptor)}, "image.tar": {Data: []byte("x")},
		}}
		cytomine.New().Recognise(src)
		tk, findings := cytomine.New().Load(src, contract.Options{})
		for _, x := range findings {
			if x.What == "" || x.Rule == "" || strings.Contains(x.What, "%!") {
				t.Errorf("bad finding %+v", x)
			}
		}
		if tk == nil {
			if !task.HasErrors(findings) {
				t.Error("there is neither a task nor an error")
			}
			return
		}
		for _, p := range tk.Parameters {
			if p.Default != nil && task.Check(p.Type, *p.Default) != nil {
				t.Errorf("the default of %s is not allowed by its type", p.Name)
			}
			_ = p.Type.Describe()
		}
		if _, err := cytomine.New().Prepare(tk, task.ImageFacts{}, task.Values{}); task.CodeOf(err) == task.ReasonEngine && err != nil {
			t.Error(err)
		}
	})
}

// FuzzBundle holds that no archive makes Load panic.
func FuzzBundle(f *testing.F) {
	read := func(src contract.Source) []byte {
		data, err := os.ReadFile(src.Archive)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	f.Add(read(bundle(f, member{name: "descriptor.yml", content: base}, member{name: "image.tar", content: imageTar(f, "a:b")})))
	f.Add(read(bundle(f, member{name: "../x", content: "x"}, member{name: "a", mode: os.ModeSymlink}, member{name: "a/", content: ""})))
	f.Fuzz(func(t *testing.T, data []byte) {
		src := archive(t, data)
		cytomine.New().Recognise(src)
		if tk, findings := cytomine.New().Load(src, contract.Options{}); tk == nil && !task.HasErrors(findings) {
			t.Error("there is neither a task nor an error")
		}
	})
}

// FuzzImageArchive holds that no image archive makes Load panic.
func FuzzImageArchive(f *testing.F) {
	f.Add(imageTar(f, "a:b"))
	f.Add(tarOf(f, map[string]string{"index.json": `{"manifests":[{"digest":"sha256:0"}]}`, "manifest.json": "[{}]"}))
	f.Add("\x1f\x8b\x08\x00")
	f.Fuzz(func(t *testing.T, data string) {
		src := contract.Source{FS: fstest.MapFS{"descriptor.yml": {Data: []byte(base)}, "image.tar": {Data: []byte(data)}}}
		cytomine.New().Load(src, contract.Options{})
	})
}

// FuzzGeometry holds that no document makes the checks panic or run for long.
func FuzzGeometry(f *testing.F) {
	f.Add(`{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]],[[2,2],[4,2],[4,4],[2,2]]]}`)
	f.Add(`{"type":"MultiPolygon","coordinates":[[[[0,0],[1e308,0],[0.1,0.3],[0,0]]],[]]}`)
	f.Add(`{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[null]},"properties":{"subType":"Circle"}}`)
	tk := typed(f, "geometry")
	f.Fuzz(func(t *testing.T, document string) {
		_, err := cytomine.New().Prepare(tk, task.ImageFacts{}, task.Values{Inputs: map[string]task.Value{"n": {Text: document}}})
		if err != nil && task.CodeOf(err) != task.ReasonInput {
			t.Error(err)
		}
	})
}

// FuzzOutput holds that nothing a container writes makes Collect panic: texts, images, arrays.
func FuzzOutput(f *testing.F) {
	f.Add("0x1f", "size: 1", "1")
	f.Add(tiffOf(binary.LittleEndian, true, 256, 20, 257, 10, 277, 3), "{size: [}", "")
	f.Add(dicomOf(explicit, 3, 4), "- 1", "\xff")
	f.Add(pngOf(f, 3, 3), "size: -1", "nan")
	types := []string{"integer", "number", "boolean", "datetime", "{id: image, max_width: 9, max_height: 9}", "{id: image, formats: [tiff, dicom]}", "{id: file, formats: [text]}"}
	var tasks []*task.Task
	for _, typ := range types {
		tasks = append(tasks, typed(f, typ))
	}
	array := typed(f, "{id: array, min_size: 0, max_size: 9, allow_missing: true, subtype: number}")
	f.Fuzz(func(t *testing.T, content, metadata, item string) {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a/sum": content, "b/sum/array.yml": metadata, "b/sum/0": item, "b/sum/7": item})
		for _, tk := range tasks {
			collectDir(t, tk, filepath.Join(dir, "a"), task.Exit{})
		}
		collectDir(t, array, filepath.Join(dir, "b"), task.Exit{})
	})
}
