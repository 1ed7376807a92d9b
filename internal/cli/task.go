package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/contract"
	"longshore/internal/task"
)

func newTask(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use:     "task",
		Short:   "Write a task file: one use of a package, bound to folders and values",
		Example: "  longshore task new mask-tools:1.0 grow -o task.json\n  longshore validate task.json\n  longshore run task.json -o out",
	}
	c.AddCommand(newTaskNew(g))
	return c
}

func newTaskNew(g *globals) *cobra.Command {
	open := openFlags{}
	out := ""
	c := &cobra.Command{
		Use:   "new IMAGE|PACKAGE [TEMPLATE] [-o FILE]",
		Short: "Write a task file from one of a package's templates",
		Long: `Write a task file from a template: a folder for each channel, the variables with their defaults, and
the template's resources. IMAGE is an image of the local store, which is read and not run; PACKAGE is
whatever run takes. TEMPLATE may be left out when there is one only. Then fill in the folders, and
validate or run the file.`,
		Example: `  longshore task new mask-tools:1.0 grow -o task.json
  longshore task new examples/kaapana/mask-tools count > task.json
  longshore run task.json -o out`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return exactly("an IMAGE or PACKAGE", "a TEMPLATE")(c, args)
			}
			if len(args) == 2 {
				open.Variant = args[1]
			}
			return g.taskNew(c.Context(), args[0], open, out)
		},
	}
	open.register(c.Flags())
	c.Flags().StringVarP(&out, "output", "o", "", "the file to write (default: standard output)")
	return c
}

func (g *globals) taskNew(ctx context.Context, given string, open openFlags, out string) error {
	opts, err := open.options()
	if err != nil {
		return err
	}
	a, err := g.open(nil)
	if err != nil {
		return err
	}
	p, err := a.Open(ctx, orImage(given), opts)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Valid(); err != nil {
		return err
	}
	writer, ok := p.Contract.(contract.TaskWriter)
	if !ok {
		return (&task.Error{Code: task.CodeUsage, Message: p.Contract.Name() + " packages have no task files"}).WithHint("give values with -i name=value to `longshore run`")
	}
	doc, notes, err := writer.NewTask(p.Task)
	if err != nil {
		return err
	}
	if out == "" {
		_, err = g.Out.Write(doc)
	} else {
		err = writeNew(out, doc)
	}
	if err != nil {
		return err
	}
	for _, n := range notes {
		g.info("note: %s", n)
	}
	return nil
}

// orImage takes what is no path on this machine for the name of an image.
func orImage(given string) string {
	if strings.HasPrefix(given, "image:") || strings.HasPrefix(given, "git+") {
		return given
	}
	if _, err := os.Stat(given); !errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(given, ".") || strings.HasPrefix(given, "/") {
		return given
	}
	return "image:" + given
}

// writeNew writes a file that must not be there yet.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s is there already", name)}).WithHint("remove it, or name another file with -o")
		}
		return task.Errorf(task.CodeUsage, "cannot write the task: %w", err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot write the task: %w", err)
	}
	return nil
}
