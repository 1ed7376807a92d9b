package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/app"
	"longshore/internal/task"
)

func newImport(g *globals) *cobra.Command {
	var server serverFlags
	var o v1.ImportOptions
	c := &cobra.Command{
		Use:   "import PACKAGE",
		Short: "Give a package to a server, so that it can be run there",
		Long: `Give a package to a server: a folder, a manifest in a folder, a bundle archive, image:NAME (of the
server's own image store), or git+URL, which the server fetches. It is checked there, and refused
with every finding when it cannot be used. Its tasks are then run by name.`,
		Example: `  longshore import examples/cytomine/integer-addition
  longshore import bundle.zip --name adder --as-version 2.0
  longshore import git+https://example.org/team/job.git#main --dry-run`,
		Args: exactly("a PACKAGE"),
		RunE: func(c *cobra.Command, args []string) error { return g.importPackage(c.Context(), &server, args[0], o) },
	}
	server.register(c.Flags())
	f := c.Flags()
	f.StringVar(&o.Contract, "contract", "", "take the package for this contract: "+strings.Join(app.ContractNames(), ", "))
	f.StringVar(&o.Name, "name", "", "call it so, instead of by its own name")
	f.StringVar(&o.Version, "as-version", "", "the version, instead of its own")
	f.StringVar(&o.Variant, "template", "", "which of several uses the package offers: what its runs take that name none")
	f.StringVar(&o.Document, "document", "", "the manifest's path in the folder, where it is not the usual one")
	f.BoolVar(&o.DryRun, "dry-run", false, "only tell what would be found; nothing is kept")
	return c
}

func (g *globals) importPackage(ctx context.Context, f *serverFlags, given string, o v1.ImportOptions) error {
	c, err := g.dial(f)
	if err != nil {
		return err
	}
	req, err := g.uploadPackage(ctx, c, given, o)
	if err != nil {
		return err
	}
	t, err := c.Import(ctx, req)
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(t)
	}
	for _, w := range t.Findings {
		g.info("%s", printable(w.String()))
	}
	what := "imported"
	if o.DryRun {
		what = "can be imported"
	}
	g.info("%s as %s (%s): %d inputs and outputs", what, t.Name+":"+t.Version, t.Contract, len(t.Parameters))
	fmt.Fprintln(g.Out, line(t.Name+":"+t.Version))
	return nil
}

// uploadPackage sends what the server cannot reach by itself.
func (g *globals) uploadPackage(ctx context.Context, c *client.Client, given string, o v1.ImportOptions) (v1.ImportRequest, error) {
	req := v1.ImportRequest{ImportOptions: o}
	if name, ok := strings.CutPrefix(given, "image:"); ok {
		req.Image = name
		return req, nil
	}
	if strings.HasPrefix(given, "git+") {
		req.Git = given
		return req, nil
	}
	st, err := os.Stat(given)
	if err != nil {
		return req, task.Errorf(task.CodeMissing, "there is no package %s: %w", given, err)
	}
	req.FileName = filepath.Base(given)
	if !st.IsDir() && isArchive(given) {
		up, err := c.UploadFile(ctx, given)
		req.Upload = up.Digest
		return req, err
	}
	dir := given
	if !st.IsDir() {
		dir = filepath.Dir(given)
		if req.Document == "" {
			req.Document = filepath.Base(given)
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return req, err
	}
	req.FileName = filepath.Base(abs) + ".tar"
	up, err := c.Upload(ctx, func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(packFolder(w, dir)) }()
		return r, nil
	})
	req.Upload = up.Digest
	return req, err
}
