package iexec

import (
	"slices"
)

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
