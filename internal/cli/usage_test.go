package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExamples: every example of a help page is a command line that its command takes.
func TestExamples(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for example := range strings.Lines(c.Example) {
			for _, command := range operators.Split(example, -1) {
				if words := shellWords(command); len(words) > 0 && words[0] == "longshore" {
					t.Run(strings.Join(words, " "), func(t *testing.T) { takes(t, words) })
				}
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&globals{}))
}

func takes(t *testing.T, words []string) {
	root := newRoot(&globals{})
	c, rest, err := root.Find(words[1:])
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil && c.Args != nil {
		err = c.Args(c, c.Flags().Args())
	}
	if err != nil {
		t.Error(err)
	}
}

// operators stand between the commands and files of a shell's line.
var operators = regexp.MustCompile(`&&|\|\|?|[<>]`)

// shellWords splits a line at blanks outside of single quotes. A pattern of file names stands for two of them.
func shellWords(line string) []string {
	quoted := false
	words := strings.FieldsFunc(strings.TrimSpace(line), func(r rune) bool {
		if r == '\'' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
	var all []string
	for _, w := range words {
		all = append(all, strings.ReplaceAll(w, "'", ""))
		if strings.Contains(w, "*") {
			all = append(all, w)
		}
	}
	return all
}

// TestSummaries: every command says in one line what it does, and shows how it is used.
func TestSummaries(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "completion" || c.Name() == "help" || c.Hidden {
			return // cobra's own, and what nobody calls by hand
		}
		switch {
		case c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Short) > 75:
			t.Errorf("%s: summary %q: one line of at most 75 characters, without a full stop", c.CommandPath(), c.Short)
		case c.Example == "":
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&globals{}))
}
