package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

func newWait(g *globals) *cobra.Command {
	var server serverFlags
	c := &cobra.Command{
		Use:   "wait ID…",
		Short: "Wait until runs have ended",
		Long: `Wait until all the runs have ended, also when the server is started again meanwhile. The exit code is
that of the first one that did not succeed, as "run" has it.`,
		Example: "  longshore wait 0199d3c2a1f04e5b8c77 && longshore outputs 0199d3c2a1f04e5b8c77 -o out",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := g.dialPatiently(&server)
			if err != nil {
				return err
			}
			return g.wait(c.Context(), cl, args)
		},
	}
	server.register(c.Flags())
	return c
}

func (g *globals) wait(ctx context.Context, c *client.Client, ids []string) error {
	code := 0
	ended := []v1.Run{}
	for _, id := range ids {
		r, err := c.Wait(ctx, id)
		if err != nil {
			return err
		}
		ended = append(ended, r)
		if !g.json {
			fmt.Fprintf(g.Out, "%s %s\n", line(r.ID), line(stateText(r)))
		}
		if code == 0 {
			code = runCode(r)
		}
	}
	if g.json {
		if err := g.printJSON(ended); err != nil {
			return err
		}
	}
	if code != 0 {
		return exitError{code}
	}
	return nil
}

// runCode translates the end of a run on a server.
func runCode(r v1.Run) int {
	switch {
	case r.State == task.Succeeded:
		return 0
	case r.State == task.Cancelled:
		return exitCancelled
	case r.Result != nil && r.Result.Failure != nil:
		return resultCode(r.Result)
	}
	return exitCode(r.Reason)
}
