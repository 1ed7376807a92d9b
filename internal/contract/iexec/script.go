package iexec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
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

type token struct {
	kind    tokenKind
	text    string // decoded for strings
	start   int
	newline bool // a line ended before the token
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString
	tokenNumber
	tokenTemplate // the opening back quote
	tokenMark
)

func newScript(text string) *script {
	s := &script{text: text, lines: []int{0}, steps: maxScriptSteps, made: maxScriptText, scope: &scope{vars: map[string]value{}}}
	for i := range len(text) {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
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

// ---- failures and positions ----

func (s *script) position(offset int) contract.At {
	line, found := slices.BinarySearch(s.lines, offset)
	if !found {
		line--
	}
	start := s.lines[line]
	return contract.At{Line: line + 1, Column: utf8.RuneCountInString(s.text[start:min(offset, len(s.text))]) + 1}
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

// ---- tokens ----

// marks are the punctuators, longer ones first.
var marks = []string{"...", "===", "!==", "=>", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "+=", "**",
	"{", "}", "[", "]", "(", ")", ",", ":", ";", ".", "=", "+", "-", "*", "/", "%", "!", "<", ">", "?", "&", "|", "^", "~"}

func (s *script) advance() {
	if s.steps--; s.steps < 0 {
		s.fail(s.tok.start, "write the values out", "the manifest computes longer than a manifest can need")
	}
	t := token{newline: s.skipSpace()}
	t.start = s.next
	rest := s.text[s.next:]
	if rest == "" {
		s.tok = t
		return
	}
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case r == '"' || r == '\'':
		t.kind, t.text = tokenString, s.scanString(rest[0])
	case r == '`':
		t.kind, t.text = tokenTemplate, "`"
		s.next++
	case r >= '0' && r <= '9', r == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		t.kind, t.text = tokenNumber, s.scanWhile(func(r rune) bool { return wordRune(r) || r == '.' })
		if e := s.text[s.next-1]; (e == 'e' || e == 'E') && !strings.HasPrefix(t.text, "0x") && s.next < len(s.text) && strings.IndexByte("+-", s.text[s.next]) >= 0 {
			s.next++
			t.text += s.text[s.next-1:s.next] + s.scanWhile(wordRune)
		}
	case wordRune(r) || r == '#' || r == '@':
		s.next += size
		t.kind, t.text = tokenWord, string(r)+s.scanWhile(wordRune)
	case strings.ContainsRune("“”„«»‘’", r):
		s.fail(s.next, `use the plain quote "`, "%c is a typographic quote", r)
	default:
		for _, m := range marks {
			if strings.HasPrefix(rest, m) {
				t.kind, t.text = tokenMark, m
				s.next += len(m)
				s.tok = t
				return
			}
		}
		s.fail(s.next, "remove it", "unexpected character %q", r)
	}
	s.tok = t
}

func wordRune(r rune) bool {
	return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\u200c' || r == '\u200d'
}

func (s *script) scanWhile(is func(rune) bool) string {
	start := s.next
	for s.next < len(s.text) {
		r, size := utf8.DecodeRuneInString(s.text[s.next:])
		if !is(r) {
			break
		}
		s.next += size
	}
	return s.text[start:s.next]
}

// skipSpace passes white space and comments, and tells whether a line ended in them.
func (s *script) skipSpace() (newline bool) {
	for s.next < len(s.text) {
		rest := s.text[s.next:]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case r == '\n' || r == '\u2028' || r == '\u2029':
			newline = true
			s.next += size
		case unicode.IsSpace(r) || r == '\ufeff':
			s.next += size
		case strings.HasPrefix(rest, "//"):
			i := strings.IndexByte(rest, '\n')
			if i < 0 {
				i = len(rest)
			}
			s.next += i
		case strings.HasPrefix(rest, "/*"):
			i := strings.Index(rest, "*/")
			if i < 0 {
				s.fail(s.next, "write */ where it ends", "the comment is never closed")
			}
			newline = newline || strings.Contains(rest[:i], "\n")
			s.next += i + 2
		default:
			return newline
		}
	}
	return newline
}

func (s *script) scanString(quote byte) string {
	start := s.next
	s.next++
	var b strings.Builder
	for s.next < len(s.text) {
		switch c := s.text[s.next]; c {
		case quote:
			s.next++
			return b.String()
		case '\n':
			s.failOpen(start, quote)
		case '\\':
			s.escape(&b)
		default:
			b.WriteByte(c)
			s.next++
		}
	}
	s.failOpen(start, quote)
	return ""
}

func (s *script) failOpen(start int, quote byte) {
	line := s.lineFrom(start)
	mended := strings.TrimRight(line, ", ") + string(quote)
	if strings.HasSuffix(line, ",") {
		mended += ","
	}
	s.fail(start, "close it: "+mended, "the text that starts here is not closed on its line")
}

// escape decodes one backslash sequence.
func (s *script) escape(b *strings.Builder) {
	at := s.next
	s.next++
	if s.next >= len(s.text) {
		s.fail(at, "", "the file ends inside a text")
	}
	r, size := utf8.DecodeRuneInString(s.text[s.next:])
	s.next += size
	switch r {
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'v':
		b.WriteByte('\v')
	case '0':
		b.WriteByte(0)
	case '\r':
		if strings.HasPrefix(s.text[s.next:], "\n") {
			s.next++
		}
	case '\n':
	case 'x':
		b.WriteRune(s.hex(at, 2))
	case 'u':
		s.unicodeEscape(b, at)
	default:
		b.WriteRune(r)
	}
}

func (s *script) unicodeEscape(b *strings.Builder, at int) {
	if strings.HasPrefix(s.text[s.next:], "{") {
		end := strings.IndexByte(s.text[s.next:], '}')
		if end < 2 || end > 8 {
			s.fail(at, "", `a \u{…} escape holds one to six hexadecimal digits`)
		}
		s.next++
		r := s.hex(at, end-1)
		s.next++
		b.WriteRune(r)
		return
	}
	r := s.hex(at, 4)
	if r >= 0xd800 && r < 0xdc00 && strings.HasPrefix(s.text[s.next:], `\u`) {
		mark := s.next
		s.next += 2
		if low := s.hex(at, 4); low >= 0xdc00 && low < 0xe000 {
			b.WriteRune((r-0xd800)<<10 + (low - 0xdc00) + 0x10000)
			return
		}
		s.next = mark
	}
	b.WriteRune(r) // a lone surrogate becomes the replacement character
}

func (s *script) hex(at, digits int) rune {
	end := s.next + digits
	if end <= len(s.text) {
		if n, err := strconv.ParseUint(s.text[s.next:end], 16, 32); err == nil {
			s.next = end
			return rune(n)
		}
	}
	s.fail(at, `write \\ for a backslash`, "the escape has no %d hexadecimal digits", digits)
	return 0
}

func (s *script) is(mark string) bool { return s.tok.kind == tokenMark && s.tok.text == mark }

func (s *script) isWord(word string) bool { return s.tok.kind == tokenWord && s.tok.text == word }

func (s *script) accept(mark string) bool {
	if s.is(mark) {
		s.advance()
		return true
	}
	return false
}

func (s *script) expect(mark string) {
	if !s.accept(mark) {
		mend := fmt.Sprintf("write %s before it", mark)
		if s.tok.kind == tokenEnd {
			mend = "close every { [ ( and quote that was opened"
		}
		s.fail(s.tok.start, mend, "expected %s, found %s", mark, s.tok)
	}
}

func (s *script) word(what string) string {
	if s.tok.kind != tokenWord {
		s.fail(s.tok.start, "", "expected %s, found %s", what, s.tok)
	}
	w := s.tok.text
	s.advance()
	return w
}

// ---- statements ----

// elsewhere lists the statements and expressions of JavaScript that are not evaluated.
var elsewhere = []string{"for", "while", "do", "switch", "try", "throw", "class", "import", "new", "async", "await", "yield",
	"delete", "with", "debugger", "this", "super", "break", "continue"}

func (s *script) refuse() {
	s.fail(s.tok.start, `write the values out, or let Node.js do it: node -p 'JSON.stringify(require("./iexec.js"))' > iexec.json`,
		"%q is not evaluated in a manifest", s.tok.text)
}

func (s *script) statement() {
	s.enter()
	defer s.leave()
	if s.tok.kind == tokenWord && slices.Contains(elsewhere, s.tok.text) {
		s.refuse()
	}
	switch {
	case s.accept(";"):
	case s.is("{"):
		s.block()
	case s.isWord("const"), s.isWord("let"), s.isWord("var"):
		s.declaration()
	case s.isWord("function"):
		s.advance()
		name := s.word("the function's name")
		f := s.functionRest()
		if !s.skipping {
			s.scope.vars[name] = value{fn: f}
		}
	case s.isWord("if"):
		s.condition()
	case s.isWord("return"):
		s.returnStatement()
	case s.isWord("export"):
		s.advance()
		if s.word("default") != "default" || s.module == nil {
			s.fail(s.tok.start, "write module.exports = { … }", "only a default export is read")
		}
		s.assign(place{object: s.module, name: "exports", at: s.tok.start}, s.assignment())
		s.endStatement()
	default:
		s.expression()
		s.endStatement()
	}
}

func (s *script) endStatement() {
	if s.accept(";") || s.tok.newline || s.is("}") || s.tok.kind == tokenEnd {
		return
	}
	s.fail(s.tok.start, "", "expected the end of the statement, found %s", s.tok)
}

func (s *script) block() {
	s.expect("{")
	s.scope = &scope{vars: map[string]value{}, outer: s.scope}
	for !s.is("}") {
		if s.tok.kind == tokenEnd {
			s.expect("}")
		}
		s.statement()
	}
	s.scope = s.scope.outer
	s.advance()
}

func (s *script) declaration() {
	s.advance()
	for {
		if s.is("{") || s.is("[") {
			s.fail(s.tok.start, "declare one name at a time", "destructuring is not evaluated in a manifest")
		}
		name := s.word("a name")
		var v value
		if s.accept("=") {
			v = s.assignment()
		}
		if !s.skipping {
			s.scope.vars[name] = v
		}
		if !s.accept(",") {
			break
		}
	}
	s.endStatement()
}

func (s *script) condition() {
	s.advance()
	s.expect("(")
	yes := truthy(s.expression())
	s.expect(")")
	s.when(yes, s.statement)
	if s.isWord("else") {
		s.advance()
		s.when(!yes, s.statement)
	}
}

// when parses, and evaluates only if it is said so.
func (s *script) when(evaluate bool, parse func()) {
	before := s.skipping
	s.skipping = before || !evaluate
	parse()
	// A return statement inside keeps everything after it unevaluated.
	s.skipping = before || s.returned != nil
}

func (s *script) returnStatement() {
	at := s.tok.start
	s.advance()
	var v value
	if !s.is(";") && !s.is("}") && !s.tok.newline && s.tok.kind != tokenEnd {
		v = s.expression()
	}
	s.endStatement()
	if s.skipping {
		return
	}
	for sc := s.scope; sc != nil; sc = sc.outer {
		if sc.call {
			s.returned, s.skipping = &v, true
			return
		}
	}
	s.fail(at, "", "return stands outside of a function")
}

// functionRest parses the parameters and body of a function after its name.
func (s *script) functionRest() *function {
	f := &function{scope: s.scope}
	s.expect("(")
	for !s.is(")") {
		f.params = append(f.params, s.word("a parameter's name"))
		if !s.accept(",") {
			break
		}
	}
	s.expect(")")
	s.body(f, true)
	return f
}

func (s *script) body(f *function, block bool) {
	f.block, f.body = block, s.tok.start
	s.when(false, func() {
		if block {
			s.block()
		} else {
			s.assignment()
		}
	})
}

func (s *script) call(f *function, args []value) value {
	s.enter()
	defer s.leave()
	tok, next, sc, returned := s.tok, s.next, s.scope, s.returned
	s.scope, s.returned = &scope{vars: map[string]value{}, outer: f.scope, call: true}, nil
	for i, p := range f.params {
		if i < len(args) {
			s.scope.vars[p] = args[i]
		} else {
			s.scope.vars[p] = value{}
		}
	}
	s.next = f.body
	s.advance()
	var v value
	if f.block {
		s.block()
		if s.returned != nil {
			v = *s.returned
		}
		s.skipping = false // a call is only made while evaluating
	} else {
		v = s.assignment()
	}
	s.tok, s.next, s.scope, s.returned = tok, next, sc, returned
	return v
}

// ---- expressions ----

func (s *script) expression() value {
	v := s.assignment()
	for s.accept(",") {
		v = s.assignment()
	}
	return v
}

func (s *script) assignment() value {
	s.enter()
	defer s.leave()
	if f := s.arrow(); f != nil {
		return value{fn: f}
	}
	v, target := s.conditional()
	switch {
	case s.is("="):
		if target == nil {
			s.fail(s.tok.start, `between a name and its value stands ":"`, "this cannot be assigned to")
		}
		s.advance()
		v = s.assignment()
		s.assign(*target, v)
	case s.is("+=") && target != nil:
		at := s.tok.start
		s.advance()
		v = s.binary("+", v, s.assignment(), at)
		s.assign(*target, v)
	}
	return v
}

func (s *script) assign(p place, v value) {
	if s.skipping {
		return
	}
	if p.object == nil {
		for sc := s.scope; sc != nil; sc = sc.outer {
			if _, ok := sc.vars[p.name]; ok {
				sc.vars[p.name] = v
				return
			}
		}
		s.fail(p.at, "declare it with const, or write module.exports = { … }", "%s is not defined", p.name)
	}
	at := s.position(p.at)
	s.set(p.object, contract.Member{Key: p.name, KeyLine: at.Line, KeyColumn: at.Column, Value: s.plain(v, p.at)})
}

// set replaces or adds a member.
func (s *script) set(object *contract.Node, m contract.Member) {
	for i := range object.Members {
		if object.Members[i].Key == m.Key {
			object.Members[i] = m
			return
		}
	}
	object.Members = append(object.Members, m)
}

// plain is v as a value of a manifest; undefined is null.
func (s *script) plain(v value, at int) *contract.Node {
	if v.fn != nil || v.builtin != "" {
		s.fail(at, "write the value out", "a function is no value of a manifest")
	}
	if v.node == nil {
		return s.node(contract.NodeNull, "null", at)
	}
	return v.node
}

// arrow parses an arrow function if one starts here.
func (s *script) arrow() *function {
	tok, next := s.tok, s.next
	var params []string
	switch {
	case s.tok.kind == tokenWord:
		params = []string{s.tok.text}
		s.advance()
	case s.accept("("):
		for s.tok.kind == tokenWord {
			params = append(params, s.tok.text)
			s.advance()
			if !s.accept(",") {
				break
			}
		}
		if !s.accept(")") {
			s.tok, s.next = tok, next
			return nil
		}
	default:
		return nil
	}
	if !s.is("=>") {
		s.tok, s.next = tok, next
		return nil
	}
	s.advance()
	f := &function{params: params, scope: s.scope}
	s.body(f, s.is("{"))
	return f
}

func (s *script) conditional() (value, *place) {
	v, target := s.operators(0)
	if !s.accept("?") {
		return v, target
	}
	yes := truthy(v)
	var a, b value
	s.when(yes, func() { a = s.assignment() })
	s.expect(":")
	s.when(!yes, func() { b = s.assignment() })
	if yes {
		return a, nil
	}
	return b, nil
}

// precedence of the binary operators, higher ones binding tighter.
var precedence = map[string]int{"??": 1, "||": 2, "&&": 3, "==": 4, "!=": 4, "===": 4, "!==": 4, "<": 5, ">": 5, "<=": 5, ">=": 5,
	"+": 6, "-": 6, "*": 7, "/": 7, "%": 7, "**": 8}

func (s *script) operators(above int) (value, *place) {
	s.enter()
	defer s.leave()
	left, target := s.unary()
	for s.tok.kind == tokenMark {
		op, at := s.tok.text, s.tok.start
		p, ok := precedence[op]
		if !ok || p <= above {
			break
		}
		s.advance()
		var right value
		s.when(needsRight(op, left), func() { right, _ = s.operators(p) })
		if !s.skipping {
			left = s.binary(op, left, right, at)
		}
		target = nil
	}
	return left, target
}

// needsRight tells whether the right side of a short-circuiting operator is evaluated.
func needsRight(op string, left value) bool {
	switch op {
	case "||":
		return !truthy(left)
	case "&&":
		return truthy(left)
	case "??":
		return left.missing()
	}
	return true
}

func (v value) missing() bool { return v.fn == nil && v.builtin == "" && v.node.IsNull() }

func truthy(v value) bool {
	if v.missing() {
		return false
	}
	if v.node == nil {
		return true
	}
	switch v.node.Kind {
	case contract.NodeBool:
		return v.node.Text == "true"
	case contract.NodeString:
		return v.node.Text != ""
	case contract.NodeNumber:
		return number(v) != 0
	}
	return true
}

// number is v as JavaScript's Number(v) gives it.
func number(v value) float64 {
	if v.node == nil {
		return math.NaN()
	}
	switch v.node.Kind {
	case contract.NodeNull:
		return 0
	case contract.NodeBool:
		if v.node.Text == "true" {
			return 1
		}
		return 0
	case contract.NodeNumber, contract.NodeString:
		text := strings.TrimSpace(v.node.Text)
		if text == "" {
			return 0
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsAny(text, "xXpP_iI") {
			return f
		}
	}
	return math.NaN()
}

// str is v as JavaScript's String(v) gives it.
func (s *script) str(v value, at int) string {
	switch {
	case v.node == nil && v.fn == nil && v.builtin == "":
		return "undefined"
	case v.node == nil:
		s.fail(at, "write the value out", "a function is no text")
	case v.node.Kind == contract.NodeObject:
		return "[object Object]"
	case v.node.Kind == contract.NodeList:
		return s.join(v.node, ",", at)
	}
	return v.node.Text
}

func (s *script) join(list *contract.Node, separator string, at int) string {
	s.enter()
	defer s.leave()
	var b strings.Builder
	for i, it := range list.Items {
		s.use(1)
		if i > 0 {
			s.use(len(separator))
			b.WriteString(separator)
		}
		if !it.IsNull() {
			text := s.str(value{node: it}, at)
			s.use(len(text))
			b.WriteString(text)
		}
	}
	return b.String()
}

func (s *script) textValue(text string, at int) value {
	s.use(len(text))
	return value{node: s.node(contract.NodeString, text, at)}
}

func (s *script) numberValue(f float64, at int) value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value{node: s.node(contract.NodeNull, "null", at)} // what JSON makes of them
	}
	format := byte('f')
	if math.Abs(f) >= 1e21 || f != 0 && math.Abs(f) < 1e-6 {
		format = 'e'
	}
	return value{node: s.node(contract.NodeNumber, strconv.FormatFloat(f, format, -1, 64), at)}
}

