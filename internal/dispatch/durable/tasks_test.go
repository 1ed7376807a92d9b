package durable

import (
	"strings"
	"testing"

	"longshore/internal/store"
)

func TestPackageName(t *testing.T) {
	for _, c := range []struct{ form, origin, want string }{
		{formFile, "iexec.json", "iexec.json"}, {formFile, `C:\tasks\iexec.json`, "iexec.json"}, {formFile, "../../etc/passwd", "passwd"}, {formFile, "", "package"},
		{formFile, "..", "package"}, {formFile, "a\x00b", "package"},
		{formFolder, "greeting.tar.gz", "greeting"}, {formFolder, "Greeting.ZIP", "Greeting"}, {formFolder, "my.task.tar.zst", "my.task"}, {formFolder, "x.tgz", "x"},
		{formFolder, ".zip", ".zip"}, {formFolder, "...zip", "package"}, {formFolder, "folder", "folder"},
		{formFolder, "git+https://example.com/team/tasks.git @ 0123", "tasks"}, {formFolder, "git+https://example.com/team/tasks#main:one/two/ @ 0123", "two"},
	} {
		if got := packageName(store.Version{Form: c.form, Origin: c.origin}); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.form, c.origin, got, c.want)
		}
	}
}

func TestFileName(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "a b.csv": true, "日本.png": true, ".hidden": true, `C:\a`: true, "": false, ".": false, "..": false, "a/b": false,
		"a\x00": false, "a\n": false, "\x1b[31m": false, "\xff": false, strings.Repeat("a", 255): true, strings.Repeat("a", 256): false} {
		if got := FileName(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{"Hello, World!": "hello-world", "a.b_c": "a.b_c", "..": "", "ä": "", " x ": "x", "a::b/c": "a-b-c"} {
		if got := slug(in); got != want {
			t.Errorf("slug(%q) = %q, want %q", in, got, want)
		}
	}
	for _, c := range []struct {
		name, version string
		ok            bool
	}{
		{"a", "1.0", true}, {"a-b", "v1+2-beta", true}, {"", "1", false}, {"A", "1", false}, {"a:b", "1", false}, {"a/b", "1", false}, {"../a", "1", false},
		{"t0123456789abcdef012", "1", false}, {"a", "1:2", false}, {"a", "1 2", false}, {"a", "", false},
	} {
		if err := checkName(store.Version{Name: c.name, Version: c.version}); (err == nil) != c.ok {
			t.Errorf("%q %q: %v", c.name, c.version, err)
		}
	}
}
