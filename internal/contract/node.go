package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strings"
	"unicode/utf8"

	"longshore/internal/task"
)

// Node is one value of a document with its position. Numbers keep their source text, so nothing is lost to floating point.
type Node struct {
	Kind NodeKind
	// Line and Column of the value's first character, from 1; columns count characters.
	Line, Column int
	// Text is the decoded text of a string, and the source text of a number, boolean or null.
	Text string
	// Quoted tells a string that was written with quotes (or as a block), so that "no" and no can be told apart in YAML.
	Quoted bool
	// Expanded tells what stands in the document as a YAML alias or with a merge key.
	Expanded bool
	// Members of an object in source order, duplicates included; Items of a list.
	Members []Member
	Items   []*Node
}

// Member is one key and value of an object.
type Member struct {
	Key                string
	KeyLine, KeyColumn int
	Value              *Node
}

// NodeKind is the kind of a node, in JSON's words.
type NodeKind string

// The node kinds.
const (
	NodeNull   NodeKind = "null"
	NodeBool   NodeKind = "boolean"
	NodeNumber NodeKind = "number"
	NodeString NodeKind = "string"
	NodeList   NodeKind = "list"
	NodeObject NodeKind = "object"
)

// Get returns the value of the last member named key, or nil. It is safe on nil and on nodes that are no objects.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for i := len(n.Members) - 1; i >= 0; i-- {
		if n.Members[i].Key == key {
			return n.Members[i].Value
		}
	}
	return nil
}

// Has tells whether the object has a member named key.
func (n *Node) Has(key string) bool { return n.Get(key) != nil }

// IsNull tells whether n is absent or null.
func (n *Node) IsNull() bool { return n == nil || n.Kind == NodeNull }

// Is tells whether n is there and of that kind.
func (n *Node) Is(k NodeKind) bool { return n != nil && n.Kind == k }

// Str returns the text of a string node, and "" for anything else.
func (n *Node) Str() string {
	if n.Is(NodeString) {
		return n.Text
	}
	return ""
}

// Int returns an integer node's value; a number with a zero fraction (300.0) counts as an integer. ok is false for
// anything else and for what does not fit 64 bits.
func (n *Node) Int() (v int64, ok bool) {
	if !n.Is(NodeNumber) {
		return 0, false
	}
	b, ok := task.ParseInteger(n.Text)
	if !ok || !b.IsInt64() {
		return 0, false
	}
	return b.Int64(), true
}

// Rat returns a number node's exact value.
func (n *Node) Rat() (*big.Rat, bool) {
	if !n.Is(NodeNumber) || len(n.Text) > 100 {
		return nil, false
	}
	if i := strings.IndexAny(n.Text, "eE"); i >= 0 && len(n.Text)-i > 5 {
		return nil, false
	}
	return new(big.Rat).SetString(n.Text)
}

// Bool returns a boolean node's value.
func (n *Node) Bool() (v, ok bool) {
	if !n.Is(NodeBool) {
		return false, false
	}
	return strings.EqualFold(n.Text, "true"), true
}

// JSON returns the node as a JSON document.
func (n *Node) JSON() json.RawMessage {
	var b bytes.Buffer
	n.writeJSON(&b)
	return b.Bytes()
}

func (n *Node) writeJSON(b *bytes.Buffer) {
	quote := func(s string) {
		data, _ := json.Marshal(s) // a string always encodes
		b.Write(data)
	}
	switch {
	case n == nil || n.Kind == NodeNull:
		b.WriteString("null")
	case n.Kind == NodeString:
		quote(n.Text)
	case n.Kind == NodeBool:
		b.WriteString(strings.ToLower(n.Text))
	case n.Kind == NodeNumber:
		if json.Valid([]byte(n.Text)) {
			b.WriteString(n.Text)
		} else {
			quote(n.Text)
		}
	case n.Kind == NodeList:
		b.WriteByte('[')
		for i, it := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			it.writeJSON(b)
		}
		b.WriteByte(']')
	default:
		b.WriteByte('{')
		for i, m := range n.Members {
			if i > 0 {
				b.WriteByte(',')
			}
			quote(m.Key)
			b.WriteByte(':')
			m.Value.writeJSON(b)
		}
		b.WriteByte('}')
	}
}

