package contract

import (
	"io/fs"
	"path"
	"strings"
)

// ScaffoldFiles reads the files of a package to start from, for Scaffolder: those in scaffold/common of fsys, and those in the
// folder beside it that is named after the language. A file of both is the language's. The end ".tmpl" is left out of names: it
// keeps Go's own tools away from files in this repository. replace are pairs of old and new text, as strings.NewReplacer
// takes them.
func ScaffoldFiles(fsys fs.FS, lang string, replace ...string) (map[string]string, error) {
	files := map[string]string{}
	texts := strings.NewReplacer(replace...)
	for _, dir := range []string{"scaffold/common", path.Join("scaffold", lang)} {
		sub, err := fs.Sub(fsys, dir)
		if err != nil {
			return nil, err
		}
		err = fs.WalkDir(sub, ".", func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := fs.ReadFile(sub, p)
			files[strings.TrimSuffix(p, ".tmpl")] = texts.Replace(string(data))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}
