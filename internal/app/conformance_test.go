package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"longshore/internal/app"
	"longshore/internal/contract/contracttest"
)

// TestContracts runs the conformance suite of contracts for all of them, on the packages of examples/.
func TestContracts(t *testing.T) {
	packages, err := filepath.Glob("../../examples/*/[a-z]*") // not README.md
	if err != nil || len(packages) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, name := range app.ContractNames() {
		c, err := app.Contract(name)
		if err != nil {
			t.Fatal(err)
		}
		s := contracttest.Suite{Contract: c}
		for _, p := range packages {
			if strings.Contains(p, "examples/"+name+"/") {
				s.Own = append(s.Own, p)
			} else {
				s.Foreign = append(s.Foreign, p)
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Run(t)
		})
	}
}
