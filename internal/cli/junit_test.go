package cli

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/task"
)

// TestJUnit writes a report of every kind of case, with what programs print into it, and reads it back.
func TestJUnit(t *testing.T) {
	report := &testReport{Package: `a "package" <b>`, Contract: "meca", Notes: []string{"one", "two"}, Checks: []check{
		{Name: "validate", Pass: true, Detail: "0 warnings", Seconds: 0.0014},
		{Name: "example a", Detail: "exit: it failed\nlast lines of the log:\n\x1b[31mred\x00 ]]> \xff", Seconds: 1.5},
		{Name: "example b", Skipped: true, Detail: "was not run: no input"},
	}}
	ended := (&task.Error{Code: task.ReasonEngine, Message: "the machine is full"}).WithHint("empty it")
	file := filepath.Join(t.TempDir(), "report.xml")
	if err := writeJUnit(file, junit(report, time.Unix(0, 0), ended)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suite    struct {
			Name  string `xml:"name,attr"`
			Time  string `xml:"time,attr"`
			Cases []struct {
				Class   string  `xml:"classname,attr"`
				Name    string  `xml:"name,attr"`
				Time    string  `xml:"time,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
				Skipped *struct {
					Message string `xml:"message,attr"`
				} `xml:"skipped"`
			} `xml:"testcase"`
			Out string `xml:"system-out"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &back); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if back.Tests != 4 || back.Failures != 1 || back.Errors != 1 || back.Skipped != 1 {
		t.Errorf("wrong counts:\n%s", data)
	}
	s := back.Suite
	if s.Name != report.Package || s.Time != "1.501" || s.Out != "one\ntwo" || len(s.Cases) != 4 {
		t.Fatalf("wrong suite:\n%s", data)
	}
	failed, skipped, last := s.Cases[1], s.Cases[2], s.Cases[3]
	if failed.Failure == nil || !strings.Contains(*failed.Failure, "red\uFFFD ]]> \uFFFD") || failed.Class != report.Package || failed.Time != "1.500" {
		t.Errorf("wrong failure:\n%s", data)
	}
	if skipped.Skipped == nil || skipped.Skipped.Message != "was not run: no input" || skipped.Failure != nil {
		t.Errorf("wrong skipped case:\n%s", data)
	}
	if last.Name != "test" || last.Error == nil || !strings.Contains(*last.Error, "hint: empty it") {
		t.Errorf("wrong error:\n%s", data)
	}
}
