package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/config"
)

// newWorker is the process that carries out a server's runs and outlives it; `serve` starts it.
func newWorker(g *globals) *cobra.Command {
	var sources []string
	c := &cobra.Command{
		Use:    "worker",
		Short:  "Carry out the runs of a server (started by serve)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			g.quiet = true // what runs say goes to their own events
			// The server has decided about the network of each job. The operator's registry logins are not for strangers' packages.
			a, err := g.open(func(c *app.Config) {
				c.Policy.Network, c.Anonymous, c.Sources = true, true, append([]string{}, sources...)
			})
			if err != nil {
				return err
			}
			return a.RunWorker(c.Context(), Version, func() { fmt.Fprintln(g.Out, "ready") })
		},
	}
	c.Flags().StringSliceVar(&sources, "sources-allow", config.Default().Sources, "as that of serve")
	return c
}

// workerArgs are the arguments of a worker with the same settings as this command.
func (g *globals) workerArgs(home string, sources []string) []string {
	args := []string{"worker", "--home", home, "--sources-allow=" + strings.Join(sources, ",")}
	if g.engine != "" {
		args = append(args, "--engine", g.engine)
	}
	for _, dir := range g.cdi {
		args = append(args, "--cdi-spec-dir", dir)
	}
	return args
}
