package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"longshore/internal/app"
)

func newVersion(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  longshore version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if g.json {
				return g.printJSON(map[string]any{"version": Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "contracts": app.ContractNames(), "engines": app.EngineNames()})
			}
			fmt.Fprintf(g.Out, "longshore %s (%s, %s/%s)\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