// Duplicates returns the members whose key occurred earlier in the same object, in the whole tree.
func (n *Node) Duplicates() []Member {
	var dups []Member
	n.walk(func(o *Node) {
		seen := map[string]bool{}
		for _, m := range o.Members {
			if seen[m.Key] {
				dups = append(dups, m)
			}
			seen[m.Key] = true
		}
	})
	return dups
}

func (n *Node) walk(visit func(*Node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, m := range n.Members {
		m.Value.walk(visit)
	}
	for _, it := range n.Items {
		it.walk(visit)
	}
}

// SyntaxError is a document that cannot be parsed.
type SyntaxError struct {
	Line, Column int
	Reason       string
	// Mend says how to repair it, when that is clear.
	Mend string
	// Source is the offending line.
	Source string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
}

// Limits of documents, so that a hostile one cannot exhaust memory.
const (
	maxDocument = 8 << 20
	maxDepth    = 200
	maxNodes    = 500_000
)

// ParseJSON parses one strict JSON document of at most 8 MiB. A byte-order mark is skipped. Any error is a *SyntaxError.
func ParseJSON(data []byte) (*Node, error) {
	if len(data) > maxDocument {
		return nil, &SyntaxError{Line: 1, Column: 1, Reason: fmt.Sprintf("the document has %d bytes, more than %d", len(data), maxDocument)}
	}
	skip := 0
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		skip = 3
	}
	p := &jsonParser{data: data, skip: skip, dec: json.NewDecoder(bytes.NewReader(data[skip:]))}
	p.dec.UseNumber()
	n, err := p.value(0)
	if err == nil {
		at := p.start()
		if _, err = p.dec.Token(); errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil {
			err = p.errorAt(at, "there is more after the end of the document")
		}
	}
	return nil, p.explain(err)
}

type jsonParser struct {
	data  []byte
	skip  int
	dec   *json.Decoder
	nodes int
	// The last position that was counted is kept, so that counting lines and columns stays linear.
	lineOffset, line, column int
}

// start is the offset of the next token: what follows white space, commas and colons after the last one.
func (p *jsonParser) start() int {
	i := p.skip + int(p.dec.InputOffset())
	for i < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[i]) >= 0 {
		i++
	}
	return i
}

func (p *jsonParser) position(offset int) (line, column int) {
	if p.line == 0 || offset < p.lineOffset {
		p.line, p.column, p.lineOffset = 1, 1, p.skip
	}
	for i := p.lineOffset; i < offset && i < len(p.data); i++ {
		switch {
		case p.data[i] == '\n':
			p.line++
			p.column = 1
		case i+1 == len(p.data) || utf8.RuneStart(p.data[i+1]):
			p.column++ // the last byte of a character
		}
	}
	p.lineOffset = offset
	return p.line, p.column
}

func (p *jsonParser) errorAt(offset int, reason string) *SyntaxError {
	line, col := p.position(offset)
	return &SyntaxError{Line: line, Column: col, Reason: reason, Source: SourceLine(p.data, line)}
}

