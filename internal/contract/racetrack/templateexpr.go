package racetrack

import "strings"

// expression reads "a or b", the loosest form.
func (t *template) expression() value {
	defer t.enter()()
	return t.or()
}

func (t *template) or() value {
	v := t.and()
	for t.word("or") {
		if w := t.quietly(v.truth(), t.and); !v.truth() {
			v = w
		}
	}
	return v
}

func (t *template) and() value {
	v := t.not()
	for t.word("and") {
		if w := t.quietly(!v.truth(), t.not); v.truth() {
			v = w
		}
	}
	return v
}

func (t *template) not() value {
	if t.word("not") {
		defer t.enter()()
		return truth(!t.not().truth())
	}
	v := t.postfix()
	for t.err == nil {
		from := t.pos
		switch {
		case t.sign("=="):
			v = truth(v.equal(t.operand(v)))
		case t.sign("!="):
			v = truth(!v.equal(t.operand(v)))
		case t.sign("<="):
			v = t.ordered(v, "<=", func(c int) bool { return c <= 0 })
		case t.sign(">="):
			v = t.ordered(v, ">=", func(c int) bool { return c >= 0 })
		case t.sign("<"):
			v = t.ordered(v, "<", func(c int) bool { return c < 0 })
		case t.sign(">"):
			v = t.ordered(v, ">", func(c int) bool { return c > 0 })
		case t.word("in"):
			v = truth(v.in(t.operand(v)))
		case t.word("not") && t.word("in"):
			v = truth(!v.in(t.operand(v)))
		default:
			if t.err == nil {
				t.pos = from
			}
			return v
		}
	}
	return v
}

// operand reads what a value is compared with.
func (t *template) operand(v value) value {
	w := t.postfix()
	t.charge(len(v.String()) + len(w.String()))
	return w
}

// ordered compares two numbers, such as a length and 0.
func (t *template) ordered(v value, sign string, holds func(int) bool) value {
	w := t.operand(v)
	a, ok := v.rational()
	b, also := w.rational()
	switch {
	case t.err != nil || t.dead > 0:
		return value{}
	case !ok || !also:
		t.wrong("%s compares numbers only", sign)
		return value{}
	}
	return truth(holds(a.Cmp(b)))
}

// postfix reads a value with attributes, items and filters behind it.
func (t *template) postfix() value {
	v := t.primary()
	for t.err == nil {
		switch {
		case t.sign("."):
			v = t.attribute(v, t.name())
		case t.sign("["):
			key := t.expression()
			t.operator("]")
			v = t.item(v, key.text)
		case t.sign("|"):
			v = t.filter(v, t.name())
		default:
			return v
		}
	}
	return v
}

func (t *template) primary() value {
	t.space()
	rest := t.rest()
	switch {
	case rest == "":
		t.wrong("a tag is never closed")
		return value{}
	case rest[0] == '"' || rest[0] == '\'':
		return t.quotedText(rest[0])
	case rest[0] >= '0' && rest[0] <= '9':
		from := t.pos
		for t.pos < len(t.in) && t.in[t.pos] >= '0' && t.in[t.pos] <= '9' {
			t.pos++
		}
		return value{kind: valueNumber, text: t.in[from:t.pos]}
	case t.sign("("):
		v := t.expression()
		t.operator(")")
		return v
	case t.sign("["):
		return value{kind: valueList, list: t.until("]")}
	}
	construct := t.construct()
	switch name := t.name(); name {
	case "":
		t.unsupported(construct)
		return value{}
	case "true", "True":
		return truth(true)
	case "false", "False":
		return truth(false)
	case "none", "None":
		return value{kind: valueNone}
	default:
		if v, ok := t.vars[name]; ok {
			return v
		}
		return value{text: name}
	}
}

func (t *template) quotedText(quote byte) value {
	var b strings.Builder
	for i := t.pos + 1; i < len(t.in); i++ {
		switch c := t.in[i]; {
		case c == quote:
			t.pos = i + 1
			return text(b.String())
		case c == '\\' && i+1 < len(t.in):
			i++
			switch t.in[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case '\\', '"', '\'':
				b.WriteByte(t.in[i])
			default:
				b.WriteString(t.in[i-1 : i+1])
			}
		default:
			b.WriteByte(c)
		}
	}
	t.wrong("a text is never closed")
	return value{}
}

// attribute reads .NAME and the methods get, items, replace and get_jobtype_extra.
func (t *template) attribute(v value, name string) value {
	if !t.sign("(") {
		return t.item(v, name)
	}
	args := t.until(")")
	switch {
	case t.err != nil || t.dead > 0:
		return value{}
	case name == "get" && v.kind == valueMapping && (len(args) == 1 || len(args) == 2):
		if got, ok := v.item(args[0].text); ok {
			return got
		}
		if len(args) == 2 {
			return args[1]
		}
		return value{kind: valueNone}
	case name == "items" && v.kind == valueMapping && len(args) == 0:
		pairs := value{kind: valueList}
		for i, k := range v.keys {
			pairs.list = append(pairs.list, value{kind: valueList, list: []value{text(k), v.list[i]}})
		}
		return pairs
	case name == "replace" && v.kind == valueString && len(args) == 2:
		return t.replaced(v.text, args[0].String(), args[1].String())
	case name == "get_jobtype_extra" && len(args) == 0:
		if got, ok := t.vars[extraVariable]; ok {
			return got
		}
	}
	t.unsupported("." + name + "(…)")
	return value{}
}

// replaced bounds what a text may become.
func (t *template) replaced(s, old, new string) value {
	if len(s)+strings.Count(s, old)*len(new) > maxTemplateText {
		t.wrong("the text becomes too long")
		return value{}
	}
	t.charge(len(s))
	return text(strings.ReplaceAll(s, old, new))
}

// item looks a name up. What is not there is undefined, and something of what is undefined is an error.
func (t *template) item(v value, name string) value {
	full := v.text + "." + name
	if got, ok := v.item(name); ok {
		return got
	}
	if v.kind == valueUndefined || v.kind == valueNone {
		if t.dead == 0 {
			t.wrong("%s is not set, so that .%s cannot be read", strings.TrimPrefix(v.text, "."), name)
		}
	}
	return value{text: strings.TrimPrefix(full, ".")}
}

// until reads values divided by commas, up to a closing sign.
func (t *template) until(end string) []value {
	var list []value
	for t.err == nil && !t.sign(end) {
		list = append(list, t.expression())
		if !t.sign(",") {
			t.operator(end)
			break
		}
	}
	return list
}

func (t *template) filter(v value, name string) value {
	var args []value
	if t.sign("(") {
		args = t.until(")")
	}
	switch {
	case t.err != nil || t.dead > 0:
		return value{}
	case (name == "length" || name == "count") && len(args) == 0:
		return v.length()
	case name == "join" && v.kind == valueList && len(args) <= 1:
		var parts []string
		for _, it := range v.list {
			parts = append(parts, it.String())
			t.charge(len(it.text))
		}
		sep := ""
		if len(args) == 1 {
			sep = args[0].String()
		}
		return text(strings.Join(parts, sep))
	case (name == "default" || name == "d") && len(args) == 1:
		if v.kind == valueUndefined {
			return args[0]
		}
		return v
	}
	t.unsupported("the filter " + name)
	return value{}
}