func (s *script) boolValue(b bool, at int) value {
	return value{node: s.node(contract.NodeBool, strconv.FormatBool(b), at)}
}

func isText(v value) bool { return v.node.Is(contract.NodeString) }

func isPrimitive(v value) bool {
	return v.node == nil && v.fn == nil || v.node != nil && v.node.Kind != contract.NodeObject && v.node.Kind != contract.NodeList
}

func (s *script) binary(op string, a, b value, at int) value {
	if s.skipping {
		return value{}
	}
	// A text made of parts stands where its first part does.
	origin := func(text string) value {
		v := s.textValue(text, at)
		if a.node != nil {
			v.node.Line, v.node.Column = a.node.Line, a.node.Column
		}
		return v
	}
	switch op {
	case "||", "&&", "??":
		if needsRight(op, a) {
			return b
		}
		return a
	case "+":
		if isText(a) || isText(b) || !isPrimitive(a) || !isPrimitive(b) {
			return origin(s.str(a, at) + s.str(b, at))
		}
		return s.numberValue(number(a)+number(b), at)
	case "-":
		return s.numberValue(number(a)-number(b), at)
	case "*":
		return s.numberValue(number(a)*number(b), at)
	case "/":
		return s.numberValue(number(a)/number(b), at)
	case "%":
		return s.numberValue(math.Mod(number(a), number(b)), at)
	case "**":
		return s.numberValue(math.Pow(number(a), number(b)), at)
	case "==", "===":
		return s.boolValue(s.equal(a, b), at)
	case "!=", "!==":
		return s.boolValue(!s.equal(a, b), at)
	}
	if isText(a) && isText(b) {
		c := strings.Compare(a.node.Text, b.node.Text)
		return s.boolValue(op == "<" && c < 0 || op == ">" && c > 0 || op == "<=" && c <= 0 || op == ">=" && c >= 0, at)
	}
	x, y := number(a), number(b)
	return s.boolValue(op == "<" && x < y || op == ">" && x > y || op == "<=" && x <= y || op == ">=" && x >= y, at)
}

