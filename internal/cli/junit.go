package cli

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"longshore/internal/task"
)

// The parts of JUnit's XML that CI systems read.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		junitCounts
		Suites []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Cases      []junitCase     `xml:"testcase"`
		Out        string          `xml:"system-out,omitempty"`
	}
	junitCounts struct {
		Tests    int     `xml:"tests,attr"`
		Failures int     `xml:"failures,attr"`
		Errors   int     `xml:"errors,attr"`
		Skipped  int     `xml:"skipped,attr"`
		Time     seconds `xml:"time,attr"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    seconds       `xml:"time,attr"`
		Failure *junitOutcome `xml:"failure"`
		Error   *junitOutcome `xml:"error"`
		Skipped *junitOutcome `xml:"skipped"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitOutcome struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// seconds is a time as JUnit writes it.
type seconds float64

// MarshalText implements encoding.TextMarshaler.
func (s seconds) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%.3f", float64(s)), nil }

// junit is a test report in JUnit's form: one suite for the package, one case for each check. ended is the error that ended
// the test before all checks were made, nil when there was none.
func junit(r *testReport, started time.Time, ended error) junitSuites {
	s := junitSuite{Name: r.Package, Timestamp: started.UTC().Format("2006-01-02T15:04:05"), Out: strings.Join(r.Notes, "\n")}
	if r.Contract != "" {
		s.Properties = []junitProperty{{"contract", r.Contract}}
	}
	for _, c := range r.Checks {
		s.Cases = append(s.Cases, junitCheck(r.Package, c))
	}
	if ended != nil {
		s.Cases = append(s.Cases, junitEnd(r.Package, ended))
	}
	for _, c := range s.Cases {
		s.Tests++
		s.Time += c.Time
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	return junitSuites{junitCounts: s.junitCounts, Suites: []junitSuite{s}}
}

func junitCheck(class string, c check) junitCase {
	out := junitCase{Class: class, Name: c.Name, Time: seconds(c.Seconds)}
	first, _, _ := strings.Cut(c.Detail, "\n")
	switch {
	case c.Skipped:
		out.Skipped = &junitOutcome{Message: c.Detail}
	case !c.Pass:
		out.Failure = &junitOutcome{Message: first, Text: c.Detail}
	default:
		out.Out = c.Detail
	}
	return out
}

// junitEnd is the case of an error: a package that is not valid has failed its check, anything else is an error.
func junitEnd(class string, err error) junitCase {
	code := task.CodeOf(err)
	what := &junitOutcome{Message: err.Error(), Type: string(code), Text: err.Error()}
	if e, ok := errors.AsType[*task.Error](err); ok {
		for _, f := range e.Findings {
			what.Text += "\n" + f.String()
		}
		if e.Hint != "" {
			what.Text += "\nhint: " + e.Hint
		}
	}
	if code == task.CodePackage {
		return junitCase{Class: class, Name: "validate", Failure: what}
	}
	return junitCase{Class: class, Name: "test", Error: what}
}

// checkJUnit tells beforehand whether a report can be written to file.
func checkJUnit(file string) error {
	st, err := os.Stat(filepath.Dir(file))
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s is not a folder", filepath.Dir(file))
	}
	if err == nil {
		if st, serr := os.Stat(file); serr == nil && st.IsDir() {
			err = fmt.Errorf("%s is a folder", file)
		}
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "the JUnit report cannot be written: %w", err).WithHint("name a file in a folder that exists")
	}
	return nil
}

func writeJUnit(file string, s junitSuites) error {
	data, err := xml.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append([]byte(xml.Header), append(data, '\n')...), 0o644)
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "the JUnit report cannot be written: %w", err).WithHint("name another file with --junit")
	}
	return nil
}
