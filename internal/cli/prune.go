package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

func newPrune(g *globals) *cobra.Command {
	var server serverFlags
	var r v1.PruneRequest
	c := &cobra.Command{
		Use:   "prune",
		Short: "Have a server remove what is old",
		Long: `Have a server remove what is older than asked for, and files that nothing refers to. The server does so
by itself, once an hour, as its settings say. For operators.`,
		Example: `  longshore prune --files 7d
  longshore prune --disk 100Gi`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := g.dialPatiently(&server)
			if err != nil {
				return err
			}
			p, err := cl.Prune(c.Context(), r)
			if err != nil {
				return err
			}
			if g.json {
				return g.printJSON(p)
			}
			fmt.Fprintf(g.Out, "%d runs, %d files, %s\n", p.Runs, p.Blobs, task.Bytes(p.Bytes))
			return nil
		},
	}
	server.register(c.Flags())
	f := c.Flags()
	f.StringVar(&r.Files, "files", "", "files and logs of runs that ended longer ago than this, such as 7d")
	f.StringVar(&r.Runs, "runs", "", "whole runs that ended longer ago")
	f.StringVar(&r.Audit, "audit", "", "older entries of the audit log")
	f.StringVar(&r.Disk, "disk", "", "files of the oldest runs, until no more than this is taken, such as 100Gi")
	return c
}
