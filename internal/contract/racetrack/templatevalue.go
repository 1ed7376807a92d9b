package racetrack

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
)

// value is what an expression of a template gives: Python's values, as far as manifests have them.
type value struct {
	kind valueKind
	// text is that of strings and numbers, and the name of what is undefined.
	text string
	list []value
	// keys are those of a mapping, whose values are list.
	keys []string
}

type valueKind int

const (
	valueUndefined valueKind = iota
	valueNone
	valueTrue
	valueFalse
	valueNumber
	valueString
	valueList
	valueMapping
)

func text(s string) value { return value{kind: valueString, text: s} }

func truth(b bool) value {
	if b {
		return value{kind: valueTrue}
	}
	return value{kind: valueFalse}
}

// valueOfNode is a node of the manifest as a template sees it; nothing is None.
func valueOfNode(n *contract.Node) value {
	switch scalarOf(n) {
	case scalarNull:
		return value{kind: valueNone}
	case scalarBool:
		return truth(contains([]string{"yes", "true", "on"}, strings.ToLower(n.Text)))
	case scalarInt:
		if v, ok := integerOf(n.Text); ok {
			return value{kind: valueNumber, text: v.String()}
		}
		return text(n.Text)
	case scalarFloat:
		return value{kind: valueNumber, text: n.Text}
	case scalarString, scalarDate:
		return text(n.Text)
	}
	if n.Is(contract.NodeList) {
		v := value{kind: valueList}
		for _, it := range n.Items {
			v.list = append(v.list, valueOfNode(it))
		}
		return v
	}
	v := value{kind: valueMapping}
	for _, m := range n.Members {
		v = v.with(m.Key, valueOfNode(m.Value))
	}
	return v
}

// with returns a mapping with one more pair, or one that is replaced.
func (v value) with(key string, item value) value {
	v.keys, v.list = slices.Clone(v.keys), slices.Clone(v.list)
	if i := slices.Index(v.keys, key); i >= 0 {
		v.list[i] = item
		return v
	}
	v.keys, v.list = append(v.keys, key), append(v.list, item)
	return v
}

// item is a mapping's value by key.
func (v value) item(key string) (value, bool) {
	if i := slices.Index(v.keys, key); v.kind == valueMapping && i >= 0 {
		return v.list[i], true
	}
	return value{}, false
}

func (v value) truth() bool {
	switch v.kind {
	case valueTrue:
		return true
	case valueNumber:
		return strings.Trim(v.text, "+-0._") != ""
	case valueString:
		return v.text != ""
	case valueList, valueMapping:
		return len(v.list) > 0
	}
	return false
}

// String is how a template prints a value: as Python does.
func (v value) String() string {
	switch v.kind {
	case valueNone:
		return "None"
	case valueTrue:
		return "True"
	case valueFalse:
		return "False"
	case valueNumber, valueString:
		return v.text
	case valueList:
		var parts []string
		for _, it := range v.list {
			parts = append(parts, it.quoted())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case valueMapping:
		var parts []string
		for i, it := range v.list {
			parts = append(parts, text(v.keys[i]).quoted()+": "+it.quoted())
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return ""
}

// quoted is a value inside of another.
func (v value) quoted() string {
	if v.kind != valueString {
		return v.String()
	}
	quote := "'"
	if strings.Contains(v.text, "'") && !strings.Contains(v.text, `"`) {
		quote = `"`
	}
	return quote + strings.NewReplacer(`\`, `\\`, "\n", `\n`, quote, `\`+quote).Replace(v.text) + quote
}

func (v value) length() value {
	n := len(v.list)
	if v.kind == valueString {
		n = utf8.RuneCountInString(v.text)
	}
	return value{kind: valueNumber, text: strconv.Itoa(n)}
}

// rational is the value of a number as this program writes them; it has few digits.
func (v value) rational() (*big.Rat, bool) {
	if v.kind != valueNumber || len(v.text) > 100 {
		return nil, false
	}
	text := strings.ReplaceAll(v.text, "_", "")
	if strings.ContainsAny(text, "eE:/") {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

func (v value) equal(w value) bool { return v.kind == w.kind && v.String() == w.String() }

// in tells whether v is an item of a list, a key of a mapping or a part of a text.
func (v value) in(w value) bool {
	switch w.kind {
	case valueList:
		return slices.ContainsFunc(w.list, v.equal)
	case valueMapping:
		return slices.Contains(w.keys, v.text) && v.kind == valueString
	}
	return v.kind == valueString && w.kind == valueString && strings.Contains(w.text, v.text)
}
