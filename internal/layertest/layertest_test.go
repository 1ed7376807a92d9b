package layertest_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"longshore/internal/layertest"
)

// TestThisModule holds the layer rules for the tree this file is in.
func TestThisModule(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("this is not where the module starts: %v", err)
	}
	findings, err := layertest.Check(os.DirFS(root), layertest.Rules, layertest.Silences)
	if err != nil {
		t.Error(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

// TestCheck runs the checker over small trees. Each has a file "want" with the findings, one per line.
func TestCheck(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no trees in testdata: %v", err)
	}
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".txtar"), func(t *testing.T) {
			parsed, err := txtar.ParseFile(archive)
			if err != nil {
				t.Fatal(err)
			}
			tree := treeOf(parsed)
			want, err := fs.ReadFile(tree, "want")
			if err != nil {
				t.Fatal(err)
			}
			findings, err := layertest.Check(tree, layertest.Rules, layertest.Silences)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, f := range findings {
				fmt.Fprintf(&got, "%s:%d: %s\n", f.File, f.Line, f.What)
				if f.Why == "" {
					t.Errorf("%s:%d has no reason", f.File, f.Line)
				}
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFindingSaysWhy shows what somebody whose import was refused gets to read.
func TestFindingSaysWhy(t *testing.T) {
	f := layertest.Finding{File: "a/b.go", Line: 3, What: "a must not import b", Why: "a may import nothing: because"}
	if got, want := f.String(), "a/b.go:3: a must not import b\n\ta may import nothing: because"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestBrokenFile: a file that cannot be parsed is an error that names it, not a file without imports.
func TestBrokenFile(t *testing.T) {
	tree := treeOf(txtar.Parse([]byte("-- internal/task/task.go --\npackage task\nimport longshore\n")))
	if _, err := layertest.Check(tree, layertest.Rules, layertest.Silences); err == nil || !strings.Contains(err.Error(), "internal/task/task.go:2") {
		t.Errorf("Check: %v, want an error about internal/task/task.go:2", err)
	}
}

// TestRulesHaveReasons: a rule without a reason cannot be argued with.
func TestRulesHaveReasons(t *testing.T) {
	for _, r := range layertest.Rules {
		if r.Packages == "" || r.Reason == "" {
			t.Errorf("the rule for %q has the reason %q", r.Packages, r.Reason)
		}
	}
	for _, s := range layertest.Silences {
		if s.Packages == "" || s.Reason == "" {
			t.Errorf("the silence of %q has the reason %q", s.Packages, s.Reason)
		}
	}
}

func treeOf(a *txtar.Archive) fs.FS {
	tree := fstest.MapFS{}
	for _, f := range a.Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return tree
}
