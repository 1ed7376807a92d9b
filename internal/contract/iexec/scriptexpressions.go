package iexec

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
)

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
	s.steps -= len(object.Members) / 16 // looking for the name is work too
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
