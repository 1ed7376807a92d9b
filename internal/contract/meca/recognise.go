package meca

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
)

// folder is a package's tree with the names it goes by.
type folder struct {
	fs fs.FS
	// dir is its absolute path on this machine, "" when it has none; shown is how the user wrote it.
	dir, shown string
}

// open finds the package's folder in the source: the one that holds the manifest when the user named one.
func open(src contract.Source) (folder, error) {
	f := folder{src.FS, src.Dir, strings.TrimRight(src.Given, "/")}
	if f.shown == "" {
		f.shown = src.Dir
	}
	if src.File == "" {
		return f, nil
	}
	f.shown = path.Dir(f.shown)
	below := path.Dir(src.File)
	if below == "." {
		return f, nil
	}
	sub, err := fs.Sub(src.FS, below)
	if err != nil {
		return f, err
	}
	f.fs = sub
	if f.dir != "" {
		f.dir = filepath.Join(f.dir, filepath.FromSlash(below))
	}
	return f, nil
}

// Recognise looks for the seven entries of a MECA folder. The five texts are rare elsewhere, so a few of them are enough to
// take a folder for an incomplete MECA package, whose missing entries Load then reports.
func (Contract) Recognise(src contract.Source) contract.Recognition {
	if src.FS == nil || src.File != "" && !slices.Contains(entries(), path.Base(src.File)) {
		return contract.Recognition{}
	}
	f, err := open(src)
	if err != nil {
		return contract.Recognition{}
	}
	var found []string
	for _, e := range entries() {
		if _, err := fs.Lstat(f.fs, e); err == nil {
			found = append(found, e)
		}
	}
	recipe := slices.Contains(found, dockerfile)
	texts := 0
	for _, e := range found {
		if e != dockerfile && e != sources {
			texts++
		}
	}
	r := contract.Recognition{Evidence: strings.Join(found, ", "), Manifest: configuration}
	switch {
	case len(found) == len(entries()):
		r.Certainty, r.Evidence = contract.Certain, "the seven entries of a MECA folder"
	case texts >= 3, texts == 2 && recipe:
		r.Certainty = contract.Likely
		r.Evidence = fmt.Sprintf("%d of the seven entries of a MECA folder: %s", len(found), r.Evidence)
	case recipe && (slices.Contains(found, exampleInput) || slices.Contains(found, exampleOutput)):
		r.Certainty = contract.Possible
	default:
		return contract.Recognition{}
	}
	if !slices.Contains(found, configuration) {
		r.Manifest = ""
	}
	return r
}
