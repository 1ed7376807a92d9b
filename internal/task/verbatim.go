package task

import (
	"encoding/json"
	"strconv"
	"strings"
)

// verbatimText is the text that a value of a Verbatim type is passed on as: written text unchanged, a JSON string decoded,
// JSON numbers in their shortest decimal form, and every other JSON document as it stands. ok is false for a JSON null,
// which means that the value is not set.
func (g Given) verbatimText() (text string, ok bool) {
	if g.Text != nil {
		return *g.Text, true
	}
	raw := strings.TrimSpace(string(g.JSON))
	var s string
	switch {
	case raw == "null":
		return "", false
	case strings.HasPrefix(raw, `"`) && json.Unmarshal([]byte(raw), &s) == nil:
		return s, true
	}
	if n, ok := ParseInteger(raw); ok {
		return n.String(), true
	}
	if f, err := strconv.ParseFloat(raw, 64); err == nil {
		return strconv.FormatFloat(f, 'f', -1, 64), true
	}
	return raw, true
}

// verbatimNull tells a JSON null given for a Verbatim type: the same as not given.
func (t Type) verbatimNull(g Given) bool {
	if !t.Verbatim || g.JSON == nil {
		return false
	}
	_, ok := g.verbatimText()
	return !ok
}

// verbatimKind tells whether text is of the kind, in the forms that Verbatim types take: booleans are true, false (in any
// letter case), 1 and 0; integers an optional sign and decimal digits.
func verbatimKind(k Kind, text string) bool {
	switch k {
	case Boolean:
		l := strings.ToLower(text)
		return l == "true" || l == "false" || l == "1" || l == "0"
	case Integer:
		return decimalInteger.MatchString(text)
	}
	return true
}
