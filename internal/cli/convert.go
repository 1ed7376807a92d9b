package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/dispatch"
	"longshore/internal/task"
)

func newConvert(g *globals) *cobra.Command {
	f := &jobFlags{}
	opts := app.ConvertOptions{}
	c := &cobra.Command{
		Use:   "convert PACKAGE --to CONTRACT -o DIR [-i name=value…]",
		Short: "Make a package for another platform of one",
		Long: `Make a package for another platform out of PACKAGE. The new one holds the image's program as it is,
and a small program in front of it that takes what the other platform hands over. What cannot be carried
over is listed. The package's own example, or the inputs given with -i or -d, are run once and become the
example of the new one.`,
		Example: `  longshore convert examples/cytomine/integer-addition --to meca -o addition
  longshore convert examples/kaapana/mask-tools --template grow --to cytomine -o grow
  longshore convert examples/racetrack/tiny --to meca -d '{"numbers": [20, 22]}' -o tiny`,
		RunE: func(c *cobra.Command, args []string) error {
			args, after := words(c, args)
			if err := exactly("a PACKAGE")(c, args); err != nil {
				return err
			}
			f.hasBody = c.Flags().Changed("data")
			return g.convert(c.Context(), args[0], f, after, opts)
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&opts.To, "to", "", "the contract of the new package: "+strings.Join(app.Fronters(), ", "))
	c.Flags().StringVarP(&opts.Out, "output", "o", "", "the folder for the new package, which must not exist or be empty")
	c.Flags().StringSliceVar(&opts.Outputs, "outputs", nil, "the names of the outputs to carry over, with commas between them (default all)")
	c.Flags().BoolVar(&opts.NoRun, "no-run", false, "do not run the example")
	return c
}

func (g *globals) convert(ctx context.Context, given string, f *jobFlags, after []string, opts app.ConvertOptions) error {
	switch {
	case opts.To == "":
		return (&task.Error{Code: task.CodeUsage, Message: "--to is missing"}).WithHint("name the contract of the new package: %s", strings.Join(app.Fronters(), ", "))
	case opts.Out == "":
		return (&task.Error{Code: task.CodeUsage, Message: "-o is missing"}).WithHint("name the folder for the new package")
	case after != nil:
		return (&task.Error{Code: task.CodeUsage, Message: "a converted package has no words of a command line"}).WithHint("leave out what follows --")
	}
	a, p, err := g.openPackage(ctx, given, f)
	if err != nil {
		return err
	}
	defer p.Close()
	req, done, err := f.request(g.In, nil)
	if err != nil {
		return err
	}
	defer done()
	if len(req.Inputs) > 0 || req.Body != nil || len(req.Env) > 0 {
		opts.Request = &req
	}
	opts.Job = func(r task.Request) dispatch.Job { return f.job(p, r) }
	made, err := a.Convert(ctx, p, opts)
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(made)
	}
	for _, l := range made.Findings {
		fmt.Fprintln(g.Out, message(l.String()))
	}
	fmt.Fprintf(g.Out, "%s: a %s package of %s (%s)\n", made.Dir, made.To, message(given), made.From)
	g.info("next: longshore test %s", made.Dir)
	return nil
}
