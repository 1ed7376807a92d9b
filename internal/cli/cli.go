// Package cli is the command line: one file per command, each of which parses, calls and prints. Data goes to stdout,
// progress and messages to stderr.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/dispatch"
	"longshore/internal/image"
	"longshore/internal/task"
)

// Version is the version of this build, set by the linker.
var Version = "dev"

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs one command and returns the process's exit code. The first interrupt cancels what runs and cleans up; a second
// one ends the process at once.
func Main(args []string, s Streams) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	// A reader that goes away makes a write fail, and does not kill the command before it has cleaned up.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(s.Err, "longshore: ending and cleaning up; interrupt again to end at once")
		cancel()
		<-signals
		os.Exit(exitCancelled)
	}()
	g := &globals{Streams: s}
	root := newRoot(g)
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	return g.report(ctx, err)
}

// globals are the flags that every command has.
type globals struct {
	Streams
	json   bool
	quiet  bool
	home   string
	engine string
	cdi    []string
}

func newRoot(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:   "longshore",
		Short: "Run any task container, whoever's rules it was packaged by",
		Long: `Longshore takes a task container packaged for MECA, Cytomine App Engine, Kaapana, iExec or
Racetrack, unmodified, and validates, builds, tests and runs it on this machine, without a daemon.
"longshore serve" does it for many callers, with an API and a web page.

A PACKAGE is a folder, a manifest file, a bundle archive, image:NAME, or
git+URL[#branch[:directory]]. Its contract is recognised by what is in it.`,
		Example: `  longshore run examples/cytomine/integer-addition -i a=5 -i b=37 -o out
  longshore call examples/meca/echo -d '{"input": "hello"}'
  longshore validate ./my-package
  longshore init meca ./my-task`,
		SilenceErrors: true, SilenceUsage: true,
		Version: Version,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetVersionTemplate("longshore {{.Version}}\n")
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	f := root.PersistentFlags()
	f.BoolVar(&g.json, "json", false, "print JSON on stdout, errors too")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "print no progress and no container output")
	f.StringVar(&g.home, "home", "", "where images and runs are kept (default $LONGSHORE_HOME, else /var/lib/longshore)")
	f.StringVar(&g.engine, "engine", "", "where containers run: "+strings.Join(app.EngineNames(), ", "))
	f.StringArrayVar(&g.cdi, "cdi-spec-dir", nil, "a folder of Container Device Interface specs, which tell of GPUs (default /etc/cdi and /var/run/cdi)")
	_ = f.MarkHidden("cdi-spec-dir") // for machines that keep them elsewhere; docs/contracts/meca.md tells of it
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(&cobra.Group{ID: "author", Title: "Make a package:"}, &cobra.Group{ID: "use", Title: "Use a package:"}, &cobra.Group{ID: "remote", Title: "Use a server:"}, &cobra.Group{ID: "server", Title: "Run a server:"}, &cobra.Group{ID: "machine", Title: "This machine:"})
	for _, c := range []struct {
		group string
		cmd   *cobra.Command
	}{
		{"author", newInit(g)}, {"author", newValidate(g)}, {"author", newSchema(g)}, {"author", newInspect(g)}, {"author", newTask(g)}, {"author", newBuild(g)}, {"author", newTest(g)},
		{"author", newBundle(g)}, {"author", newConvert(g)},
		{"use", newRun(g)}, {"use", newCall(g)}, {"use", newVerify(g)}, {"use", newPush(g)}, {"use", newPull(g)},
		{"remote", newLogin(g)}, {"remote", newLogout(g)}, {"remote", newImport(g)}, {"remote", newTasks(g)}, {"remote", newRuns(g)}, {"remote", newLogs(g)}, {"remote", newWait(g)},
		{"remote", newCancel(g)}, {"remote", newOutputs(g)}, {"remote", newPrune(g)}, {"remote", newToken(g)},
		{"server", newServe(g)}, {"server", newWorker(g)},
		{"machine", newImage(g)}, {"machine", newDoctor(g)}, {"machine", newBench(g)}, {"machine", newVersion(g)}, {"machine", newExitCodes(g)},
	} {
		c.cmd.GroupID = c.group
		root.AddCommand(c.cmd)
	}
	root.SetHelpCommandGroupID("machine")
	root.SetCompletionCommandGroupID("machine")
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = knownTopic
	}
	strict(root)
	g.completeWords(root)
	return root
}

// exactly is cobra.ExactArgs with an error that names what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		e := &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("`%s` takes %s, got %d argument(s)", c.CommandPath(), strings.Join(names, " and "), len(args))}
		return e.WithHint("see `%s --help`", c.CommandPath())
	}
}

// open makes the App for this command.
func (g *globals) open(change func(*app.Config)) (*app.App, error) {
	cfg := app.Config{Home: g.home, Engine: g.engine, CDIDirs: g.cdi, Policy: dispatch.Policy{Fetch: true}}
	if !g.quiet {
		cfg.Progress = image.PlainProgress(g.Err)
	}
	if change != nil {
		change(&cfg)
	}
	return app.New(cfg)
}

// printJSON prints v, indented.
func (g *globals) printJSON(v any) error {
	enc := json.NewEncoder(g.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// info prints a message for people, unless quiet. Texts among args may be a stranger's.
func (g *globals) info(format string, args ...any) {
	if g.quiet {
		return
	}
	safe := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case string:
			safe[i] = message(a)
		case error:
			safe[i] = message(a.Error())
		case fmt.Stringer:
			safe[i] = message(a.String())
		default:
			safe[i] = a
		}
	}
	fmt.Fprintf(g.Err, format+"\n", safe...)
}

// exitError ends a command with a code whose reason was told already.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// report prints the error of a command and returns the exit code.
func (g *globals) report(ctx context.Context, err error) int {
	var told exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told) && (ctx.Err() == nil || told.code == exitCancelled): // an interrupted test has not failed
		return told.code
	case ctx.Err() != nil:
		err = &task.Error{Code: codeCancelled, Message: "cancelled"}
	}
	var e *task.Error
	if !errors.As(err, &e) {
		e = &task.Error{Code: task.ReasonEngine, Message: err.Error()}
	}
	if g.json {
		out := map[string]any{"code": e.Code, "message": e.Error()}
		if e.Hint != "" {
			out["hint"] = e.Hint
		}
		if len(e.Findings) > 0 {
			out["findings"] = e.Findings
		}
		if perr := g.printJSON(map[string]any{"error": out}); perr != nil {
			fmt.Fprintln(g.Err, "longshore:", perr)
		}
		return exitCode(e.Code)
	}
	printError(g.Err, e)
	return exitCode(e.Code)
}

func printError(w io.Writer, e *task.Error) {
	fmt.Fprintf(w, "longshore: %s\n", message(e.Error()))
	for _, f := range e.Findings {
		if len(e.Findings) > 1 || f.Position() != "" || f.Mend != "" && f.Mend != e.Hint {
			fmt.Fprintf(w, "  %s\n", message(f.String()))
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", message(e.Hint))
	}
}