func (p *jsonParser) value(depth int) (*Node, error) {
	at := p.start()
	if p.nodes++; p.nodes > maxNodes {
		return nil, p.errorAt(at, "the document has too many values")
	}
	if depth > maxDepth {
		return nil, p.errorAt(at, "the document is nested too deeply")
	}
	tok, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	line, col := p.position(at)
	n := &Node{Line: line, Column: col}
	switch t := tok.(type) {
	case nil:
		n.Kind, n.Text = NodeNull, "null"
	case bool:
		n.Kind, n.Text = NodeBool, fmt.Sprint(t)
	case json.Number:
		n.Kind, n.Text = NodeNumber, t.String()
	case string:
		n.Kind, n.Text, n.Quoted = NodeString, t, true
	case json.Delim:
		if t == '[' {
			n.Kind = NodeList
			for p.dec.More() {
				it, err := p.value(depth + 1)
				if err != nil {
					return nil, err
				}
				n.Items = append(n.Items, it)
			}
		} else {
			n.Kind = NodeObject
			for p.dec.More() {
				kl, kc := p.position(p.start())
				key, err := p.dec.Token()
				if err != nil {
					return nil, err
				}
				v, err := p.value(depth + 1)
				if err != nil {
					return nil, err
				}
				n.Members = append(n.Members, Member{Key: key.(string), KeyLine: kl, KeyColumn: kc, Value: v})
			}
		}
		if _, err := p.dec.Token(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// explain turns a decoder's error into a SyntaxError with a repair for the mistakes people make. The decoder's own offsets
// are of the whole input only in Unmarshal, so the document is parsed once more there.
func (p *jsonParser) explain(err error) error {
	var own *SyntaxError
	if errors.As(err, &own) {
		return own
	}
	offset, reason := len(p.data), "the document ends too early"
	var x json.RawMessage
	var syn *json.SyntaxError
	if uerr := json.Unmarshal(p.data[p.skip:], &x); errors.As(uerr, &syn) {
		offset, reason = p.skip+int(syn.Offset)-1, syn.Error()
		if strings.Contains(reason, "unexpected end") {
			offset, reason = len(p.data), "the document ends too early"
		}
	} else if uerr == nil && err != nil {
		offset, reason = p.skip+int(p.dec.InputOffset()), err.Error()
	}
	if len(bytes.TrimSpace(p.data[p.skip:])) == 0 {
		return &SyntaxError{Line: 1, Column: 1, Reason: "the file is empty", Mend: "write a JSON document into it"}
	}
	if offset < len(p.data) && p.data[offset] >= utf8.RuneSelf { // the decoder shows one byte of the character
		r, _ := utf8.DecodeRune(p.data[offset:])
		reason = fmt.Sprintf("invalid character %q", r)
	}
	e := p.errorAt(max(offset, p.skip), reason)
	e.Mend = jsonMend(p.data, offset, e.Source)
	return e
}

var unquotedKey = regexp.MustCompile(`^[A-Za-z_$][\w$]*\s*:`)

var pythonWord = regexp.MustCompile(`^(True|False|None|NaN|Infinity|-Infinity)\b`)

// typographicQuote is what word processors make of a quote.
var typographicQuote = regexp.MustCompile(`^[‘’“”„«»]`)

// foreignNumber is how numbers of other languages part from those of JSON: +1, .5, 1., 01, 0x1F.
var foreignNumber = regexp.MustCompile(`^[\s\S]{0,2}(\+|\.\d)|\d\.\D|0[0-9xXoObB]`)

func jsonMend(data []byte, offset int, line string) string {
	if offset >= len(data) {
		return "close every { [ and \" that was opened"
	}
	rest := string(data[offset:min(len(data), offset+80)])
	before := strings.TrimRight(string(data[:offset]), " \t\r\n")
	switch {
	case strings.Contains(line, "{{") || strings.Contains(line, "{%"):
		return "this looks like a template: render it first"
	case (rest[0] == '}' || rest[0] == ']') && strings.HasSuffix(before, ","):
		return "remove the comma before " + rest[:1]
	case rest[0] == '/' || rest[0] == '#':
		return "JSON has no comments: remove it"
	case rest[0] == '\'' || typographicQuote.MatchString(rest):
		return "JSON strings need double quotes"
	case unquotedKey.MatchString(rest):
		return "put the key in double quotes"
	case pythonWord.MatchString(rest):
		return "JSON writes true, false and null in lower case, and has no NaN or Infinity"
	case rest[0] < ' ' && !withinString(data[:offset]):
		return "remove the control character, or save the file as UTF-8 text"
	case rest[0] < ' ':
		return "a string ends on its line: write \\n for a line break and \\t for a tab in it"
	case rest[0] == '"' && before != "" && strings.ContainsAny(before[len(before)-1:], "\"}]0123456789el"):
		return "a comma is missing before this"
	case foreignNumber.Match(data[max(0, offset-2):min(len(data), offset+2)]):
		return "write the number in decimal, such as 1 or 0.5, without + and leading zeros"
	}
	return ""
}

// withinString tells whether the beginning of a document ends within a string.
func withinString(data []byte) bool {
	within := false
	for i := 0; i < len(data); i++ {
		switch {
		case data[i] == '"':
			within = !within
		case data[i] == '\\' && within:
			i++
		}
	}
	return within
}

// SourceLine returns line n (from 1) of data, shortened to 160 characters.
func SourceLine(data []byte, n int) string {
	for i := 1; i < n; i++ {
		j := bytes.IndexByte(data, '\n')
		if j < 0 {
			return ""
		}
		data = data[j+1:]
	}
	if j := bytes.IndexByte(data, '\n'); j >= 0 {
		data = data[:j]
	}
	s := strings.TrimRight(string(data), "\r")
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "…"
	}
	return s
}
