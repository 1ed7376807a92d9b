package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/engine"
	"longshore/internal/task"
)

func newDoctor(g *globals) *cobra.Command {
	fix := false
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can do, what is left over, and what to mend",
		Long: `Tell what this machine offers to containers, what runs that crashed have left behind, and what to
mend. --fix removes the leftovers. The exit code is 70 when the machine cannot run containers.`,
		Example: `  longshore doctor
  longshore doctor --fix`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return g.doctor(c.Context(), fix) },
	}
	c.Flags().BoolVar(&fix, "fix", false, "remove what crashed runs left behind")
	return c
}

func (g *globals) doctor(ctx context.Context, fix bool) error {
	a, err := g.open(nil)
	if err != nil {
		return err
	}
	checks := append([]engine.Check{homeCheck(a), gitCheck()}, engineChecks(ctx, a)...)
	left, err := leftovers(ctx, a, fix)
	if err != nil {
		if checks[0].OK {
			return err
		}
		left, err = []engine.Leftover{}, nil // of a home that is none, its check says enough
	}
	healthy := true
	for _, c := range checks {
		healthy = healthy && (c.OK || c.Optional)
	}
	if g.json {
		err = g.printJSON(map[string]any{"healthy": healthy, "engine": a.Engine().Name(), "checks": checks, "leftovers": left, "removed": fix})
	} else {
		g.printDoctor(checks, left, fix, healthy)
	}
	if err != nil {
		return err
	}
	if !healthy {
		return exitError{exitCode(task.ReasonEngine)}
	}
	return nil
}

func (g *globals) printDoctor(checks []engine.Check, left []engine.Leftover, fix, healthy bool) {
	for _, c := range checks {
		mark := "ok     "
		switch {
		case !c.OK && c.Optional:
			mark = "limited"
		case !c.OK:
			mark = "MISSING"
		}
		fmt.Fprintf(g.Out, "%s  %-22s %s\n", mark, c.Name, c.Detail)
		if !c.OK && c.Mend != "" {
			fmt.Fprintf(g.Out, "         %-22s mend: %s\n", "", c.Mend)
		}
	}
	for _, l := range left {
		fmt.Fprintf(g.Out, "left     %-22s %s\n", l.Kind, l.Name)
	}
	switch {
	case len(left) == 0:
		fmt.Fprintln(g.Out, "nothing is left over")
	case fix:
		fmt.Fprintf(g.Out, "%d leftovers were removed\n", len(left))
	default:
		fmt.Fprintf(g.Out, "%d leftovers; `longshore doctor --fix` removes them\n", len(left))
	}
	if !healthy {
		fmt.Fprintln(g.Out, "this machine cannot run containers yet")
	}
}

func engineChecks(ctx context.Context, a *app.App) []engine.Check {
	if i, ok := a.Engine().(engine.Inspector); ok {
		return i.Inspect(ctx)
	}
	return nil
}

// leftovers lists what crashed runs left behind, and removes it when asked to.
func leftovers(ctx context.Context, a *app.App, fix bool) ([]engine.Leftover, error) {
	left := []engine.Leftover{}
	d := a.Dispatcher()
	if s, ok := a.Engine().(engine.Sweeper); ok {
		look := s.Leftovers
		if fix {
			look = s.Sweep
		}
		found, err := look(ctx)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	look := d.Leftovers
	if fix {
		look = d.Sweep
	}
	folders, err := look()
	if err != nil {
		return nil, err
	}
	images, err := imageLeftovers(a, fix)
	if err != nil {
		return nil, err
	}
	jobs, err := a.ServerLeftovers(fix)
	if err != nil {
		return nil, err
	}
	for _, f := range slices.Concat(folders, images, jobs) {
		left = append(left, engine.Leftover{Kind: "folder", Name: f})
	}
	return left, nil
}

// imageLeftovers lists, or removes, the folders of builds and loads that crashed.
func imageLeftovers(a *app.App, fix bool) ([]string, error) {
	store, err := a.Images()
	if err != nil {
		return nil, err
	}
	if fix {
		return store.Sweep()
	}
	return store.Leftovers()
}

func homeCheck(a *app.App) engine.Check {
	c := engine.Check{Name: "home", Detail: a.Home()}
	err := os.MkdirAll(a.Home(), 0o711)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(a.Home(), ".doctor-"); err == nil {
			f.Close()
			err = os.Remove(f.Name())
		}
	}
	if c.OK = err == nil; !c.OK {
		c.Detail, c.Mend = err.Error(), "make it writable, or name another with --home or LONGSHORE_HOME"
	}
	return c
}

func gitCheck() engine.Check {
	c := engine.Check{Name: "git", Optional: true}
	path, err := exec.LookPath("git")
	if c.OK = err == nil; c.OK {
		c.Detail = path
	} else {
		c.Detail, c.Mend = "not found: git+URL packages cannot be fetched", "install git"
	}
	return c
}
