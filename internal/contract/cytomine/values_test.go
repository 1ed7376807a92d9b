package cytomine_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/contract/cytomine"
	"longshore/internal/task"
)

func TestMemoryAmounts(t *testing.T) {
	for _, c := range []struct {
		text string
		want task.Bytes // -1 for invalid
	}{
		{"4kB", 4000}, {"3KiB", 3072}, {"2.5 MiB", 2621440}, {"7GByte", 7000000000}, {"0kB", 0},
		{"16kb", 2000}, {"8Mibit", 1048576}, {"24 kbit", 3000},
		{"0.3KiB", 308}, {"1.01kb", 127}, {"2.25455 Kib", 289}, {"100Mi", 104857600}, {"64 k", 64000}, {"40QB", math.MaxInt64},
		{"12", -1}, {"MB", -1}, {"1..5MB", -1}, {"5 M B", -1}, {"7KB", -1}, {"-1kB", -1}, {"01kB", -1}, {"3ZiBx", -1},
		{"1." + strings.Repeat("0", 200) + "k", -1},
	} {
		src := described(t, withInput(t, fmt.Sprintf("n: {display_name: N, description: x, type: {id: file, max_file_size: %q}}", c.text)))
		tk, findings := cytomine.New().Load(src, noOptions)
		if c.want < 0 {
			if !task.HasErrors(findings) {
				t.Errorf("%s is accepted as %d", c.text, *tk.Parameters[0].Type.MaxBytes)
			}
			continue
		}
		if task.HasErrors(findings) || *tk.Parameters[0].Type.MaxBytes != c.want {
			t.Errorf("%s: got %v, want %d", c.text, said(findings), c.want)
		}
	}
}

// typed loads a task whose input n and output sum have that type.
func typed(t testing.TB, typ string) *task.Task {
	t.Helper()
	s := changed(t, "description: the count, type: integer", "description: the count, type: "+typ, "description: the sum, type: number", "description: the sum, type: "+typ)
	return load(t, described(t, s))
}

// prepared binds and prepares a run with one input.
func prepared(t testing.TB, tk *task.Task, g task.Given) (*task.Execution, error) {
	t.Helper()
	v, err := task.Bind(tk, task.Request{Inputs: map[string]task.Given{"n": g}})
	if err != nil {
		return nil, err
	}
	return cytomine.New().Prepare(tk, task.ImageFacts{}, v)
}

// direct prepares a run with one input that nothing else has checked.
func direct(t testing.TB, tk *task.Task, v task.Value) (*task.Execution, error) {
	t.Helper()
	return cytomine.New().Prepare(tk, task.ImageFacts{}, task.Values{Inputs: map[string]task.Value{"n": v}})
}

// problem is the rule and text of the only finding.
func problem(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*task.Error](err)
	if !ok || e.Code != task.ReasonInput || len(e.Findings) != 1 {
		t.Fatalf("got %#v", err)
	}
	return strings.TrimPrefix(e.Findings[0].Rule, "APPE-internal-") + " " + strings.TrimPrefix(e.Findings[0].What, `input "n": `)
}

const value = "request-validation-error "

