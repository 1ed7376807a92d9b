package app_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"longshore/internal/app"
	"longshore/internal/contract"
)

var update = flag.Bool("update", false, "write the rule tables of docs/contracts anew")

// TestRuleTables holds the rule tables of the contracts' pages to the code.
func TestRuleTables(t *testing.T) {
	for _, name := range app.ContractNames() {
		c, err := app.Contract(name)
		if err != nil {
			t.Fatal(err)
		}
		l, ok := c.(contract.RuleLister)
		if !ok {
			t.Errorf("%s lists no rules", name)
			continue
		}
		var table strings.Builder
		table.WriteString("<!-- rules -->\n| rule | severity | holds when |\n| --- | --- | --- |\n")
		seen := map[string]bool{}
		for _, r := range l.Rules() {
			severity := string(r.Severity)
			if r.Milder != "" {
				severity += " or " + string(r.Milder)
			}
			fmt.Fprintf(&table, "| `%s` | %s | %s |\n", r.ID, severity, strings.ReplaceAll(r.Summary, "|", "\\|"))
			if seen[r.ID] || r.Summary == "" {
				t.Errorf("%s: rule %s is listed twice or says nothing", name, r.ID)
			}
			seen[r.ID] = true
		}
		page := "../../docs/contracts/" + name + ".md"
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok1 := strings.Cut(string(data), "<!-- rules -->\n")
		_, after, ok2 := strings.Cut(rest, "<!-- /rules -->")
		if !ok1 || !ok2 {
			t.Errorf("%s has no place for the rules", page)
			continue
		}
		want := before + table.String() + "<!-- /rules -->" + after
		if want == string(data) {
			continue
		}
		if !*update {
			t.Errorf("%s is not what the code says: go test ./internal/app -update", page)
		} else if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
