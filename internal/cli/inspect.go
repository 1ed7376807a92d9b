package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/task"
)

func newInspect(g *globals) *cobra.Command {
	open := openFlags{}
	c := &cobra.Command{
		Use:   "inspect PACKAGE",
		Short: "Show a package as Longshore understands it",
		Long: `Show a package as Longshore understands it: its parameters with their types and where each value
goes, its resources, how data gets in and out, and which of several readings of its contract was taken.`,
		Example: `  longshore inspect examples/cytomine/integer-addition
  longshore inspect examples/kaapana/mask-tools --template count --json`,
		Args: exactly("a PACKAGE"),
		RunE: func(c *cobra.Command, args []string) error { return g.inspect(c.Context(), args[0], open) },
	}
	open.register(c.Flags())
	return c
}

func (g *globals) inspect(ctx context.Context, given string, open openFlags) error {
	if address, ok := app.Address(given); ok {
		return g.inspectAddress(address)
	}
	opts, err := open.options()
	if err != nil {
		return err
	}
	a, err := g.open(nil)
	if err != nil {
		return err
	}
	p, err := a.Open(ctx, given, opts)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Valid(); err != nil {
		return err
	}
	address := p.FolderAddress(ctx)
	if g.json {
		return g.printJSON(map[string]any{"package": given, "evidence": p.Evidence, "commit": p.Commit, "task": p.Task, "published": address})
	}
	printTask(g.Out, p)
	if address != nil {
		fmt.Fprintln(g.Out, "published as")
		g.printAddress("  ", *address)
	}
	return nil
}

// inspectAddress prints every form of the address of a folder on IPFS.
func (g *globals) inspectAddress(a app.FolderAddress) error {
	if g.json {
		return g.printJSON(a)
	}
	g.printAddress("", a)
	return nil
}

func printTask(w io.Writer, p *app.Package) {
	t := p.Task
	line := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%-12s%s\n", label, message(fmt.Sprintf(format, args...)))
	}
	title := t.Name
	if t.Version != "" {
		title += " " + t.Version
	}
	line("task", "%s", title)
	line("contract", "%s (%s)", t.Contract, p.Evidence)
	if t.Dialect != "" {
		line("dialect", "%s", t.Dialect)
	}
	if d := strings.TrimSpace(t.Description); d != "" {
		line("about", "%s", strings.Join(strings.Fields(d), " "))
	}
	for _, v := range t.Variants {
		mark := ""
		if v.Name == t.Variant {
			mark = "  (chosen)"
		}
		line("template", "%s: %s%s", v.Name, strings.Join(strings.Fields(v.Description), " "), mark)
	}
	switch t.Image.Kind {
	case task.ImageBuild:
		line("image", "%s, built from %s", t.Image.Name, t.Image.Dockerfile)
	case task.ImageArchive:
		line("image", "%s, from %s", t.Image.Name, strings.TrimPrefix(t.Image.Entry+" in "+t.Image.Archive, " in "))
	default:
		line("image", "%s", t.Image.Name)
	}
	if t.Variant == "" && len(t.Variants) > 1 {
		line("", "choose a template with --template to see its parameters")
		return
	}
	line("exchange", "%s", t.Exchange)
	var parts []string
	r := t.Resources
	for _, x := range []struct{ name, value string }{{"cpu", r.CPU.String()}, {"memory", r.Memory.String()}, {"gpus", fmt.Sprint(r.GPUs)}} {
		if x.value != "0" && x.value != "0 B" {
			parts = append(parts, x.name+" "+x.value)
		}
	}
	if len(parts) == 0 {
		parts = []string{"not said: Longshore's defaults hold"}
	}
	line("resources", "%s", strings.Join(parts, ", "))
	line("network", "%s", map[bool]string{true: "declared as needed; granted with --network host", false: "none"}[t.Network])
	printParameters(w, "inputs", t.Inputs())
	printParameters(w, "outputs", t.Outputs())
	for _, n := range t.Notes {
		line("note", "%s", n)
	}
}

func printParameters(w io.Writer, label string, ps []task.Parameter) {
	if len(ps) == 0 {
		fmt.Fprintf(w, "%-12snone declared\n", label)
		return
	}
	fmt.Fprintf(w, "%s\n", label)
	for _, p := range ps {
		var more []string
		switch {
		case p.Fixed && p.Default != nil:
			more = append(more, fmt.Sprintf("fixed to %q", p.Default.Text))
		case p.Default != nil && p.Default.Text != "":
			more = append(more, fmt.Sprintf("default %q", p.Default.Text))
		case p.Optional:
			more = append(more, "optional")
		}
		if where := p.Place.Path + p.Place.Name; where != "" && where != p.Name {
			more = append(more, fmt.Sprintf("%s %s", p.Place.Kind, where))
		}
		extra := ""
		if len(more) > 0 {
			extra = " (" + strings.Join(more, "; ") + ")"
		}
		fmt.Fprintf(w, "  %-18s %s%s\n", message(p.Name), message(p.Type.Describe()), message(extra))
		if d := strings.TrimSpace(p.Description); d != "" {
			fmt.Fprintf(w, "  %-18s   %s\n", "", printable(strings.Join(strings.Fields(d), " ")))
		}
	}
}
