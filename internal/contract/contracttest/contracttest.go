// Package contracttest is the conformance suite that every contract passes: what the interfaces of package contract promise,
// tried on packages that are right, and on the same packages damaged in every file.
package contracttest

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Suite is one contract with the packages to try it on, as folders of this machine.
type Suite struct {
	Contract contract.Contract
	// Own are valid packages of the contract, Foreign are those of others.
	Own, Foreign []string
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	scaffolds := s.scaffolds(t)
	packages := append(append([]string{}, s.Own...), scaffolds...)
	t.Run("Recognise", func(t *testing.T) { s.recognise(t, packages) })
	t.Run("Load", func(t *testing.T) { s.loadAll(t, packages) })
	t.Run("Scaffold", func(t *testing.T) { s.clean(t, scaffolds) })
	t.Run("Run", func(t *testing.T) {
		for _, dir := range packages {
			s.runs(t, dir)
		}
	})
	t.Run("Nothing", s.nothing)
}

// scaffolds writes the contract's packages to start from, one per language.
func (s Suite) scaffolds(t *testing.T) []string {
	x, ok := s.Contract.(contract.Scaffolder)
	if !ok {
		return nil
	}
	var dirs []string
	for _, lang := range x.Languages() {
		files, err := x.Scaffold("a "+lang+" package", lang)
		if err != nil {
			t.Fatalf("%s: %v", lang, err)
		}
		dir := filepath.Join(t.TempDir(), lang)
		for name, content := range files {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// recognise: a contract is certain of its own packages, and of no other's.
func (s Suite) recognise(t *testing.T, own []string) {
	for _, dir := range own {
		if r := s.Contract.Recognise(source(t, dir)); r.Certainty == contract.No || r.Evidence == "" {
			t.Errorf("%s is not recognised: %+v", dir, r)
		}
	}
	for _, dir := range s.Foreign {
		r := s.Contract.Recognise(source(t, dir))
		if r.Certainty == contract.Certain {
			t.Errorf("%s is taken for certain: %s", dir, r.Evidence)
		}
		if (r.Certainty == contract.No) != (r.Evidence == "") {
			t.Errorf("%s: the evidence does not go with the certainty: %+v", dir, r)
		}
	}
}

// clean: the packages to start from have no finding at all.
func (s Suite) clean(t *testing.T, dirs []string) {
	for _, dir := range dirs {
		if _, found := s.Contract.Load(source(t, dir), contract.Options{}); len(found) > 0 {
			t.Errorf("%s: %v", filepath.Base(dir), found)
		}
	}
}

// nothing: no method minds a source with nothing in it.
func (s Suite) nothing(t *testing.T) {
	for name, src := range map[string]contract.Source{"zero": {}, "empty": source(t, t.TempDir())} {
		if r := s.Contract.Recognise(src); r.Certainty == contract.Certain {
			t.Errorf("%s: recognised by %q", name, r.Evidence)
		}
		if got, found := s.Contract.Load(src, contract.Options{}); !task.HasErrors(found) {
			t.Errorf("%s: loaded without an error: %+v", name, got)
		}
	}
}

// source opens a folder as the app does: no link leads out of it.
func source(t *testing.T, dir string) contract.Source {
	t.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return contract.Source{Given: dir, FS: root.FS(), Dir: abs}
}

// same tells whether two values are equal, whatever is behind their pointers.
func same(a, b any) bool { return reflect.DeepEqual(a, b) }
