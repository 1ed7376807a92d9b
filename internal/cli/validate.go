package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/task"
)

func newValidate(g *globals) *cobra.Command {
	open := openFlags{}
	f, list := validateFlags{}, ""
	c := &cobra.Command{
		Use:   "validate PACKAGE",
		Short: "Check a package and report everything that is wrong with it",
		Long: `Check a package against its contract. Every problem is reported at once, with its place, its rule,
and how to mend it. Warnings are things that pass on the platform and fail or surprise later; with
--strict they count as errors. Nothing is built or run. --sarif prints SARIF 2.1.0, which code
hosts and editors show beside the lines; files in it are relative to the package.`,
		Example: `  longshore validate ./my-task
  longshore validate bundle.zip --json
  longshore validate image:my-tools:1.0 --strict
  longshore validate ./my-task --sarif > findings.sarif
  longshore validate --list-rules meca`,
		RunE: func(c *cobra.Command, args []string) error {
			if f.sarif && (g.json || list != "") {
				return &task.Error{Code: task.CodeUsage, Message: "--sarif goes with neither --json nor --list-rules"}
			}
			if list != "" {
				return g.listRules(list)
			}
			if err := exactly("a PACKAGE")(c, args); err != nil {
				return err
			}
			return g.validate(c.Context(), args[0], open, f)
		},
	}
	open.register(c.Flags())
	c.Flags().BoolVar(&f.strict, "strict", false, "count warnings as errors")
	c.Flags().BoolVar(&f.sarif, "sarif", false, "print SARIF 2.1.0 on stdout")
	c.Flags().StringVar(&list, "list-rules", "", "print the rules of a contract instead: "+strings.Join(app.ContractNames(), ", "))
	return c
}

// listRules prints what validate looks at.
func (g *globals) listRules(name string) error {
	c, err := app.Contract(name)
	if err != nil {
		return err
	}
	var rules []contract.Rule
	if l, ok := c.(contract.RuleLister); ok {
		rules = l.Rules()
	}
	if g.json {
		return g.printJSON(rules)
	}
	for _, r := range rules {
		severity := string(r.Severity)
		if r.Milder != "" {
			severity += "/" + string(r.Milder)
		}
		fmt.Fprintf(g.Out, "%-28s %-15s %s\n", r.ID, severity, r.Summary)
	}
	return nil
}

// validateFlags say how findings are judged and printed.
type validateFlags struct{ strict, sarif bool }

func (g *globals) validate(ctx context.Context, given string, open openFlags, f validateFlags) error {
	opts, err := open.options()
	if err != nil {
		return err
	}
	a, err := g.open(nil)
	if err != nil {
		return err
	}
	p, err := a.Open(ctx, given, opts)
	if err != nil {
		return err
	}
	defer p.Close()
	counts := countFindings(p.Findings)
	code := 0
	if p.Task == nil || counts[task.SeverityError] > 0 || f.strict && counts[task.SeverityWarning] > 0 {
		code = exitCode(task.CodePackage)
	}
	switch {
	case f.sarif:
		err = g.printJSON(sarif(p, code))
	case g.json:
		findings := p.Findings
		if findings == nil {
			findings = []task.Finding{}
		}
		err = g.printJSON(map[string]any{"package": given, "contract": p.Contract.Name(), "evidence": p.Evidence, "valid": code == 0, "findings": findings})
	default:
		g.printFindings(given, p, code == 0)
	}
	if err != nil {
		return err
	}
	if code != 0 {
		return exitError{code}
	}
	return nil
}

func countFindings(findings []task.Finding) map[task.Severity]int {
	counts := map[task.Severity]int{}
	for _, f := range findings {
		counts[f.Severity]++
	}
	return counts
}

func (g *globals) printFindings(given string, p *app.Package, valid bool) {
	for _, f := range p.Findings {
		printFinding(g, f)
	}
	word := "valid"
	if !valid {
		word = "NOT valid"
	}
	counts := countFindings(p.Findings)
	fmt.Fprintf(g.Out, "%s: %s %s package (%s): %d errors, %d warnings, %d notes\n", message(given), word, p.Contract.Name(), message(p.Evidence),
		counts[task.SeverityError], counts[task.SeverityWarning], counts[task.SeverityNote])
}

func printFinding(g *globals, f task.Finding) {
	at := f.Position()
	if at != "" {
		at += ": "
	}
	fmt.Fprintf(g.Out, "%s%s: %s [%s]\n", message(at), f.Severity, message(f.What), f.Rule)
	if f.Why != "" {
		fmt.Fprintf(g.Out, "    why:  %s\n", message(f.Why))
	}
	if f.Mend != "" {
		fmt.Fprintf(g.Out, "    mend: %s\n", message(f.Mend))
	}
}
