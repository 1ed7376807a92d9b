package cli

import (
	"context"

	"github.com/spf13/cobra"

	"longshore/internal/dispatch"
	"longshore/internal/task"
)

func newCall(g *globals) *cobra.Command {
	f, remote := &jobFlags{}, &remoteFlags{}
	verbose := false
	c := &cobra.Command{
		Use:   "call PACKAGE [-d BODY | -i name=value…] [-- WORD…]",
		Short: "Make one request to a task and print the response",
		Long: `Make one HTTP exchange with a task and print the response body, and nothing else, on stdout. A task
that works on files can be called too: the body is a JSON object of its inputs (or the content of its
only input), and the response is its only output, or a JSON object of all of them.`,
		Example: `  longshore call examples/racetrack/sum_numbers -d '{"numbers": [20, 22]}'
  longshore call examples/meca/knn -d @examples/meca/knn/example_input.bin
  longshore call examples/cytomine/integer-addition -d '{"a": 5, "b": 37}'
  longshore call --server prod sum_numbers -d '{"numbers": [20, 22]}'`,
		RunE: func(c *cobra.Command, args []string) error {
			args, after := words(c, args)
			if err := exactly("a PACKAGE")(c, args); err != nil {
				return err
			}
			f.hasBody = c.Flags().Changed("data")
			if c.Flags().Changed("server") {
				if err := fitsServer(c.Flags()); err != nil {
					return err
				}
				return g.callOnServer(c.Context(), args[0], f, remote, after, verbose)
			}
			if err := needsNoServer(c.Flags()); err != nil {
				return err
			}
			return g.call(c.Context(), args[0], f, after, verbose)
		},
	}
	f.register(c.Flags())
	remote.register(c.Flags())
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the container's output on stderr")
	return c
}

func (g *globals) call(ctx context.Context, given string, f *jobFlags, after []string, verbose bool) error {
	a, p, err := g.openPackage(ctx, given, f)
	if err != nil {
		return err
	}
	defer p.Close()
	req, done, err := f.request(g.In, after)
	if err != nil {
		return err
	}
	defer done()
	job := f.job(p, req)
	job.Observe = g.observer(verbose)
	job.Use = func(res *task.Result, dir string) error { return dispatch.WriteResponse(g.Out, res, dir) }
	res, err := a.Dispatcher().Run(ctx, job)
	if err != nil {
		return err
	}
	if res.State == task.Succeeded {
		return nil
	}
	if g.json {
		if err := g.printJSON(res); err != nil {
			return err
		}
	} else if res.Failure != nil {
		printFailure(g.Err, res)
	}
	return exitError{resultCode(res)}
}
