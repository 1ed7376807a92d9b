package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newExitCodes(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "exit-codes", Short: "Print the table of exit codes", Args: cobra.NoArgs, Example: "  longshore exit-codes --json",
		Long: `Print what each exit code means. "run" and "call" pass on the code of a program that failed in its
container, which may equal one of these: the reason in result.json tells them apart.`,
		RunE: func(*cobra.Command, []string) error { return g.printExitCodes() },
	}
}

func (g *globals) printExitCodes() error {
	if g.json {
		lines := []map[string]any{}
		for _, e := range exitCodes {
			lines = append(lines, map[string]any{"code": e.Code, "reason": e.Reason, "meaning": e.Meaning})
		}
		return g.printJSON(lines)
	}
	rows := [][]string{{"0", "", "success"}}
	for _, e := range exitCodes {
		rows = append(rows, []string{fmt.Sprint(e.Code), string(e.Reason), e.Meaning})
	}
	g.table([]string{"CODE", "REASON", "MEANING"}, rows)
	return nil
}
