package task

import (
	"encoding/json"
	"strconv"
	"strings"
)

// verbatimText is the text that a value of a Verbatim type is passed on as: written text unchanged, a JSON string decoded,
// JSON numbers in their shortest decimal form, and every other JSON document as it stands.
func (g Given) verbatimText() string {
	if g.Text != nil {
		return *g.Text
	}
	raw := strings.TrimSpace(string(g.JSON))
	var s string
	if strings.HasPrefix(raw, `"`) && json.Unmarshal([]byte(raw), &s) == nil {
		return s
	}
	if n, ok := ParseInteger(raw); ok {
		return n.String()
	}
	if f, err := strconv.ParseFloat(raw, 64); err == nil {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return raw
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
