package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/config"
	"longshore/internal/task"
)

// runsFlags choose runs.
type runsFlags struct {
	server               serverFlags
	states, labels       []string
	since, until, reason string
	count                bool
	query                client.RunQuery
}

func newRuns(g *globals) *cobra.Command {
	f := &runsFlags{}
	c := &cobra.Command{
		Use:   "runs [ID]",
		Short: "List the runs of a server, or show one",
		Long: `List the runs of a server, latest first, or show one with its result and why it is as it is. Only
operators see the runs of other accounts.`,
		Example: `  longshore runs --state running,queued
  longshore runs --task adder --since 24h --label batch=7
  longshore runs --count
  longshore runs 0199d3c2a1f04e5b8c77 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := g.dial(&f.server)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return g.showRun(c.Context(), cl, args[0])
			}
			q, err := f.read(time.Now())
			if err != nil {
				return err
			}
			if f.count {
				return g.countRuns(c.Context(), cl, q)
			}
			return g.listRuns(c.Context(), cl, q)
		},
	}
	f.server.register(c.Flags())
	fs := c.Flags()
	fs.StringSliceVar(&f.states, "state", nil, "only in these states: queued, preparing, starting, running, collecting, succeeded, failed, cancelled")
	fs.StringVar(&f.query.Task, "task", "", "only of this task: a name, name:version or ID")
	fs.StringVar(&f.query.Account, "account", "", "only of this account")
	fs.StringVar(&f.reason, "reason", "", "only those that failed for this reason")
	fs.StringArrayVar(&f.labels, "label", nil, "only with this label: NAME=VALUE")
	fs.StringVar(&f.since, "since", "", "submitted since a time (2026-05-01, 2026-05-01T12:00:00Z), or so long ago (24h, 7d)")
	fs.StringVar(&f.until, "until", "", "submitted before a time")
	fs.StringVar(&f.query.Search, "search", "", "the start of an ID, or a part of the task's name")
	fs.BoolVar(&f.query.Oldest, "oldest", false, "the oldest first")
	fs.IntVarP(&f.query.Limit, "limit", "n", 50, "how many; 0 for all")
	fs.BoolVar(&f.count, "count", false, "only tell how many there are in each state")
	return c
}

// read puts the query together.
func (f *runsFlags) read(now time.Time) (client.RunQuery, error) {
	q := f.query
	q.Reason = task.Code(f.reason)
	for _, s := range f.states {
		q.States = append(q.States, task.State(s))
	}
	var err error
	if q.Labels, err = pairs("--label", f.labels); err != nil {
		return q, err
	}
	if q.Since, err = moment("--since", f.since, now); err != nil {
		return q, err
	}
	q.Until, err = moment("--until", f.until, now)
	return q, err
}

// pairs reads flags of NAME=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	var m map[string]string
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, task.Errorf(task.CodeUsage, "%s %s is not NAME=VALUE", flag, s)
		}
		if m == nil {
			m = map[string]string{}
		}
		m[k] = v
	}
	return m, nil
}

// moment reads a time, a day, or how long ago; zero for "".
func moment(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	d, err := config.ParseAge(s)
	if err != nil {
		return time.Time{}, task.Errorf(task.CodeUsage, "%s %s is no time", flag, s).WithHint("write 2026-05-01, 2026-05-01T12:00:00Z, or how long ago: 24h, 7d")
	}
	return now.Add(-d), nil
}

func (g *globals) listRuns(ctx context.Context, c *client.Client, q client.RunQuery) error {
	all := []v1.Run{}
	for most := q.Limit; most == 0 || len(all) < most; {
		q.Limit = 1000
		if most > 0 {
			q.Limit = min(1000, most-len(all))
		}
		page, err := c.Runs(ctx, q)
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
	for _, r := range all {
		rows = append(rows, []string{r.ID, r.TaskName, stateText(r), r.Account, ago(r.CreatedAt), lasted(r.StartedAt, r.EndedAt)})
	}
	g.table([]string{"ID", "TASK", "STATE", "ACCOUNT", "SUBMITTED", "TOOK"}, rows)
	return nil
}

func stateText(r v1.Run) string {
	switch {
	case r.State == task.Failed && r.Reason != "":
		return "failed (" + string(r.Reason) + ")"
	case !r.State.Terminal() && r.Cancelling:
		return string(r.State) + " (cancelling)"
	}
	return string(r.State)
}

func (g *globals) countRuns(ctx context.Context, c *client.Client, q client.RunQuery) error {
	n, err := c.Count(ctx, q)
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(n)
	}
	var rows [][]string
	for _, s := range []task.State{task.Queued, task.Preparing, task.Starting, task.Running, task.Collecting, task.Succeeded, task.Failed, task.Cancelled} {
		rows = append(rows, []string{string(s), fmt.Sprint(n.States[s])})
	}
	g.table([]string{"STATE", "RUNS"}, append(rows, []string{"all", fmt.Sprint(n.Total)}))
	return nil
}

func (g *globals) showRun(ctx context.Context, c *client.Client, id string) error {
	r, err := c.Run(ctx, id)
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(r)
	}
	why, err := c.Why(ctx, id)
	if err != nil {
		return err
	}
	rows := [][]string{
		{"run", r.ID}, {"task", r.TaskName + ":" + r.TaskVersion + " (" + r.Contract + ")"}, {"state", stateText(r)}, {"account", r.Account},
		{"submitted", ago(r.CreatedAt)}, {"started", ago(r.StartedAt)}, {"ended", ago(r.EndedAt)}, {"attempt", fmt.Sprint(r.Attempt)},
	}
	for _, row := range append(rows, []string{"because", why.Because}, []string{"hint", why.Hint}) {
		if row[1] != "" {
			fmt.Fprintf(g.Out, "%-10s %s\n", row[0], line(row[1]))
		}
	}
	for _, f := range r.Files {
		fmt.Fprintf(g.Out, "%-10s %s (%s)\n", "output", line(f.Path), task.Bytes(f.Size))
	}
	return nil
}
