package contract_test

import (
	"errors"
	"strings"
	"testing"

	"longshore/internal/contract"
)

// TestYAMLShape holds that documents which the parser could not bear are refused, and large ordinary ones are not.
func TestYAMLShape(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"keys":     {strings.Repeat("a:\n", 300_000), false},
		"brackets": {strings.Repeat("[", 300_000), false},
		"braces":   {strings.Repeat("{a: ", 300_000), false},
		"dashes":   {strings.Repeat("- ", 300_000), false},
		"tags":     {"a: " + strings.Repeat("!!str ", 300_000) + "x", false},
		"tag rows": {"a:\n" + strings.Repeat(" !!str\n", 200_000) + " x", false},
		"anchors":  {"a: " + strings.Repeat("&a ", 300_000) + "x", false},
		"commas":   {"[" + strings.Repeat(",", 300_000), false},
		"long":     {"a: " + strings.Repeat("x", 3<<20), false},
		"text":     {"a: |\n" + strings.Repeat("  [x: {y\n", 50_000), true},
		"list":     {"a:\n" + strings.Repeat("- x\n", 50_000), true},
		"anchored": {strings.Repeat("- &a 1\n- *a\n", 2_000), true},
	} {
		_, err := contract.ParseYAML([]byte(c.text))
		if _, ours := errors.AsType[*contract.SyntaxError](err); (err == nil) != c.ok || err != nil && !ours {
			t.Errorf("%s: %v", name, err)
		}
	}
}
