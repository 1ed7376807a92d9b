package cli

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/task"
)

func newBenchValidate(g *globals) *cobra.Command {
	var runs int
	c := &cobra.Command{
		Use:     "validate [PACKAGE…]",
		Short:   "Measure how long packages take to be checked",
		Long:    `Measure "longshore validate" as a whole command, for each PACKAGE and for a Cytomine bundle of 3 MB that is made for it.`,
		Example: "  longshore bench validate examples/*/*/",
		RunE:    func(c *cobra.Command, args []string) error { return g.benchValidate(c.Context(), args, runs) },
	}
	c.Flags().IntVar(&runs, "runs", 20, "how many times each package is checked")
	return c
}

func (g *globals) benchValidate(ctx context.Context, packages []string, runs int) error {
	if runs < 1 {
		return &task.Error{Code: task.CodeUsage, Message: "--runs must be positive"}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "longshore-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bundle := filepath.Join(dir, "bundle of 3 MB.zip")
	if err := writeBundle(dir, bundle); err != nil {
		return err
	}
	b := &bencher{g: g, report: benchReport{Machine: machineName()}}
	for _, p := range append(packages, bundle) {
		var times []time.Duration
		for range runs {
			start := time.Now()
			// What it finds is of no interest; that it cannot be read at all is.
			msg, err := exec.CommandContext(ctx, self, "validate", "-q", p).CombinedOutput()
			if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
				return fmt.Errorf("validate %s: %w: %s", p, err, firstOf(string(msg)))
			}
			times = append(times, time.Since(start))
		}
		b.add(filepath.Base(p), times)
	}
	if g.json {
		return g.printJSON(b.report)
	}
	b.printFigures()
	return nil
}

// benchDescriptor is that of the bundle that writeBundle makes.
const benchDescriptor = `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: bench
name_short: bench
namespace: org.example.bench
version: 1.0.0
authors:
  - {first_name: A, last_name: B, organization: C, email: a@example.org, is_contact: true}
configuration:
  input_folder: /inputs
  output_folder: /outputs
  image: {file: /org.example.bench-1.0.0.tar}
inputs:
  a: {display_name: A, description: a number, type: integer}
outputs:
  b: {display_name: B, description: a number, type: integer}
`

// writeBundle writes a Cytomine bundle with an image of 3 MB, through a file in dir.
func writeBundle(dir, name string) error {
	image := filepath.Join(dir, "image.tar")
	if err := writeSaved(image, "org/example/bench:1.0.0", 3, 1); err != nil {
		return err
	}
	in, err := os.Open(image)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	z := zip.NewWriter(out)
	err = func() error {
		w, err := z.Create("descriptor.yml")
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, benchDescriptor); err != nil {
			return err
		}
		if w, err = z.Create("org.example.bench-1.0.0.tar"); err != nil {
			return err
		}
		_, err = io.Copy(w, in)
		return err
	}()
	for _, end := range []func() error{z.Close, out.Close} {
		if eerr := end(); err == nil {
			err = eerr
		}
	}
	return err
}
