package contract_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
)

func TestIgnored(t *testing.T) {
	for _, c := range []struct {
		name, own, common string
		out, in           []string
	}{
		{"none", "", "", nil, []string{".", "src", "src/a.py"}},
		{"everything but", "", "*\n!src\nsrc/**/*.pyc\n", []string{"top.txt", "src/deep/b.pyc"}, []string{".", "src", "src/a.py", "src/deep"}},
		{"a folder", "", "src\n", []string{"src", "src/a.py", "src/deep/b.pyc"}, []string{"top.txt"}},
		{"a folder of which something comes back", "", "src\n!src/a.py\n", []string{"src/deep/b.pyc"}, []string{"src", "src/a.py"}},
		{"the Dockerfile's own", "top.txt", "src", []string{"top.txt"}, []string{"src"}},
		{"no pattern", "", "src/[\n", nil, []string{"src"}},
		{"too many", "", strings.Repeat("src\n", 1001), nil, []string{"src"}},
	} {
		tree := fstest.MapFS{"top.txt": {}, "src/a.py": {}, "src/deep/b.pyc": {}}
		if c.own != "" {
			tree["Dockerfile.dockerignore"] = &fstest.MapFile{Data: []byte(c.own)}
		}
		if c.common != "" {
			tree[".dockerignore"] = &fstest.MapFile{Data: []byte(c.common)}
		}
		ignored := contract.Ignored(tree, "Dockerfile")
		for _, p := range c.out {
			if !ignored(p) {
				t.Errorf("%s: %s is in the context", c.name, p)
			}
		}
		for _, p := range c.in {
			if ignored(p) {
				t.Errorf("%s: %s is left out", c.name, p)
			}
		}
	}
}
