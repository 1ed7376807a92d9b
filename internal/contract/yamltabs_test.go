package contract_test

import (
	"errors"
	"strings"
	"testing"

	"longshore/internal/contract"
)

// TestYAMLTabs holds that tabs are part of the text that they stand in, and are reported where the parser cannot bear them.
func TestYAMLTabs(t *testing.T) {
	for text, want := range map[string]string{
		"a: x\ty z\nb: 1":                    `{"a":"x\ty z","b":1}`,
		"a: 1\t2":                            `{"a":"1\t2"}`,
		"a: tr\tue":                          `{"a":"tr\tue"}`,
		"a: x\t \t y # c\tc":                 `{"a":"x\t \t y"}`,
		"a:\n  b: \"x\ty\tz\"\n  c: 1\n":     `{"a":{"b":"x\ty\tz","c":1}}`,
		"a:\n  b: 'x\ty'\n  c: 1\n":          `{"a":{"b":"x\ty","c":1}}`,
		"{a: x\ty, b: \"q\tr\"}":             `{"a":"x\ty","b":"q\tr"}`,
		"a: |\n  x\ty\n  z\n":                `{"a":"x\ty\nz\n"}`,
		"a:\tx\t# c\nb\t: y\t\nc: [1,\t2]\n": `{"a":"x","b":"y","c":[1,2]}`,
		"x\ty: 1":                            `{"x\ty":1}`,
		"{\n\t\"a\": \"b\",\n\t\"c\": [\n\t\t1\n\t]\n}": `{"a":"b","c":[1]}`,
		"a: x\ufdd0y": "{\"a\":\"x\ufdd0y\"}",
	} {
		n, err := contract.ParseYAML([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := string(n.JSON()); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"a: 1\nb: \"x:\ty\"\nc: 2\n": `line 2, column 4: a tab stands inside double quotes`,
		"-\ta: 1\n":                  "line 1, column 3: a tab stands where blanks part one thing from the next",
	} {
		_, err := contract.ParseYAML([]byte(text))
		if e, ok := errors.AsType[*contract.SyntaxError](err); !ok || !strings.HasPrefix(e.Error(), want) || e.Mend == "" {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
