package kaapana

import (
	"embed"
	"io/fs"
	"strings"
)

// scaffold is a package to start from; NAME in its files is replaced.
//
//go:embed all:scaffold
var scaffold embed.FS

// Scaffold returns a container folder with two templates, an example task and data for it.
func (Contract) Scaffold(name, lang string) (map[string]string, error) {
	files := map[string]string{}
	image := imageName(name, "")
	image = strings.TrimSuffix(image, ":latest")
	sub, err := fs.Sub(scaffold, "scaffold")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(sub, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(sub, p)
		files[p] = strings.ReplaceAll(string(data), "NAME", image)
		return err
	})
	return files, err
}

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"shell"} }
