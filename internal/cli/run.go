package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"longshore/internal/app"
	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/task"
)

// jobFlags are what "run", "call" and "test" share.
type jobFlags struct {
	inputFlags
	open                    openFlags
	timeout, ready, prepare time.Duration
	network                 string
	capabilities            string
	noCache                 bool
}

func (f *jobFlags) register(fs *pflag.FlagSet) {
	f.inputFlags.register(fs)
	f.open.register(fs)
	fs.DurationVar(&f.timeout, "timeout", 0, "how long the program, or the request, may take (default 1h for files, 10m for HTTP)")
	fs.DurationVar(&f.ready, "ready-timeout", 0, "how long a server may take to get ready (default 1m)")
	fs.DurationVar(&f.prepare, "prepare-timeout", 0, "how long building, pulling and staging may take (default 1h)")
	fs.StringVar(&f.network, "network", "none", "what the container can reach: none, or host (the machine's own network)")
	fs.StringVar(&f.capabilities, "capabilities", "default", "what root inside may do to its own files and processes: default (chown, setuid and the like), or none")
	fs.BoolVar(&f.noCache, "no-cache", false, "build every step of the image anew")
}

func (f *jobFlags) check() error {
	usage := func(flag, value, choices string) error {
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("--%s %s is not known", flag, value)}).WithHint("it is one of: %s", choices)
	}
	if f.network != "none" && f.network != "host" {
		return usage("network", f.network, "none, host")
	}
	if f.capabilities != "none" && f.capabilities != "default" {
		return usage("capabilities", f.capabilities, "none, default")
	}
	return nil
}

// openPackage opens and checks a package of which one use is chosen, and tells its warnings.
func (g *globals) openPackage(ctx context.Context, given string, f *jobFlags) (*app.App, *app.Package, error) {
	o, err := g.openForBuild(ctx, given, f)
	if err != nil {
		return nil, nil, err
	}
	a, p := o.app, o.pkg
	if p.Task.Variant == "" && len(p.Task.Variants) > 1 {
		var names []string
		for _, v := range p.Task.Variants {
			names = append(names, v.Name)
		}
		p.Close()
		return nil, nil, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s offers several uses", given)}).WithHint("choose one with --template: %s", strings.Join(names, ", "))
	}
	for _, w := range p.Findings {
		if w.Severity == task.SeverityWarning {
			g.info("%s", w)
		}
	}
	return a, p, nil
}

// job makes the job of one use.
func (f *jobFlags) job(p *app.Package, req task.Request) dispatch.Job {
	j := dispatch.Job{
		Contract: p.Contract, Source: p.Source, Task: p.Task, Request: req, Network: f.network == "host",
		Timeouts: task.Timeouts{Prepare: f.prepare, Ready: f.ready, Run: f.timeout},
	}
	if f.capabilities == "default" {
		j.Privileges = engine.CapDefault
	}
	return j
}

// words splits the arguments at "--": nil words without it.
func words(c *cobra.Command, args []string) (before, after []string) {
	at := c.ArgsLenAtDash()
	if at < 0 {
		return args, nil
	}
	return args[:at], append([]string{}, args[at:]...)
}

func newRun(g *globals) *cobra.Command {
	f, remote := &jobFlags{}, &remoteFlags{}
	out, archive, detach := "", "", false
	c := &cobra.Command{
		Use:   "run PACKAGE [-i name=value]… [-o DIR] [-- WORD…]",
		Short: "Run a task once and keep its outputs",
		Long: `Run a task once. A folder is built first when its content changed. Each output becomes DIR/<name>,
the container's log DIR/log, and everything known about the run DIR/result.json, all at once or not
at all. An HTTP task is started, asked once, and its response is DIR/output.

With --server, a task that was imported there runs there, and everything else is the same: its log
is shown, outputs arrive in DIR, Ctrl-C cancels it. A lost connection, or a server that is started
again meanwhile, does no harm.

The exit code is that of a program that failed, or one of those that "longshore exit-codes" lists.`,
		Example: `  longshore run examples/cytomine/integer-addition -i a=5 -i b=37 -o out
  longshore run examples/kaapana/mask-tools --template count -i masks=@./data -e LABEL=1 -o out
  longshore run examples/iexec/ffmpeg -i in=@small.mp4 -o out -- -i /iexec/small.mp4 /iexec/small.avi
  longshore run examples/racetrack/sum_numbers -i numbers='[20, 22]' -o out
  longshore run git+https://example.org/team/job.git#main:model -d @request.json
  longshore run --server prod integer-addition -i a=5 -i b=37 -o out`,
		RunE: func(c *cobra.Command, args []string) error {
			args, after := words(c, args)
			if err := exactly("a PACKAGE")(c, args); err != nil {
				return err
			}
			f.hasBody = c.Flags().Changed("data")
			switch server := c.Flags().Changed("server"); {
			case server:
				if err := fitsServer(c.Flags()); err != nil {
					return err
				}
				return g.runOnServer(c.Context(), args[0], f, remote, after, out, detach)
			case detach:
				return (&task.Error{Code: task.CodeUsage, Message: "without a server, there is nobody to look after the run"}).WithHint("add --server, or leave --detach out")
			}
			if err := needsNoServer(c.Flags()); err != nil {
				return err
			}
			return g.run(c.Context(), args[0], f, after, out, archive)
		},
	}
	f.register(c.Flags())
	remote.register(c.Flags())
	c.Flags().BoolVar(&detach, "detach", false, "with --server: print the run's ID, and do not wait for it")
	c.Flags().StringVarP(&out, "output", "o", "longshore-out", "the folder that receives outputs, log and result.json")
	c.Flags().StringVar(&archive, "package", "", "write the result archive of the platform to this file too (iExec); the same outputs give the same bytes")
	return c
}