func (s *script) equal(a, b value) bool {
	switch {
	case a.missing() || b.missing():
		return a.missing() && b.missing()
	case a.node == nil || b.node == nil || !isPrimitive(a) || !isPrimitive(b):
		return a == b
	case a.node.Kind != b.node.Kind || a.node.Kind == contract.NodeNumber:
		return number(a) == number(b)
	}
	return a.node.Text == b.node.Text
}

func (s *script) unary() (value, *place) {
	at := s.tok.start
	if s.tok.kind == tokenMark && (s.tok.text == "-" || s.tok.text == "+" || s.tok.text == "!") {
		s.enter()
		defer s.leave()
		op := s.tok.text
		s.advance()
		v, _ := s.unary()
		switch {
		case s.skipping:
			return value{}, nil
		case op == "!":
			return s.boolValue(!truthy(v), at), nil
		case op == "-":
			if v.node.Is(contract.NodeNumber) && !strings.HasPrefix(v.node.Text, "-") {
				return value{node: s.node(contract.NodeNumber, "-"+v.node.Text, at)}, nil // keeps every digit
			}
			return s.numberValue(-number(v), at), nil
		}
		return s.numberValue(number(v), at), nil
	}
	return s.postfix()
}

// postfix parses a primary value with the members and calls behind it.
func (s *script) postfix() (value, *place) {
	v, target := s.primary()
	for {
		at := s.tok.start
		switch {
		case s.accept("."), s.accept("?."):
			if s.is("(") || s.is("[") {
				continue
			}
			key := s.word("a member's name")
			v, target = s.member(v, key, at), s.memberPlace(v, key, at)
		case s.is("[") && !s.tok.newline:
			s.advance()
			key := s.expression()
			s.expect("]")
			if s.skipping {
				continue
			}
			name := s.str(key, at)
			v, target = s.member(v, name, at), s.memberPlace(v, name, at)
		case s.is("("):
			args := s.arguments()
			if !s.skipping {
				v = s.apply(v, args, at)
			}
			target = nil
		default:
			return v, target
		}
	}
}

