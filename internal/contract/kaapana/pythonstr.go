package kaapana

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"longshore/internal/contract"
)

// pythonStr is what Python's str() makes of a JSON value: older operators passed form values on in that form, and their
// containers parse it ("True", "['a', 'b']").
func pythonStr(n *contract.Node) string {
	if n.Is(contract.NodeString) {
		return n.Text
	}
	return pythonRepr(n)
}

func pythonRepr(n *contract.Node) string {
	switch {
	case n.IsNull():
		return "None"
	case n.Is(contract.NodeString):
		return pythonQuote(n.Text)
	case n.Is(contract.NodeNumber):
		return pythonNumber(n.Text)
	case n.Is(contract.NodeList):
		items := make([]string, 0, len(n.Items))
		for _, it := range n.Items {
			items = append(items, pythonRepr(it))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case n.Is(contract.NodeObject):
		items := make([]string, 0, len(n.Members))
		for _, m := range distinct(n.Members) {
			items = append(items, pythonQuote(m.Key)+": "+pythonRepr(m.Value))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	if b, _ := n.Bool(); b {
		return "True"
	}
	return "False"
}

// pythonNumber writes integers as they are and floats by Python's repr: the shortest digits that give the same value, with an
// exponent below 1e-4 and from 1e16 on.
func pythonNumber(text string) string {
	switch {
	case text == "-0":
		return "0"
	case !strings.ContainsAny(text, ".eE"):
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) {
		return text
	}
	switch size := math.Abs(f); {
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+")
	case size != 0 && (size < 1e-4 || size >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// pythonQuote is repr() of a string: single quotes, unless there are some in it and no double ones.
func pythonQuote(s string) string {
	quote := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, c := range s {
		switch {
		case c == quote || c == '\\':
			b.WriteRune('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
	}
	b.WriteRune(quote)
	return b.String()
}
