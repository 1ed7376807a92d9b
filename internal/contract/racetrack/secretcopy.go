package racetrack

import (
	"path"
	"path/filepath"
	"strings"

	"longshore/internal/contract"
)

// copiedSecrets warns when a file of secret variables lies in the build context and is copied into the image with the rest
// (reference 6.5: whoever gets the image could read it).
func (l *loader) copiedSecrets(context tree, left func(path string) bool, r *contract.Recipe, shown string) {
	for _, s := range []secretFile{l.m.runSecrets, l.m.buildSecrets} {
		if s.file == "" || l.home.dir == "" || context.dir == "" {
			continue
		}
		file, err := filepath.Rel(context.dir, filepath.Join(l.home.dir, filepath.FromSlash(s.file)))
		if err != nil || !filepath.IsLocal(file) {
			continue
		}
		file = filepath.ToSlash(file)
		if left(file) {
			continue
		}
		if line := copyOf(r, file); line > 0 {
			add := l.found(ruleSecretCopied, shown, contract.At{Line: line}, "the secret variables of %s are copied into the image", show(file))
			add.Why = "whoever gets the image can read them"
			add.Mend = "write " + show(file) + " into .dockerignore"
		}
	}
}

// copyOf returns the line of the COPY or ADD that puts a file of the build context into the image, zero for none.
func copyOf(r *contract.Recipe, file string) int {
	for st := r.Final(); st != nil; st = parentOf(r, st) {
		for _, c := range st.Copies {
			for _, src := range c.Sources {
				p := contextPath(src)
				match, err := path.Match(p, file)
				if c.From == "" && (p == "." || p == file || strings.HasPrefix(file, p+"/") || err == nil && match) {
					return c.Line
				}
			}
		}
	}
	return 0
}

// parentOf is the earlier stage that a stage continues, nil when it begins with an image.
func parentOf(r *contract.Recipe, st *contract.RecipeStage) *contract.RecipeStage {
	var parent *contract.RecipeStage
	for i := range r.Stages {
		before := &r.Stages[i]
		if before == st {
			break
		}
		if st.FromStage && strings.EqualFold(before.Name, st.Base) {
			parent = before
		}
	}
	return parent
}