func (s *script) memberPlace(v value, key string, at int) *place {
	if s.skipping {
		return &place{name: key, at: at} // never assigned to
	}
	if !v.node.Is(contract.NodeObject) {
		return nil
	}
	return &place{object: v.node, name: key, at: at}
}

func (s *script) member(v value, key string, at int) value {
	switch {
	case s.skipping:
		return value{}
	case v.builtin != "":
		return value{builtin: v.builtin + "." + key}
	case v.missing():
		s.fail(at, "", "%s has no member %q", s.str(v, at), key)
	case v.fn != nil:
		return value{}
	case v.node.Kind == contract.NodeObject:
		if n := v.node.Get(key); n != nil {
			return value{node: n}
		}
		return value{}
	case v.node.Kind == contract.NodeList:
		if i, err := strconv.Atoi(key); err == nil {
			if i >= 0 && i < len(v.node.Items) {
				return value{node: v.node.Items[i]}
			}
			return value{}
		}
		if key == "length" {
			return s.numberValue(float64(len(v.node.Items)), at)
		}
	case v.node.Kind == contract.NodeString && key == "length":
		return s.numberValue(float64(utf8.RuneCountInString(v.node.Text)), at)
	}
	return value{builtin: "." + key, self: v.node}
}

func (s *script) arguments() []value {
	s.expect("(")
	var args []value
	for !s.is(")") {
		if s.accept("...") {
			args = append(args, s.spread(s.assignment())...)
		} else {
			args = append(args, s.assignment())
		}
		if !s.accept(",") {
			break
		}
	}
	s.expect(")")
	return args
}