func TestConstraints(t *testing.T) {
	const (
		gt   = value + "value must be greater than defined constraint"
		geq  = value + "value must be greater than or equal to define constraint"
		lt   = value + "value must be less than defined constraint"
		leq  = value + "value must be less than or equal to defined constraint"
		inf  = value + "value cannot be infinity"
		nan  = value + "value cannot be nan"
		no   = value + "value does not match defined constraint."
		kind = value + "invalid parameter type"
	)
	both := "infinity_allowed: true, nan_allowed: true"
	times := `{id: datetime, after: "2024-01-01T00:00:00Z", before: "2024-12-31T00:00:00Z"}`
	for _, c := range []struct{ typ, value, want string }{
		{"{id: integer, lt: 10}", "10", lt}, {"{id: integer, lt: 10}", "9", ""},
		{"{id: integer, leq: 10}", "11", leq}, {"{id: integer, leq: 10}", "10", ""},
		{"{id: integer, gt: 3}", "3", gt}, {"{id: integer, gt: 3}", "4", ""},
		{"{id: integer, geq: 3}", "2", geq}, {"{id: integer, geq: 3}", "3", ""},
		{"{id: integer, gt: 1, geq: 5}", "0", gt}, {"{id: integer, gt: 1, geq: 5}", "3", geq},
		{"integer", "9223372036854775807", ""}, {"integer", "9223372036854775808", kind}, {"integer", "x", kind},
		{"{id: number, geq: 0, leq: 1}", "-0.01", geq}, {"{id: number, geq: 0, leq: 1}", "1.0001", leq}, {"{id: number, geq: 0, leq: 1}", "1", ""},
		{"number", "NaN", nan}, {"number", "Infinity", inf}, {"number", "-Infinity", inf},
		{"{id: number, " + both + "}", "NaN", ""}, {"{id: number, " + both + "}", "Infinity", ""}, {"{id: number, " + both + "}", "-Infinity", ""},
		{"{id: number, leq: 5, " + both + "}", "Infinity", leq}, {"{id: number, leq: 5, " + both + "}", "NaN", ""},
		{"{id: number, gt: 5, " + both + "}", "-Infinity", gt}, {"{id: number, lt: 5, " + both + "}", "Infinity", lt},
		{"{id: number, geq: 5, " + both + "}", "-Infinity", geq},
		{"{id: string, min_length: 2, max_length: 4}", "a", gt}, {"{id: string, min_length: 2, max_length: 4}", "abcde", geq},
		{"{id: string, min_length: 2, max_length: 4}", "äöüß", ""},
		{"{id: enumeration, values: [red, green]}", "blue", no}, {"{id: enumeration, values: [red, green]}", "Red", no},
		{"{id: enumeration, values: [red, green]}", "green", ""}, {"{id: enumeration, values: [red, green]}", "a\nb", gt},
		{times, "2023-06-01T00:00:00Z", value + "date must be after the defined constraint"},
		{times, "2025-01-01T00:00:00Z", value + "date must be before the defined constraint"},
		{times, "2024-01-01T01:00:00+01:00", ""}, {times, "yesterday", kind},
		{"datetime", "2024-02-23T1:00:00Z", kind}, {"datetime", "2024-02-23T18:00:00,5Z", kind}, {"datetime", "2024-02-23T18:00:00.1234567890Z", kind},
		{"boolean", "1", no}, {"boolean", "false", ""},
	} {
		if _, err := direct(t, typed(t, c.typ), task.Value{Text: c.value}); problem(t, err) != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.typ, c.value, problem(t, err), c.want)
		}
	}
}

