package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// missing says that there is nothing at a path, and what was probably meant: a name beside it that differs by a slip, or an
// image of the store.
func (a *App) missing(given string) error {
	e := &task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("%s does not exist", given)}
	if near := nearestPath(given); near != "" {
		return e.WithHint("did you mean %s?", near)
	}
	if store, err := a.Images(); err == nil {
		if _, err := store.Resolve(given); err == nil {
			return e.WithHint("there is an image of that name: write image:%s", given)
		}
	}
	return e.WithHint("name a folder, a manifest file, a bundle archive, image:NAME or git+URL[#branch[:directory]]")
}

// nearestPath is given with the first part that does not exist put right, where the whole then exists; else "".
func nearestPath(given string) string {
	wrong, rest := filepath.Clean(given), ""
	for {
		parent := filepath.Dir(wrong)
		entries, err := os.ReadDir(parent)
		if errors.Is(err, fs.ErrNotExist) && parent != wrong {
			wrong, rest = parent, filepath.Join(filepath.Base(wrong), rest)
			continue
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		near := contract.Nearest(filepath.Base(wrong), names)
		if near == "" {
			return ""
		}
		if near = filepath.Join(parent, near, rest); !exists(near) {
			return ""
		}
		return near
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// unrecognised says that no contract knows the package, and what comes nearest: an older release's package, packages in its
// folders, or a Dockerfile alone.
func (p *Package) unrecognised() error {
	e := &task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s looks like no package that Longshore knows", p.Source.Given)}
	if older := p.older(); older != "" {
		return e.WithHint("%s", older)
	}
	if inside := p.inside(); len(inside) > 0 {
		what := "name the folder that is meant"
		if p.Source.Archive != "" {
			what = "make the archive of what is in the folder, without the folder itself"
		}
		return e.WithHint("there are packages in its folders, such as %s: %s", strings.Join(inside, ", "), what)
	}
	looked := "it looks for a MECA folder (name.txt, config.json, …), a Cytomine descriptor.yml, a Kaapana processing-container.json, an iExec iexec.json or iexec.js, or a Racetrack job.yaml or fatman.yaml; --contract NAME forces one"
	if p.hasDockerfile() {
		looked = "a Dockerfile alone does not say how data goes in and out: `longshore init CONTRACT DIR` writes a package to start from, and `longshore image build` builds just the image; " + looked
	}
	return e.WithHint("%s", looked)
}

func (p *Package) hasDockerfile() bool {
	if p.Source.FS == nil {
		return false
	}
	_, err := fs.Stat(p.Source.FS, "Dockerfile")
	return err == nil
}

// The bounds of a search for packages in folders.
const (
	insideDepth = 3
	insideLooks = 200
	insideShown = 3
)

// inside lists packages in the folders of one that is none itself: "examples/echo (meca)".
func (p *Package) inside() []string {
	if p.Source.FS == nil {
		return nil
	}
	var found []string
	looks := 0
	_ = fs.WalkDir(p.Source.FS, ".", func(name string, d fs.DirEntry, err error) error { // it only feeds a hint
		switch {
		case err != nil:
			return fs.SkipDir // what cannot be read is nothing to point to
		case !d.IsDir() || name == ".":
			return nil
		case strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case looks == insideLooks || len(found) == insideShown:
			return fs.SkipAll
		}
		looks++
		if owner := p.contractOf(name); owner != "" {
			found = append(found, fmt.Sprintf("%s (%s)", name, owner))
			return fs.SkipDir
		}
		if strings.Count(name, "/")+1 == insideDepth {
			return fs.SkipDir
		}
		return nil
	})
	return found
}

// contractOf names the contract that is at least likely for a folder of the source.
func (p *Package) contractOf(folder string) string {
	sub, err := fs.Sub(p.Source.FS, folder)
	if err != nil {
		return ""
	}
	if _, err := fs.ReadDir(sub, "."); err != nil {
		return "" // contracts take a document that cannot be read for one that is there
	}
	src := contract.Source{FS: sub, Given: path.Join(p.Source.Given, folder)}
	if p.Source.Dir != "" {
		src.Dir = filepath.Join(p.Source.Dir, folder)
	}
	best, name := contract.Possible, ""
	for _, c := range contracts() {
		if r := c.Recognise(src); r.Certainty > best {
			best, name = r.Certainty, c.Name()
		}
	}
	return name
}
