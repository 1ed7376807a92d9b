package cli

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/task"
)

func newTest(g *globals) *cobra.Command {
	f := &jobFlags{}
	runs := 2
	c := &cobra.Command{
		Use:   "test PACKAGE [-i name=value…]",
		Short: "Validate, build, and run a package's own examples",
		Long: `Validate a package, build its image, and run the examples that the package itself promises, each
several times, to see whether the outputs are the same. Inputs given with -i or -d are one more example.`,
		Example: `  longshore test examples/meca/knn
  longshore test examples/iexec/word-count --runs 3
  longshore test examples/racetrack/sum_numbers -i numbers='[20]'`,
		RunE: func(c *cobra.Command, args []string) error {
			args, after := words(c, args)
			if err := exactly("a PACKAGE")(c, args); err != nil {
				return err
			}
			f.hasBody = c.Flags().Changed("data")
			if runs < 1 {
				return &task.Error{Code: task.CodeUsage, Message: "--runs must be at least 1"}
			}
			return g.test(c.Context(), args[0], f, after, runs)
		},
	}
	f.register(c.Flags())
	c.Flags().IntVar(&runs, "runs", 2, "how often each example runs, to compare the outputs")
	return c
}

// check is one line of a test report.
type check struct {
	Name    string  `json:"name"`
	Pass    bool    `json:"pass"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

// testReport is what "test --json" prints.
type testReport struct {
	Package  string         `json:"package"`
	Contract string         `json:"contract"`
	Pass     bool           `json:"pass"`
	Checks   []check        `json:"checks"`
	Findings []task.Finding `json:"findings,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
}

// tester runs the checks of one package.
type tester struct {
	g      *globals
	f      *jobFlags
	app    *app.App
	pkg    *app.Package
	runs   int
	report testReport
	dir    string // keeps the outputs of examples, by name, for those that need them
}

