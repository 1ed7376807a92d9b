package meca_test

import (
	"slices"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/meca"
	"longshore/internal/task"
)

// TestReferenceVerdicts holds the MECA reference, section 11.2: the rule that each change of a right folder breaks, "" for none.
func TestReferenceVerdicts(t *testing.T) {
	cases := []struct {
		path, text string
		rule       string
		valid      bool
	}{
		{"README.md", "more", "", true},
		{"name.txt", "", "MECA011", true},
		{"config.json", "{", "MECA004", false},
		{"config.json", `{"resource":{"cpu":"2"}}`, "MECA005", false},
		{"config.json", `{"resource":{"cpu":1,"memory":128,"use_sgx":true}}`, "MECA008", true},
		{"config.json", `{"resource":{"use_gpu":true}}`, "MECA007", false},
	}
	for _, c := range cases {
		_, found := meca.New().Load(folder(t, with(map[string]string{c.path: c.text})), contract.Options{})
		named := c.rule == "" && len(found) == 0 || slices.ContainsFunc(found, func(f task.Finding) bool { return f.Rule == c.rule })
		if !named || task.HasErrors(found) == c.valid {
			t.Errorf("%s = %q: want %q, valid %v, got %v", c.path, c.text, c.rule, c.valid, found)
		}
	}
}