func (s *script) spread(v value) []value {
	if s.skipping || !v.node.Is(contract.NodeList) {
		return nil
	}
	var vs []value
	for _, it := range v.node.Items {
		s.use(16)
		vs = append(vs, value{node: it})
	}
	return vs
}

// apply calls a function of the script or one of the few methods that are built in.
func (s *script) apply(v value, args []value, at int) value {
	if v.fn != nil {
		return s.call(v.fn, args)
	}
	arg := func(i int) value {
		if i < len(args) {
			return args[i]
		}
		return value{}
	}
	switch v.builtin {
	case "String":
		return s.textValue(s.str(arg(0), at), at)
	case "Number":
		return s.numberValue(number(arg(0)), at)
	case "JSON.stringify":
		return s.stringify(s.plain(arg(0), at), at)
	case "Object.freeze":
		return arg(0)
	case "Object.assign":
		target := s.plain(arg(0), at)
		for i := range args[min(1, len(args)):] {
			s.copyMembers(target, args[i+1])
		}
		return value{node: target}
	}
	if v.self.Is(contract.NodeString) {
		if r, ok := s.textMethod(v, args, at); ok {
			return r
		}
	}
	if v.self.Is(contract.NodeList) {
		if r, ok := s.listMethod(v, args, at); ok {
			return r
		}
	}
	s.fail(at, `write the value out, or let Node.js do it: node -p 'JSON.stringify(require("./iexec.js"))' > iexec.json`,
		"this call is not evaluated in a manifest")
	return value{}
}