func TestGeometries(t *testing.T) {
	const (
		parse   = "failed to parse the given GeoJSON object"
		invalid = "invalid GeoJSON object"
		kind    = "unsupported geometry type"
	)
	polygon := func(rings string) string { return `{"type":"Polygon","coordinates":[` + rings + `]}` }
	multi := func(p string) string { return `{"type":"MultiPolygon","coordinates":[` + p + `]}` }
	feature := func(g, p string) string {
		return `{"type":"Feature","geometry":` + g + `,"properties":` + p + `}`
	}
	point := `{"type":"Point","coordinates":[1.0,2.0]}`
	shell := "[[0,0],[10,0],[10,10],[0,10],[0,0]]"
	tk := typed(t, "geometry")
	for _, c := range []struct{ document, want string }{
		{point, ""},
		{`{"type":"MultiPoint","coordinates":[[1,2],[3,4,5]]}`, ""},
		{`{"type":"LineString","coordinates":[[1,2],[3,4]]}`, ""},
		{`{"type":"LineString","coordinates":[[0,0],[2,2],[2,0],[0,2]]}`, ""},
		{`{"type":"MultiLineString","coordinates":[[[1,2],[3,4]]]}`, ""},
		{polygon(shell), ""},
		{multi("[" + shell + "]"), ""},
		{polygon(""), ""},
		{polygon(shell + ",[[2,2],[4,2],[4,4],[2,2]]"), ""},
		{polygon(shell + ",[[0,5],[4,2],[4,4],[0,5]]"), ""},
		{polygon("[[0.1,0.1],[0.3,0.3],[0.3,0.1],[0.1,0.1]]"), ""},
		{polygon("[[0,0],[0,0],[10,0],[10,10],[10,10],[0,0]]"), ""},
		{multi("[" + shell + "],[[[10,2],[20,2],[10,8],[10,2]]]"), invalid}, // shares a stretch of a side
		{multi("[" + shell + "],[[[10,10],[20,10],[20,20],[10,10]]]"), ""},
		{multi("[" + shell + "],[[[2,2],[4,2],[4,4],[2,2]]]"), invalid},
		{multi("[" + shell + ",[[1,1],[9,1],[9,9],[1,9],[1,1]]],[[[2,2],[4,2],[4,4],[2,2]]]"), ""},
		{feature(point, "{}"), ""}, {feature(point, "null"), ""}, {`{"type":"Feature","geometry":` + point + `}`, ""},
		{feature(point, `{"subType":"Circle","radius":100}`), ""},
		{feature(point, `{"subType":"Circle"}`), "missing radius parameter"},
		{feature(point, `{"subType":"Circle","radius":null}`), "missing radius parameter"},
		{feature(point, `{"subType":"Ellipse"}`), "unsupported geometry subtype"},
		{feature(point, `{"label":"x"}`), ""},
		{feature(polygon("[[5,25],[14,25],[14,29],[5,29],[5,25]]"), `{"subType":"Rectangle"}`), ""},
		{polygon("[[0,0],[2,2],[2,0],[0,2],[0,0]]"), invalid},
		{polygon("[[0,0],[2,0],[1,0],[0,0]]"), invalid},
		{polygon("[[0,0],[10,0],[10,10],[5,0],[0,10],[0,0]]"), invalid},
		{polygon(shell + ",[[20,20],[24,20],[24,24],[20,20]]"), invalid},
		{polygon(shell + ",[[2,2],[40,2],[4,4],[2,2]]"), invalid},
		{polygon(shell + ",[[1,1],[9,1],[9,9],[1,1]],[[6,2],[7,2],[7,3],[6,2]]"), invalid},
		{polygon(shell + ",[[0,5],[5,2],[10,5],[5,8],[0,5]]"), invalid},
		{polygon("[[0,0],[1e308,0],[1e308,1e308],[0,0]]"), ""},
		{`{"type":"LineString","coordinates":[[1,2],[1,2]]}`, invalid},
		{`{"type":"GeometryCollection","geometries":[` + point + `]}`, kind},
		{`{"type":"FeatureCollection","features":[]}`, kind},
		{"not json", parse}, {polygon("[[0,0],[10,0],[10,10],[0,10]]"), parse}, {polygon("[[0,0],[1,1],[0,0]]"), parse},
		{`{"type":"Point","coordinates":[1]}`, parse}, {`{"type":"Point","coordinates":[1,"2"]}`, parse}, {`{"type":"Point","coordinates":[1,null]}`, parse},
		{`{"type":"Point"}`, parse}, {`{"type":"Circle"}`, parse}, {`{"type":"Feature"}`, parse}, {`{"type":"LineString","coordinates":[[1,2]]}`, parse},
		{`{"Type":"Point","coordinates":[1,2]}`, parse}, {`{"type":"Point","Coordinates":[1,2]}`, parse}, {`{"type":"Point","coordinates":[1,2]} x`, parse},
		{"null", parse}, {"[]", parse}, {`{"type":"Point","coordinates":[1e999,2]}`, parse},
		{strings.Repeat(`{"type":"GeometryCollection","geometries":[`, 200) + strings.Repeat("]}", 200), parse},
	} {
		_, err := direct(t, tk, task.Value{Text: c.document})
		if got := strings.TrimPrefix(problem(t, err), value); got != c.want {
			t.Errorf("%s: got %q, want %q", c.document, got, c.want)
		}
	}
}

