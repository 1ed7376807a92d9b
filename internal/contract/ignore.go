package contract

import (
	"bytes"
	"io/fs"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// Ignored reads the .dockerignore of a build context, the Dockerfile's own before the common one, and returns what tells
// whether a path, relative to the context, is left out with everything below it; the context itself never is. Of a file that cannot be read or parsed the
// build says what is wrong with it; nothing is left out by it here.
func Ignored(context fs.FS, dockerfile string) func(path string) bool {
	nothing := func(string) bool { return false }
	for _, name := range []string{dockerfile + ".dockerignore", ".dockerignore"} {
		data, err := ReadText(context, name)
		if err != nil {
			continue
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
		if err != nil {
			return nothing
		}
		m, err := patternmatcher.New(patterns)
		if err != nil {
			return nothing
		}
		return func(path string) bool {
			out, err := m.MatchesOrParentMatches(path)
			if err != nil || !out || path == "." {
				return false
			}
			if !m.Exclusions() {
				return true
			}
			st, err := fs.Stat(context, path)
			return err != nil || !st.IsDir() // of a folder, a line with "!" may bring something back
		}
	}
	return nothing
}
