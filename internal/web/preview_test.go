package web

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// dicomFile makes one: meta information, then what body writes.
func dicomFile(syntax string, body func(*bytes.Buffer)) []byte {
	var b bytes.Buffer
	b.Write(make([]byte, 128))
	b.WriteString("DICM")
	typedElement(&b, 0x0002, 0x0010, "UI", syntax)
	body(&b)
	return b.Bytes()
}

func put(b *bytes.Buffer, v any) { _ = binary.Write(b, binary.LittleEndian, v) } // a buffer takes everything

func even(s string) string {
	if len(s)%2 == 1 {
		return s + "\x00"
	}
	return s
}

func typedElement(b *bytes.Buffer, group, element uint16, vr, value string) {
	value = even(value)
	put(b, []uint16{group, element})
	b.WriteString(vr)
	put(b, uint16(len(value)))
	b.WriteString(value)
}

func TestDICOMHeader(t *testing.T) {
	explicit := dicomFile("1.2.840.10008.1.2.1", func(b *bytes.Buffer) {
		typedElement(b, 0x0008, 0x0060, "CS", "MR")
		typedElement(b, 0x0010, 0x0010, "PN", "Doe^Jane")
		typedElement(b, 0x0028, 0x0010, "US", "\x00\x02")
		put(b, []uint16{0x0040, 0x0275})
		b.WriteString("SQ\x00\x00")
		put(b, uint32(undefined))
		put(b, []uint16{0xFFFE, 0xE000})
		put(b, uint32(undefined))
		typedElement(b, 0x0008, 0x0050, "SH", "A1")
		put(b, []uint16{0xFFFE, 0xE00D, 0, 0, 0xFFFE, 0xE0DD, 0, 0})
		put(b, []uint16{0x7FE0, 0x0010})
		b.WriteString("OW\x00\x00")
		put(b, uint32(1<<31)) // the pixels are not in the head
	})
	implicit := dicomFile(implicitLittle, func(b *bytes.Buffer) {
		put(b, []uint16{0x0010, 0x0020})
		put(b, uint32(4))
		b.WriteString("P-7 ")
		put(b, []uint16{0x0028, 0x0011})
		put(b, uint32(2))
		put(b, uint16(640))
	})
	big := dicomFile(explicitBig, func(b *bytes.Buffer) { b.WriteString("\x00\x10\x00\x20LO\x00\x04P-7 ") })
	for name, c := range map[string]struct {
		file []byte
		want map[string]string
	}{
		"explicit": {explicit, map[string]string{"Modality": "MR", "Patient's Name": "Doe^Jane", "Rows": "512", "Accession Number": "A1"}},
		"implicit": {implicit, map[string]string{"Patient ID": "P-7", "Columns": "640"}},
		"big":      {big, map[string]string{"Transfer Syntax UID": explicitBig}},
	} {
		got := map[string]string{}
		for _, e := range dicomHeader(c.file) {
			got[e.Name] = e.Value
			if e.Tag == "(7fe0,0010)" {
				t.Errorf("%s: the pixels are shown", name)
			}
		}
		for tag, want := range c.want {
			if got[tag] != want {
				t.Errorf("%s: %s is %q, want %q", name, tag, got[tag], want)
			}
		}
	}
}

