package meca

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/contract"
)

// Bounds of the sources that are looked for, and of the entries that their patterns are compared with; the build finds the rest.
const (
	maxCopies = 1000
	maxLooked = 1_000_000
)

// recipe looks at the Dockerfile for what would make the build fail, or the server unreachable.
func (l *loader) recipe() {
	data, err := l.read(dockerfile, maxText)
	if err != nil {
		l.found(ruleRecipe, dockerfile, contract.At{}, "Dockerfile cannot be read: %v", err)
		return
	}
	r, err := contract.ParseRecipe(data)
	if err != nil {
		at, reason := syntaxAt(err)
		at.Line = max(at.Line, 1)
		add := l.found(ruleRecipe, dockerfile, contract.At{Line: at.Line}, "Dockerfile line %d: %s", at.Line, show(reason))
		add.Mend = cmp.Or(mendOf(err), "mend the instruction")
		return
	}
	if r.Final() == nil {
		l.found(ruleRecipe, dockerfile, contract.At{}, "Dockerfile has no FROM").Mend = "begin with the image to build on, such as FROM python:3.9-slim"
		return
	}
	left, ignored := maxCopies, contract.Ignored(l.fs, dockerfile)
	for _, st := range r.Stages {
		for _, c := range st.Copies {
			if left -= len(c.Sources); c.From == "" && left >= 0 {
				l.copies(c, ignored)
			}
		}
	}
	l.brackets("CMD", r.Final().Cmd, r.Final().CmdLine)
	l.brackets("ENTRYPOINT", r.Final().Entrypoint, r.Final().EntrypointLine)
	l.report.File = dockerfile
	l.report.LineEnds(ruleLineEnds, severityOf(ruleLineEnds), r, l.fs)
	if !exposes(r) {
		add := l.found(ruleExpose, dockerfile, contract.At{Line: r.Final().Line}, "Dockerfile does not EXPOSE 8080; MECA tasks must listen on port 8080")
		add.Why = "unless the image it builds on does"
		add.Mend = "add EXPOSE 8080"
	}
}

// brackets warns of a command that was meant as JSON: what is not quite, a build takes for a shell's words.
func (l *loader) brackets(word string, command []string, line int) {
	if len(command) != 1 || !strings.HasPrefix(command[0], "[") || !strings.HasSuffix(command[0], "]") || len(command[0]) == 1 {
		return
	}
	add := l.found(ruleBrackets, dockerfile, contract.At{Line: line}, "Dockerfile line %d: %s is in brackets but no JSON; it is taken for words of a shell", line, word)
	add.Mend = "put each word in double quotes, with commas between them"
}

// copies tests the sources of one COPY or ADD from the build context.
func (l *loader) copies(c contract.RecipeCopy, ignored func(path string) bool) {
	word := "COPY"
	if c.Add {
		word = "ADD"
	}
	for _, src := range c.Sources {
		if strings.Contains(src, "$") || c.Add && remote(src) {
			continue // known only to the build
		}
		if !outside(contextPath(src)) && !l.hasSources() {
			continue // what is below it is missing with it
		}
		at := contract.At{Line: c.Line}
		matches := l.match(src)
		switch {
		case l.looked > maxLooked:
			return
		case len(matches) == 0:
			add := l.found(ruleCopyMissing, dockerfile, at, "Dockerfile line %d: %s %s: not in the folder", c.Line, word, show(src))
			add.Why = "the build context is the package's folder"
			add.Mend = "add the file, or mend the path"
			if below := path.Join(sources, contextPath(src)); len(l.match(below)) > 0 {
				add.Mend = "did you mean " + show(below) + "?"
			}
		case !slices.ContainsFunc(matches, func(p string) bool { return !ignored(p) }):
			add := l.found(ruleCopyMissing, dockerfile, at, "Dockerfile line %d: %s %s: left out of the build context by .dockerignore", c.Line, word, show(src))
			add.Mend = "add the line !" + show(matches[0]) + " to it"
		case slices.ContainsFunc(matches, outside):
			add := l.found(ruleCopyOutside, dockerfile, at, "Dockerfile line %d: %s is outside src/; MECAnywhere Desktop builds only from Dockerfile and src/", c.Line, show(src))
			add.Mend = "move what is copied to src/"
		}
	}
}

// contextPath returns a source's path in the build context, whose root is also "/" and cannot be left.
func contextPath(src string) string {
	if p := path.Clean("/" + src)[1:]; p != "" {
		return p
	}
	return "."
}

// match returns the paths of the folder that a source of COPY names.
func (l *loader) match(src string) []string {
	p := contextPath(src)
	if !fs.ValidPath(p) {
		return nil
	}
	if _, err := fs.Lstat(l.fs, p); err == nil {
		return []string{p}
	}
	return l.glob(nil, ".", strings.Split(p, "/"))
}

// glob appends the paths below dir that match the words of a pattern. Unlike fs.Glob it follows no links, so that a circle of
// them cannot make it endless.
func (l *loader) glob(found []string, dir string, words []string) []string {
	if l.looked > maxLooked {
		return found
	}
	list, err := fs.ReadDir(l.fs, dir)
	if err != nil {
		return found
	}
	l.looked += len(list)
	for _, d := range list {
		if ok, err := path.Match(words[0], d.Name()); err != nil || !ok {
			continue
		}
		switch p := path.Join(dir, d.Name()); {
		case len(words) == 1:
			found = append(found, p)
		case d.IsDir():
			found = l.glob(found, p, words[1:])
		}
	}
	return found
}

// outside tells paths that MECA's desktop application leaves out of the build context.
func outside(p string) bool {
	return p != dockerfile && p != sources && !strings.HasPrefix(p, sources+"/")
}

// remote tells sources of ADD that are fetched.
func remote(src string) bool {
	return strings.Contains(src, "://") || strings.HasPrefix(src, "git@")
}

// exposes tells whether the final stage, or an earlier stage it builds on, exposes port 8080. Words with variables count.
func exposes(r *contract.Recipe) bool {
	for i := len(r.Stages) - 1; i >= 0; {
		st := r.Stages[i]
		if slices.ContainsFunc(st.Exposed, exposesPort) {
			return true
		}
		base := -1
		for j := range i {
			if st.FromStage && strings.EqualFold(r.Stages[j].Name, st.Base) {
				base = j
			}
		}
		i = base
	}
	return false
}

// exposesPort tells whether a word of EXPOSE ("8080", "8080/tcp", "8000-9000") covers the port.
func exposesPort(word string) bool {
	if strings.Contains(word, "$") {
		return true
	}
	ports, protocol, _ := strings.Cut(word, "/")
	if protocol != "" && !strings.EqualFold(protocol, "tcp") {
		return false
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	lo, err1 := strconv.Atoi(first)
	hi, err2 := strconv.Atoi(last)
	return err1 == nil && err2 == nil && lo <= port && port <= hi
}
