package contracttest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// damages are what is done to each file of a package, one at a time.
var damages = []struct {
	name string
	do   func(path string, data []byte) error
}{
	{"removed", func(path string, _ []byte) error { return os.Remove(path) }},
	{"empty", func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o644) }},
	{"cut", func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)/2], 0o644) }},
	{"twice", func(path string, data []byte) error { return os.WriteFile(path, append(data, data...), 0o644) }},
	{"noise", func(path string, _ []byte) error {
		return os.WriteFile(path, []byte("\x00\xff{[: %\n\t- &a *a"), 0o644)
	}},
	{"null", func(path string, _ []byte) error { return os.WriteFile(path, []byte("null\n"), 0o644) }},
	{"list", func(path string, _ []byte) error { return os.WriteFile(path, []byte("[1, {}]\n"), 0o644) }},
	{"deep", func(path string, _ []byte) error {
		return os.WriteFile(path, []byte(strings.Repeat("[", 20000)), 0o644)
	}},
	{"folder", func(path string, _ []byte) error { return instead(path, func() error { return os.Mkdir(path, 0o755) }) }},
	{"link out", func(path string, _ []byte) error {
		return instead(path, func() error { return os.Symlink("/etc/passwd", path) })
	}},
	{"link to itself", func(path string, _ []byte) error {
		return instead(path, func() error { return os.Symlink(filepath.Base(path), path) })
	}},
	{"pipe", func(path string, _ []byte) error {
		return instead(path, func() error { return syscall.Mkfifo(path, 0o644) })
	}},
}

func instead(path string, make func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return make()
}

// biggest is the size up to which a file is damaged; what is larger is data, not a document.
const biggest = 1 << 20

// loadAll loads every package, whole and with each of its files damaged in every way.
func (s Suite) loadAll(t *testing.T, packages []string) {
	for _, dir := range packages {
		s.load(t, dir, "whole")
		damaged := filepath.Join(t.TempDir(), "package")
		if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		for _, name := range regularFiles(t, dir) {
			s.damage(t, damaged, name)
		}
	}
}

// damage loads a package with one of its files damaged in every way, and mends the file.
func (s Suite) damage(t *testing.T, dir, name string) {
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range damages {
		if err := d.do(path, slices.Clone(data)); err != nil {
			t.Fatal(err)
		}
		s.load(t, dir, fmt.Sprintf("%s/%s, %s", filepath.Base(dir), name, d.name))
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// load: Load does not panic, changes nothing, gives the same twice, and its task and findings are as the interface says.
func (s Suite) load(t *testing.T, dir, what string) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: panic: %v", what, p)
		}
	}()
	before := regularFiles(t, dir)
	src := source(t, dir)
	s.Contract.Recognise(src)
	got, found := s.Contract.Load(src, contract.Options{})
	again, foundAgain := s.Contract.Load(source(t, dir), contract.Options{})
	if !same(got, again) || !same(found, foundAgain) {
		t.Errorf("%s: loaded twice, it is not the same:\n%+v %v\n%+v %v", what, got, found, again, foundAgain)
	}
	if got == nil && !task.HasErrors(found) {
		t.Errorf("%s: no task and no error: %v", what, found)
	}
	if after := regularFiles(t, dir); !slices.Equal(before, after) {
		t.Errorf("%s: the package was written to: %v, before %v", what, after, before)
	}
	s.findings(t, src, found, what)
	if x, ok := s.Contract.(contract.Exampler); ok && got != nil && !task.HasErrors(found) {
		if _, err := x.Examples(src, got); err != nil && task.CodeOf(err) == "" {
			t.Errorf("%s: the examples fail without a reason: %v", what, err)
		}
	}
}

// findings: every finding names a rule that is listed, with its severity, says what is wrong, and lies in a file.
func (s Suite) findings(t *testing.T, src contract.Source, found []task.Finding, what string) {
	t.Helper()
	rules := map[string]contract.Rule{}
	if l, ok := s.Contract.(contract.RuleLister); ok {
		for _, r := range l.Rules() {
			rules[r.ID] = r
		}
	}
	for _, f := range found {
		r, ok := rules[f.Rule]
		switch {
		case !ok:
			t.Errorf("%s: the rule %q is not listed: %v", what, f.Rule, f)
		case f.Severity != r.Severity && f.Severity != r.Milder:
			t.Errorf("%s: the rule %s is a %s, listed as %s %s", what, f.Rule, f.Severity, r.Severity, r.Milder)
		case f.What == "":
			t.Errorf("%s: a finding of %s says nothing", what, f.Rule)
		}
		if why := misplaced(src.FS, f); why != "" {
			t.Errorf("%s: %s of %v", what, why, f)
		}
	}
}

// misplaced says what is wrong with the position of a finding, or "".
func misplaced(tree fs.FS, f task.Finding) string {
	if f.Line == 0 {
		if f.Column != 0 {
			return "a column without a line"
		}
		return ""
	}
	data, err := fs.ReadFile(tree, f.File)
	if err != nil {
		return "the position lies in no file"
	}
	lines := strings.Split(string(data), "\n")
	if f.Line < 0 || f.Line > len(lines) {
		return fmt.Sprintf("the position is not within the %d lines", len(lines))
	}
	// A value that is missing has its place after the blank that would follow the line.
	if n := utf8.RuneCountInString(lines[f.Line-1]); f.Column < 0 || f.Column > n+2 {
		return fmt.Sprintf("the position is not within the %d characters of its line", n)
	}
	return ""
}

// regularFiles lists the files of a package that are documents by their size, sorted.
func regularFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if info, err := e.Info(); err != nil || info.Size() > biggest {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
