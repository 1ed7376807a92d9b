package cli

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/image"
	"longshore/internal/task"
)

// imageBuild builds a Dockerfile that belongs to no package.
func imageBuild(g *globals) *cobra.Command {
	name, dockerfile := "", ""
	noCache := false
	c := &cobra.Command{
		Use: "build FOLDER --name NAME", Short: "Build an image from a folder with a Dockerfile", Args: exactly("a FOLDER"),
		Example: "  longshore image build ./base --name my-base:1.0",
		RunE: func(c *cobra.Command, args []string) error {
			if name == "" {
				return (&task.Error{Code: task.CodeUsage, Message: "the image has no name"}).WithHint("add --name NAME")
			}
			folder, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			a, err := g.open(func(c *app.Config) { c.NoCache = noCache })
			if err != nil {
				return err
			}
			img, _, err := a.Build(c.Context(), task.ImageSource{Kind: task.ImageBuild, Name: name, Context: folder, Dockerfile: dockerfile})
			if err != nil {
				return err
			}
			return g.printImages([]*image.Image{img})
		},
	}
	c.Flags().StringVar(&name, "name", "", "the image's name in the store")
	c.Flags().StringVarP(&dockerfile, "file", "f", "Dockerfile", "the Dockerfile, relative to the folder")
	c.Flags().BoolVar(&noCache, "no-cache", false, "build every step anew")
	return c
}
