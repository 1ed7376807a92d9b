package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/task"
)

func newTest(g *globals) *cobra.Command {
	f := &jobFlags{}
	report, runs := "", 2
	c := &cobra.Command{
		Use:   "test PACKAGE [-i name=value…]",
		Short: "Validate, build, and run a package's own examples",
		Long: `Validate a package, build its image, and run the examples that the package itself promises, each
several times, to see whether the outputs are the same: the first differing file and byte are shown. A server
goes on running from one run to the next, as it does on the platforms. Inputs given with -i or -d are one
more example. The exit code is 1 when a check failed, and 2 when every example had to be skipped. --junit writes the report as JUnit XML too, for CI systems.`,
		Example: `  longshore test examples/meca/knn
  longshore test examples/iexec/word-count --runs 3
  longshore test ./my-task --junit report.xml
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
			if report != "" {
				if err := checkJUnit(report); err != nil {
					return err
				}
			}
			t := &tester{done: func() {}, g: g, f: f, runs: runs, report: testReport{Package: args[0], Pass: true}}
			started := time.Now()
			err := t.test(c.Context(), after)
			if report != "" {
				if err := writeJUnit(report, junit(&t.report, started, err)); err != nil {
					return err
				}
			}
			switch {
			case err != nil:
				return err
			case t.report.Outcome == skipped:
				return exitError{exitCode(codeSkipped)}
			case !t.report.Pass:
				return exitError{exitCode(task.ReasonExit)}
			}
			return nil
		},
	}
	f.register(c.Flags())
	c.Flags().IntVar(&runs, "runs", 2, "how often each example runs, to compare the outputs")
	c.Flags().StringVar(&report, "junit", "", "write the report to this file too, as JUnit XML")
	return c
}

// check is one line of a test report.
type check struct {
	Name string `json:"name"`
	Pass bool   `json:"pass"`
	// Skipped checks were not made: they neither pass nor fail, and Detail says why.
	Skipped bool    `json:"skipped,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

// testReport is what "test --json" prints.
type testReport struct {
	Package  string `json:"package"`
	Contract string `json:"contract"`
	// Pass tells that nothing failed, and that not all examples were skipped.
	Pass     bool           `json:"pass"`
	Outcome  outcomeWord    `json:"outcome"`
	Checks   []check        `json:"checks"`
	Findings []task.Finding `json:"findings,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
	// Differences are the first places where runs of an example differ.
	Differences []exampleDifference `json:"differences,omitempty"`
}

// outcomeWord is the end of a test in one word.
type outcomeWord string

// The ends of a test. A test whose examples were all skipped proves nothing, and is no pass.
const (
	passed  outcomeWord = "pass"
	failed  outcomeWord = "fail"
	skipped outcomeWord = "skip"
)

// judge settles the outcome once all checks are made.
func (r *testReport) judge() {
	ran, left := r.examples()
	switch {
	case !r.Pass:
		r.Outcome = failed
	case left > 0 && ran == 0:
		r.Outcome, r.Pass = skipped, false
	default:
		r.Outcome = passed
	}
}

// What the names of checks begin with: those that are runs of examples, and those that compare them.
const (
	exampleCheck     = "example "
	determinismCheck = "determinism "
)

// examples counts the runs of examples that were made and those that were skipped.
func (r *testReport) examples() (ran, left int) {
	for _, c := range r.Checks {
		switch {
		case !strings.HasPrefix(c.Name, exampleCheck):
		case c.Skipped:
			left++
		default:
			ran++
		}
	}
	return ran, left
}

// words says the outcome to people, with what was not done.
func (r *testReport) words() string {
	ran, left := r.examples()
	what := strings.ToUpper(string(r.Outcome)) + "  " + r.Package + " (" + r.Contract + ")"
	switch {
	case r.Outcome == skipped:
		return what + ": no example was run, so nothing was tested beyond the build"
	case r.Outcome == passed && left > 0:
		return fmt.Sprintf("%s: %d skipped", what, left)
	case r.Outcome == passed && ran == 0:
		return what + ": no example was run, as the package ships none"
	}
	return what
}

// exampleDifference is the first place where two runs of an example differ.
type exampleDifference struct {
	Example string `json:"example"`
	difference
}

// tester runs the checks of one package.
type tester struct {
	done   func() // removes a body that was read from standard input
	g      *globals
	f      *jobFlags
	app    *app.App
	pkg    *app.Package
	pool   *dispatch.Pool // servers go on for the next run, as on the platforms
	runs   int
	report testReport
	dir    string // keeps the outputs of examples, for those that need them and to compare runs
}

// test makes all checks and prints the report. An error ends the test before its end; failed checks are in the report.
func (t *tester) test(ctx context.Context, after []string) error {
	o, err := t.g.openUnchecked(ctx, t.report.Package, t.f)
	if err != nil {
		return err
	}
	defer o.pkg.Close()
	t.app, t.pkg = o.app, o.pkg
	t.pool = dispatch.NewPool(t.app.Dispatcher(), 0)
	defer t.pool.Close()
	t.report.Contract, t.report.Findings = o.pkg.Contract.Name(), o.pkg.Findings
	t.structure()
	if err := o.pkg.Valid(); err != nil {
		return err
	}
	counts := countFindings(o.pkg.Findings)
	t.add("validate", time.Now(), true, fmt.Sprintf("%d warnings, %d notes", counts[task.SeverityWarning], counts[task.SeverityNote]))
	examples, err := t.examples(after)
	defer t.done()
	if err != nil {
		return err
	}
	if t.dir, err = app.TempDir("longshore-test-"); err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	start := time.Now()
	if img, name, err := o.app.Build(ctx, o.pkg.Task.Image); err != nil {
		t.add("build", start, false, withHint(err))
	} else {
		t.add("build", start, true, name)
		for _, f := range o.pkg.CheckImage(img) {
			if f.Severity == task.SeverityError {
				t.add("image", start, false, f.String())
			}
		}
		for _, e := range examples {
			if err := t.example(ctx, e); err != nil {
				return err
			}
		}
	}
	t.report.judge()
	if ran, left := t.report.examples(); t.report.Pass && ran > 0 && left == 0 {
		if err := t.app.NoteTested(ctx, t.pkg); err != nil {
			t.note("that it passed cannot be put on record: " + err.Error())
		}
	}
	if t.g.json {
		return t.g.printJSON(t.report)
	}
	t.summary()
	return nil
}

// structure makes the platform's own test of the package's structure, where it has one, and prints what that prints.
func (t *tester) structure() {
	s, ok := t.pkg.Contract.(contract.StructureTester)
	if !ok || t.pkg.Source.FS == nil {
		return
	}
	start := time.Now()
	lines, wrong := s.TestStructure(t.pkg.Source)
	if !t.g.json {
		for _, l := range lines {
			fmt.Fprintln(t.g.Out, printable(l))
		}
	}
	if wrong != "" {
		t.add("structure", start, false, wrong)
		return
	}
	t.add("structure", start, true, lines[len(lines)-1])
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
	t.done = done
	if len(req.Inputs) > 0 || req.Body != nil || len(req.Env) > 0 || after != nil {
		examples = append(examples, contract.Example{Name: "given inputs", Variant: t.pkg.Task.Variant, Request: req})
	}
	if len(examples) == 0 && t.pkg.Task.Exchange == task.HTTP {
		t.note("the package ships no example: it was only seen that its server answers; give inputs with -i or -d to test more")
		examples = []contract.Example{{Name: reachable, Variant: t.pkg.Task.Variant, Request: task.Request{Body: &task.Body{Text: "{}"}}}}
	}
	if len(examples) == 0 && t.pkg.Task.Exchange == task.Files && t.pkg.Task.Variant == t.f.open.Variant {
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

func (t *tester) note(s string) {
	t.report.Notes = append(t.report.Notes, s)
}

func (t *tester) add(name string, since time.Time, pass bool, detail string) {
	t.record(check{Name: name, Pass: pass, Detail: detail, Seconds: time.Since(since).Seconds()})
}

func (t *tester) skip(name, why string) {
	t.record(check{Name: name, Skipped: true, Detail: why})
}

func (t *tester) record(c check) {
	t.report.Checks = append(t.report.Checks, c)
	t.report.Pass = t.report.Pass && (c.Pass || c.Skipped)
	if t.g.json {
		return
	}
	word := "ok  "
	switch {
	case c.Skipped:
		word = "skip"
	case !c.Pass:
		word = "FAIL"
	}
	fmt.Fprintf(t.g.Out, "%s  %-28s %6.2fs  %s\n", word, printable(c.Name), c.Seconds, printable(strings.ReplaceAll(c.Detail, "\n", "\n      ")))
}

func (t *tester) summary() {
	for _, n := range t.report.Notes {
		fmt.Fprintf(t.g.Out, "note  %s\n", message(n))
	}
	fmt.Fprintln(t.g.Out, t.report.words())
}

// example runs one example several times and compares.
func (t *tester) example(ctx context.Context, e contract.Example) error {
	if e.Skip != "" {
		t.skip(exampleCheck+e.Name, "was not run: "+e.Skip)
		return nil
	}
	pkgTask := t.pkg.Task
	if e.Task != nil {
		pkgTask = e.Task
	} else if e.Variant != "" && e.Variant != pkgTask.Variant {
		loaded, findings := t.pkg.Load(e.Variant)
		if loaded == nil || task.HasErrors(findings) {
			t.add(exampleCheck+e.Name, time.Now(), false, fmt.Sprintf("there is no use %q", e.Variant))
			return nil
		}
		pkgTask = loaded
	}
	request, err := t.fromEarlier(e)
	if err != nil {
		t.add(exampleCheck+e.Name, time.Now(), false, err.Error())
		return nil
	}
	var first outcome
	for n := range t.runs {
		name := exampleCheck + e.Name
		if n > 0 {
			name += ", again"
		}
		start := time.Now()
		job := t.f.job(t.pkg, request)
		job.Task, job.OutDir, job.AnyAnswer = pkgTask, t.kept(e.Name), e.Name == reachable
		if n > 0 {
			job.OutDir = filepath.Join(t.dir, "again")
		}
		verdict := contract.Verdict{Pass: true}
		job.Use = func(res *task.Result, dir string) error {
			if e.Check != nil {
				verdict = e.Check(res, dir)
			}
			return nil
		}
		res, err := t.pool.Run(ctx, job)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if res.State != task.Succeeded {
			t.add(name, start, false, failureText(res))
			t.judgeFailed(e.Name, res)
			return nil
		}
		t.add(name, start, verdict.Pass, strings.TrimSpace(verdict.Word+" "+verdict.Detail))
		now := outcome{job.OutDir, res}
		if n == 0 {
			first = now
			for _, w := range res.Warnings {
				t.note(name + ": " + w)
			}
		} else if err := t.compare(e.Name, first, now); err != nil {
			return err
		}
	}
	return nil
}

// kept is where the outputs of an example's first run lie while the others run.
func (t *tester) kept(example string) string {
	return filepath.Join(t.dir, "of-"+url.PathEscape(example))
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

// withHint is an error with what to do about it.
func withHint(err error) string {
	if e, ok := errors.AsType[*task.Error](err); ok && e.Hint != "" {
		return err.Error() + "\nhint: " + e.Hint
	}
	return err.Error()
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

// judgeFailed says what the contract makes of a run that failed.
func (t *tester) judgeFailed(name string, res *task.Result) {
	judge, ok := t.pkg.Contract.(contract.DeterminismJudge)
	if !ok {
		return
	}
	if v := judge.JudgeRuns(res, res); v.Word != "" {
		t.add(determinismCheck+name, time.Now(), false, v.Word+": "+v.Detail)
	}
}

// compare looks whether two runs gave the same. Where the contract defines a digest it must be the same; anything else is
// only noted.
func (t *tester) compare(name string, a, b outcome) error {
	start := time.Now()
	digests := a.res.Digest != "" || b.res.Digest != ""
	pass, verdict := a.res.Digest == b.res.Digest, ""
	if judge, ok := t.pkg.Contract.(contract.DeterminismJudge); ok {
		v := judge.JudgeRuns(a.res, b.res)
		pass, verdict = v.Pass, v.Word+": "+v.Detail
		if !digests {
			t.add(determinismCheck+name, start, pass, verdict)
		}
		verdict = "; " + verdict
	}
	if digests && a.res.Digest == b.res.Digest {
		t.add(determinismCheck+name, start, pass, "the digests agree: "+a.res.Digest+verdict)
		return nil
	}
	noted := slices.ContainsFunc(t.report.Differences, func(d exampleDifference) bool { return d.Example == name })
	if !digests && (noted || sameOutputs(a.res, b.res)) {
		return nil
	}
	d, err := firstDifference(a, b)
	if err != nil {
		return fmt.Errorf("comparing two runs of the example %s: %w", name, err)
	}
	where := "no output file differs"
	if d != nil {
		where = "first difference: " + d.words("the first run", "a later one")
		t.report.Differences = append(t.report.Differences, exampleDifference{name, *d})
	}
	if digests {
		t.add(determinismCheck+name, start, pass, fmt.Sprintf("the digests differ: %s and %s (%s); %s%s", orNone(a.res.Digest), orNone(b.res.Digest), a.res.DigestRule, where, verdict))
	} else {
		t.note(fmt.Sprintf("example %s: the outputs differ from run to run; %s", name, where))
	}
	return nil
}

func orNone(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest
}

// sameOutputs tells whether two results have outputs of the same names and contents.
func sameOutputs(a, b *task.Result) bool {
	return slices.EqualFunc(a.Outputs, b.Outputs, func(x, y task.OutputResult) bool { return x.Name == y.Name && x.SHA256 == y.SHA256 })
}

// opened is a package with the app it was opened by.
type opened struct {
	app *app.App
	pkg *app.Package
}

// openForBuild opens a valid package of which no use needs to be chosen yet.
func (g *globals) openForBuild(ctx context.Context, given string, f *jobFlags) (opened, error) {
	o, err := g.openUnchecked(ctx, given, f)
	if err != nil {
		return opened{}, err
	}
	if err := o.pkg.Valid(); err != nil {
		o.pkg.Close()
		return opened{}, err
	}
	return o, nil
}

// openUnchecked opens a package that may not be valid.
func (g *globals) openUnchecked(ctx context.Context, given string, f *jobFlags) (opened, error) {
	if err := f.check(); err != nil {
		return opened{}, err
	}
	opts, err := f.open.options()
	if err != nil {
		return opened{}, err
	}
	opts.Given = f.names()
	a, err := g.open(func(c *app.Config) {
		c.NoCache = f.noCache
		c.Policy.Network = f.network == "host"
	})
	if err != nil {
		return opened{}, err
	}
	p, err := a.Open(ctx, given, opts)
	if err != nil {
		return opened{}, err
	}
	if !p.TakesOverrides() {
		f.env = append(f.env, f.open.over.either...)
	}
	return opened{a, p}, nil
}
