package contract

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"

	"longshore/internal/task"
)

// maxScript bounds the scripts that are looked into.
const maxScript = 1 << 20

// LineEnds reports scripts with the line ends of Windows that the container starts: the kernel looks for "sh\r" then, and a shell
// takes the \r for a part of each command. r.File is the Dockerfile's place in the package, context the build context. Only what
// CMD and ENTRYPOINT of the last stage start themselves or through a shell, and what COPY brings as it is, is looked at; nothing is
// said when a RUN of that stage may mend it.
func (r *Report) LineEnds(rule string, sev task.Severity, recipe *Recipe, context fs.FS) {
	st := recipe.Final()
	if st == nil || slices.ContainsFunc(st.Runs, mendsLineEnds) {
		return
	}
	for _, c := range []struct {
		words []string
		line  int
	}{{st.Entrypoint, st.EntrypointLine}, {st.Cmd, st.CmdLine}} {
		script, shell := startedScript(c.words)
		if script == "" {
			continue
		}
		if p := copiedFrom(st, script, context); p != "" && windowsScript(context, p, shell) {
			f := r.Add(sev, rule, At{Line: c.line, Column: 1}, "%s ends its lines with CR LF; it cannot be started in the container", p)
			f.Why = "the kernel takes the CR for a part of the interpreter's name"
			if shell {
				f.Why = "the shell takes the CR for a part of each command"
			}
			f.Mend = `save it with the line ends of Unix (with git: *.sh text eol=lf in .gitattributes)`
		}
	}
}

func mendsLineEnds(run string) bool {
	return strings.Contains(run, "dos2unix") || strings.Contains(run, `\r`) || strings.Contains(run, `\015`)
}

// startedScript returns the file that a command starts, and whether a shell reads it.
func startedScript(words []string) (script string, shell bool) {
	if len(words) == 1 {
		words = strings.Fields(words[0])
	}
	if len(words) > 1 && words[0] == "exec" {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", false
	}
	if !slices.Contains([]string{"sh", "bash", "ash", "dash"}, path.Base(words[0])) {
		return words[0], false
	}
	for _, w := range words[1:] {
		if w == "-c" {
			return "", false
		}
		if !strings.HasPrefix(w, "-") {
			return w, true
		}
	}
	return "", false
}

// copiedFrom returns the file of the build context that COPY puts where script is, or "".
func copiedFrom(st *RecipeStage, script string, context fs.FS) string {
	if !path.IsAbs(script) {
		script = path.Join("/", st.within, script)
	}
	for _, c := range slices.Backward(st.Copies) {
		if c.From != "" {
			continue
		}
		dest := c.Dest
		if !path.IsAbs(dest) {
			dest = path.Join("/", c.Workdir, dest)
		}
		dest = path.Clean(dest)
		for _, src := range c.Sources {
			if p := sourceOf(path.Clean("/" + src)[1:], dest, script, context); p != "" {
				return p
			}
		}
	}
	return ""
}

// sourceOf returns the file below src, a file or folder of the context, that lies at script when src is copied to dest, or "".
func sourceOf(src, dest, script string, context fs.FS) string {
	if src == "" {
		src = "."
	}
	if !fs.ValidPath(src) {
		return ""
	}
	st, err := fs.Lstat(context, src)
	switch {
	case err != nil:
		return ""
	case st.Mode().IsRegular() && (dest == script || path.Join(dest, path.Base(src)) == script):
		return src
	case st.IsDir():
		below, ok := strings.CutPrefix(script, strings.TrimSuffix(dest, "/")+"/")
		p := path.Join(src, below)
		if st, err := fs.Lstat(context, p); ok && err == nil && st.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// windowsScript tells whether the first line of a script ends with CR LF. Without a shell that reads it only a line "#!" counts.
func windowsScript(context fs.FS, p string, shell bool) bool {
	st, err := fs.Stat(context, p)
	if err != nil || st.Size() > maxScript {
		return false
	}
	data, err := ReadText(context, p)
	if err != nil {
		return false
	}
	first, _, more := bytes.Cut(data, []byte("\n"))
	return more && bytes.HasSuffix(first, []byte("\r")) && (shell || bytes.HasPrefix(first, []byte("#!")))
}
