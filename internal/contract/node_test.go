package contract_test

import (
	"errors"
	"strings"
	"testing"

	"longshore/internal/contract"
)

func TestParseJSONPositions(t *testing.T) {
	n, err := contract.ParseJSON([]byte("{\n  \"a\": [1, {\"é\": true}],\n  \"a\": 2.50\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	first := n.Members[0].Value
	if v := first.Items[1].Members[0]; v.Key != "é" || v.KeyLine != 2 || v.KeyColumn != 13 || v.Value.Line != 2 || v.Value.Column != 18 {
		t.Errorf("nested member = %+v, value %+v", v, v.Value)
	}
	if got := n.Get("a"); got.Text != "2.50" || got.Line != 3 || got.Column != 8 {
		t.Errorf("last a = %+v", got)
	}
	if d := n.Duplicates(); len(d) != 1 || d[0].KeyLine != 3 {
		t.Errorf("duplicates = %+v", d)
	}
}

func TestParseJSONErrors(t *testing.T) {
	for _, c := range []struct {
		in        string
		line, col int
		mend      string
	}{
		{"", 1, 1, "write a JSON document into it"},
		{"{\n \"a\": 1,\n}", 3, 1, "remove the comma before }"},
		{"{\n \"a\": 1\n \"b\": 2}", 3, 2, "a comma is missing before this"},
		{"{a: 1}", 1, 2, "put the key in double quotes"},
		{"{'a': 1}", 1, 2, "JSON strings need double quotes"},
		{"{\n// x\n}", 2, 1, "JSON has no comments: remove it"},
		{"{\"a\": {{ x }}}", 1, 8, "this looks like a template: render it first"},
		{"{\"a\": 1", 1, 8, "close every { [ and \" that was opened"},
		{"{} {}", 1, 4, ""},
		{"{\"a\": +1}", 1, 7, "write the number in decimal, such as 1 or 0.5, without + and leading zeros"},
		{"{\"a\": .5}", 1, 7, "write the number in decimal, such as 1 or 0.5, without + and leading zeros"},
		{"{\"a\": 1.}", 1, 9, "write the number in decimal, such as 1 or 0.5, without + and leading zeros"},
		{"{\"a\": 01}", 1, 8, "write the number in decimal, such as 1 or 0.5, without + and leading zeros"},
		{"{\"a\": 0x1F}", 1, 8, "write the number in decimal, such as 1 or 0.5, without + and leading zeros"},
		{"{“a”: 1}", 1, 2, "JSON strings need double quotes"},
		{"\x00\x00", 1, 1, "remove the control character, or save the file as UTF-8 text"},
		{"{\"a\\\"\": \x1b[0m}", 1, 9, "remove the control character, or save the file as UTF-8 text"},
		{"{\"a\": \"b\n\"}", 1, 9, "a string ends on its line: write \\n for a line break and \\t for a tab in it"},
	} {
		_, err := contract.ParseJSON([]byte(c.in))
		var s *contract.SyntaxError
		if !errors.As(err, &s) {
			t.Errorf("%q: error %v", c.in, err)
			continue
		}
		if s.Line != c.line || s.Column != c.col || s.Mend != c.mend {
			t.Errorf("%q: %d:%d mend %q (%s), want %d:%d %q", c.in, s.Line, s.Column, s.Mend, s.Reason, c.line, c.col, c.mend)
		}
	}
}

func TestParseYAML(t *testing.T) {
	n, err := contract.ParseYAML([]byte("a: &x\n  b: 012\n  c: 'no'\nd: no\ne: *x\nf: [1, 2.0]\ng:\nh: |\n  text\na: again\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(n.JSON()); got != `{"a":{"b":"012","c":"no"},"d":"no","e":{"b":"012","c":"no"},"f":[1,2.0],"g":null,"h":"text\n","a":"again"}` {
		t.Error(got)
	}
	if b := n.Members[0].Value.Get("b"); b.Line != 2 || b.Column != 6 || b.Text != "012" {
		t.Errorf("b = %+v", b)
	}
	if d := n.Get("d"); d.Quoted || d.Text != "no" {
		t.Errorf("d = %+v", d)
	}
	if !n.Members[0].Value.Get("c").Quoted {
		t.Error("c is not Quoted")
	}
	if d := n.Duplicates(); len(d) != 1 || d[0].KeyLine != 10 {
		t.Errorf("duplicates = %+v", d)
	}
	for _, bad := range []string{"", "a: [1", "a: 1\n---\nb: 2\n", "a: *nope\n", "a: !foo 1\n", "\xff", "a:\n\t- b\n"} {
		var s *contract.SyntaxError
		if _, err := contract.ParseYAML([]byte(bad)); !errors.As(err, &s) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func TestYAMLMerge(t *testing.T) {
	for doc, want := range map[string]string{
		"a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n":                     `{"a":{"x":1,"y":2},"b":{"y":2,"x":3}}`,
		"a: &a {x: 1}\nb:\n  x: 3\n  <<: *a\n":                        `{"a":{"x":1},"b":{"x":3}}`,
		"a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], z: 3}\n": `{"a":{"x":1},"b":{"x":2,"y":2},"c":{"x":1,"y":2,"z":3}}`,
		"%YAML 1.2\n%TAG ! tag:example.org,2000:\n# c\n---\na: 1\n":   `{"a":1}`,
		"# c\n\n%YAML 1.1\n---\na: |\n  %not one\n":                   `{"a":"%not one\n"}`,
	} {
		n, err := contract.ParseYAML([]byte(doc))
		if err != nil {
			t.Errorf("%q: %v", doc, err)
			continue
		}
		if got := string(n.JSON()); got != want || len(n.Duplicates()) > 0 {
			t.Errorf("%q: %s, duplicates %v", doc, got, n.Duplicates())
		}
		if b := n.Get("b"); b != nil && n.Get("c") == nil && (!b.Expanded || n.Get("a").Expanded) {
			t.Errorf("%q: what was merged is not marked", doc)
		}
	}
}

func TestYAMLMends(t *testing.T) {
	for doc, want := range map[string]string{
		"a:\n    b: 1\n   c: 2\n": "same column",
		"a:\n  - b: 1\n  c: 2\n":  "same column",
		"a: Note: it adds\n":      "put text that holds a colon in quotes",
		"a: 1\nb\n":               "write a colon behind the key",
		"a: \"\"x\"\n":            "same quotes",
		"a:\n\tb: 1\n":            "YAML does not allow tabs",
	} {
		var s *contract.SyntaxError
		if _, err := contract.ParseYAML([]byte(doc)); !errors.As(err, &s) || !strings.Contains(s.Mend, want) {
			t.Errorf("%q: %+v, want %q", doc, s, want)
		}
	}
}

func TestParseYAMLBomb(t *testing.T) {
	doc := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 10; i++ {
		p, c := string(rune('0'+i-1)), string(rune('0'+i))
		doc += "a" + c + ": &a" + c + " [*a" + p + ",*a" + p + ",*a" + p + ",*a" + p + ",*a" + p + ",*a" + p + ",*a" + p + ",*a" + p + "]\n"
	}
	if _, err := contract.ParseYAML([]byte(doc)); err == nil {
		t.Fatal("an expanding document was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":[1,2,{"b":null}],"c":"d"}`))
	f.Add([]byte("a: &x 1\nb: *x\n<<: {c: 1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s *contract.SyntaxError
		if n, err := contract.ParseJSON(data); err != nil && !errors.As(err, &s) {
			t.Errorf("JSON: %v", err)
		} else if err == nil {
			n.JSON()
		}
		if n, err := contract.ParseYAML(data); err != nil && !errors.As(err, &s) {
			t.Errorf("YAML: %v", err)
		} else if err == nil {
			n.JSON()
		}
	})
}
