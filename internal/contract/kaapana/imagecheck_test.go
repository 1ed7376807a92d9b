package kaapana_test

import (
	"io/fs"
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// treeImage is an image that can be looked into. Values of modes are what lies at a path, and of counts the files below it.
type treeImage struct {
	image
	modes  map[string]fs.FileMode
	counts map[string]int
}

func (i treeImage) Stat(path string) (fs.FileMode, error) {
	if m, ok := i.modes[path]; ok {
		return m, nil
	}
	return 0, fs.ErrNotExist
}

func (i treeImage) CountFiles(path string, limit int) (int, error) {
	return min(i.counts[path], limit), nil
}

func TestHiddenFiles(t *testing.T) {
	img := treeImage{carrying(example), map[string]fs.FileMode{"/data/masks": fs.ModeDir | 0o755, "/data/ref": fs.ModeDir | 0o755, "/data/out": 0o644, "/bin/sh": 0o755}, map[string]int{"/data/masks": 3}}
	check := func() []task.Finding {
		_, findings := kaapana.New().Load(contract.Source{Image: img}, contract.Options{Variant: "grow"})
		var hides []task.Finding
		for _, f := range findings {
			if f.Rule == "channel-path-hides" {
				hides = append(hides, f)
			}
		}
		if find(findings, "command-not-found") != nil {
			t.Error(findings)
		}
		return hides
	}
	got := check()
	if len(got) != 2 || got[0].What != "Mounting hides 3 files of the image at `/data/masks`." || got[0].Line == 0 || !strings.Contains(got[1].What, "hides a file of the image at `/data/out`") {
		t.Errorf("%v", got)
	}
	img.counts["/data/masks"] = 1 << 30
	if got = check(); !strings.Contains(got[0].What, "10000 or more") {
		t.Errorf("%v", got)
	}
	img.modes["/bin/sh"] = 0o644
	if _, findings := kaapana.New().Load(contract.Source{Image: img}, contract.Options{Variant: "grow"}); find(findings, "command-not-found") == nil {
		t.Errorf("a program that cannot be executed: %v", findings)
	}
}
