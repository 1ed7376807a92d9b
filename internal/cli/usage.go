package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// strict makes every mistake in a command line an error of code CodeUsage that names the command's form or the word that was
// probably meant, for a command and all below it. Cobra alone answers an unknown word after a group of commands, such as
// `longshore image`, with the group's help and success.
func strict(c *cobra.Command) {
	for _, sub := range c.Commands() {
		strict(sub)
	}
	check := c.Args
	if !c.Runnable() {
		c.Annotations = map[string]string{groupOnly: "yes"}
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		check = knownCommand
	}
	if check == nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		var ours *task.Error
		if err == nil || errors.As(err, &ours) {
			return err
		}
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("`%s` got %d arguments", c.CommandPath(), len(args))}).
			WithHint("its form is: %s; see `%s --help`", c.UseLine(), c.CommandPath())
	}
}

// groupOnly annotates a command that does nothing but hold others.
const groupOnly = "group"

// helpWidth is how many columns the lists of flags take, as the texts above them do.
const helpWidth = 105

// usageTemplate is cobra's with the examples at the top, as they are what most people look for, and without a form for
// commands that only hold others.
func usageTemplate(template string) string {
	template = strings.Replace(template, "{{if .Runnable}}", `{{if and .Runnable (not (index .Annotations "`+groupOnly+`"))}}`, 1)
	template = strings.ReplaceAll(template, "FlagUsages |", fmt.Sprintf("FlagUsagesWrapped %d |", helpWidth))
	const begin, end = "{{if .HasExample}}", "{{end}}"
	i := strings.Index(template, begin)
	if i < 0 {
		return template
	}
	j := i + strings.Index(template[i:], end) + len(end)
	return "{{if .HasExample}}Examples:\n{{.Example}}\n\n{{end}}" + template[:i] + template[j:]
}

// knownCommand refuses a word that is none of a group's commands.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	e := &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("unknown command %q for `%s`", args[0], c.CommandPath())}
	if near := contract.Nearest(args[0], names); near != "" {
		return e.WithHint("did you mean `%s %s`?", c.CommandPath(), near)
	}
	return e.WithHint("see `%s --help`", c.CommandPath())
}

// knownTopic refuses `longshore help` of a command that does not exist.
func knownTopic(c *cobra.Command, args []string) error {
	found, rest, err := c.Root().Find(args)
	if err != nil {
		return err
	}
	return knownCommand(found, rest)
}

// flagError translates what is wrong with a flag.
func flagError(c *cobra.Command, err error) error {
	e := &task.Error{Code: task.CodeUsage, Message: err.Error()}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := contract.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			return e.WithHint("did you mean --%s? See `%s --help`", near, c.CommandPath())
		}
	}
	return e.WithHint("see `%s --help`", c.CommandPath())
}
