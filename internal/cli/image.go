package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/image"
	"longshore/internal/task"
)

func newImage(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Work with the local image store",
		Long:  "Work with the local image store: list, build, load, save, import, pull, push, tag, remove.",
		Example: `  longshore image list
  longshore image load image.tar
  longshore image save my-task:1.0 -o my-task.tar`,
	}
	c.AddCommand(imageList(g), imageExists(g), imageBuild(g), imageLoad(g), imageSave(g), imageImport(g), imagePull(g), imagePush(g), imageTag(g), imageRemove(g), imagePrune(g))
	return c
}

// withStore runs a command that needs the store, and translates its errors.
func (g *globals) withStore(do func(*app.App, *image.Store) error) error {
	a, err := g.open(nil)
	if err != nil {
		return err
	}
	s, err := a.Images()
	if err == nil {
		err = do(a, s)
	}
	return app.ImageError(err)
}

type imageLine struct {
	Name    string `json:"name"`
	Digest  string `json:"digest"`
	Size    int64  `json:"size"`
	Layers  int    `json:"layers"`
	Created string `json:"created"`
}

func imageLines(imgs []*image.Image) []imageLine {
	lines := []imageLine{}
	for _, i := range imgs {
		var names []string
		for _, n := range i.Names() {
			if r, err := image.ParseReference(n); err == nil {
				n = r.Familiar()
			}
			if !app.IsOwnName(n) {
				names = append(names, n)
			}
		}
		if len(names) == 0 {
			names = []string{i.Name()}
		}
		for _, n := range names {
			lines = append(lines, imageLine{n, string(i.Digest()), i.Facts().Size, i.Facts().LayerCount, madeAt(i.Facts().Created)})
		}
	}
	return lines
}

// madeAt is when an image was made; "-" for one that does not tell, such as an imported archive.
func madeAt(t time.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func (g *globals) printImages(imgs []*image.Image) error {
	lines := imageLines(imgs)
	if g.json {
		return g.printJSON(lines)
	}
	for _, l := range lines {
		fmt.Fprintf(g.Out, "%-44s %s  %10s  %s\n", l.Name, image.Digest(l.Digest).Short(), task.Bytes(l.Size), l.Created)
	}
	return nil
}

func imageList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the images of the store", Args: cobra.NoArgs, Example: "  longshore image list --json",
		RunE: func(*cobra.Command, []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				imgs, err := s.List()
				if err != nil {
					return err
				}
				return g.printImages(imgs)
			})
		},
	}
}

func imageExists(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "exists NAME", Short: "Exit with 0 when the image is in the store, else with 1", Args: exactly("a NAME"), Example: "  longshore image exists busybox || longshore image pull busybox",
		RunE: func(_ *cobra.Command, args []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				_, err := s.Resolve(args[0])
				if image.KindOf(err) == image.KindNotFound {
					return exitError{1}
				}
				return err
			})
		},
	}
}

func imageLoad(g *globals) *cobra.Command {
	opts := image.LoadOptions{}
	c := &cobra.Command{
		Use: "load ARCHIVE", Short: "Load a docker save archive or an OCI layout", Args: exactly("an ARCHIVE"), Example: "  longshore image load image.tar\n  docker save my-task | longshore image load -",
		RunE: func(c *cobra.Command, args []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				if !g.quiet {
					opts.Progress = image.PlainProgress(g.Err)
				}
				from := args[0]
				if from == "-" {
					from, opts.What = "/dev/stdin", "standard input"
				}
				imgs, err := s.Load(c.Context(), from, opts)
				if err != nil {
					return err
				}
				return g.printImages(imgs)
			})
		},
	}
	c.Flags().StringVar(&opts.Name, "name", "", "give the image this name too")
	c.Flags().BoolVar(&opts.AnyPlatform, "any-platform", false, "also images for other architectures")
	return c
}

func imageSave(g *globals) *cobra.Command {
	out, oci := "", false
	c := &cobra.Command{
		Use: "save NAME… -o FILE", Short: "Write images as a docker save archive or an OCI layout", Args: cobra.MinimumNArgs(1), Example: "  longshore image save my-task:1.0 -o image.tar\n  longshore image save my-task:1.0 --oci -o layout.tar",
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return (&task.Error{Code: task.CodeUsage, Message: "where to is not said"}).WithHint("add -o FILE")
			}
			return g.withStore(func(_ *app.App, s *image.Store) error { return saveImages(c.Context(), s, args, out, oci) })
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the file to write")
	c.Flags().BoolVar(&oci, "oci", false, "write an OCI layout instead of a docker save archive")
	return c
}

// saveImages writes the archive of images, whole or not at all.
func saveImages(ctx context.Context, s *image.Store, names []string, out string, oci bool) error {
	return writeWhole(out, func(w io.Writer) error { return saveTo(ctx, s, w, names, archiveFormat(oci)) })
}

func archiveFormat(oci bool) image.ArchiveFormat {
	if oci {
		return image.OCIArchive
	}
	return image.DockerArchive
}

func saveTo(ctx context.Context, s *image.Store, w io.Writer, names []string, format image.ArchiveFormat) error {
	var imgs []*image.Image
	for _, n := range names {
		img, err := s.Resolve(n)
		if err != nil {
			return err
		}
		imgs = append(imgs, img)
	}
	return s.Save(ctx, w, image.SaveOptions{Format: format}, imgs...)
}

func dirOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	} else if i == 0 {
		return "/"
	}
	return "."
}

func imageImport(g *globals) *cobra.Command {
	var names, env []string
	var entrypoint, cmd, workdir string
	c := &cobra.Command{
		Use: "import TAR --name NAME…", Short: "Make an image of one layer from a root file system archive", Args: exactly("a TAR"),
		Example: `  longshore image import rootfs.tar --name debian:bookworm-slim --cmd '["bash"]'`,
		RunE: func(c *cobra.Command, args []string) error {
			opts := image.ImportOptions{Names: names, Env: env, WorkingDir: workdir}
			for _, x := range []struct {
				text string
				to   *[]string
				flag string
			}{{entrypoint, &opts.Entrypoint, "entrypoint"}, {cmd, &opts.Cmd, "cmd"}} {
				if x.text == "" {
					continue
				}
				if err := json.Unmarshal([]byte(x.text), x.to); err != nil {
					return task.Errorf(task.CodeUsage, "--%s is not a JSON list of words: %w", x.flag, err)
				}
			}
			if len(names) == 0 {
				return (&task.Error{Code: task.CodeUsage, Message: "the image has no name"}).WithHint("add --name NAME")
			}
			return g.withStore(func(_ *app.App, s *image.Store) error {
				img, err := s.Import(c.Context(), args[0], opts)
				if err != nil {
					return err
				}
				return g.printImages([]*image.Image{img})
			})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&names, "name", nil, "a name for the image")
	f.StringArrayVar(&env, "env", nil, "an environment variable: NAME=value")
	f.StringVar(&entrypoint, "entrypoint", "", "ENTRYPOINT as a JSON list")
	f.StringVar(&cmd, "cmd", "", "CMD as a JSON list")
	f.StringVar(&workdir, "workdir", "", "WORKDIR")
	return c
}

func imagePull(g *globals) *cobra.Command {
	insecure := false
	c := &cobra.Command{
		Use: "pull NAME", Short: "Fetch an image from its registry", Args: exactly("a NAME"), Example: "  longshore image pull python:3.9-slim",
		RunE: func(c *cobra.Command, args []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				img, err := s.Pull(c.Context(), args[0], image.PullOptions{Insecure: insecure, Progress: g.progress()})
				if err != nil {
					return err
				}
				return g.printImages([]*image.Image{img})
			})
		},
	}
	c.Flags().BoolVar(&insecure, "insecure", false, "allow a registry without TLS")
	return c
}

func imagePush(g *globals) *cobra.Command {
	insecure, to := false, ""
	c := &cobra.Command{
		Use: "push NAME", Short: "Send an image to a registry", Args: exactly("a NAME"), Example: "  longshore image push my-task:1.0 --to registry.example.org/team/my-task:1.0",
		RunE: func(c *cobra.Command, args []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				if to == "" {
					to = args[0]
				}
				img, err := s.Resolve(args[0])
				if err != nil {
					return err
				}
				digest, err := s.Push(c.Context(), img, to, image.PushOptions{Insecure: insecure, Progress: g.progress()})
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(map[string]any{"reference": to, "digest": digest})
				}
				fmt.Fprintf(g.Out, "%s@%s\n", to, digest)
				return nil
			})
		},
	}
	c.Flags().BoolVar(&insecure, "insecure", false, "allow a registry without TLS")
	c.Flags().StringVar(&to, "to", "", "the name to push as (default: NAME)")
	return c
}

func (g *globals) progress() image.Progress {
	if g.quiet {
		return nil
	}
	return image.PlainProgress(g.Err)
}

func imageTag(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "tag NAME NEW", Short: "Give an image another name", Args: exactly("a NAME", "a NEW name"), Example: "  longshore image tag my-task:1.0 registry.example.org/team/my-task:1.0",
		RunE: func(_ *cobra.Command, args []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				img, err := s.Resolve(args[0])
				if err != nil {
					return err
				}
				return s.Tag(img, args[1])
			})
		},
	}
}

func imageRemove(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME…", Short: "Remove names; `prune` then frees the disk", Args: cobra.MinimumNArgs(1), Example: "  longshore image rm my-task:1.0",
		RunE: func(_ *cobra.Command, args []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				for _, n := range args {
					if err := s.Remove(n); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func imagePrune(g *globals) *cobra.Command {
	opts := image.PruneOptions{Untagged: true}
	c := &cobra.Command{
		Use: "prune", Short: "Remove everything that no name refers to and nothing uses", Args: cobra.NoArgs,
		Long:    "Remove images without a name, layers that no image has, and what crashed processes left. Images that containers use stay,\nand so does the cache of builds unless a flag says otherwise.",
		Example: "  longshore image prune\n  longshore image prune --cache-unused 168h",
		RunE: func(c *cobra.Command, _ []string) error {
			return g.withStore(func(_ *app.App, s *image.Store) error {
				pruned, err := s.Prune(c.Context(), opts)
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(pruned)
				}
				fmt.Fprintf(g.Out, "%s freed\n", task.Bytes(pruned.Bytes))
				return nil
			})
		},
	}
	c.Flags().BoolVar(&opts.BuildCache, "cache", false, "the cache of builds, too, with the folders of RUN --mount=type=cache")
	c.Flags().DurationVar(&opts.CacheUnused, "cache-unused", 0, "what builds have not used of their cache for so long: 168h")
	return c
}
