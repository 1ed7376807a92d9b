package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"longshore/internal/api/client"
	"longshore/internal/app"
	"longshore/internal/image"
	"longshore/internal/task"
)

// candidates list what can stand in one place of a command line. A word may be followed by a tab and its description. What cannot be
// asked for, such as the runs of a server that is away, is no word: a completion has nobody to tell of errors.
type candidates func(c *cobra.Command, typed string) []string

// completionPatience bounds how long a shell waits for a server.
const completionPatience = time.Second

// completeWords has shells complete contracts, engines, images, servers, and the tasks and runs of a server, for c and every
// command below it. Where nothing is listed here, shells complete the names of files.
func (g *globals) completeWords(c *cobra.Command) {
	for _, sub := range c.Commands() {
		g.completeWords(sub)
	}
	if list := g.argumentWords()[strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")]; list != nil {
		c.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= len(list) && !strings.Contains(c.Use, "…") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return offer(list[min(len(args), len(list)-1)](c, typed))
		}
	}
	flags := g.flagWords()
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if list := flags[f.Name]; list != nil && f.Value.Type() != "bool" && c.Name() != "serve" {
			// The error is that of a flag which is registered twice.
			_ = c.RegisterFlagCompletionFunc(f.Name, func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				return offer(list(c, typed))
			})
		}
	})
}

// offer leaves the place to the names of files where there are no words.
func offer(list []string) ([]string, cobra.ShellCompDirective) {
	if list == nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

func fixed(list ...string) candidates { return func(*cobra.Command, string) []string { return list } }

func files(*cobra.Command, string) []string { return nil }

// argumentWords are the words of commands' arguments, by command and place; the last one is also that of all that follow.
func (g *globals) argumentWords() map[string][]candidates {
	return map[string][]candidates{
		"init": {fixed(app.ContractNames()...), files},
		"run":  {g.packages}, "call": {g.packages}, "test": {g.packages}, "validate": {g.packages}, "inspect": {g.packages}, "build": {g.packages},
		"bundle": {g.packages}, "convert": {g.packages}, "import": {g.packages},
		"image exists": {g.images}, "image save": {g.images}, "image push": {g.images}, "image tag": {g.images, g.images}, "image rm": {g.images},
		"logout": {servers},
		"tasks":  {g.tasks}, "runs": {g.runs}, "logs": {g.runs}, "wait": {g.runs}, "cancel": {g.runs}, "outputs": {g.runs},
	}
}

// flagWords are the words of flags, which mean the same wherever they are.
func (g *globals) flagWords() map[string]candidates {
	states := []string{}
	for _, s := range []task.State{task.Queued, task.Preparing, task.Starting, task.Running, task.Collecting, task.Succeeded, task.Failed, task.Cancelled} {
		states = append(states, string(s))
	}
	contracts := fixed(app.ContractNames()...)
	return map[string]candidates{
		"engine": fixed(app.EngineNames()...), "contract": contracts, "to": contracts, "list-rules": contracts, "lang": fixed("python", "go", "shell"),
		"network": fixed("none", "host"), "capabilities": fixed("default", "none"), "stream": fixed("stdout", "stderr"), "state": fixed(states...), "scope": fixed("admin", "operator", "author", "caller", "reader"),
		"server": servers, "task": g.tasks, "image": g.images,
	}
}

// packages are the tasks of a server where --server names one, and images after "image:"; else files.
func (g *globals) packages(c *cobra.Command, typed string) []string {
	if f := c.Flags().Lookup("server"); f != nil && f.Changed && c.Name() != "import" {
		return g.tasks(c, typed)
	}
	if !strings.HasPrefix(typed, "image:") {
		return nil
	}
	list := []string{}
	for _, name := range g.images(c, typed) {
		list = append(list, "image:"+name)
	}
	return list
}

func (g *globals) images(*cobra.Command, string) []string {
	list := []string{}
	_ = g.withStore(func(_ *app.App, s *image.Store) error {
		all, err := s.List()
		for _, line := range imageLines(all) {
			list = append(list, line.Name)
		}
		return err
	})
	return list
}

func servers(*cobra.Command, string) []string {
	list := []string{}
	if l, err := readServers(); err == nil {
		list = append(list, l.names()...)
	}
	return list
}

func (g *globals) tasks(c *cobra.Command, _ string) []string {
	list := []string{}
	g.ask(c, func(ctx context.Context, cl *client.Client) error {
		page, err := cl.Tasks(ctx, client.TaskQuery{})
		for _, t := range page.Items {
			list = append(list, line(t.Name)+"\t"+line(t.Description))
		}
		return err
	})
	return list
}

func (g *globals) runs(c *cobra.Command, _ string) []string {
	list := []string{}
	g.ask(c, func(ctx context.Context, cl *client.Client) error {
		page, err := cl.Runs(ctx, client.RunQuery{Limit: 100})
		for _, r := range page.Items {
			list = append(list, r.ID+"\t"+line(r.TaskName)+" "+string(r.State))
		}
		return err
	})
	return list
}

// ask asks the server that the command line means, for a moment and without a word.
func (g *globals) ask(c *cobra.Command, question func(context.Context, *client.Client) error) {
	var f serverFlags
	if flag := c.Flags().Lookup("server"); flag != nil {
		f.server = flag.Value.String()
	}
	s, err := f.known()
	if err != nil {
		return
	}
	g.quiet = true
	cl, err := g.patientClient(s, completionPatience)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionPatience)
	defer cancel()
	_ = question(ctx, cl)
}
