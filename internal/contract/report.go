package contract

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"longshore/internal/task"
)

// Report collects findings about one file. The zero value with File set is ready to use.
type Report struct {
	// File is relative to the package.
	File     string
	Findings []task.Finding
	// alike counts the findings of each kind.
	alike map[kind]tally
}

// kind is what findings have in common that say the same of different places.
type kind struct {
	rule     string
	severity task.Severity
}

// tally counts findings of one kind; more is the index of the one that stands for those that are not listed.
type tally struct{ n, more int }

const (
	// mostAlike is how many findings of one kind are listed: a document of 1 MiB can hold hundreds of thousands.
	mostAlike = 100
	// longestText bounds what a finding says, in bytes: names and values that it quotes can be as long as the document.
	longestText = 2000
)

// At is a place in the report's file; *Node and Member positions convert to it.
type At struct{ Line, Column int }

// Pos returns the node's position; the zero At for nil.
func (n *Node) Pos() At {
	if n == nil {
		return At{}
	}
	return At{n.Line, n.Column}
}

// Pos returns the key's position.
func (m Member) Pos() At { return At{m.KeyLine, m.KeyColumn} }

// Add records a finding and returns it for filling in Why and Mend, at once. Of many of one rule and severity the first hundred
// are listed, and one more says how many there are besides.
func (r *Report) Add(sev task.Severity, rule string, at At, what string, args ...any) *task.Finding {
	if r.alike == nil {
		r.alike = map[kind]tally{}
	}
	k := kind{rule, sev}
	t := r.alike[k]
	if t.n++; t.n == mostAlike+1 {
		t.more = len(r.Findings)
	}
	r.alike[k] = t
	if t.n <= mostAlike && len(args) > 0 {
		what = fmt.Sprintf(what, args...)
	}
	f := task.Finding{Rule: rule, Severity: sev, File: r.File, Line: at.Line, Column: at.Column, What: shortened(what)}
	if t.n <= mostAlike {
		r.Findings = append(r.Findings, f)
		return &r.Findings[len(r.Findings)-1]
	}
	if t.n == mostAlike+1 {
		f.Mend = "mend those that are listed, and check again"
		r.Findings = append(r.Findings, f)
	}
	r.Findings[t.more].What = fmt.Sprintf("there are %d more findings of this rule, from here on, which are not listed", t.n-mostAlike)
	return &f
}

// shortened cuts a text that would fill screens.
func shortened(text string) string {
	if len(text) <= longestText {
		return text
	}
	return strings.ToValidUTF8(text[:longestText], "") + fmt.Sprintf("… (%d more bytes)", len(text)-longestText)
}

// Error records an error; mend says what to do.
func (r *Report) Error(rule string, at At, mend, what string, args ...any) {
	r.Add(task.SeverityError, rule, at, what, args...).Mend = shortened(mend)
}

// Warn records a warning; mend says what to do.
func (r *Report) Warn(rule string, at At, mend, what string, args ...any) {
	r.Add(task.SeverityWarning, rule, at, what, args...).Mend = shortened(mend)
}

// Note records something worth knowing.
func (r *Report) Note(rule string, at At, what string, args ...any) {
	r.Add(task.SeverityNote, rule, at, what, args...)
}

// Syntax records a document that cannot be parsed, quoting the offending line. err is usually a *SyntaxError.
func (r *Report) Syntax(rule, language string, err error) {
	var s *SyntaxError
	if !errors.As(err, &s) {
		r.Error(rule, At{}, "", "not valid %s: %v", language, err)
		return
	}
	f := r.Add(task.SeverityError, rule, At{s.Line, s.Column}, "not valid %s: %s", language, s.Reason)
	f.Mend = s.Mend
	if line := strings.TrimSpace(s.Source); line != "" {
		f.Why = "the line is: " + line
	}
}

// ReadText reads a document of at most 8 MiB from a package. Errors say what is wrong in words for people; a missing file
// is fs.ErrNotExist.
func ReadText(fsys fs.FS, name string) ([]byte, error) {
	// Looked at before it is opened: opening a named pipe would wait for a writer.
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s, not a file", name, KindOf(st.Mode()))
	}
	if st.Size() > maxDocument {
		return nil, fmt.Errorf("%s has %s, more than %s", name, task.Bytes(st.Size()), task.Bytes(maxDocument))
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	return data, nil
}

// unreadable names the file in an error that does not, as that of an archive whose bytes are damaged.
func unreadable(name string, err error) error {
	if _, named := errors.AsType[*fs.PathError](err); named {
		return err
	}
	return fmt.Errorf("%s cannot be read: %w", name, err)
}

// LostLink says why a file that is there cannot be reached: nil, but for a symbolic link that leads out of the package, or nowhere.
func LostLink(fsys fs.FS, name string) error {
	st, err := fs.Lstat(fsys, name)
	if err != nil || st.Mode()&fs.ModeSymlink == 0 {
		return nil
	}
	if _, err = fs.Stat(fsys, name); err == nil {
		return nil
	}
	return fmt.Errorf("%s is a symbolic link that leads out of the package, or nowhere", name)
}

// KindOf names the kind of a file for people.
func KindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// longestSlip bounds the names that are compared with others: whoever writes longer ones does not type them.
const longestSlip = 200

// Nearest returns the candidate that name is most likely a slip of, or "".
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", 3
	if len(name) > longestSlip {
		return ""
	}
	for _, c := range candidates {
		if far := len(c) - len(name); far >= bestDistance || -far >= bestDistance {
			continue
		}
		if d := editDistance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance && d < len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