func (g *globals) run(ctx context.Context, given string, f *jobFlags, after []string, out, archive string) error {
	if err := dispatch.CheckOutDir(out); err != nil {
		return err
	}
	a, p, err := g.openPackage(ctx, given, f)
	if err != nil {
		return err
	}
	defer p.Close()
	packed, err := newArchiver(p.Contract, archive)
	if err != nil {
		return err
	}
	req, done, err := f.request(g.In, after)
	if err != nil {
		return err
	}
	defer done()
	job := f.job(p, req)
	job.OutDir = out
	watch := g.observer(true)
	job.Observe = watch
	res, err := a.Dispatcher().Run(ctx, job)
	if err != nil {
		return err
	}
	if g.json {
		if err := g.printJSON(res); err != nil {
			return err
		}
	} else {
		printResult(g, res, out, watch.told)
	}
	if code := resultCode(res); code != 0 {
		return exitError{code}
	}
	return packed.write(g, out, res)
}

// printResult prints the outputs on stdout and how it went on stderr, without the notes that were told before the run.
func printResult(g *globals, res *task.Result, out string, told []string) {
	notes := slices.DeleteFunc(slices.Clone(res.Notes), func(n string) bool { return slices.Contains(told, n) })
	for _, o := range res.Outputs {
		fmt.Fprintln(g.Out, outputLine(o, out))
	}
	if res.Digest != "" {
		fmt.Fprintf(g.Out, "digest = %s\n", res.Digest)
	}
	if res.Failure != nil {
		printFailure(g.Err, res)
		for _, n := range notes {
			g.info("note: %s", n)
		}
		g.info("log and details: %s/%s, %s/%s", out, dispatch.LogFile, out, dispatch.ResultFile)
		if res.Partial != "" {
			g.info("what the task left, which is no result: %s/%s", out, res.Partial)
		}
		return
	}
	for _, n := range notes {
		g.info("note: %s", n)
	}
	used := ""
	if u := res.Usage; u.PeakMemory > 0 { // none is measured where a user without cgroups runs
		used = fmt.Sprintf(" (peak memory %s, CPU %.2f s)", u.PeakMemory, u.CPUSeconds)
	}
	g.info("%s in %s%s; details: %s/%s", res.State, res.EndedAt.Sub(res.StartedAt).Round(time.Millisecond), used, out, dispatch.ResultFile)
}

func printFailure(w io.Writer, res *task.Result) {
	f := res.Failure
	if f.LogTail != "" {
		fmt.Fprintln(w, "last lines of the log:")
		for _, l := range strings.Split(f.LogTail, "\n") {
			fmt.Fprintf(w, "  | %s\n", printable(l))
		}
	}
	fmt.Fprintf(w, "longshore: run %s failed (%s, while %s): %s\n", res.ID, f.Reason, f.Stage, message(f.Message))
	for _, x := range f.Findings {
		if len(f.Findings) > 1 {
			fmt.Fprintf(w, "  %s\n", message(x.String()))
		}
	}
	if f.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", message(f.Hint))
	}
}

func outputLine(o task.OutputResult, out string) string {
	where := out + "/" + o.Path
	_, text := o.Value.(string)
	switch {
	case o.Type == task.Directory || o.Files != 1:
		return fmt.Sprintf("%s: %s/ (%d files, %s)", o.Name, where, o.Files, task.Bytes(o.Size))
	case o.Type.OnDisk() || o.Size > 2000 || o.Type == task.String && !text: // the text is none
		return fmt.Sprintf("%s: %s (%s)", o.Name, where, task.Bytes(o.Size))
	}
	return fmt.Sprintf("%s = %s", o.Name, printable(strings.TrimRight(plainText(o.Value), "\r\n")))
}

func plainText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	if s, ok := v.(fmt.Stringer); ok {
		return s.String()
	}
	if b, ok := v.(interface{ MarshalJSON() ([]byte, error) }); ok {
		if data, err := b.MarshalJSON(); err == nil {
			return string(data)
		}
	}
	return fmt.Sprint(v)
}

// printable replaces control characters, and those that turn the direction of text: what a stranger wrote must not steer the
// terminal it is shown on, nor look like something else there. Line ends of other systems are line ends.
func printable(s string) string {
	s = strings.TrimSuffix(strings.ReplaceAll(s, "\r\n", "\n"), "\r")
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return c
		case c < 0x20 || c == 0x7f || c >= 0x80 && c < 0xa0, unicode.Is(unicode.Bidi_Control, c):
			return '\uFFFD'
		}
		return c
	}, s)
}

// message is printable for text in a line of ours: further lines of it are indented, and none can be taken for one of ours.
func message(s string) string { return strings.ReplaceAll(printable(s), "\n", "\n      ") }

// observer shows a run on stderr while it lasts.
func (g *globals) observer(log bool) *watcher {
	return &watcher{g: g, log: log && !g.quiet}
}

type watcher struct {
	g    *globals
	log  bool
	told []string // the notes told before the container started
	mu   sync.Mutex
}

func (w *watcher) Moved(string, task.State) {}

func (w *watcher) Warned(m string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.g.info("warning: %s", m)
}

// Noted implements dispatch.NoteObserver.
func (w *watcher) Noted(notes []string) {
	if !w.log {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range notes {
		w.g.info("note: %s", n)
	}
	w.told = append(w.told, notes...)
}

func (w *watcher) Logged(_ engine.Stream, data []byte) {
	if !w.log {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = io.WriteString(w.g.Err, printable(string(data))) // for people only; the log file has everything
}
