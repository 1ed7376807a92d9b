package kaapana

import (
	"encoding/json"
	"slices"
	"strings"
)

// expression reads "a if c else b", the loosest form.
func (j *jinja) expression() jinjaValue {
	if j.depth++; j.depth > maxJinjaDepth {
		j.fail("expressions are nested too deeply")
	}
	defer func() { j.depth-- }()
	// Which branch counts is known after the condition, so nothing is reported of the first one that is read; an attribute
	// of something undefined in it stays an error.
	v := j.or()
	if !j.word("if") {
		return v
	}
	cond := j.or().truth()
	other := jinjaValue{}
	if j.word("else") {
		other = j.expression()
	}
	if cond {
		return v
	}
	return other
}

func (j *jinja) or() jinjaValue {
	v := j.and()
	for j.word("or") {
		if w := j.and(); !v.truth() {
			v = w
		}
	}
	return v
}

func (j *jinja) and() jinjaValue {
	v := j.not()
	for j.word("and") {
		if w := j.not(); v.truth() {
			v = w
		}
	}
	return v
}

func (j *jinja) not() jinjaValue {
	negate := false
	for j.word("not") {
		negate = !negate
	}
	v := j.comparison()
	if negate {
		return boolean(!v.truth())
	}
	return v
}

func boolean(b bool) jinjaValue {
	if b {
		return jinjaValue{kind: jinjaTrue}
	}
	return jinjaValue{kind: jinjaFalse}
}

func (j *jinja) comparison() jinjaValue {
	v := j.concatenation()
	for {
		switch {
		case j.sign("=="):
			v = boolean(same(v, j.concatenation()))
		case j.sign("!="):
			v = boolean(!same(v, j.concatenation()))
		case j.word("is"):
			v = j.test(v)
		default:
			return v
		}
	}
}

func same(a, b jinjaValue) bool {
	return a.kind == b.kind && (a.kind == jinjaUndefined || a.text == b.text)
}

func (j *jinja) test(v jinjaValue) jinjaValue {
	negate := j.word("not")
	var is bool
	switch word := j.name(); word {
	case "defined":
		is = v.kind != jinjaUndefined
	case "undefined":
		is = v.kind == jinjaUndefined
	case "none":
		is = v.kind == jinjaNone
	case "string":
		is = v.kind == jinjaString
	default:
		j.fail("the test `%s` is not supported", word)
	}
	return boolean(is != negate)
}

func (j *jinja) concatenation() jinjaValue {
	v := j.postfix()
	for {
		switch {
		case j.sign("~"):
			v = j.str(v.String() + j.postfix().String())
		case !strings.HasPrefix(strings.TrimLeft(j.rest(), " \t\r\n"), "+}") && !strings.HasPrefix(strings.TrimLeft(j.rest(), " \t\r\n"), "+%") && j.sign("+"):
			w := j.postfix()
			if v.kind != jinjaString || w.kind != jinjaString {
				j.fail("+ joins strings only")
			}
			v = j.str(v.text + w.text)
		default:
			return v
		}
	}
}

// postfix reads a value with attributes, items and filters behind it.
func (j *jinja) postfix() jinjaValue {
	v := j.primary()
	for j.err == nil {
		switch {
		case j.sign("."):
			v = j.attribute(v, j.name())
		case j.sign("["):
			key := j.expression()
			j.operator("]")
			v = j.item(v, key.String())
		case j.sign("|"):
			v = j.filter(v, j.name())
		default:
			return v
		}
	}
	return v
}

func (j *jinja) primary() jinjaValue {
	j.space()
	rest := j.rest()
	switch {
	case rest == "":
		j.fail("an expression is never closed")
		return jinjaValue{}
	case rest[0] == '"' || rest[0] == '\'':
		return j.stringLiteral(rest[0])
	case isDigit(rest[0]):
		from := j.pos
		for j.pos < len(j.in) && (isDigit(j.in[j.pos]) || j.in[j.pos] == '.') {
			j.pos++
		}
		return jinjaValue{jinjaNumber, j.in[from:j.pos]}
	case j.sign("("):
		v := j.expression()
		j.operator(")")
		return v
	}
	switch name := j.name(); name {
	case "":
		j.fail("unexpected %q", rest[:1])
		return jinjaValue{}
	case "true", "True":
		return boolean(true)
	case "false", "False":
		return boolean(false)
	case "none", "None":
		return jinjaValue{kind: jinjaNone}
	case "env", "custom":
		return jinjaValue{jinjaObject, name}
	default:
		if v, ok := j.vars[name]; ok {
			return v
		}
		return jinjaValue{jinjaUndefined, name}
	}
}