func (g *globals) test(ctx context.Context, given string, f *jobFlags, after []string, runs int) error {
	o, err := g.openForBuild(ctx, given, f)
	if err != nil {
		return err
	}
	defer o.pkg.Close()
	t := &tester{g: g, f: f, app: o.app, pkg: o.pkg, runs: runs, report: testReport{Package: given, Contract: o.pkg.Contract.Name(), Pass: true, Findings: o.pkg.Findings}}
	t.add("validate", time.Now(), true, countFindings(o.pkg.Findings))
	examples, err := t.examples(after)
	if err != nil {
		return err
	}
	if t.dir, err = os.MkdirTemp("", "longshore-test-"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	start := time.Now()
	if img, err := o.app.Build(ctx, o.pkg.Task.Image); err != nil {
		t.add("build", start, false, err.Error())
	} else {
		t.add("build", start, true, img.Name())
		for _, e := range examples {
			if err := t.example(ctx, e); err != nil {
				return err
			}
		}
	}
	if g.json {
		err = g.printJSON(t.report)
	} else {
		t.summary()
	}
	if err != nil {
		return err
	}
	if !t.report.Pass {
		return exitError{1}
	}
	return nil
}

// examples are those of the package and the one that the caller's inputs make.
func (t *tester) examples(after []string) ([]contract.Example, error) {
	var examples []contract.Example
	if x, ok := t.pkg.Contract.(contract.Exampler); ok {
		own, err := x.Examples(t.pkg.Source, t.pkg.Task)
		if err != nil {
			return nil, err
		}
		examples = own
	}
	req, done, err := t.f.request(t.g.In, after)
	if err != nil {
		return nil, err
	}
	done()
	if len(req.Inputs) > 0 || req.Body != nil || len(req.Env) > 0 || after != nil {
		examples = append(examples, contract.Example{Name: "given inputs", Variant: t.pkg.Task.Variant, Request: req})
	}
	if len(examples) == 0 && t.pkg.Task.Exchange == task.HTTP {
		t.note("the package ships no example: it was only seen that its server answers; give inputs with -i or -d to test more")
		examples = []contract.Example{{Name: reachable, Variant: t.pkg.Task.Variant, Request: task.Request{Body: &task.Body{Text: "{}"}}}}
	}
	if len(examples) == 0 && t.pkg.Task.Exchange == task.Files && t.pkg.Task.Variant == t.f.template {
		if _, err := task.Bind(t.pkg.Task, task.Request{}); err == nil {
			examples = []contract.Example{{Name: "defaults", Variant: t.pkg.Task.Variant}}
		}
	}
	if len(examples) == 0 {
		t.note("the package ships no example, so nothing was run: give inputs with -i or -d to test a run")
	}
	return examples, nil
}

// reachable is the name of the example that takes any answer for a success.
const reachable = "reachable"

func countFindings(findings []task.Finding) string {
	counts := map[task.Severity]int{}
	for _, f := range findings {
		counts[f.Severity]++
	}
	return fmt.Sprintf("%d warnings, %d notes", counts[task.SeverityWarning], counts[task.SeverityNote])
}

func (t *tester) note(s string) {
	t.report.Notes = append(t.report.Notes, s)
}

func (t *tester) add(name string, since time.Time, pass bool, detail string) {
	c := check{Name: name, Pass: pass, Detail: detail, Seconds: time.Since(since).Seconds()}
	t.report.Checks = append(t.report.Checks, c)
	t.report.Pass = t.report.Pass && pass
	if t.g.json {
		return
	}
	word := "ok  "
	if !pass {
		word = "FAIL"
	}
	fmt.Fprintf(t.g.Out, "%s  %-28s %6.2fs  %s\n", word, name, c.Seconds, printable(strings.ReplaceAll(detail, "\n", "\n      ")))
}

func (t *tester) summary() {
	for _, n := range t.report.Notes {
		fmt.Fprintf(t.g.Out, "note  %s\n", n)
	}
	word := "PASS"
	if !t.report.Pass {
		word = "FAIL"
	}
	fmt.Fprintf(t.g.Out, "%s  %s (%s)\n", word, t.report.Package, t.report.Contract)
}

// example runs one example several times and compares.
func (t *tester) example(ctx context.Context, e contract.Example) error {
	if e.Skip != "" {
		t.note(fmt.Sprintf("example %s was not run: %s", e.Name, e.Skip))
		return nil
	}
	pkgTask := t.pkg.Task
	if e.Variant != "" && e.Variant != pkgTask.Variant {
		loaded, findings := t.pkg.Load(e.Variant)
		if loaded == nil || task.HasErrors(findings) {
			t.add("example "+e.Name, time.Now(), false, fmt.Sprintf("there is no use %q", e.Variant))
			return nil
		}
		pkgTask = loaded
	}
	request, err := t.fromEarlier(e)
	if err != nil {
		t.add("example "+e.Name, time.Now(), false, err.Error())
		return nil
	}
	var first *task.Result
	for n := range t.runs {
		name := "example " + e.Name
		if n > 0 {
			name = fmt.Sprintf("example %s, again", e.Name)
		}
		start := time.Now()
		job := t.f.job(t.pkg, request)
		job.Task, job.OutDir, job.AnyAnswer = pkgTask, t.kept(e.Name), e.Name == reachable
		verdict := contract.Verdict{Pass: true}
		job.Use = func(res *task.Result, dir string) error {
			if e.Check != nil {
				verdict = e.Check(res, dir)
			}
			return nil
		}
		res, err := t.app.Dispatcher().Run(ctx, job)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if res.State != task.Succeeded {
			t.add(name, start, false, failureText(res))
			return nil
		}
		t.add(name, start, verdict.Pass, strings.TrimSpace(verdict.Word+" "+verdict.Detail))
		if first == nil {
			first = res
			continue
		}
		t.compare(e.Name, first, res)
	}
	return nil
}

// kept is where the outputs of an example lie while the others run.
func (t *tester) kept(example string) string {
	return filepath.Join(t.dir, url.PathEscape(example))
}

// fromEarlier is the example's request with its inputs from earlier examples bound.
func (t *tester) fromEarlier(e contract.Example) (task.Request, error) {
	req := e.Request
	if len(e.From) == 0 {
		return req, nil
	}
	req.Inputs = maps.Clone(req.Inputs)
	if req.Inputs == nil {
		req.Inputs = map[string]task.Given{}
	}
	for input, from := range e.From {
		path := filepath.Join(t.kept(from.Example), from.Output)
		if _, err := os.Stat(path); err != nil {
			return req, fmt.Errorf("its input %s is the output %s of the example %s, which is not there", input, from.Output, from.Example)
		}
		req.Inputs[input] = task.Given{Path: path}
	}
	return req, nil
}

func failureText(res *task.Result) string {
	f := res.Failure
	if f == nil {
		return string(res.State)
	}
	s := fmt.Sprintf("%s: %s", f.Reason, f.Message)
	if f.Hint != "" {
		s += "\nhint: " + f.Hint
	}
	if f.LogTail != "" {
		s += "\nlast lines of the log:\n" + f.LogTail
	}
	return s
}

// compare looks whether two runs gave the same. Where the contract defines a digest it must be the same.
func (t *tester) compare(name string, a, b *task.Result) {
	now := time.Now()
	if a.Digest != "" || b.Digest != "" {
		if a.Digest == b.Digest {
			t.add("determinism "+name, now, true, "the digests agree: "+a.Digest)
		} else {
			t.add("determinism "+name, now, false, fmt.Sprintf("the digests differ: %s and %s (%s)", a.Digest, b.Digest, b.DigestRule))
		}
		return
	}
	for i, o := range a.Outputs {
		if i < len(b.Outputs) && o.SHA256 != b.Outputs[i].SHA256 {
			t.note(fmt.Sprintf("example %s: the output %s differs from run to run", name, o.Name))
		}
	}
}

// opened is a package with the app it was opened by.
type opened struct {
	app *app.App
	pkg *app.Package
}

// openForBuild opens a package of which no use needs to be chosen yet.
func (g *globals) openForBuild(ctx context.Context, given string, f *jobFlags) (opened, error) {
	if err := f.check(); err != nil {
		return opened{}, err
	}
	a, err := g.open(func(c *app.Config) {
		c.NoCache = f.noCache
		c.Policy.Network = f.network == "host"
	})
	if err != nil {
		return opened{}, err
	}
	p, err := a.Open(ctx, given, app.OpenOptions{Contract: f.contract, Variant: f.template})
	if err != nil {
		return opened{}, err
	}
	if err := p.Valid(); err != nil {
		p.Close()
		return opened{}, err
	}
	return opened{a, p}, nil
}
