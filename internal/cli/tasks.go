package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

func newTasks(g *globals) *cobra.Command {
	var server serverFlags
	var q client.TaskQuery
	hide := false
	c := &cobra.Command{
		Use:   "tasks [TASK]",
		Short: "List the tasks of a server, or show one",
		Long:  "List the tasks that were imported into a server, or show one with what goes in and out of it.",
		Example: `  longshore tasks
  longshore tasks --search count --contract kaapana
  longshore tasks adder:2.0
  longshore tasks adder --hide`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := g.dial(&server)
			if err != nil {
				return err
			}
			switch {
			case len(args) == 0:
				return g.listTasks(c.Context(), cl, q)
			case hide:
				return cl.HideTask(c.Context(), args[0])
			}
			return g.showTask(c.Context(), cl, args[0])
		},
	}
	server.register(c.Flags())
	f := c.Flags()
	f.StringVar(&q.Search, "search", "", "a part of the name or description")
	f.StringVar(&q.Contract, "contract", "", "only of this contract")
	f.BoolVar(&q.All, "all", false, "every version, also hidden ones")
	f.BoolVar(&hide, "hide", false, "have the named task run no more; its runs stay readable")
	return c
}

func (g *globals) listTasks(ctx context.Context, c *client.Client, q client.TaskQuery) error {
	all := []v1.TaskSummary{}
	for q.Limit = 1000; ; {
		page, err := c.Tasks(ctx, q)
		if err != nil {
			return err
		}
		all = append(all, page.Items...)
		if q.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	if g.json {
		return g.printJSON(all)
	}
	var rows [][]string
	for _, t := range all {
		rows = append(rows, []string{t.Name, t.Version, t.Contract, ago(t.CreatedAt), strings.SplitN(t.Description, "\n", 2)[0]})
	}
	g.table([]string{"NAME", "VERSION", "CONTRACT", "IMPORTED", "DESCRIPTION"}, rows)
	return nil
}

func (g *globals) showTask(ctx context.Context, c *client.Client, ref string) error {
	t, err := c.Task(ctx, ref, "")
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(t)
	}
	fmt.Fprintf(g.Out, "%s:%s (%s, %s)\n", line(t.Name), line(t.Version), line(t.Contract), line(t.ID))
	if t.Description != "" {
		fmt.Fprintln(g.Out, printable(t.Description))
	}
	var rows [][]string
	for _, p := range t.Parameters {
		need := ""
		if p.Direction == task.Input && !p.Optional && p.Default == nil {
			need = "required"
		}
		rows = append(rows, []string{string(p.Direction), p.Name, string(p.Type.Kind), need, strings.SplitN(p.Description, "\n", 2)[0]})
	}
	g.table([]string{"", "NAME", "TYPE", "", "DESCRIPTION"}, rows)
	return nil
}
