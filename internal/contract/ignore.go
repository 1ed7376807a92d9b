package contract

import (
	"bytes"
	"io/fs"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// Bounds of what is asked of a .dockerignore: each pattern is a regular expression, tried on each path.
const (
	maxIgnorePatterns = 1000
	maxIgnoreAsked    = 1000
)

// Ignored reads the .dockerignore of a build context, the Dockerfile's own before the common one, and returns what tells
// whether a path, relative to the context, is left out with everything below it; the context itself never is. Of a file that cannot be read or parsed the
// build says what is wrong with it; nothing is left out by it here. The same goes for more than 1000 patterns, and for the
// paths after the first 1000 that are asked for: the build looks at all of them.
func Ignored(context fs.FS, dockerfile string) func(path string) bool {
	nothing := func(string) bool { return false }
	for _, name := range []string{dockerfile + ".dockerignore", ".dockerignore"} {
		data, err := ReadText(context, name)
		if err != nil {
			continue
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
		if err != nil || len(patterns) > maxIgnorePatterns {
			return nothing
		}
		m, err := patternmatcher.New(patterns)
		if err != nil {
			return nothing
		}
		asked := 0
		return func(path string) bool {
			if asked++; asked > maxIgnoreAsked {
				return false
			}
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