func (j *jinja) stringLiteral(quote byte) jinjaValue {
	var b strings.Builder
	for i := j.pos + 1; i < len(j.in); i++ {
		switch c := j.in[i]; {
		case c == quote:
			j.pos = i + 1
			return jinjaValue{jinjaString, b.String()}
		case c == '\\' && i+1 < len(j.in):
			i++
			switch j.in[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case '\\', '"', '\'':
				b.WriteByte(j.in[i])
			default:
				b.WriteString(j.in[i-1 : i+1])
			}
		default:
			b.WriteByte(c)
		}
	}
	j.fail("a string is never closed")
	return jinjaValue{}
}

// attribute reads .NAME, and the method get of the two objects.
func (j *jinja) attribute(v jinjaValue, name string) jinjaValue {
	if name == "get" && v.kind == jinjaObject && j.sign("(") {
		args := j.arguments()
		if len(args) == 0 {
			j.fail("get needs a name")
			return jinjaValue{}
		}
		if got := j.item(v, args[0].String()); got.kind != jinjaUndefined {
			return got
		}
		if len(args) > 1 {
			return args[1]
		}
		return jinjaValue{kind: jinjaNone}
	}
	if name == "" {
		j.fail("a name is missing behind the dot")
	}
	return j.item(v, name)
}

// item looks a name up. Attributes of strings are undefined; attributes of something undefined are an error.
func (j *jinja) item(v jinjaValue, name string) jinjaValue {
	full := v.text + "." + name
	switch {
	case v.kind == jinjaUndefined:
		if j.dead == 0 && j.err == nil {
			j.fail("`%s` is not set, so that `%s` cannot be read", v.text, full)
			j.err.undefined = true
		}
	case v.kind == jinjaObject:
		if !slices.Contains(j.used, full) && j.dead == 0 {
			j.used = append(j.used, full)
		}
		if value, ok := j.env(full); ok {
			return jinjaValue{jinjaString, value}
		}
	}
	return jinjaValue{jinjaUndefined, full}
}

// arguments reads what follows an opening parenthesis.
func (j *jinja) arguments() []jinjaValue {
	var args []jinjaValue
	for j.err == nil && !j.sign(")") {
		args = append(args, j.expression())
		if !j.sign(",") {
			j.operator(")")
			break
		}
	}
	return args
}

func (j *jinja) filter(v jinjaValue, name string) jinjaValue {
	var args []jinjaValue
	if j.sign("(") {
		args = j.arguments()
	}
	text := v.String()
	switch {
	case name == "default" || name == "d":
		if v.kind == jinjaUndefined || len(args) > 1 && args[1].truth() && !v.truth() {
			if len(args) == 0 {
				return jinjaValue{kind: jinjaString}
			}
			return args[0]
		}
		return v
	case name == "upper":
		return j.str(strings.ToUpper(text))
	case name == "lower":
		return j.str(strings.ToLower(text))
	case name == "trim":
		return j.str(strings.TrimSpace(text))
	case name == "string":
		return j.str(text)
	case name == "int" && strings.Trim(text, "0123456789") == "" && text != "":
		return jinjaValue{jinjaNumber, text}
	case name == "replace" && len(args) == 2 && args[0].String() != "" && (1+len(text))*(1+len(args[1].String())) < maxRendered:
		return j.str(strings.ReplaceAll(text, args[0].String(), args[1].String()))
	case name == "tojson":
		return j.str(v.json())
	}
	j.fail("the filter `%s` is not supported in this form", name)
	return jinjaValue{}
}

func (v jinjaValue) json() string {
	switch v.kind {
	case jinjaNumber:
		return v.text
	case jinjaTrue:
		return "true"
	case jinjaFalse:
		return "false"
	case jinjaNone:
		return "null"
	}
	data, err := json.Marshal(v.String())
	if err != nil {
		return `""` // strings always encode
	}
	return string(data)
}
