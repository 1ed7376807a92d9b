package kaapana_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// folder is a package of the given files.
func folder(files map[string]string) contract.Source {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return contract.Source{Given: "pkg", FS: fsys, Dir: "/nowhere/Mask Tools"}
}

// container is a folder with the file beside a Dockerfile.
func container(json string) contract.Source {
	return folder(map[string]string{"processing-container.json": json, "Dockerfile": "FROM busybox\nCOPY processing-container.json /\n"})
}

// image is an image of the given files.
type image struct {
	files map[string]string
	facts task.ImageFacts
}

func (i image) ReadFile(name string, limit int64) ([]byte, error) {
	text, ok := i.files[name]
	switch {
	case !ok:
		return nil, fs.ErrNotExist
	case text == "folder":
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	case int64(len(text)) > limit:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	return []byte(text), nil
}

func (i image) Facts() task.ImageFacts { return i.facts }

func carrying(json string) image {
	return image{files: map[string]string{"/processing-container.json": json}, facts: task.ImageFacts{Reference: "mask-tools:1.0"}}
}

// example is the minimal file of the reference: two templates, today's dialect with the seed's fields.
const example = `{
  "name": "mask-tools",
  "description": "Grow and measure binary masks",
  "api_version": 1,
  "templates": [
    {
      "identifier": "grow",
      "description": "Grows every mask by RADIUS voxels",
      "inputs": [
        {"name": "masks", "mounted_path": "/data/masks", "description": "<item>/*.nrrd",
         "scale_rule": {"scale_factor": 8, "type": "limit", "mode": "max_item_sum", "target_glob": "*.nrrd"}},
        {"name": "reference", "mounted_path": "/data/ref", "description": "<item>/*.nrrd"}
      ],
      "outputs": [{"name": "grown", "mounted_path": "/data/out", "description": "<item>/grown.nrrd"}],
      "env": [
        {"name": "RADIUS", "value": "2", "type": "int", "adjustable": true, "description": "Voxels"},
        {"name": "SHAPE", "value": "ball", "choices": ["ball", "cube"], "description": "Structuring element"},
        {"name": "LICENCE", "value": "research", "adjustable": false, "description": "Fixed"}
      ],
      "command": ["/bin/sh", "/app/grow.sh"],
      "resources": {"limits": {"memory": "500Mi", "cpu": "2"}, "requests": {"memory": "100Mi"}}
    },
    {
      "identifier": "measure",
      "description": "Prints the volume of every mask",
      "inputs": [{"name": "masks", "mounted_path": "/data/masks", "description": "<item>/*.nrrd"}],
      "outputs": [],
      "env": []
    }
  ]
}`

func load(t *testing.T, src contract.Source, variant string) (*task.Task, []task.Finding) {
	t.Helper()
	return kaapana.New().Load(src, contract.Options{Variant: variant})
}

// loaded loads what must be without errors.
func loaded(t *testing.T, src contract.Source, variant string) *task.Task {
	t.Helper()
	got, findings := load(t, src, variant)
	if task.HasErrors(findings) || got == nil {
		t.Fatalf("findings: %v", findings)
	}
	return got
}

func TestLoadTemplate(t *testing.T) {
	got := loaded(t, container(example), "grow")
	got.Detail = nil
	value := func(s string) *task.Value { return &task.Value{Text: s} }
	dir := task.Type{Kind: task.Directory}
	place := func(name string) task.Place { return task.Place{Kind: task.PlaceEnv, Name: name} }
	mount := func(p string) task.Place { return task.Place{Kind: task.PlaceFolder, Path: p} }
	want := &task.Task{
		Contract: "kaapana", Dialect: "older elements: env type, adjustable", Name: "mask-tools", Variant: "grow",
		Description: "Grows every mask by RADIUS voxels", Exchange: task.Files,
		Variants: []task.Variant{{Name: "grow", Description: "Grows every mask by RADIUS voxels"}, {Name: "measure", Description: "Prints the volume of every mask"}},
		Image:    task.ImageSource{Kind: task.ImageBuild, Name: "mask-tools:latest", Context: "/nowhere/Mask Tools", Dockerfile: "Dockerfile", LocalBases: []string{"local-only/"}},
		Notes:    []string{"scale rule on input masks: 8 × max_item_sum of *.nrrd, as limit of memory"},
		Resources: task.Resources{
			CPU: 2000, Memory: 500 << 20, MinMemory: 100 << 20,
		},
		Parameters: []task.Parameter{
			{Name: "masks", Direction: task.Input, Aliases: []string{"input.masks"}, Description: "<item>/*.nrrd", Type: dir, Place: mount("/data/masks")},
			{Name: "reference", Direction: task.Input, Aliases: []string{"input.reference"}, Description: "<item>/*.nrrd", Type: dir, Place: mount("/data/ref")},
			{Name: "RADIUS", Direction: task.Input, Aliases: []string{"env.RADIUS"}, Description: "Voxels", Optional: true, Default: value("2"), Type: task.Type{Kind: task.Integer, Verbatim: true}, Place: place("RADIUS")},
			{Name: "SHAPE", Direction: task.Input, Aliases: []string{"env.SHAPE"}, Description: "Structuring element", Optional: true, Default: value("ball"), Type: task.Type{Kind: task.Enumeration, Verbatim: true, Choices: []string{"ball", "cube"}}, Place: place("SHAPE")},
			{Name: "LICENCE", Direction: task.Input, Aliases: []string{"env.LICENCE"}, Description: "Fixed", Optional: true, Fixed: true, Default: value("research"), Type: task.Type{Kind: task.String, Verbatim: true}, Place: place("LICENCE")},
			{Name: "grown", Direction: task.Output, Aliases: []string{"output.grown"}, Description: "<item>/grown.nrrd", Type: dir, Place: mount("/data/out")},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadVariants(t *testing.T) {
	got := loaded(t, container(example), "")
	if got.Variant != "" || len(got.Variants) != 2 || len(got.Parameters) != 0 {
		t.Errorf("several templates and none chosen: %+v", got)
	}
	got, findings := load(t, container(example), "grwo")
	if got == nil || got.Variant != "" {
		t.Fatalf("an unknown template keeps the task for showing: %+v", got)
	}
	f := find(findings, "template-unknown")
	if f == nil || f.What != "Template `grwo` not found in processing-container.json. It has grow, measure." || f.Mend != "did you mean `grow`?" {
		t.Errorf("got %+v", f)
	}
	single := strings.Replace(example, `"identifier": "measure"`, `"identifier": "grow"`, 1)
	if got := loaded(t, container(single), ""); got.Variant != "grow" {
		t.Errorf("one template is taken by default, got %q", got.Variant)
	}
}

func find(fs []task.Finding, rule string) *task.Finding {
	for i := range fs {
		if fs[i].Rule == rule {
			return &fs[i]
		}
	}
	return nil
}

const flat = `{
  "name": "old", "description": "An old one",
  "inputs": [{"name": "in", "mounted_path": "/in", "description": "d", "scale_rule": {"complexity": "50*n**1", "type": "limit", "mode": "sum"}}],
  "outputs": [], "env": [{"name": "A", "value": "x", "type": "string", "adjustable": true}],
  "command": ["true"]
}`

func TestLoadDialects(t *testing.T) {
	got, findings := load(t, container(flat), "")
	if task.HasErrors(findings) || got.Variant != "default" || got.Description != "An old one" {
		t.Fatalf("%+v %v", got, findings)
	}
	notes := 0
	for _, f := range findings {
		if f.Rule == "dialect" && f.Severity == task.SeverityNote {
			notes++
		}
	}
	if notes != 4 {
		t.Errorf("%d dialect notices, want flat, complexity, type and adjustable: %v", notes, findings)
	}
	if got.Dialect != "older elements: no templates, complexity, env type, adjustable" {
		t.Errorf("dialect %q", got.Dialect)
	}
	empty := `{"name": "n", "description": "d", "templates": [{"identifier": "x", "description": "d", "inputs": [], "outputs": [], "env": [], "command": ["true"]}]}`
	if got := loaded(t, container(empty), ""); got.Variant != "x" || got.Dialect != "today" {
		t.Errorf("%+v", got)
	}
}

func TestLoadPlaces(t *testing.T) {
	inFiles := folder(map[string]string{
		"files/processing-container.json": example,
		"Dockerfile":                      "FROM busybox\nLABEL IMAGE=\"My Tools\"\nLABEL VERSION=\"2.1\"\nCOPY files/processing-container.json /processing-container.json\n",
	})
	got, findings := load(t, inFiles, "")
	if got.Image.Name != "my-tools:2.1" || got.Version != "2.1" || find(findings, "file-not-copied") != nil {
		t.Errorf("%+v %v", got.Image, findings)
	}
	for name, ok := range map[string]bool{
		"COPY . /":               false,
		"COPY files /":           true,
		"COPY files/*.json /":    true,
		"ADD files/ ./":          true,
		"COPY --from=other /x /": true,
		"WORKDIR /\nCOPY files/processing-container.json .\nWORKDIR /app":               true,
		"WORKDIR /app\nCOPY files/processing-container.json .\nWORKDIR /":               false,
		"WORKDIR /app\nWORKDIR ..\nCOPY files/processing-container.json .\nWORKDIR app": true,
		"COPY files /app/\nRUN mv /app/processing-container.json /":                     true,
		"COPY files /app/\nRUN ln -s app/processing-container.json /":                   true,
		"COPY files /app/\nRUN <<EOF\ncp -r /app/. /\nEOF":                              true,
		"COPY files /app/\nRUN pip install /app":                                        false,
		"COPY <<EOF /processing-container.json\n{}\nEOF":                                true,
		"ADD files.tar.gz /":                         true,
		"COPY files/processing-container.json /app/": false,
		"COPY Dockerfile /":                          false,
	} {
		src := folder(map[string]string{"files/processing-container.json": example, "Dockerfile": "FROM busybox AS other\nFROM busybox\n" + name + "\n"})
		_, findings := load(t, src, "")
		if got := find(findings, "file-not-copied") == nil; got != ok {
			t.Errorf("%s: copied %v, want %v", name, got, ok)
		}
	}
}

func TestLoadImage(t *testing.T) {
	img := carrying(example)
	img.files["/bin/sh"] = "#!"
	got, findings := load(t, contract.Source{Image: img}, "grow")
	if task.HasErrors(findings) || got.Image.Name != "mask-tools:1.0" || got.Image.Kind != task.ImageReference {
		t.Errorf("%+v %v", got.Image, findings)
	}
	for files, rule := range map[string]string{"": "file-missing", "folder": "file-kind", "{": "json-syntax"} {
		img := carrying(files)
		if files == "" {
			img = image{}
		}
		got, findings := load(t, contract.Source{Image: img}, "")
		if got != nil || find(findings, rule) == nil {
			t.Errorf("%q: %+v %v, want %s", files, got, findings, rule)
		}
	}
}

func TestRecognise(t *testing.T) {
	taskJSON := `{"name": "t", "image": "x:1", "taskTemplate": "grow"}`
	for _, c := range []struct {
		name string
		src  contract.Source
		want contract.Certainty
	}{
		{"beside the Dockerfile", container(example), contract.Certain},
		{"in files", folder(map[string]string{"files/processing-container.json": example}), contract.Certain},
		{"flat", container(flat), contract.Likely},
		{"broken", container("{"), contract.Likely},
		{"task", folder(map[string]string{"task.json": taskJSON}), contract.Certain},
		{"flat task", folder(map[string]string{"task.json": `{"name":"t","image":"x","inputs":[{"name":"a","input":{"local_path":"x"}}]}`}), contract.Certain},
		{"jinja outside strings", folder(map[string]string{"task.json": `{"name": {{ env.X | tojson }}, "image": "x:1", "taskTemplate": "g"}`}), contract.Certain},
		{"a folder of that name", folder(map[string]string{"processing-container.json/x": ""}), contract.Likely},
		{"workflow", folder(map[string]string{"processing-containers/a/files/processing-container.json": example}), contract.Likely},
		{"nothing", folder(map[string]string{"Dockerfile": "FROM busybox", "task.json": `{"image":"x"}`}), contract.No},
		{"image", contract.Source{Image: carrying(example)}, contract.Certain},
		{"other image", contract.Source{Image: image{}}, contract.No},
		{"no tree", contract.Source{}, contract.No},
		{"named", contract.Source{FS: folder(map[string]string{"x/pc.json": example}).FS, File: "x/pc.json"}, contract.Certain},
	} {
		got := kaapana.New().Recognise(c.src)
		if got.Certainty != c.want || (got.Evidence == "") != (c.want == contract.No) {
			t.Errorf("%s: %+v, want %d", c.name, got, c.want)
		}
	}
}

func TestCheckImage(t *testing.T) {
	src := container(example)
	checker := kaapana.New().(contract.ImageChecker)
	grow := loaded(t, src, "grow")

	img := carrying(example)
	img.files["/bin/sh"] = "#!"
	got, findings := checker.CheckImage(grow, src, img)
	if got != grow || len(findings) != 0 {
		t.Errorf("the same file: %v", findings)
	}

	other := carrying(strings.Replace(example, `"/data/out"`, `"/data/elsewhere"`, 1))
	got, findings = checker.CheckImage(grow, src, other)
	if find(findings, "file-differs") == nil || task.HasErrors(findings) || got.Variant != "grow" || got.Image.Kind != task.ImageBuild {
		t.Errorf("%+v %v", got, findings)
	}
	if p := got.Parameter(task.Output, "grown"); p == nil || p.Place.Path != "/data/elsewhere" {
		t.Errorf("the image's copy counts, got %+v", p)
	}
	if find(findings, "command-not-found") == nil {
		t.Errorf("no /bin/sh in the image: %v", findings)
	}

	// A template outside is text inside: the same file all the same, whose text is not rendered.
	const jinja = `"Grow {{ env.X }}`
	text := strings.Replace(example, `"Grow`, jinja, 1)
	src2 := container(text)
	if got, findings = checker.CheckImage(loaded(t, src2, "grow"), src2, carrying(text)); find(findings, "file-differs") != nil || find(findings, "jinja-in-image") == nil || text == example {
		t.Errorf("%+v %v", got, findings)
	}

	// An image that was named itself was read by Load.
	if got, findings = checker.CheckImage(grow, contract.Source{Image: other}, other); got != grow || len(findings) != 0 {
		t.Errorf("%+v %v", got, findings)
	}

	_, findings = checker.CheckImage(grow, src, image{})
	if f := find(findings, "file-not-copied"); f == nil || f.What != "The image has no /processing-container.json; the folder has processing-container.json." || f.Severity != task.SeverityError {
		t.Errorf("%v", findings)
	}
	_, findings = checker.CheckImage(grow, src, carrying("folder"))
	if find(findings, "file-kind") == nil {
		t.Errorf("%v", findings)
	}

	entered := folder(map[string]string{"processing-container.json": example, "Dockerfile": "FROM busybox\nENTRYPOINT [\"/entry\"]\nCOPY processing-container.json /\n"})
	if _, findings = load(t, entered, "grow"); find(findings, "command-entrypoint") == nil || find(findings, "command-entrypoint").Position() != "Dockerfile:1" {
		t.Errorf("%v", findings)
	}
	if _, findings = load(t, entered, "measure"); find(findings, "command-entrypoint") != nil {
		t.Errorf("a template without a command: %v", findings)
	}
	entry := carrying(example)
	entry.files["/bin/sh"] = "#!"
	entry.facts.Entrypoint = []string{"/entry"}
	if _, findings = checker.CheckImage(grow, src, entry); find(findings, "command-entrypoint") == nil {
		t.Errorf("%v", findings)
	}
	gone := carrying(strings.Replace(example, `"identifier": "grow"`, `"identifier": "expand"`, 1))
	if _, findings = checker.CheckImage(grow, src, gone); find(findings, "template-unknown") == nil {
		t.Errorf("%v", findings)
	}
}

// Every file of the scaffold and the examples loads without errors or warnings.
func TestScaffold(t *testing.T) {
	files, err := kaapana.New().(contract.Scaffolder).Scaffold("Text Tools", "")
	must(t, err)
	got, findings := load(t, folder(files), "count")
	for _, f := range findings {
		if f.Severity != task.SeverityNote {
			t.Error(f)
		}
	}
	if got.Image.Name != "text-tools:0.1.0" || got.Name != "text-tools" {
		t.Errorf("%+v", got)
	}
	for name, text := range files {
		if strings.Contains(text, "NAME") && path.Ext(name) == ".json" {
			t.Errorf("%s still says NAME", name)
		}
	}
}

// A link in the place of the file is followed inside the package only, and is said to be one.
func TestLinkedFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "beside.json"), flat)
	writeFile(t, filepath.Join(dir, "pkg/real/pc.json"), flat)
	root, err := os.OpenRoot(filepath.Join(dir, "pkg"))
	must(t, err)
	t.Cleanup(func() { root.Close() })
	src := contract.Source{FS: root.FS(), Dir: root.Name()}
	for target, ok := range map[string]bool{"real/pc.json": true, "../beside.json": false, "/etc/passwd": false} {
		must(t, os.Symlink(target, filepath.Join(root.Name(), "processing-container.json")))
		_, findings := kaapana.New().Load(src, contract.Options{})
		f := find(findings, "file-kind")
		if r := kaapana.New().Recognise(src); r.Certainty < contract.Likely || (f == nil) != ok || !ok && !strings.Contains(f.What, "a link that leads out of the package") {
			t.Errorf("%s: %+v %v", target, r, findings)
		}
		must(t, os.Remove(filepath.Join(root.Name(), "processing-container.json")))
	}
	// An image's archive holds the words of the file, and is none.
	writeFile(t, filepath.Join(root.Name(), "image.tar"), "processing-container.json\x00\x00"+flat)
	src.File = "image.tar"
	if r := kaapana.New().Recognise(src); r.Certainty != contract.No {
		t.Errorf("an archive: %+v", r)
	}
}