func (s *script) stringify(n *contract.Node, at int) value {
	left := maxScriptNodes / 10
	tree := s.tree(n, 0, &left)
	return s.textValue(string(tree.JSON()), at)
}

func (s *script) textMethod(v value, args []value, at int) (value, bool) {
	text := v.self.Text
	switch v.builtin {
	case ".trim":
		return s.textValue(strings.TrimSpace(text), at), true
	case ".toLowerCase":
		return s.textValue(strings.ToLower(text), at), true
	case ".toUpperCase":
		return s.textValue(strings.ToUpper(text), at), true
	case ".toString":
		return value{node: v.self}, true
	case ".concat":
		r := value{node: v.self}
		for _, a := range args {
			r = s.binary("+", r, s.textValue(s.str(a, at), at), at)
		}
		return r, true
	}
	return value{}, false
}

func (s *script) listMethod(v value, args []value, at int) (value, bool) {
	list := s.node(contract.NodeList, "", at)
	add := func(n *contract.Node) {
		s.use(16)
		list.Items = append(list.Items, n)
	}
	switch v.builtin {
	case ".join", ".toString":
		separator := ","
		if v.builtin == ".join" && len(args) > 0 && !args[0].missing() {
			separator = s.str(args[0], at)
		}
		return s.textValue(s.join(v.self, separator, at), at), true
	case ".concat":
		for _, it := range v.self.Items {
			add(it)
		}
		for _, a := range args {
			if !a.node.Is(contract.NodeList) {
				add(s.plain(a, at))
				continue
			}
			for _, it := range a.node.Items {
				add(it)
			}
		}
		return value{node: list}, true
	case ".map", ".filter":
		if len(args) == 0 || args[0].fn == nil {
			return value{}, false
		}
		for i, it := range v.self.Items {
			r := s.call(args[0].fn, []value{{node: it}, s.numberValue(float64(i), at), {node: v.self}})
			switch {
			case v.builtin == ".map":
				add(s.plain(r, at))
			case truthy(r):
				add(it)
			}
		}
		return value{node: list}, true
	}
	return value{}, false
}

// ---- primary values ----

