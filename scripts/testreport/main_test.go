package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	passing = `{"Action":"run","Package":"longshore/a","Test":"TestA"}
{"Action":"output","Package":"longshore/a","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"longshore/a","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"longshore/a","Test":"TestA","Elapsed":6.5}
{"Action":"pass","Package":"longshore/a","Elapsed":7}
`
	failing = `{"Action":"output","Package":"longshore/b","Test":"TestB","Output":"    b_test.go:3: want 1\n"}
{"Action":"fail","Package":"longshore/b","Test":"TestB","Elapsed":0.1}
{"Action":"fail","Package":"longshore/b","Elapsed":0.2}
`
	skipping = `{"Action":"skip","Package":"longshore/c","Test":"TestGPU/one","Elapsed":0}
{"Action":"pass","Package":"longshore/c","Elapsed":0.2}
`
	panicking = `{"Action":"output","Package":"longshore/d","Test":"TestD","Output":"panic: boom\n"}
{"Action":"output","Package":"longshore/d","Output":"FAIL\tlongshore/d\n"}
{"Action":"fail","Package":"longshore/d","Elapsed":0.2}
`
	broken = `{"ImportPath":"longshore/e","Action":"build-output","Output":"e.go:1:2: undefined: x\n"}
{"ImportPath":"longshore/e","Action":"build-fail"}
{"Action":"fail","Package":"longshore/e","Elapsed":0,"FailedBuild":"longshore/e"}
`
)

func TestRun(t *testing.T) {
	tests := []struct {
		name, in, skips string
		strict          bool
		want            []string
		wantErr         string
	}{
		{name: "pass", in: passing, want: []string{"ok    a ", "slow  a TestA: 6.5 s", "1 packages: 1 tests passed, 0 failed, 0 skipped"}},
		{name: "fail", in: passing + failing, want: []string{"FAIL  b TestB", "      " + "    b_test.go:3: want 1", "1 failed"}, wantErr: "tests failed"},
		{name: "skip", in: skipping, want: []string{"skip  c TestGPU/one: NOT in the list"}},
		{name: "skip in CI", in: skipping, strict: true, wantErr: "1 tests were skipped that may not be"},
		{name: "allowed skip in CI", in: skipping, skips: "c TestGPU* # no GPU here\n", strict: true, want: []string{"skip  c TestGPU/one: no GPU here"}},
		{name: "skip without a reason", in: skipping, skips: "c TestGPU*\n", wantErr: "line 1: want PACKAGE TEST # REASON"},
		{name: "panic", in: panicking, want: []string{"FAIL  d TestD did not end", "panic: boom"}, wantErr: "tests failed"},
		{name: "build failure", in: broken, want: []string{"longshore/e does not compile", "undefined: x"}, wantErr: "tests failed"},
		{name: "nothing", in: "", wantErr: "no tests ran"},
		{name: "not JSON", in: "go: warning\n" + passing, want: []string{"go: warning"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			skips, kept := filepath.Join(dir, "skips"), filepath.Join(dir, "output")
			if err := os.WriteFile(skips, []byte("# a comment\n"+test.skips), 0o600); err != nil {
				t.Fatal(err)
			}
			test.wantErr = strings.ReplaceAll(test.wantErr, "line 1", "line 2")
			args := []string{"-o", kept, "-allowed-skips", skips}
			if test.strict {
				args = append(args, "-strict")
			}
			var out bytes.Buffer
			err := run(args, strings.NewReader(test.in), &out)
			switch {
			case test.wantErr == "" && err != nil:
				t.Fatalf("run: %v\n%s", err, out.String())
			case test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)):
				t.Fatalf("run: %v, want an error with %q", err, test.wantErr)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "chatter") {
				t.Errorf("the report has the output of a test that passed:\n%s", out.String())
			}
			if err == nil && strings.Contains(test.in, "chatter") {
				full, _ := os.ReadFile(kept)
				if !strings.Contains(string(full), "chatter") {
					t.Errorf("the complete output lacks what a passing test wrote: %q", full)
				}
			}
		})
	}
}
