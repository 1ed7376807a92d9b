package kaapana_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"longshore/internal/contract/kaapana"
)

// scaleTree makes the tree that the reference measures.
func scaleTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "channel")
	for name, n := range map[string]int{
		"root.dcm": 7, ".hidden.dcm": 3, "a/1.dcm": 100, "a/2.DCM": 50, "a/notes.txt": 20, "a/seg/3.dcm": 200,
		"b/1.dcm": 400, "b/img[1].dcm": 30, ".cache/1.dcm": 11,
	} {
		writeFile(t, filepath.Join(root, name), strings.Repeat("x", n))
	}
	must(t, os.Mkdir(filepath.Join(root, "empty"), 0o755))
	must(t, os.Symlink("a/1.dcm", filepath.Join(root, "link.dcm")))
	must(t, os.Symlink("b", filepath.Join(root, "blink")))
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(content), 0o644))
}

func TestMeasure(t *testing.T) {
	root := scaleTree(t)
	const sum, file, item = "sum", "max_file_size", "max_item_sum"
	for _, c := range []struct {
		mode, dir, glob, regex string
		want                   int64
	}{
		{sum, "", "*", ".*", 921},
		{file, "", "*", ".*", 400},
		{file, "", "*.dcm", ".*", 400},
		{file, "", "*.none", ".*", 0},
		{item, "", "*", ".*", 430},
		{item, "", "*.dcm", ".*", 430},
		{item, "", "*.txt", ".*", 20},
		{item, "seg", "*", ".*", 200},
		{item, "", "*", `1\.dcm`, 400},
		{sum, "", "*.dcm", ".*", 851},
		{sum, "", "*.DCM", ".*", 50},
		{sum, "", "*.[dD][cC][mM]", ".*", 901},
		{sum, "", "*.[!d]*", ".*", 73},
		{sum, "", "*.[^d]*", ".*", 851},
		{sum, "", "?.dcm", ".*", 711},
		{sum, "", "img[1].dcm", ".*", 0},
		{sum, "", "img[[]1].dcm", ".*", 30},
		{sum, "", `img\[1].dcm`, ".*", 0},
		{sum, "", "a/*", ".*", 170},
		{sum, "", "seg/*.dcm", ".*", 200},
		{sum, "", "**/*.dcm", ".*", 851},
		{sum, "", "a/**/*.dcm", ".*", 300},
		{sum, "", "blink/*.dcm", ".*", 430},
		{sum, "", "**", ".*", 0},
		{sum, "", "seg", ".*", 0},
		{sum, "", "", ".*", 0},
		{sum, "", ".", ".*", 0},
		{sum, "", "{*.dcm,*.txt}", ".*", 0},
		{sum, "", "*", `1\.dcm`, 0},
		{sum, "", "*", `.*1\.dcm`, 511},
		{sum, "", "*", `a/.*`, 370},
		{sum, "", "*", `[^/]*`, 110},
		{sum, "", "*", `.*\.DCM`, 50},
		{sum, "", "*", `(?i).*\.dcm`, 901},
		{sum, "", "*", "", 0},
		{sum, "a", "*", ".*", 370},
		{sum, "a/", "*", ".*", 370},
		{sum, ".", "*", ".*", 921},
		{sum, "nope", "*", ".*", 0},
		{sum, "a/1.dcm", "*", ".*", 0},
		{sum, "blink", "*.dcm", ".*", 430},
		{sum, "a", "*.dcm", "seg/.*", 200},
	} {
		got, _, err := kaapana.Measure(root, c.mode, c.dir, c.glob, c.regex)
		if err != nil || got != c.want {
			t.Errorf("%s dir %q glob %q regex %q: %d, %v; want %d", c.mode, c.dir, c.glob, c.regex, got, err, c.want)
		}
	}
}

func TestMeasureRefuses(t *testing.T) {
	root := scaleTree(t)
	for _, c := range []struct{ dir, glob, regex string }{
		{"..", "*", ".*"}, {"/etc", "*", ".*"}, {"a/../..", "*", ".*"},
		{"", "/x", ".*"}, {"", "../*", ".*"}, {"", "a/../../*", ".*"}, {"", "a**", ".*"},
		{"", "*", "("}, {"", "*", "(?!a/).*"}, {"", "*", `(a)\1`},
	} {
		if n, _, err := kaapana.Measure(root, "sum", c.dir, c.glob, c.regex); err == nil {
			t.Errorf("%+v: measured %d, want an error", c, n)
		}
	}
}

// Links that lead out of the channel do not count and are told.
func TestMeasureStaysInside(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret/big.dcm"), strings.Repeat("x", 5000))
	writeFile(t, filepath.Join(dir, "in/item/a.dcm"), "abc")
	must(t, os.Symlink("../../secret/big.dcm", filepath.Join(dir, "in/item/link.dcm")))
	must(t, os.Symlink("../secret", filepath.Join(dir, "in/far")))
	must(t, os.Symlink("loop", filepath.Join(dir, "in/loop")))
	for _, mode := range []string{"sum", "max_file_size", "max_item_sum"} {
		n, outside, err := kaapana.Measure(filepath.Join(dir, "in"), mode, "", "*", ".*")
		if err != nil || n != 3 || len(outside) == 0 {
			t.Errorf("%s: %d, outside %v, %v; want 3 bytes and the links told", mode, n, outside, err)
		}
	}
	if n, _, err := kaapana.Measure(filepath.Join(dir, "in"), "sum", "far", "*", ".*"); n != 0 || err != nil {
		t.Errorf("target_dir through a link: %d, %v", n, err)
	}
	if n, _, err := kaapana.Measure(filepath.Join(dir, "in"), "sum", "", "far/*", ".*"); n != 0 || err != nil {
		t.Errorf("glob through a link: %d, %v", n, err)
	}
}

func TestMeasureSingleFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.nrrd")
	writeFile(t, file, "12345")
	for _, c := range []struct {
		mode, glob string
		want       int64
	}{{"sum", "*", 5}, {"max_file_size", "*.nrrd", 5}, {"sum", "**/*.nrrd", 5}, {"sum", "*.txt", 0}, {"max_item_sum", "*", 0}, {"sum", "a/*", 0}} {
		if n, _, err := kaapana.Measure(file, c.mode, "", c.glob, ".*"); n != c.want || err != nil {
			t.Errorf("%+v: %d, %v", c, n, err)
		}
	}
}

func TestMeasureUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	root := scaleTree(t)
	must(t, os.Chmod(filepath.Join(root, "b"), 0))
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(root, "b"), 0o755)) })
	if n, _, err := kaapana.Measure(root, "sum", "", "*", ".*"); err == nil {
		t.Errorf("measured %d, want an error", n)
	}
}
