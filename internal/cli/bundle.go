package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/image"
	"longshore/internal/task"
)

// bundleFlags say how a bundle is written.
type bundleFlags struct {
	open        app.OpenOptions
	out, layout string
	oci, fresh  bool
}

func newBundle(g *globals) *cobra.Command {
	f := &bundleFlags{}
	c := &cobra.Command{
		Use:   "bundle PACKAGE [-o FILE]",
		Short: "Write a package as the one file that its platform takes",
		Long: `Build a package's image, unless nothing has changed, and write both as the one file in which the
platform's users hand packages on: for Cytomine, the zip of descriptor.yml, logo.png if there is
one, and the image's archive; for Kaapana, the image's archive itself, which carries
processing-container.json. The file appears whole or not at all, and the same package and image
always give the same bytes.

In Cytomine's, the image's archive gets the name that the descriptor says (configuration.image.file), else
<namespace>-<version>.tar; --layout seed makes it image.tar, --layout today <namespace>-<version>.tar.`,
		Example: `  longshore bundle examples/cytomine/integer-addition -o addition.zip
  longshore bundle ./my-task --oci
  longshore bundle old.zip --layout today -o new.zip
  longshore bundle ./descriptor-only --image my-task:1.0`,
		Args: exactly("a PACKAGE"),
		RunE: func(c *cobra.Command, args []string) error { return g.bundle(c.Context(), args[0], f) },
	}
	fs := c.Flags()
	fs.StringVarP(&f.out, "output", "o", "", "the file to write (default: the platform's usual name)")
	fs.StringVar(&f.layout, "layout", "", "the form of the bundle (default: what the package's documents ask for); Cytomine: today, seed")
	fs.BoolVar(&f.oci, "oci", false, "put the image in as an OCI layout instead of a docker save archive")
	fs.StringVar(&f.open.Image, "image", "", "take this image of the local store instead of the package's own")
	fs.StringVar(&f.open.Contract, "contract", "", "take the package for this contract")
	fs.BoolVar(&f.fresh, "no-cache", false, "build every step anew")
	return c
}

// bundled is what "bundle --json" prints.
type bundled struct {
	File string `json:"file"`
	Size int64  `json:"size"`
	// Digest is that of the file, ImageDigest that of the image's manifest.
	Digest      string   `json:"digest"`
	Entries     []string `json:"entries"`
	Image       string   `json:"image"`
	ImageName   string   `json:"imageName"`
	ImageDigest string   `json:"imageDigest"`
	Notes       []string `json:"notes,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
}

func (g *globals) bundle(ctx context.Context, given string, f *bundleFlags) error {
	o, err := g.openForBundle(ctx, given, f)
	if err != nil {
		return err
	}
	defer o.pkg.Close()
	plan, err := o.planBundle(f.layout)
	if err != nil {
		return err
	}
	if f.out == "" {
		f.out = plan.File
	}
	for _, w := range plan.Warnings {
		g.info("warning: %s", w)
	}
	img, _, err := o.app.Build(ctx, o.pkg.Task.Image)
	if err != nil {
		return err
	}
	for _, x := range o.pkg.CheckImage(img) {
		if x.Severity == task.SeverityError {
			return &task.Error{Code: task.ReasonImage, Message: x.What, Hint: x.Mend, Findings: []task.Finding{x}}
		}
	}
	done := bundled{
		File: f.out, Entries: plan.Entries, Image: plan.Image, ImageName: plan.ImageName, ImageDigest: string(img.Digest()),
		Notes: plan.Notes, Warnings: plan.Warnings,
	}
	store, err := o.app.Images()
	if err != nil {
		return app.ImageError(err)
	}
	opts := image.SaveOptions{Format: archiveFormat(f.oci), Names: map[image.Digest][]string{img.Digest(): {plan.ImageName}}}
	err = writeWhole(f.out, func(w io.Writer) error {
		sum := &counted{Hash: sha256.New()}
		err := plan.Write(io.MultiWriter(w, sum), func(w io.Writer) error { return app.ImageError(store.Save(ctx, w, opts, img)) })
		done.Size, done.Digest = sum.n, fmt.Sprintf("sha256:%x", sum.Sum(nil))
		return err
	})
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(done)
	}
	fmt.Fprintf(g.Out, "%s@%s (%s: %s)\n", f.out, done.Digest, task.Bytes(done.Size), printable(strings.Join(done.Entries, ", ")))
	for _, n := range done.Notes {
		g.info("note: %s", n)
	}
	return nil
}

// openForBundle opens a package whose contract has a form for bundles.
func (g *globals) openForBundle(ctx context.Context, given string, f *bundleFlags) (opened, error) {
	a, err := g.open(func(c *app.Config) { c.NoCache = f.fresh })
	if err != nil {
		return opened{}, err
	}
	p, err := a.Open(ctx, given, f.open)
	if err != nil {
		return opened{}, err
	}
	if _, ok := p.Contract.(contract.Bundler); !ok {
		p.Close()
		return opened{}, (&task.Error{Code: task.CodeUsage, Message: p.Contract.Name() + " has no bundle format"}).
			WithHint("hand on the folder itself; for its image use `longshore build`, then `longshore image save` or `longshore image push`")
	}
	if err := p.Valid(); err != nil {
		p.Close()
		return opened{}, err
	}
	return opened{a, p}, nil
}

// planBundle asks the package's contract for the form of its bundle.
func (o opened) planBundle(layout string) (*contract.Bundle, error) {
	b := o.pkg.Contract.(contract.Bundler) // openForBundle opens no other
	if names := b.BundleLayouts(); layout != "" && !slices.Contains(names, layout) {
		e := &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s bundles have no layout %q", o.pkg.Contract.Name(), layout), Hint: "leave --layout out"}
		if len(names) > 0 {
			e.Hint = "--layout is one of: " + strings.Join(names, ", ")
		}
		return nil, e
	}
	return b.Bundle(o.pkg.Source, o.pkg.Task, layout)
}

// counted counts what is hashed.
type counted struct {
	hash.Hash
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Hash.Write(p)
	c.n += int64(n)
	return n, err
}

// writeWhole writes a file beside its place and moves it there when it is whole.
func writeWhole(out string, write func(io.Writer) error) error {
	if st, err := os.Stat(out); err == nil && !st.Mode().IsRegular() {
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("cannot write %s: it is a %s", out, contract.KindOf(st.Mode()))}).WithHint("name a file")
	}
	f, err := os.CreateTemp(dirOf(out), ".longshore-save-")
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot write %s: %w", out, err)
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}
