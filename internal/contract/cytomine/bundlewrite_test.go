package cytomine_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

// planned loads a package and plans its bundle.
func planned(t testing.TB, src contract.Source, layout string) *contract.Bundle {
	t.Helper()
	b, err := cytomine.New().Bundle(src, load(t, src), layout)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func written(t testing.TB, b *contract.Bundle, image string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := b.Write(&out, func(w io.Writer) error {
		_, err := io.WriteString(w, image)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBundleLayout(t *testing.T) {
	named := func(file string) string {
		return changed(t, "output_folder: /outputs", "output_folder: /outputs\n  image: {file: "+file+"}")
	}
	const today = "org.example.cells-1.2.3.tar"
	for _, c := range []struct {
		name, descriptor, layout, image string
		warnings                        int
	}{
		{"the descriptor names none", base, "", today, 0},
		{"the descriptor names today's", named("/" + today), "", today, 0},
		{"the descriptor names the seed's", named("/image.tar"), "", "image.tar", 1},
		{"without leading slash", named("image.tar"), "", "image.tar", 1},
		{"in a folder", named("/docker/x.tar"), "", "docker/x.tar", 1},
		{"seed", base, "seed", "image.tar", 1},
		{"seed, against the descriptor", named("/" + today), "seed", "image.tar", 2},
		{"today, against the descriptor", named("/image.tar"), "today", today, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := described(t, c.descriptor)
			b := planned(t, src, c.layout)
			if b.Image != c.image || b.ImageName != "org/example/cells:1.2.3" || b.File != "org.example.cells-1.2.3.zip" || len(b.Warnings) != c.warnings {
				t.Errorf("got %+v", b)
			}
			// What was written loads again, without an error, and the image is the one that was written.
			data := written(t, b, imageTar(t, b.ImageName))
			again := archive(t, data)
			if got := load(t, again).Image.Entry; got != c.image {
				t.Errorf("the image is %s, want %s", got, c.image)
			}
			if diff := cmp.Diff(data, written(t, b, imageTarAt(t, again, c.image))); diff != "" {
				t.Error("the same content gives other bytes")
			}
		})
	}
}

// imageTarAt reads an entry of a bundle.
func imageTarAt(t testing.TB, src contract.Source, name string) string {
	t.Helper()
	z, err := zip.OpenReader(src.Archive)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBundleEntries(t *testing.T) {
	src := folder(t, map[string]string{"Descriptor.YAML": base, "LOGO.png": "logo", "Dockerfile": recipe, "inputs/n": "1", "readme": "x"})
	b := planned(t, src, "")
	want := []string{"descriptor.yml", "logo.png", "org.example.cells-1.2.3.tar"}
	if diff := cmp.Diff(want, b.Entries); diff != "" {
		t.Error(diff)
	}
	data := written(t, b, imageTar(t, b.ImageName))
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range r.File {
		if f.Name != want[i] || f.Method != zip.Deflate || f.Mode().Perm() != 0o644 || f.Modified.Year() != 1980 {
			t.Errorf("entry %d is %+v", i, f.FileHeader)
		}
	}
	content, err := r.Open("descriptor.yml")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(content); err != nil || string(data) != base {
		t.Errorf("the descriptor is %q, %v", data, err)
	}
	// A bundle can be bundled again.
	again := planned(t, archive(t, data), "seed")
	if diff := cmp.Diff([]string{"descriptor.yml", "logo.png", "image.tar"}, again.Entries); diff != "" {
		t.Error(diff)
	}
}

func TestBundleRefuses(t *testing.T) {
	for _, file := range []string{"../x.tar", "//x.tar", "a//x.tar", "descriptor.yml", "Descriptor.yml", `a\x.tar`} {
		src := described(t, changed(t, "output_folder: /outputs", "output_folder: /outputs\n  image: {file: '"+file+"'}"))
		if _, err := cytomine.New().Bundle(src, load(t, src), ""); task.CodeOf(err) != task.CodePackage {
			t.Errorf("%s: got %v", file, err)
		}
	}
	src := described(t, base)
	b := planned(t, src, "")
	broken := errors.New("broken")
	if err := b.Write(io.Discard, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// A package without an image is valid when the image is given.
func TestGivenImage(t *testing.T) {
	src := folder(t, map[string]string{"descriptor.yml": base})
	tk, findings := cytomine.New().Load(src, contract.Options{Image: "busybox:latest"})
	want := task.ImageSource{Kind: task.ImageReference, Name: "busybox:latest"}
	if diff := cmp.Diff(want, tk.Image); diff != "" || len(findings) > 0 {
		t.Error(diff, said(findings))
	}
}

// What works here and not in today's App Engine is told, with the rule.
func TestTraps(t *testing.T) {
	input := func(rest string) string { return withInput(t, "n: {display_name: N, description: x, "+rest+"}") }
	output := func(rest string) string { return withOutput(t, "sum: {display_name: N, description: x, "+rest+"}") }
	array := func(subtype string) string {
		return "type: {id: array, min_size: 0, max_size: 3, subtype: " + subtype + "}"
	}
	for _, c := range []struct{ descriptor, want string }{
		{changed(t, "output_folder: /outputs", "output_folder: /outputs\n  resources: {ram: 2 GiB}"), "CYT023 configuration.resources.ram"},
		{changed(t, "output_folder: /outputs", "output_folder: /outputs\n  resources: {ram: 2Zi}"), "CYT023 configuration.resources.ram"},
		{input("type: {id: image, max_file_size: 2Mi}"), "CYT023 inputs.n.type.max_file_size"},
		{input("type: {id: file, max_file_size: 2MiB}"), "CYT034 inputs.n.type.max_file_size"},
		{input("type: {id: file, formats: [text]}"), "CYT034 inputs.n.type.formats"},
		{input("type: {id: integer, leq: 3000000000}"), "CYT023 inputs.n.type.leq"},
		{input("type: integer, default: -3000000000"), "CYT023 inputs.n.default"},
		{input("type: integer, default: 3, optional: true"), "CYT034 inputs.n.default"},
		{input(array("integer") + ", optional: true"), "CYT023 inputs.n:"},
		{input(array("string")), "CYT034 inputs.n:"},
		{output(array("{id: number, nan_allowed: true}")), "CYT023 outputs.sum:"},
		{output(array("{id: image, formats: [wsidicom]}")), "CYT023 outputs.sum:"},
	} {
		_, findings := cytomine.New().Load(described(t, c.descriptor), contract.Options{})
		lines := said(findings)
		if len(lines) != 1 || !strings.Contains(lines[0], c.want) {
			t.Errorf("got %v, want %s", lines, c.want)
		}
	}
	if _, findings := cytomine.New().Load(described(t, input("type: {id: integer, leq: 2147483647}, default: -5")), contract.Options{}); len(findings) > 0 {
		t.Errorf("got %v", said(findings))
	}
}