func (s *script) primary() (value, *place) {
	s.enter()
	defer s.leave()
	t := s.tok
	switch t.kind {
	case tokenString:
		s.advance()
		return value{node: s.node(contract.NodeString, t.text, t.start)}, nil
	case tokenNumber:
		s.advance()
		return value{node: s.number(t)}, nil
	case tokenTemplate:
		return s.template(), nil
	case tokenWord:
		return s.name()
	}
	switch {
	case s.is("{"):
		n := s.node(contract.NodeObject, "", t.start)
		s.advance()
		s.members(n, tokenMark)
		return value{node: n}, nil
	case s.is("["):
		return s.list(), nil
	case s.accept("("):
		v := s.expression()
		s.expect(")")
		return v, nil
	case t.kind == tokenEnd:
		s.fail(t.start, "close every { [ ( and quote that was opened", "the document ends too early")
	case s.is("/"):
		s.fail(t.start, "write the value out", "regular expressions are not evaluated in a manifest")
	}
	s.fail(t.start, "", "expected a value, found %s", t)
	return value{}, nil
}

func (s *script) number(t token) *contract.Node {
	text := strings.ReplaceAll(t.text, "_", "")
	if f, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsAny(text, "xXpP") {
		if n := s.node(contract.NodeNumber, text, t.start); validNumber(text) {
			return n
		}
		return s.numberValue(f, t.start).node
	}
	if n, err := strconv.ParseUint(text, 0, 64); err == nil && strings.HasPrefix(text, "0") {
		return s.node(contract.NodeNumber, strconv.FormatUint(n, 10), t.start)
	}
	s.fail(t.start, "put it in quotes if it is text", "%s is not a number", shorten(t.text))
	return nil
}

// validNumber tells whether the text is a number in JSON too.
func validNumber(text string) bool {
	digits := strings.TrimLeft(text, "0")
	return text[0] != '.' && !strings.HasSuffix(text, ".") && !strings.Contains(text, ".e") && !strings.Contains(text, ".E") &&
		(len(text)-len(digits) == 0 || text == "0" || len(text)-len(digits) == 1 && strings.IndexAny(digits, ".eE") == 0)
}

func (s *script) name() (value, *place) {
	t := s.tok
	switch t.text {
	case "true", "false":
		s.advance()
		return value{node: s.node(contract.NodeBool, t.text, t.start)}, nil
	case "null":
		s.advance()
		return value{node: s.node(contract.NodeNull, "null", t.start)}, nil
	case "undefined":
		s.advance()
		return value{}, nil
	case "function":
		s.advance()
		if s.tok.kind == tokenWord {
			s.advance()
		}
		return value{fn: s.functionRest()}, nil
	}
	if slices.Contains(elsewhere, t.text) {
		s.refuse()
	}
	s.advance()
	return s.lookup(t), &place{name: t.text, at: t.start}
}

func (s *script) lookup(t token) value {
	if s.skipping {
		return value{}
	}
	for sc := s.scope; sc != nil; sc = sc.outer {
		if v, ok := sc.vars[t.text]; ok {
			return v
		}
	}
	switch t.text {
	case "module":
		if s.module != nil {
			return value{node: s.module}
		}
	case "exports":
		if s.module != nil {
			return value{node: s.module.Get("exports")}
		}
	case "JSON", "Object", "String", "Number":
		return value{builtin: t.text}
	case "require", "process", "console", "global", "globalThis", "window", "__dirname", "__filename", "Buffer", "fetch", "eval", "Function":
		s.fail(t.start, `write the value out, or let Node.js do it: node -p 'JSON.stringify(require("./iexec.js"))' > iexec.json`,
			"%s is not there: a manifest is read without access to the machine", t.text)
	}
	mend := "put text in quotes"
	if near := contract.Nearest(t.text, []string{"true", "false", "null", "undefined"}); near != "" {
		mend = "write " + near
	} else if t.text == "None" || t.text == "nil" {
		mend = "write null"
	}
	s.fail(t.start, mend, "%s is not defined", shorten(t.text))
	return value{}
}

func (s *script) list() value {
	n := s.node(contract.NodeList, "", s.tok.start)
	s.advance()
	for !s.is("]") {
		at := s.tok.start
		switch {
		case s.accept("..."):
			for _, v := range s.spread(s.assignment()) {
				n.Items = append(n.Items, v.node)
			}
		case s.is(","):
			s.fail(at, "remove the comma", "a value is missing before the comma")
		default:
			v := s.assignment()
			if !s.skipping {
				n.Items = append(n.Items, s.plain(v, at))
			}
		}
		if s.is("]") {
			break
		}
		s.comma("]")
	}
	s.advance()
	return value{node: n}
}

