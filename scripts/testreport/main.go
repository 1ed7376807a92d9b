// Command testreport turns the output of `go test -json` into something to read: a line per package, the whole output of
// each test that failed, what was skipped, and what took longest. It keeps the complete plain output in a file.
//
//	go test -json ./... | testreport -o FILE [-allowed-skips FILE] [-strict]
//
// It exits with 1 when something failed, when nothing ran, or, with -strict, when a test was skipped that the list of
// allowed skips does not name.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("testreport", flag.ContinueOnError)
	keep := flags.String("o", "", "file for the complete plain output")
	list := flags.String("allowed-skips", "", "file that names the tests that may be skipped")
	strict := flags.Bool("strict", false, "fail when a test was skipped that is not allowed to be")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var allowed []skip
	if *list != "" {
		text, err := os.ReadFile(*list)
		if err != nil {
			return err
		}
		if allowed, err = parseSkips(string(text)); err != nil {
			return fmt.Errorf("%s: %w", *list, err)
		}
	}
	full := io.Discard
	if *keep != "" {
		file, err := os.Create(*keep)
		if err != nil {
			return err
		}
		defer file.Close()
		buffered := bufio.NewWriter(file)
		defer buffered.Flush()
		full = buffered
	}

	r := newReport(out, full)
	if err := r.read(in); err != nil {
		return err
	}
	return r.summary(*keep, allowed, *strict)
}

// An event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// A test is named by its package and its name; an empty name is the package itself.
type test struct{ pkg, name string }

type timed struct {
	test
	elapsed time.Duration
}

type report struct {
	out, full io.Writer
	output    map[test]*strings.Builder // of tests that have not ended
	build     map[string]*strings.Builder
	passed    int
	packages  int
	failed    []test
	skipped   []test
	slow      []timed
}

func newReport(out, full io.Writer) *report {
	return &report{out: out, full: full, output: map[test]*strings.Builder{}, build: map[string]*strings.Builder{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				// Not everything go writes there is JSON.
				fmt.Fprint(r.out, line)
				fmt.Fprint(r.full, line)
			} else {
				r.take(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.full, e.Output)
		collect(r.build, e.ImportPath, e.Output)
	case "build-fail":
		fmt.Fprintf(r.out, "FAIL  %s does not compile\n%s", e.ImportPath, indent(take(r.build, e.ImportPath)))
	case "output":
		fmt.Fprint(r.full, e.Output)
		collect(r.output, t, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(t, e)
		}
	}
}

func (r *report) endTest(t test, e event) {
	output := take(r.output, t)
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped = append(r.skipped, t)
	case "fail":
		r.failed = append(r.failed, t)
		fmt.Fprintf(r.out, "FAIL  %s %s (%.2f s)\n%s", short(t.pkg), t.name, e.Elapsed, indent(output))
	}
	if !strings.Contains(t.name, "/") {
		r.slow = append(r.slow, timed{t, time.Duration(e.Elapsed * float64(time.Second))})
	}
}

func (r *report) endPackage(e event) {
	output := take(r.output, test{e.Package, ""})
	switch e.Action {
	case "skip": // no test files
	case "pass":
		r.packages++
		fmt.Fprintf(r.out, "ok    %-40s %6.1f s\n", short(e.Package), e.Elapsed)
	case "fail":
		r.packages++
		r.failed = append(r.failed, test{e.Package, ""})
		fmt.Fprintf(r.out, "FAIL  %-40s %6.1f s\n", short(e.Package), e.Elapsed)
		// A panic, a data race or a time-out ends the whole package: what its unfinished tests wrote tells why.
		var unfinished []test
		for t := range r.output {
			if t.pkg == e.Package {
				unfinished = append(unfinished, t)
			}
		}
		sort.Slice(unfinished, func(i, j int) bool { return unfinished[i].name < unfinished[j].name })
		for _, t := range unfinished {
			r.failed = append(r.failed, t)
			fmt.Fprintf(r.out, "FAIL  %s %s did not end\n%s", short(t.pkg), t.name, indent(take(r.output, t)))
		}
		fmt.Fprint(r.out, indent(output))
	}
}

// summary prints the end of the report and says, as an error, what makes the run a failure.
func (r *report) summary(kept string, allowed []skip, strict bool) error {
	var forbidden int
	for _, t := range r.skipped {
		reason, ok := reasonFor(t, allowed)
		if !ok {
			forbidden++
			reason = "NOT in the list of allowed skips"
		}
		fmt.Fprintf(r.out, "skip  %s %s: %s\n", short(t.pkg), t.name, reason)
	}
	sort.SliceStable(r.slow, func(i, j int) bool { return r.slow[i].elapsed > r.slow[j].elapsed })
	for i, t := range r.slow {
		if i == 5 || t.elapsed < 5*time.Second {
			break
		}
		fmt.Fprintf(r.out, "slow  %s %s: %.1f s\n", short(t.pkg), t.name, t.elapsed.Seconds())
	}
	failures := 0
	for _, t := range r.failed {
		if t.name != "" {
			failures++
		}
	}
	fmt.Fprintf(r.out, "%d packages: %d tests passed, %d failed, %d skipped", r.packages, r.passed, failures, len(r.skipped))
	if kept != "" {
		fmt.Fprintf(r.out, "; all output: %s", kept)
	}
	fmt.Fprintln(r.out)

	switch {
	case len(r.failed) > 0:
		return errors.New("tests failed")
	case r.packages == 0:
		return errors.New("no tests ran")
	case strict && forbidden > 0:
		return fmt.Errorf("%d tests were skipped that may not be: make them run, or name them with a reason in the list", forbidden)
	}
	return nil
}

// A skip names tests that may be skipped, and why.
type skip struct {
	pkg, name, reason string // name may end in "*"
}

func parseSkips(text string) ([]skip, error) {
	var skips []skip
	for i, line := range strings.Split(text, "\n") {
		rule, reason, _ := strings.Cut(line, "#")
		fields := strings.Fields(rule)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("line %d: want PACKAGE TEST # REASON", i+1)
		}
		skips = append(skips, skip{fields[0], fields[1], strings.TrimSpace(reason)})
	}
	return skips, nil
}

func reasonFor(t test, allowed []skip) (string, bool) {
	for _, s := range allowed {
		prefix, open := strings.CutSuffix(s.name, "*")
		if s.pkg == short(t.pkg) && (t.name == s.name || open && strings.HasPrefix(t.name, prefix)) {
			return s.reason, true
		}
	}
	return "", false
}

// short is an import path without the module's name.
func short(pkg string) string {
	_, rest, found := strings.Cut(pkg, "/")
	if !found {
		return pkg
	}
	return rest
}

func collect[K comparable](m map[K]*strings.Builder, key K, text string) {
	if m[key] == nil {
		m[key] = &strings.Builder{}
	}
	m[key].WriteString(text)
}

func take[K comparable](m map[K]*strings.Builder, key K) string {
	b := m[key]
	if b == nil {
		return ""
	}
	delete(m, key)
	return b.String()
}

func indent(text string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(text, "\n") {
		if line == "" || strings.HasPrefix(line, "=== ") {
			continue
		}
		b.WriteString("      " + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}
