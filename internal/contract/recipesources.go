package contract

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"longshore/internal/task"
)

// maxSources bounds the sources that are looked for; the build finds the rest.
const maxSources = 1000

// Sources reports what COPY and ADD name and the build context does not hold: the build would end there. r.File is the Dockerfile's
// place in the package, dockerfile the one in the context. What only a build knows is left to it: names with variables, patterns,
// addresses, and stages that the last one does not clearly need.
func (r *Report) Sources(rule string, sev task.Severity, recipe *Recipe, context fs.FS, dockerfile string) {
	left, ignored := maxSources, Ignored(context, dockerfile)
	for _, st := range recipe.Needed() {
		for _, c := range st.Copies {
			for _, src := range c.Sources {
				if left--; left < 0 {
					return
				}
				if c.From == "" && !strings.ContainsAny(src, "$*?[\\") && !(c.Add && remote(src)) {
					r.source(rule, sev, c, src, context, ignored)
				}
			}
		}
	}
}

func remote(src string) bool { return strings.Contains(src, "://") || strings.HasPrefix(src, "git@") }

func (r *Report) source(rule string, sev task.Severity, c RecipeCopy, src string, context fs.FS, ignored func(string) bool) {
	word := "COPY"
	if c.Add {
		word = "ADD"
	}
	p := path.Clean("/" + src)[1:] // the context's root is also "/" and cannot be left
	if p == "" || !fs.ValidPath(p) {
		return
	}
	switch _, err := fs.Lstat(context, p); { // a link is copied as it is
	case errors.Is(err, fs.ErrNotExist):
		f := r.Add(sev, rule, At{Line: c.Line, Column: 1}, "%s %s: not in the build context", word, src)
		f.Why, f.Mend = "the context is the Dockerfile's folder", "add the file, or mend the path"
	case err == nil && ignored(p):
		f := r.Add(sev, rule, At{Line: c.Line, Column: 1}, "%s %s: left out of the build context by .dockerignore", word, src)
		f.Mend = "add the line !" + p + " to it"
	}
}

// Needed lists the stages that the last one is made of, as far as names tell, the last first.
func (r *Recipe) Needed() []RecipeStage {
	need := make([]bool, len(r.Stages))
	want := func(before int, name string) {
		for i := before - 1; i >= 0; i-- {
			if name != "" && strings.EqualFold(r.Stages[i].Name, name) || strconv.Itoa(i) == name {
				need[i] = true
				return
			}
		}
	}
	var list []RecipeStage
	for i := len(r.Stages) - 1; i >= 0; i-- {
		st := r.Stages[i]
		if i < len(r.Stages)-1 && !need[i] {
			continue
		}
		list = append(list, st)
		if st.FromStage {
			want(i, st.Base)
		}
		for _, c := range st.Copies {
			want(i, c.From)
		}
	}
	return list
}
