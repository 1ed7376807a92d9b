package iexec

import (
	"math"
	"strconv"
	"strings"

	"longshore/internal/contract"
)

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