// comma passes the comma between two values.
func (s *script) comma(end string) {
	if s.accept(",") {
		return
	}
	switch {
	case s.tok.kind == tokenEnd:
		s.fail(s.tok.start, fmt.Sprintf("write %s where it ends", end), "the document ends too early: a %s is missing", end)
	case s.tok.kind != tokenMark || s.is("{") || s.is("["):
		s.fail(s.tok.start, "write a comma before it", "a comma is missing before %s", s.tok)
	}
	s.fail(s.tok.start, "", "expected a comma or %s, found %s", end, s.tok)
}

// template parses from the opening back quote to the closing one.
func (s *script) template() value {
	start := s.tok.start
	var b strings.Builder
	s.next = start + 1
	for {
		if s.next >= len(s.text) {
			s.fail(start, "close it with `", "the template that starts here is never closed")
		}
		switch c := s.text[s.next]; {
		case c == '`':
			s.next++
			s.advance()
			return s.textValue(b.String(), start)
		case c == '\\':
			s.escape(&b)
		case strings.HasPrefix(s.text[s.next:], "${"):
			s.next += 2
			s.advance()
			v := s.expression()
			if !s.is("}") {
				s.expect("}")
			}
			s.next = s.tok.start + 1
			if !s.skipping {
				text := s.str(v, start)
				s.use(len(text))
				b.WriteString(text)
			}
		default:
			b.WriteByte(c)
			s.next++
		}
	}
}

// ---- objects ----

// members parses the members of an object up to its brace, or to the end of the file.
func (s *script) members(n *contract.Node, until tokenKind) {
	ended := func() bool {
		if until == tokenEnd {
			return s.tok.kind == tokenEnd
		}
		return s.is("}")
	}
	add := func(m contract.Member) { n.Members = append(n.Members, m) } // keeps duplicates, to warn of them
	for !ended() {
		if s.accept("...") {
			s.copyMembers(n, s.assignment())
			add = func(m contract.Member) { s.set(n, m) }
		} else {
			s.oneMember(add)
		}
		if ended() {
			break
		}
		s.comma("}")
	}
	if until == tokenMark {
		s.advance()
	}
}

func (s *script) copyMembers(n *contract.Node, from value) {
	if s.skipping || !from.node.Is(contract.NodeObject) {
		return
	}
	for _, m := range from.node.Members {
		s.use(16)
		s.set(n, m)
	}
}

func (s *script) oneMember(add func(contract.Member)) {
	key := s.tok
	switch {
	case s.accept("["):
		v := s.assignment()
		s.expect("]")
		if !s.skipping {
			key.text = s.str(v, key.start)
		}
	case key.kind == tokenString, key.kind == tokenWord, key.kind == tokenNumber:
		s.advance()
	case key.kind == tokenEnd:
		s.fail(key.start, "close every { [ ( and quote that was opened", "the document ends too early: a } is missing")
	default:
		s.fail(key.start, "", "expected a member's name, found %s", key)
	}
	var v value
	switch {
	case s.accept(":"):
		at := s.tok.start
		v = s.assignment()
		if !s.skipping {
			v.node = s.plain(v, at)
		}
	case key.kind == tokenWord && (s.is(",") || s.is("}")):
		v = s.lookup(key)
		if !s.skipping {
			v.node = s.plain(v, key.start)
		}
	default:
		s.failMember(key)
	}
	if s.skipping {
		return
	}
	at := s.position(key.start)
	add(contract.Member{Key: key.text, KeyLine: at.Line, KeyColumn: at.Column, Value: v.node})
}

// failMember explains a name that is not followed by a colon, above all quotes that are missing around it.
func (s *script) failMember(key token) {
	name, closing := strings.CutSuffix(strings.TrimSpace(key.text), ":")
	name = strings.TrimSpace(name)
	switch {
	case key.kind == tokenString && closing && name != "" && strings.IndexFunc(name, func(r rune) bool { return !wordRune(r) && r != '-' }) < 0:
		// "dirinuri: "http://…" is read as the text `dirinuri: ` with the value's text behind it.
		s.fail(key.start, fmt.Sprintf(`write: "%s": "%s`, name, s.lineFrom(s.tok.start)), "the closing quote of the name %q is missing", name)
	case key.kind == tokenWord && s.tok.kind == tokenString && strings.TrimSpace(s.tok.text) == ":":
		s.fail(key.start, fmt.Sprintf(`write: "%s": "%s`, key.text, s.lineFrom(s.next)), "the opening quote of the name %q is missing", key.text)
	case s.is("="):
		s.fail(s.tok.start, `write ":" in place of "="`, "between a name and its value stands a colon")
	case s.is("("):
		s.fail(key.start, "write the value out", "methods are not evaluated in a manifest")
	case s.tok.kind == tokenEnd:
		s.fail(key.start, "close every { [ ( and quote that was opened", "the document ends after the name %q", shorten(key.text))
	}
	s.fail(s.tok.start, `write ":" between a name and its value`, "expected : after the name %q, found %s", shorten(key.text), s.tok)
}
