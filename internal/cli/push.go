package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/task"
)

func newPush(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use:   "push",
		Short: "Publish a package the way its platform distributes it",
		Long:  "Publish a package the way its platform distributes it: MECA folders on IPFS. Images are pushed with `longshore image push`.",
		Example: `  longshore push ipfs ./my-task
  longshore push ipfs ./my-task --car my-task.car`,
	}
	c.AddCommand(pushIPFS(g))
	return c
}

func pushIPFS(g *globals) *cobra.Command {
	f := pushFlags{}
	c := &cobra.Command{
		Use:   "ipfs PACKAGE",
		Short: "Publish a MECA folder on IPFS",
		Long: `Check a MECA folder, compute its CID as MECA's own tools get it from a node, and keep its blocks as a
CAR archive: FILE with --car, else in Longshore's own store, where nothing removes it. With --api the
folder is also added to an IPFS node (Kubo), pinned, and the node must come to the same CID.

Printed are the CID in both versions, the digest as the contracts on chain hold it, and the name that
hosts give to the image they build. With --image the image is built here too, gets that name, and is
pushed to a registry: REPOSITORY:<the CID's last ten characters>.`,
		Example: `  longshore push ipfs examples/meca/knn
  longshore push ipfs ./my-task --car my-task.car
  longshore push ipfs ./my-task --api http://127.0.0.1:5001
  longshore push ipfs ./my-task --image registry.example.org/team/my-task`,
		Args: exactly("a PACKAGE"),
		RunE: func(c *cobra.Command, args []string) error { return g.pushIPFS(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.to.CAR, "car", "", "write the CAR archive to this file")
	c.Flags().StringVar(&f.to.Node, "api", "", "add the folder to the IPFS node with this RPC address")
	c.Flags().StringVar(&f.image, "image", "", "build the image too, and push it to this repository")
	c.Flags().BoolVar(&f.insecure, "insecure", false, "allow a registry without TLS")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Hour, "how long all of it may take")
	return c
}

type pushFlags struct {
	to       app.PublishOptions
	image    string
	insecure bool
	timeout  time.Duration
}

func (g *globals) pushIPFS(ctx context.Context, given string, f pushFlags) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	a, err := g.open(func(c *app.Config) { c.Insecure = f.insecure })
	if err != nil {
		return err
	}
	p, err := a.Open(ctx, given, app.OpenOptions{})
	if err != nil {
		return err
	}
	defer p.Close()
	done, err := a.PushFolder(ctx, p, f.to)
	if err != nil {
		return err
	}
	for _, w := range done.Findings {
		if w.Severity == task.SeverityWarning {
			g.info("%s", w)
		}
	}
	if !done.Tested {
		g.info("warning: no passing test of this content is on record here: `longshore test %s` makes one", given)
	}
	image := ""
	if f.image != "" {
		if image, err = a.PushFolderImage(ctx, p, done.FolderAddress, f.image); err != nil {
			return err
		}
	}
	if g.json {
		return g.printJSON(struct {
			app.Published
			Pushed string `json:"pushedImage,omitempty"`
		}{done, image})
	}
	g.printAddress("", done.FolderAddress)
	g.line("size", "%d bytes in blocks, %d files", done.Size, done.Files)
	g.line("car", "%s", done.CAR)
	if done.Node != "" {
		g.line("node", "%s: added and pinned", done.Node)
	}
	if image != "" {
		g.line("pushed", "%s", image)
	}
	return nil
}

// printAddress prints how a folder is known.
func (g *globals) printAddress(indent string, a app.FolderAddress) {
	g.line(indent+"cid", "%s", a.CID)
	g.line(indent+"cid v0", "%s", a.CIDv0)
	g.line(indent+"digest", "%s", a.Digest)
	g.line(indent+"image", "%s", a.Image)
}

func (g *globals) line(label, format string, args ...any) {
	fmt.Fprintf(g.Out, "%-12s%s\n", label, printable(fmt.Sprintf(format, args...)))
}