// FuzzPreviews feeds what containers could write to all that reads it.
func FuzzPreviews(f *testing.F) {
	f.Add([]byte(`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[1e308,5],[-1e308,2]]]},"properties":{"a":1}}`))
	f.Add([]byte(`[{"type":"Point","coordinates":[1,2]},{"type":"MultiPoint","coordinates":[[1],[2,3,4],null]}]`))
	f.Add([]byte("a,b\n1,2\n\"x"))
	f.Add(dicomFile(implicitLittle, func(b *bytes.Buffer) { b.WriteString("\x08\x00\x60\x00\xff\xff\xff\x7f") }))
	f.Add([]byte(strings.Repeat("[", 9000) + strings.Repeat("]", 9000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if isDICOM(data) {
			dicomHeader(data)
		}
		cut := true
		table(data, ',', &cut)
		if !json.Valid(data) {
			return
		}
		tree(data)
		b := previewer{looked: true}
		if d := b.draw(data); d != nil && len(d.Shapes) > maxShapes {
			t.Errorf("%d shapes", len(d.Shapes))
		}
	})
}

func TestDrawing(t *testing.T) {
	b := previewer{looked: true}
	d := b.draw([]byte(`{"type":"FeatureCollection","features":[
		{"type":"Feature","properties":{"name":"<b>"},"geometry":{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,20],[0,0]]]}},
		{"type":"Feature","properties":null,"geometry":{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[5,5]},{"type":"LineString","coordinates":[[1,1],[2,2]]}]}}]}`))
	want := []shape{{Path: "M0 0L10 0L10 20L0 0Z", Says: `{"name":"<b>"}`}, {X: 5, Y: 5}, {Path: "M1 1L2 2", Open: true}}
	if diff := cmp.Diff(want, d.Shapes); diff != "" {
		t.Error(diff)
	}
	if d.ViewBox != "-1 -1 12 22" {
		t.Errorf("the view is %s", d.ViewBox)
	}
	for _, none := range []string{`{"type":"Feature","geometry":null}`, `{"a":1}`, `[]`, `[1,2]`, `{"type":"Point","coordinates":["1","2"]}`, `{"type":"LineString","coordinates":[[-1e308,0],[1e308,0]]}`} {
		if b.draw([]byte(none)) != nil {
			t.Errorf("%s is drawn", none)
		}
	}
}

func TestTree(t *testing.T) {
	n := tree([]byte(`{"b":[1,12345678901234567890],"a":"x<y","n":null,"t":true}`))
	var got []string
	var walk func(n *node)
	walk = func(n *node) {
		got = append(got, n.Name+" "+n.Kind+" "+n.Value+n.Says)
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(n)
	want := []string{"  {4}", "b  [2]", "0 number 1", "1 number 12345678901234567890", `a string "x<y"`, "n null null", "t boolean true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cut := tree([]byte(`{"list":[1,2,{"a":"b`))
	if cut.Says != "{1…}" || cut.Children[0].Says != "[3…]" || len(cut.Children[0].Children) != 3 {
		t.Errorf("of a document that ends too early there is %+v", cut)
	}
	deep := tree([]byte(`{"deep":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"last":1}`))
	if deep.Says != "{2}" || len(deep.Children) != 2 {
		t.Errorf("what is deep hides what comes after it: %+v", deep)
	}
	many := tree([]byte("[" + strings.Repeat("0,", 5000) + "0]"))
	if !many.Cut || len(many.Children) != maxNodes || many.Says != "[5001]" {
		t.Errorf("of 5001 items %d are there (cut %v, %s)", len(many.Children), many.Cut, many.Says)
	}
}

func TestTable(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		cut  bool
		want [][]string
	}{
		"quoted":  {"a,b\n\"1,\n2\",3\n", false, [][]string{{"a", "b"}, {"1,\n2", "3"}}},
		"uneven":  {"a,b\n1\n", false, nil},
		"prose":   {"one line, and\n", false, nil},
		"one row": {"a,b\n", false, nil},
		"cut":     {"a,b\n1,2\n3", true, [][]string{{"a", "b"}, {"1", "2"}}},
	} {
		cut := c.cut
		if diff := cmp.Diff(c.want, table([]byte(c.text), ',', &cut)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	cut := false
	if rows := table([]byte(strings.Repeat("1,2\n", 500)), ',', &cut); len(rows) != maxRows || !cut {
		t.Errorf("of 500 rows %d are shown, cut %v", len(rows), cut)
	}
}

func TestBar(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	events := []durable.Event{{At: at(1), State: task.Preparing}, {At: at(1.5), State: task.Starting}, {At: at(2), State: task.Running}}
	run := store.Run{State: task.Running, CreatedAt: start}
	b := barOf(run, events, at(6))
	if b.Label != "queued 1.0 s, preparing 500 ms, starting 500 ms, running 4.0 s" {
		t.Error(b.Label)
	}
	if last := b.Stages[len(b.Stages)-1]; !last.Open || last.X+last.W < barWidth-0.01 || last.X+last.W > barWidth+0.01 {
		t.Errorf("the last stage ends at %f, open %v", last.X+last.W, last.Open)
	}
	run.State, run.EndedAt = task.Succeeded, at(7)
	b = barOf(run, append(events, durable.Event{At: at(6), State: task.Collecting}, durable.Event{At: at(7), State: task.Succeeded}), at(100))
	if b.Total != 7*time.Second || b.Stages[len(b.Stages)-1].Open {
		t.Errorf("an ended run took %s: %s", b.Total, b.Label)
	}
	// What another server did is not known; neither are its clock's faults.
	if b := barOf(store.Run{State: task.Running, CreatedAt: start}, nil, at(3)); b.Label != "queued 3.0 s" {
		t.Error(b.Label)
	}
	if b := barOf(run, []durable.Event{{At: at(-5), State: task.Preparing}}, at(9)); b.Total != 7*time.Second {
		t.Errorf("a clock that is behind: %s", b.Label)
	}
}

func TestCharts(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if charts([]sample{{start, 1, 1}}, task.Resources{}) != nil {
		t.Error("one sample makes a line")
	}
	got := charts([]sample{{start, 0, 1 << 20}, {start.Add(time.Second), 1, 3 << 20}, {start.Add(2 * time.Second), 1.5, 2 << 20}}, task.Resources{CPU: 2000, Memory: 4 << 20})
	if got[0].Label != "CPU over 2.0 s: at most 1 cores, 0.83 cores on average, of 2 cores" || got[1].Label != "Memory over 2.0 s: at most 3 MiB, 2 MiB on average, of 4 MiB" {
		t.Errorf("%s\n%s", got[0].Label, got[1].Label)
	}
	if got[1].Line != "0.0,105.0 300.0,35.0 600.0,70.0" {
		t.Error(got[1].Line)
	}
}

func TestFields(t *testing.T) {
	one, forty := 1, 40
	for _, c := range []struct {
		p                            task.Parameter
		widget, low, high, step, say string
	}{
		{task.Parameter{Type: task.Type{Kind: task.Integer, GT: "9223372036854775807"}}, "number", "9223372036854775808", "", "1", "greater than 9223372036854775807"},
		{task.Parameter{Type: task.Type{Kind: task.String, Choices: []string{"a"}}}, "select", "", "", "", ""},
		{task.Parameter{Type: task.Type{Kind: task.Integer, GT: "0", LT: "300"}}, "number", "1", "299", "1", "greater than 0, less than 300"},
		{task.Parameter{Type: task.Type{Kind: task.Number, GE: "0.5"}}, "number", "0.5", "", "any", "at least 0.5"},
		{task.Parameter{Type: task.Type{Kind: task.Number, AllowNaN: true}}, "text", "", "", "any", ""},
		{task.Parameter{Type: task.Type{Kind: task.String, MinLength: &one, MaxLength: &forty}}, "lines", "", "", "", "at least 1 characters, at most 40 characters"},
		{task.Parameter{Type: task.Type{Kind: task.Enumeration, Choices: []string{"a"}}}, "select", "", "", "", ""},
		{task.Parameter{Type: task.Type{Kind: task.Boolean}}, "checkbox", "", "", "", ""},
		{task.Parameter{Type: task.Type{Kind: task.Datetime}}, "datetime", "", "", "", ""},
		{task.Parameter{Type: task.Type{Kind: task.Geometry}}, "textarea", "", "", "", ""},
		{task.Parameter{Type: task.Type{Kind: task.JSON}}, "textarea", "", "", "", ""},
		{task.Parameter{Type: task.Type{Kind: task.Image, Formats: []string{"png", "tiff"}}}, "file", "", "", "", "png, tiff"},
		{task.Parameter{Type: task.Type{Kind: task.Directory}}, "folder", "", "", "", ""},
		{task.Parameter{Type: task.Type{Kind: task.Array, Item: &task.Type{Kind: task.FileKind}, MaxItems: &forty}}, "array", "", "", "", "at most 40 items"},
	} {
		f := fieldFor(c.p, "in-0")
		if f.Widget != c.widget || f.Min != c.low || f.Max != c.high || f.Step != c.step || f.Says != c.say || !f.Required {
			t.Errorf("%s: %+v", c.p.Type.Kind, f)
		}
	}
	f := fieldFor(task.Parameter{Name: "n", Type: task.Type{Kind: task.Integer}, Default: &task.Value{Text: "7"}, Fixed: true, Place: task.Place{Kind: task.PlaceEnv}}, "in-0")
	if f.Required || !f.Fixed || !f.Env || f.Value != "7" || f.Title != "n" {
		t.Errorf("a fixed variable: %+v", f)
	}
}

// TestBegin: a form that starts from an earlier run asks for exactly what that run was asked for.
func TestBegin(t *testing.T) {
	deep := task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Integer}}}
	parameter := func(name string, ty task.Type, def *task.Value) field {
		return fieldFor(task.Parameter{Name: name, Type: ty, Default: def, Optional: true}, name)
	}
	f := form{Fields: []field{
		parameter("off", task.Type{Kind: task.Boolean}, &task.Value{Text: "true"}),
		parameter("text", task.Type{Kind: task.String}, &task.Value{Text: "x"}),
		parameter("none", task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Integer}}, &task.Value{Items: []task.Value{{Text: "1"}}}),
		parameter("deep", deep, &task.Value{Items: []task.Value{{Items: []task.Value{{Text: "1"}, {Text: "2"}}}}}),
		parameter("doc", task.Type{Kind: task.JSON}, nil),
		parameter("read", task.Type{Kind: task.String}, &task.Value{Text: "x"}),
		parameter("pictures", task.Type{Kind: task.Array, Item: &task.Type{Kind: task.Image}}, nil),
		parameter("unset", task.Type{Kind: task.Integer}, &task.Value{Text: "7"}),
	}}
	if got := f.Fields[3].Values; len(got) != 1 || got[0] != "[1,2]" {
		t.Errorf("the default of a list in a list is shown as %q", got)
	}
	f.begin(store.Run{Request: []byte(`{"inputs":{"off":false,"text":"\r\n@@@a","none":[],"deep":[[9007199254740993]],"doc":"\"q\"","read":"@read","pictures":["@p.0","@p.1"],
		"unset":null,"more":{"n":9007199254740993},"at":"@x"},"files":{"read":{"digest":"d"},"p.0":{"digest":"d"},"p.1":{"digest":"d"},"x":{"digest":"d"}},
		"args":["-v"],"priority":-3,"retry":{"max":2},"cache":true,"network":true,"bodyFile":"x","timeouts":{"run":90000000000}}`)})
	type shown struct {
		Earlier bool
		Value   string
		Values  []string
		Kept    []string
	}
	want := []shown{
		{Earlier: true, Value: "false"}, {Earlier: true, Value: "\r\n@@@a"}, {Earlier: true}, {Earlier: true, Values: []string{"[9007199254740993]"}},
		{Earlier: true, Value: `"\"q\""`}, {Kept: []string{"read"}}, {Kept: []string{"p.0", "p.1"}}, {Value: "7"},
	}
	for i, w := range want {
		g := f.Fields[i]
		if g.Widget == "array" {
			g.Value = ""
		}
		if diff := cmp.Diff(w, shown{g.Earlier, g.Value, g.Values, g.Kept}); diff != "" {
			t.Errorf("%s: %s", g.Name, diff)
		}
	}
	if !strings.Contains(f.Inputs, "9007199254740993") || len(f.KeptFiles) != 1 || f.KeptBody != "x" || f.Args != `["-v"]` || f.Timeout != "1m30s" ||
		f.Priority != -3 || f.Retries != 2 || !f.Cache || !f.UseNetwork {
		t.Errorf("the rest of the request: %+v", f)
	}
}

// TestKinds: what a browser may be given as what it is, what people can read, and how messages are written.
func TestKinds(t *testing.T) {
	for content, want := range map[string]string{
		"\x89PNG\r\n\x1a\n": "image/png", "GIF89a\x01\x00": "image/gif", "\xff\xd8\xff": "image/jpeg", "OggS\x00": "audio/ogg", "fLaC\x00": "audio/flac",
		"BMI,age\n21.5,40\n": "", "ID3,name\n": "", "GIF89a is a format": "", "BM\x00\x00": "image/bmp", "RIFF\x00\x00\x00\x00AVI ": "", "MThd\x00": "",
		"<svg onload=alert(1)>": "", "<!doctype html>": "", "%PDF-1.4": "", "<?xml version=\"1.0\"?>": "", "plain": "",
	} {
		if got := mediaType([]byte(content)); got != want {
			t.Errorf("%q is served as %q, want %q", content, got, want)
		}
	}
	if isText([]byte("a\x00b"), false) || !isText([]byte("Ø\x1b[1m\n"), false) || !isText([]byte("Ø\xc3"), true) || isText([]byte("Ø\xc3"), false) {
		t.Error("text is not told from other content")
	}
	for word, want := range map[string]string{
		"the file is empty": "The file is empty.", "name_short: is missing": "name_short: is missing.", "": "", `"x" is no day`: `"x" is no day.`,
	} {
		if got := sentence(word); got != want {
			t.Errorf("%q becomes %q, want %q", word, got, want)
		}
	}
}