// A hostile polygon must not keep the check busy: every side lies over every other.
func TestGeometryIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"type":"Polygon","coordinates":[[`)
	const n = 60_000
	for i := range n {
		fmt.Fprintf(&b, "[%d,%d],", i%2*1000000, i)
	}
	b.WriteString("[-1,0],[0,0]]]}")
	if _, err := direct(t, typed(t, "geometry"), task.Value{Text: b.String()}); err != nil && !strings.Contains(err.Error(), "invalid GeoJSON") {
		t.Error(err)
	}
}

func pngOf(t testing.TB, w, h int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func jpegOf(t testing.TB, w, h int) string {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tiffOf is a TIFF directory of short tags.
func tiffOf(order binary.AppendByteOrder, big bool, tags ...uint16) string {
	b := []byte("II")
	if order.String() == "BigEndian" {
		b = []byte("MM")
	}
	if !big {
		b = order.AppendUint32(order.AppendUint16(b, 42), 8)
		b = order.AppendUint16(b, uint16(len(tags)/2))
	} else {
		b = order.AppendUint64(order.AppendUint16(order.AppendUint16(order.AppendUint16(b, 43), 8), 0), 16)
		b = order.AppendUint64(b, uint64(len(tags)/2))
	}
	for i := 0; i < len(tags); i += 2 {
		b = order.AppendUint16(order.AppendUint16(b, tags[i]), 3)
		if !big {
			b = order.AppendUint16(order.AppendUint32(b, 1), tags[i+1])
			b = append(b, 0, 0)
		} else {
			b = order.AppendUint16(order.AppendUint64(b, 1), tags[i+1])
			b = append(b, 0, 0, 0, 0, 0, 0)
		}
	}
	return string(b)
}

// dicomOf is the beginning of a DICOM file, with a sequence without length before rows and columns.
func dicomOf(syntax string, columns, rows uint16) string {
	var order binary.AppendByteOrder = binary.LittleEndian
	b := append(make([]byte, 128), "DICM"...)
	value := syntax
	if len(value)%2 == 1 {
		value += "\x00"
	}
	b = order.AppendUint16(order.AppendUint16(b, 2), 0x10)
	b = append(order.AppendUint16(append(b, "UI"...), uint16(len(value))), value...)
	if syntax == "1.2.840.10008.1.2.2" {
		order = binary.BigEndian
	}
	implicit := syntax == "1.2.840.10008.1.2"
	head := func(group, element uint16, vr string, n uint32) {
		b = order.AppendUint16(order.AppendUint16(b, group), element)
		switch {
		case implicit || group == 0xfffe:
			b = order.AppendUint32(b, n)
		case vr == "SQ":
			b = order.AppendUint32(append(b, "SQ\x00\x00"...), n)
		default:
			b = order.AppendUint16(append(b, vr...), uint16(n))
		}
	}
	head(8, 0x1140, "SQ", math.MaxUint32)
	head(0xfffe, 0xe000, "", math.MaxUint32)
	head(0x28, 0x10, "US", 2)
	b = order.AppendUint16(b, 7)
	head(0xfffe, 0xe00d, "", 0)
	head(0xfffe, 0xe0dd, "", 0)
	head(0x28, 0x10, "US", 2)
	b = order.AppendUint16(b, rows)
	head(0x28, 0x11, "US", 2)
	b = order.AppendUint16(b, columns)
	head(0x7fe0, 0x10, "OB", 0)
	return string(b)
}

const explicit = "1.2.840.10008.1.2.1"

func TestImages(t *testing.T) {
	size := "max_width: 20, max_height: 10"
	dir := t.TempDir()
	slide := func(files map[string]string) string {
		at, err := os.MkdirTemp(dir, "slide")
		if err != nil {
			t.Fatal(err)
		}
		write(t, at, files)
		return at
	}
	zipped := func(names ...string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, n := range names {
			w, err := z.Create(n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(dicomOf(explicit, 20, 10))); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for i, c := range []struct{ options, content, folder, want string }{
		{"", "anything", "", ""},
		{"formats: [png]", pngOf(t, 9, 9), "", ""},
		{"formats: [png]", jpegOf(t, 9, 9), "", "invalid image format"},
		{"formats: [png]", "", "", "invalid image format"},
		{"formats: [tiff, jpeg]", jpegOf(t, 9, 9), "", ""},
		{"formats: [png], " + size, pngOf(t, 20, 10), "", ""},
		{"formats: [png], " + size, pngOf(t, 21, 11), "", "invalid image width"},
		{"formats: [png], " + size, pngOf(t, 20, 11), "", "invalid image height"},
		{"formats: [png], " + size, "\x89PNG\r\n\x1a\n", "", "invalid image dimension"},
		{size, pngOf(t, 21, 10), "", "invalid image width"},
		{size, jpegOf(t, 20, 11), "", "invalid image height"},
		{size, jpegOf(t, 20, 10)[:30], "", "invalid image dimension"},
		{size, "anything", "", "invalid image dimension"},
		{size, dicomOf(explicit, 20, 11), "", "invalid image height"},
		{size, dicomOf("1.2.840.10008.1.2", 21, 10), "", "invalid image width"},
		{size, dicomOf("1.2.840.10008.1.2.2", 21, 10), "", "invalid image width"},
		{size, dicomOf("1.2.840.10008.1.2", 20, 10), "", ""},
		{size, dicomOf("1.2.840.10008.1.2.1.99", 20, 10), "", "invalid image dimension"},
		{"formats: [tiff], " + size, tiffOf(binary.LittleEndian, false, 256, 20, 257, 10, 277, 3), "", ""},
		{"formats: [tiff], " + size, tiffOf(binary.BigEndian, true, 256, 21, 257, 10, 277, 3), "", "invalid image width"},
		{"formats: [tiff], " + size, tiffOf(binary.LittleEndian, true, 256, 20, 257, 10, 277, 3), "", ""},
		{"formats: [tiff]", tiffOf(binary.BigEndian, false, 256, 20, 257, 10), "", "invalid image"},
		{"formats: [tiff]", tiffOf(binary.BigEndian, false, 256, 20, 277, 3, 322, 9), "", "invalid image"},
		{"", tiffOf(binary.BigEndian, false, 256, 20, 257, 10), "", ""},
		{"max_file_size: 0.1kB, formats: [png]", pngOf(t, 9, 9) + strings.Repeat("x", 100), "", "invalid image size"},
		{"max_file_size: 0.1kB", strings.Repeat("x", 101), "", "invalid image size"},
		{"", "", slide(map[string]string{"a": dicomOf(explicit, 9, 9)}), ""},
		{"formats: [wsidicom], " + size, "", slide(map[string]string{"a": dicomOf(explicit, 20, 10), "b": dicomOf(explicit, 5, 5)}), ""},
		{"formats: [wsidicom], " + size, "", slide(map[string]string{"a": dicomOf(explicit, 20, 11)}), "invalid image height"},
		{"formats: [wsidicom]", "", slide(map[string]string{"a": dicomOf(explicit, 9, 9), "b": "x"}), "invalid image format"},
		{"formats: [wsidicom]", "", slide(map[string]string{"a/b": dicomOf(explicit, 9, 9)}), "invalid image format"},
		{"formats: [wsidicom]", "", slide(nil), "invalid image format"},
		{"formats: [png]", "", slide(map[string]string{"a": dicomOf(explicit, 9, 9)}), "invalid parameter type"},
		{"", zipped("a", "b"), "", ""},
		{"formats: [wsidicom], " + size, zipped("a"), "", ""},
		{"formats: [wsidicom], max_width: 19", zipped("a"), "", "invalid image width"},
		{"formats: [png]", zipped("a"), "", "invalid image format"},
		{"formats: [wsidicom]", zipped("top/a", "top/b"), "", ""},
		{"formats: [wsidicom]", zipped("top/a", "b"), "", "invalid image format"},
		{"formats: [wsidicom]", zipped("top/sub/a"), "", "invalid image format"},
		{"formats: [wsidicom]", zipped(), "", "invalid image format"},
		{"formats: [wsidicom]", "PK\x03\x04", "", "invalid image format"},
	} {
		tk := typed(t, strings.Replace("{id: image, "+c.options+"}", ", }", "}", 1))
		name := c.folder
		if name == "" {
			name = filepath.Join(dir, fmt.Sprint(i))
			write(t, dir, map[string]string{fmt.Sprint(i): c.content})
		}
		x, err := direct(t, tk, task.Value{Path: name})
		if got := strings.TrimPrefix(problem(t, err), value); got != c.want {
			t.Errorf("%d: %s: got %q, want %q", i, c.options, got, c.want)
		}
		if err != nil {
			continue
		}
		want := []task.File{{Path: "n", Source: name}}
		if strings.HasPrefix(c.content, "PK") {
			want = []task.File{{Path: "n/slide.zip", Source: name, UnpackZip: true, Flat: true}}
		}
		if diff := cmp.Diff(want, x.Mounts[0].Files); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"text": "grün\n", "zero": "a\x00b", "latin": "gr\xfcn", "cut": strings.Repeat("a", 4095) + "\xc3", "folder/": ""})
	for _, c := range []struct{ options, file, want string }{
		{"", "zero", ""}, {"formats: [text]", "text", ""}, {"formats: [text]", "zero", "invalid file format"}, {"formats: [text]", "latin", "invalid file format"},
		{"formats: [text]", "cut", "invalid file format"}, {"formats: [text, binary]", "zero", ""},
		{"max_file_size: 0.003k", "zero", ""}, {"max_file_size: 0.002k", "zero", "invalid file size"},
		{"", "folder", "invalid parameter type"}, {"", "absent", "invalid parameter type"},
	} {
		tk := typed(t, strings.Replace("{id: file, "+c.options+"}", ", }", "}", 1))
		_, err := direct(t, tk, task.Value{Path: filepath.Join(dir, c.file)})
		if got := strings.TrimPrefix(problem(t, err), value); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.options, c.file, got, c.want)
		}
	}
}

func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.bin": "x"})
	tk := load(t, described(t, changed(t, "n: {display_name: N, description: the count, type: integer}", `n: {display_name: N, description: x, type: integer}
  d: {display_name: N, description: x, type: number, default: 1.50}
  o: {display_name: N, description: x, type: string, optional: true}
  x: {display_name: N, description: x, type: {id: number, nan_allowed: true}}
  s: {display_name: N, description: x, type: string}
  f: {display_name: N, description: x, type: file}
  m: {display_name: N, description: x, type: {id: array, min_size: 1, max_size: 3, subtype: {id: array, min_size: 0, max_size: 3, subtype: integer}}}
  k: {display_name: N, description: x, type: {id: array, min_size: 1, max_size: 3, subtype: file}, dependencies: {matching: [inputs/m]}}`,
		"/inputs", "/data/in", "/outputs", "/data/out", "output_folder: /data/out", "output_folder: /data/out\n  resources: {ram: 1Gi, internet: true}")))
	v, err := task.Bind(tk, task.Request{Inputs: map[string]task.Given{
		"n": {JSON: []byte("5.0")}, "x": task.GivenText("nan"), "s": task.GivenText(" a\nb \n"), "f": {Path: filepath.Join(dir, "a.bin")},
		"m": task.GivenText("[[1, 2], []]"), "k": task.GivenText(`["@` + dir + `/a.bin", "@` + dir + `/a.bin"]`),
	}, Resources: task.Resources{CPU: 500}})
	if err != nil {
		t.Fatal(err)
	}
	x, err := cytomine.New().Prepare(tk, task.ImageFacts{}, v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a.bin")
	want := &task.Execution{
		Mounts: []task.Mount{
			{Name: "inputs", Target: "/data/in", Discard: true, Files: []task.File{
				{Path: "n", Text: "5"}, {Path: "d", Text: "1.50"}, {Path: "x", Text: "nan"}, {Path: "s", Text: " a\nb \n"}, {Path: "f", Source: file},
				{Path: "m/array.yml", Text: "size: 2"},
				{Path: "m/0/array.yml", Text: "size: 2"}, {Path: "m/0/0", Text: "1"}, {Path: "m/0/1", Text: "2"},
				{Path: "m/1/array.yml", Text: "size: 0"},
				{Path: "k/array.yml", Text: "size: 2"}, {Path: "k/0", Source: file}, {Path: "k/1", Source: file},
			}},
			{Name: "outputs", Target: "/data/out", Only: []string{"sum"}},
		},
		Resources: task.Resources{CPU: 500, Memory: 1 << 30},
		Network:   true,
		Notes:     []string{`input d: default "1.50"`},
		Detail:    []byte(`{"sizes":{"inputs/k":2,"inputs/m":2}}`),
	}
	if diff := cmp.Diff(want, x); diff != "" {
		t.Error(diff)
	}
}

func TestPrepareRefuses(t *testing.T) {
	array := "{id: array, min_size: 1, max_size: 2, subtype: {id: integer, geq: 1}}"
	tk := load(t, described(t, withInput(t, "n: {display_name: N, description: x, type: "+array+", dependencies: {matching: [inputs/p]}}\n  p: {display_name: N, description: x, type: "+array+", optional: true}\n  q: {display_name: N, description: x, type: integer}")))
	items := func(texts ...string) task.Value {
		v := task.Value{}
		for _, s := range texts {
			v.Items = append(v.Items, task.Value{Text: s})
		}
		return v
	}
	one := task.Value{Text: "1"}
	for _, c := range []struct {
		name string
		v    task.Values
		want []string
	}{
		{"nothing", task.Values{}, []string{`APPE-internal-task-run-provisions-not-found input "n": not provisioned`, `APPE-internal-task-run-provisions-not-found input "q": not provisioned`}},
		{"left out on purpose", task.Values{Inputs: map[string]task.Value{"n": items("1")}, Unbound: []string{"q"}}, nil},
		{"several", task.Values{Inputs: map[string]task.Value{"n": items("0", "1"), "q": {Text: "x"}}}, []string{
			`APPE-internal-request-validation-error input "n/0": value must be greater than or equal to define constraint`,
			`APPE-internal-request-validation-error input "q": invalid parameter type`,
		}},
		{"too many", task.Values{Inputs: map[string]task.Value{"n": items("1", "1", "1"), "q": one}}, []string{`APPE-internal-invalid-dimensions input "n": invalid collection dimensions`}},
		{"not matching", task.Values{Inputs: map[string]task.Value{"n": items("1"), "p": items("1", "1"), "q": one}}, []string{`APPE-internal-not-matching input "p": collections don't have the same size`}},
	} {
		_, err := cytomine.New().Prepare(tk, task.ImageFacts{}, c.v)
		var got []string
		if e, ok := errors.AsType[*task.Error](err); ok {
			if e.Code != task.ReasonInput {
				t.Errorf("%s: the code is %s", c.name, e.Code)
			}
			for _, f := range e.Findings {
				got = append(got, f.Rule+" "+f.What)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for name, v := range map[string]task.Values{
		"words": {Words: []string{"x"}}, "environment": {Env: []task.EnvVar{{Name: "A"}}}, "body": {Body: &task.Body{}},
	} {
		if _, err := cytomine.New().Prepare(tk, task.ImageFacts{}, v); task.CodeOf(err) != task.ReasonInput {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := cytomine.New().Prepare(&task.Task{Detail: []byte("x")}, task.ImageFacts{}, task.Values{}); task.CodeOf(err) != task.ReasonEngine {
		t.Errorf("got %v", err)
	}
}

// What Bind accepts from the command line, Prepare accepts too.
func TestBound(t *testing.T) {
	for typ, text := range map[string]string{
		"boolean": "yes", "{id: number, infinity_allowed: true}": "INF", "geometry": `{"type":"Point","coordinates":[1,2]}`,
		"datetime": "2024-02-23T18:00:00.123456789+01:00", "string": "",
	} {
		if _, err := prepared(t, typed(t, typ), task.GivenText(text)); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestGeometryCollections(t *testing.T) {
	tk := typed(t, "{id: array, min_size: 2, max_size: 2, subtype: geometry}")
	point, line := `{"type":"Point","coordinates":[1,2]}`, `{"type":"LineString","coordinates":[[1,2],[3,4]]}`
	want := []task.File{{Path: "n/array.yml", Text: "size: 2"}, {Path: "n/0", Text: point}, {Path: "n/1", Text: line}}
	features := `{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": ` + point + `}, {"type": "Feature", "geometry": ` + line + `, "properties": {}}]}`
	for _, text := range []string{"[" + point + ", " + line + "]", `{"type": "GeometryCollection", "geometries": [ ` + point + ", " + line + "]}", features} {
		x, err := prepared(t, tk, task.GivenText(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, x.Mounts[0].Files); diff != "" {
			t.Error(diff)
		}
	}
	quoted, err := prepared(t, tk, task.Given{JSON: []byte(fmt.Sprintf("%q", features))})
	if err != nil || len(quoted.Mounts[0].Files) != 3 {
		t.Errorf("got %v, %v", quoted, err)
	}
	if _, err := prepared(t, tk, task.GivenText(`{"type": "FeatureCollection", "features": [{}, {}]}`)); err == nil {
		t.Error("features without geometry are accepted")
	}
}
