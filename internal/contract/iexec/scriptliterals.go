package iexec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/contract"
)

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
