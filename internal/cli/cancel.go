package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	v1 "longshore/internal/api/v1"
)

func newCancel(g *globals) *cobra.Command {
	var server serverFlags
	c := &cobra.Command{
		Use: "cancel ID…", Short: "Ask for the end of runs",
		Long:    "Ask for the end of runs, whatever stage they are in. It may take a moment; `longshore wait` waits for it.",
		Example: "  longshore cancel 0199d3c2a1f04e5b8c77",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := g.dial(&server)
			if err != nil {
				return err
			}
			runs := []v1.Run{}
			for _, id := range args {
				r, err := cl.Cancel(c.Context(), id)
				if err != nil {
					return err
				}
				runs = append(runs, r)
				if !g.json {
					fmt.Fprintf(g.Out, "%s %s\n", line(r.ID), line(stateText(r)))
				}
			}
			if g.json {
				return g.printJSON(runs)
			}
			return nil
		},
	}
	server.register(c.Flags())
	return c
}
