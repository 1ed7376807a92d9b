package iexec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
)

// Limits of manifests that are not strict JSON, so that a hostile one costs a bounded amount of time and memory.
const (
	maxScript      = 256 << 10 // bytes of source
	maxScriptSteps = 1_000_000 // tokens read, those of repeated function bodies included
	maxScriptText  = 4 << 20   // bytes of text made by joining and copying, and of the finished manifest
	maxScriptDepth = 400       // nested expressions, blocks and calls; a value takes three
	maxScriptNodes = 100_000   // values of the finished manifest
)

// script reads a manifest that is JavaScript, or JSON with the liberties people take. It evaluates while it parses: literals,
// templates, operators, variables, functions, conditions and a few harmless methods. There are no host objects, no loops, no
// regular expressions and no way to reach the machine; steps, text and depth are counted, so that evaluation always ends.
//
// A full JavaScript engine was tried and refused: it offers no bound on memory, and its parser needs seconds for a few
// kilobytes of nested blocks.
type script struct {
	text  string
	lines []int // offsets of the line starts
	runes []int // characters before every positionBlock-th byte, so that columns of long lines cost little

	tok  token
	next int // offset behind tok

	steps, made, depth int
	// skipping parses without evaluating: the untaken side of a condition, and the bodies of functions.
	skipping bool
	scope    *scope
	// returned holds the value of a return statement until the function's call ends.
	returned *value
	module   *contract.Node
}

// scope is one level of variables.
type scope struct {
	vars  map[string]value
	outer *scope
	call  bool // the level of a function call, where return is allowed
}

// value is a JavaScript value: a manifest value, a function, or something built in. The zero value is undefined.
type value struct {
	node    *contract.Node
	fn      *function
	builtin string         // "JSON", "JSON.stringify", or a method such as ".join"
	self    *contract.Node // of a method
}

// function is a function of the script; its body is parsed again for every call.
type function struct {
	params []string
	body   int // offset of the body's first token
	block  bool
	scope  *scope
}

// place is what can be assigned to: a variable or a member.
type place struct {
	name   string
	object *contract.Node
	at     int
}

func newScript(text string) *script {
	s := &script{text: text, lines: []int{0}, steps: maxScriptSteps, made: maxScriptText, scope: &scope{vars: map[string]value{}}}
	characters := 0
	for i := range len(text) {
		if i%positionBlock == 0 {
			s.runes = append(s.runes, characters)
		}
		if utf8.RuneStart(text[i]) {
			characters++
		}
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	s.runes = append(s.runes, characters)
	return s
}

const positionBlock = 256

// charactersBefore counts the characters that start before the offset.
func (s *script) charactersBefore(offset int) int {
	if offset >= len(s.text) {
		return s.runes[len(s.runes)-1]
	}
	block := offset / positionBlock
	n := s.runes[block]
	for i := block * positionBlock; i < offset; i++ {
		if utf8.RuneStart(s.text[i]) {
			n++
		}
	}
	return n
}

// readObject parses a text that is one object literal.
func readObject(text string) (*contract.Node, error) {
	return newScript(text).run(func(s *script) *contract.Node {
		n := s.assignment().node
		s.accept(";")
		if s.tok.kind != tokenEnd {
			s.fail(s.tok.start, "remove it, or put it inside the braces", "there is more after the end of the object: %s", s.tok)
		}
		return n
	})
}

// readMembers parses a text that is the inside of an object literal, without its braces.
func readMembers(text string) (*contract.Node, error) {
	return newScript(text).run(func(s *script) *contract.Node {
		n := &contract.Node{Kind: contract.NodeObject, Line: 1, Column: 1}
		s.members(n, tokenEnd)
		return n
	})
}

// readModule evaluates a module and returns what it exports.
func readModule(text string) (*contract.Node, error) {
	return newScript(text).run(func(s *script) *contract.Node {
		s.module = &contract.Node{Kind: contract.NodeObject}
		start := &contract.Node{Kind: contract.NodeObject, Line: 1, Column: 1}
		s.module.Members = []contract.Member{{Key: "exports", Value: start}}
		for s.tok.kind != tokenEnd {
			s.statement()
		}
		n := s.module.Get("exports")
		if n == start && len(n.Members) == 0 {
			s.fail(0, "write module.exports = { … }", "the module exports nothing")
		}
		return n
	})
}

// run parses by one of the readers. Failures travel as panics of *contract.SyntaxError inside the script only, as in
// encoding/json: every rule of the grammar would have to pass them on otherwise.
func (s *script) run(read func(*script) *contract.Node) (n *contract.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			failure, ok := r.(*contract.SyntaxError)
			if !ok {
				panic(r)
			}
			n, err = nil, failure
		}
	}()
	if len(s.text) > maxScript {
		s.fail(0, "write it as strict JSON", "the document has %d bytes, more than %d", len(s.text), maxScript)
	}
	if !utf8.ValidString(s.text) {
		s.fail(0, "save it as UTF-8", "the file is not UTF-8 text")
	}
	s.advance()
	left := maxScriptNodes
	return s.tree(read(s), 0, &left), nil
}

// tree copies a value that may share parts, or hold itself, into a tree of bounded size.
func (s *script) tree(n *contract.Node, depth int, left *int) *contract.Node {
	if *left--; *left < 0 || depth > maxScriptDepth {
		s.fail(0, "", "the document has too many values or is nested too deeply")
	}
	if n == nil {
		return &contract.Node{Kind: contract.NodeNull, Text: "null", Line: 1, Column: 1}
	}
	s.use(len(n.Text))
	c := *n
	c.Members, c.Items = nil, nil
	for _, m := range n.Members {
		s.use(len(m.Key))
		m.Value = s.tree(m.Value, depth+1, left)
		c.Members = append(c.Members, m)
	}
	for _, it := range n.Items {
		c.Items = append(c.Items, s.tree(it, depth+1, left))
	}
	return &c
}

func (s *script) position(offset int) contract.At {
	line, found := slices.BinarySearch(s.lines, offset)
	if !found {
		line--
	}
	return contract.At{Line: line + 1, Column: s.charactersBefore(offset) - s.charactersBefore(s.lines[line]) + 1}
}

func (s *script) fail(offset int, mend, reason string, args ...any) {
	at := s.position(offset)
	panic(&contract.SyntaxError{Line: at.Line, Column: at.Column, Reason: fmt.Sprintf(reason, args...), Mend: mend,
		Source: contract.SourceLine([]byte(s.text), at.Line)})
}

func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the file"
	case tokenString:
		return "the text " + strconv.Quote(shorten(t.text))
	case tokenTemplate:
		return "a template"
	}
	return shorten(t.text)
}

func shorten(text string) string {
	if r := []rune(text); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return text
}

// lineFrom is the rest of the line from offset on.
func (s *script) lineFrom(offset int) string {
	rest := s.text[min(offset, len(s.text)):]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return strings.TrimRight(rest, " \t\r")
}

func (s *script) node(kind contract.NodeKind, text string, offset int) *contract.Node {
	at := s.position(offset)
	return &contract.Node{Kind: kind, Text: text, Line: at.Line, Column: at.Column, Quoted: kind == contract.NodeString}
}

func (s *script) enter() {
	if s.depth++; s.depth > maxScriptDepth {
		s.fail(s.tok.start, "", "this is nested too deeply")
	}
}

func (s *script) leave() { s.depth-- }

// use counts text that is made by the script.
func (s *script) use(n int) {
	if s.made -= n; s.made < 0 {
		s.fail(s.tok.start, "write the values out", "the manifest computes more text than a manifest can need")
	}
}
