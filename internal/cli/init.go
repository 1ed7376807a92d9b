package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/task"
)

func newInit(g *globals) *cobra.Command {
	var lang string
	cmd := &cobra.Command{
		Use:   "init CONTRACT DIR",
		Short: "Write a working package to start from",
		Long: fmt.Sprintf(`Write a small, commented, working package into DIR, which must not exist or be empty.
CONTRACT is one of: %s. Every one comes in python, go and shell.`, strings.Join(app.ContractNames(), ", ")),
		Example: `  longshore init meca ./my-task
  longshore init racetrack ./my-job --lang go
  longshore test ./my-task`,
		Args: exactly("a CONTRACT", "a DIR"),
		RunE: func(_ *cobra.Command, args []string) error { return g.init(args[0], args[1], lang) },
	}
	cmd.Flags().StringVar(&lang, "lang", "", "the language to write it in: python, go or shell (default: what the platform's own packages use most)")
	return cmd
}

func (g *globals) init(name, dir, lang string) error {
	c, err := app.Contract(name)
	if err != nil {
		return err
	}
	s, ok := c.(contract.Scaffolder)
	if !ok {
		return &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s has no package to start from", name)}
	}
	if lang != "" && !slices.Contains(s.Languages(), lang) {
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("there is no %s package in %q", name, lang)}).WithHint("--lang is one of: %s", strings.Join(s.Languages(), ", "))
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	files, err := s.Scaffold(filepath.Base(abs), lang)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(abs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return task.Errorf(task.CodeUsage, "cannot use %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return (&task.Error{Code: task.CodeUsage, Message: dir + " is not empty"}).WithHint("name a new folder: nothing is overwritten")
	}
	var names []string
	for n, content := range files {
		path := filepath.Join(abs, filepath.FromSlash(n))
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(content), mode)
		}
		if err != nil {
			return task.Errorf(task.CodeUsage, "cannot write the package: %w", err)
		}
		names = append(names, n)
	}
	slices.Sort(names)
	if g.json {
		return g.printJSON(map[string]any{"contract": name, "dir": dir, "files": names})
	}
	for _, n := range names {
		fmt.Fprintln(g.Out, filepath.Join(dir, n))
	}
	g.info("next: longshore test %s", dir)
	return nil
}
