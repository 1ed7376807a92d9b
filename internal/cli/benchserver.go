package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/task"
)

func newBenchServer(g *globals) *cobra.Command {
	o := &serverBenchOptions{}
	c := &cobra.Command{
		Use:   "server",
		Short: "Measure a server beside runs in process",
		Long: `Start a server in a temporary folder and measure it beside runs in process, in turns: a run of a program
that does nothing from its submission to its result, runs of many callers at once, the queue alone, a
store with a million runs, and the memory of the server. The queue and the store are measured with
SQLite, and with PostgreSQL where Debian's is installed or --db names an empty database. docs/benchmarks.md says how to read the
figures, and which are goals.`,
		Example: "  longshore bench server\n  longshore bench server --quick --json\n  longshore bench server --db postgres://longshore@/bench?host=/run/postgresql",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return g.benchServer(c.Context(), o) },
	}
	c.Flags().BoolVar(&o.quick, "quick", false, "measure less of everything: a look, and no figures to keep")
	c.Flags().StringVar(&o.database, "db", "", "a PostgreSQL database to measure, too: it must be empty, and is filled")
	c.Flags().StringSliceVar(&o.only, "only", nil, "measure these alone: "+fmt.Sprint(serverBenchParts()))
	return c
}

type serverBenchOptions struct {
	quick    bool
	database string
	only     []string
}

// serverFigure is one measured thing.
type serverFigure struct {
	What   string  `json:"what"`
	Figure float64 `json:"figure"`
	Unit   string  `json:"unit"`
	// Goal is what Figure shall be at most, or at least, as Bound says; where that is empty there is none.
	Goal  float64 `json:"goal,omitzero"`
	Bound string  `json:"bound,omitempty"` // atMost, atLeast
	// Verdict is "met" or "missed", empty without a goal.
	Verdict string `json:"verdict,omitempty"`
}

// The bounds of goals.
const (
	atMost  = "at most"
	atLeast = "at least"
)

// judged is the figure with the verdict about it.
func (f serverFigure) judged() serverFigure {
	met := f.Bound == atMost && f.Figure <= f.Goal || f.Bound == atLeast && f.Figure >= f.Goal
	switch {
	case f.Bound == "":
	case met:
		f.Verdict = "met"
	default:
		f.Verdict = "missed"
	}
	return f
}

// serverBench holds what the measurements share.
type serverBench struct {
	g     *globals
	o     *serverBenchOptions
	local *bencher // runs in process
	rig   *serverRig
	// postgres is a database to measure, too; empty for none.
	postgres string
	started  *benchPostgres
	report   struct {
		Machine string         `json:"machine"`
		Quick   bool           `json:"quick"`
		Figures []serverFigure `json:"figures"`
		Missing []string       `json:"missing,omitempty"`
	}
}

type serverBenchPart struct {
	name string
	do   func(*serverBench, context.Context) error
}

// serverBenchList is what is measured, in order: an idle server first.
func serverBenchList() []serverBenchPart {
	return []serverBenchPart{
		{"idle", (*serverBench).idle},
		{"runs", (*serverBench).runs},
		{"followers", (*serverBench).followers},
		{"connections", (*serverBench).connections},
		{"queue", (*serverBench).queue},
		{"million", (*serverBench).million},
	}
}

func serverBenchParts() []string {
	var names []string
	for _, p := range serverBenchList() {
		names = append(names, p.name)
	}
	return names
}

func (g *globals) benchServer(ctx context.Context, o *serverBenchOptions) (err error) {
	for _, name := range o.only {
		if !slices.Contains(serverBenchParts(), name) {
			return task.Errorf(task.CodeUsage, "there is nothing called %q to measure", name).WithHint("there are: %v", serverBenchParts())
		}
	}
	dir, err := os.MkdirTemp("", "longshore-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &serverBench{g: g, o: o, postgres: o.database}
	b.report.Machine, b.report.Quick = machineName(), o.quick
	if err := b.setUp(ctx, dir); err != nil {
		return err
	}
	defer func() { b.tearDown(ctx) }()
	// What was measured before something failed is told all the same.
	err = b.measure(ctx)
	if g.json {
		return errors.Join(g.printJSON(b.report), err)
	}
	b.print()
	return err
}

func (b *serverBench) measure(ctx context.Context) error {
	for _, p := range serverBenchList() {
		if len(b.o.only) > 0 && !slices.Contains(b.o.only, p.name) {
			continue
		}
		b.g.info("measuring: %s", p.name)
		if err := p.do(b, ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", p.name, err)
		}
	}
	return nil
}

// few is n, or a part of it when only a look is wanted.
func (b *serverBench) few(n int) int {
	if b.o.quick {
		return max(1, n/10)
	}
	return n
}

// missing notes, once, what cannot be measured.
func (b *serverBench) missing(what string) {
	if !slices.Contains(b.report.Missing, what) {
		b.report.Missing = append(b.report.Missing, what)
	}
}

func (b *serverBench) add(f serverFigure) { b.report.Figures = append(b.report.Figures, f.judged()) }

func (b *serverBench) print() {
	fmt.Fprintf(b.g.Out, "%s\n\n", b.report.Machine)
	var rows [][]string
	for _, f := range b.report.Figures {
		goal := ""
		if f.Bound != "" {
			goal = fmt.Sprintf("%s %g", f.Bound, f.Goal)
		}
		rows = append(rows, []string{f.What, fmt.Sprintf("%.1f", f.Figure), f.Unit, goal, f.Verdict})
	}
	b.g.table([]string{"WHAT", "FIGURE", "UNIT", "GOAL", "VERDICT"}, rows)
	for _, m := range b.report.Missing {
		fmt.Fprintf(b.g.Out, "not measured: %s\n", m)
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// percentile answers the p-th of durations, in milliseconds. It sorts them.
func percentile(times []time.Duration, p int) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return millis(times[min(len(times)-1, len(times)*p/100)])
}
