package script_test

import (
	"archive/zip"
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what stories use beyond testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":     exits,
	"field":     field,
	"mkzip":     mkzip,
	"cleared":   cleared,
	"interrupt": interrupt,
}

// exits CODE COMMAND…: runs a command and checks its exit code; stdout and stderr are kept for the next lines.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if err != nil {
		ee, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = ee.ExitCode()
	}
	if want := args[0]; fmt.Sprint(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

// field FILE PATH WANT: checks a member of a JSON document, by its path with dots; list items by number.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: field FILE PATH WANT")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	for _, key := range strings.Split(args[1], ".") {
		switch d := doc.(type) {
		case map[string]any:
			doc = d[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(d) {
				ts.Fatalf("%s: no item %s", args[1], key)
			}
			doc = d[i]
		default:
			doc = nil
		}
	}
	got, err := json.Marshal(doc)
	ts.Check(err)
	text := strings.Trim(string(got), `"`)
	if (text == args[2]) == neg {
		ts.Fatalf("%s is %s, want %s (negated: %v)", args[1], got, args[2], neg)
	}
}

// mkzip FILE NAME=CONTENT…: writes a zip archive whose entry names are taken as they are; NAME@=TARGET is a symbolic link,
// NAME*=MB a file of that many megabytes of zeros.
func mkzip(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	z := zip.NewWriter(f)
	for _, a := range args[1:] {
		name, content, _ := strings.Cut(a, "=")
		h := &zip.FileHeader{Name: strings.TrimRight(name, "@*"), Method: zip.Deflate}
		h.SetMode(0o644)
		repeat := 1
		switch {
		case strings.HasSuffix(name, "@"):
			h.SetMode(os.ModeSymlink | 0o777)
		case strings.HasSuffix(name, "*"):
			_, err := fmt.Sscan(content, &repeat)
			ts.Check(err)
			content = strings.Repeat("\x00", 1<<20)
		}
		w, err := z.CreateHeader(h)
		ts.Check(err)
		for range repeat {
			_, err = w.Write([]byte(content))
			ts.Check(err)
		}
	}
	ts.Check(z.Close())
	ts.Check(f.Close())
}

// cleared [DIR]: no run of this machine that has ended left anything behind, and DIR holds no half-made output folder.
func cleared(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("longshore", "doctor", "--json"))
	var report struct{ Leftovers []any }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &report))
	if len(report.Leftovers) > 0 {
		ts.Fatalf("left over: %v", report.Leftovers)
	}
	half, err := filepath.Glob(ts.MkAbs(".*.longshore-*"))
	ts.Check(err)
	if len(half) > 0 {
		ts.Fatalf("half-made output folders: %v", half)
	}
}

// interrupt TEXT COMMAND…: starts a command, waits until it has printed TEXT, sends SIGINT, and expects exit code 130.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	c := exec.Command(path, args[2:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "LONGSHORE_HOME="+ts.Getenv("LONGSHORE_HOME"))
	output, err := c.StderrPipe()
	ts.Check(err)
	ts.Check(c.Start())
	lines := bufio.NewScanner(output)
	for lines.Scan() && !strings.Contains(lines.Text(), args[0]) {
		ts.Logf("%s", lines.Text())
	}
	ts.Check(c.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
		ts.Logf("%s", lines.Text())
	}
	err = c.Wait()
	if ee, ok := err.(*exec.ExitError); !ok || ee.ExitCode() != exitInterrupted {
		ts.Fatalf("ended with %v, want exit code %d", err, exitInterrupted)
	}
}

// exitInterrupted is the documented exit code after an interrupt.
const exitInterrupted = 130
