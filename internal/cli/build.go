package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"longshore/internal/task"
)

func newBuild(g *globals) *cobra.Command {
	f := &jobFlags{}
	c := &cobra.Command{
		Use:   "build PACKAGE",
		Short: "Build a package's image into the local store",
		Long: `Build (or load, or pull) the image of a package into the local store, and print its reference and
digest. The log says of every step whether the cache answered it, and if not, why.`,
		Example: `  longshore build examples/meca/knn
  longshore build ./my-task --no-cache`,
		Args: exactly("a PACKAGE"),
		RunE: func(c *cobra.Command, args []string) error { return g.build(c.Context(), args[0], f) },
	}
	f.open.register(c.Flags())
	c.Flags().BoolVar(&f.noCache, "no-cache", false, "build every step anew")
	f.network, f.capabilities = "none", "default"
	return c
}

func (g *globals) build(ctx context.Context, given string, f *jobFlags) error {
	a, err := g.openForBuild(ctx, given, f)
	if err != nil {
		return err
	}
	defer a.pkg.Close()
	img, name, err := a.app.Build(ctx, a.pkg.Task.Image)
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(map[string]any{"reference": name, "names": img.Names(), "digest": img.Digest(), "size": img.Facts().Size, "layers": img.Facts().LayerCount})
	}
	fmt.Fprintf(g.Out, "%s@%s (%d layers, %s)\n", name, img.Digest(), img.Facts().LayerCount, task.Bytes(img.Facts().Size))
	return nil
}
