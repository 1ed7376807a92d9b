package kaapana

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// glob is a target_glob: the pattern of Python's pathlib, which matches path components from any folder downwards. It is
// not Go's path.Match: classes are negated by ! and there is no escaping.
type glob struct {
	parts []globPart
	// slash tells that the pattern ends with a slash.
	slash bool
}

// globPart is one component: any number of folders (**), a literal name, or a pattern.
type globPart struct {
	text    string
	any     bool
	literal bool
}

// parseGlob splits a pattern. Patterns that leave the folder are errors.
func parseGlob(pattern string) (glob, error) {
	var g glob
	if strings.HasPrefix(pattern, "/") {
		return g, errors.New("an absolute pattern is not allowed")
	}
	g.slash = strings.HasSuffix(pattern, "/")
	for text := range strings.SplitSeq(pattern, "/") {
		switch {
		case text == "" || text == ".":
		case text == "..":
			return g, errors.New("`..` leaves the channel")
		case text == "**":
			if n := len(g.parts); n == 0 || !g.parts[n-1].any { // two in a row match what one matches
				g.parts = append(g.parts, globPart{any: true})
			}
		case strings.Contains(text, "**"):
			return g, errors.New("`**` can only be a whole component")
		default:
			g.parts = append(g.parts, globPart{text: text, literal: !strings.ContainsAny(text, "*?[")})
		}
	}
	return g, nil
}

// foldersOnly tells that the pattern can match folders only, so that it selects no file.
func (g glob) foldersOnly() bool {
	return g.slash || len(g.parts) == 0 || g.parts[len(g.parts)-1].any
}

// match tells whether a name matches the component, as Python's fnmatch has it: case-sensitive, dots are ordinary.
func (p globPart) match(name string) bool {
	if p.literal {
		return p.text == name
	}
	return matchName(p.text, name)
}

// matchName matches by going back to the last star only, which is enough because a star takes anything.
func matchName(pattern, name string) bool {
	starPattern, starName := "", ""
	starred := false
	for {
		switch {
		case strings.HasPrefix(pattern, "*"):
			pattern = pattern[1:]
			starPattern, starName, starred = pattern, name, true
			continue
		case name == "" && pattern == "":
			return true
		}
		if rest, width, ok := matchOne(pattern, name); ok {
			pattern, name = rest, name[width:]
			continue
		}
		if !starred || starName == "" {
			return false
		}
		_, width := utf8.DecodeRuneInString(starName)
		starName = starName[width:]
		pattern, name = starPattern, starName
	}
}

// matchOne matches one character of name against the first element of pattern, and returns what is left of the pattern and
// how many bytes of the name were taken.
func matchOne(pattern, name string) (rest string, width int, ok bool) {
	if pattern == "" || name == "" {
		return "", 0, false
	}
	c, width := utf8.DecodeRuneInString(name)
	switch pattern[0] {
	case '?':
		return pattern[1:], width, true
	case '[':
		if class, rest, closed := cutClass(pattern); closed {
			return rest, width, classHas(class, c)
		}
	}
	// A byte that is no UTF-8 stands for itself.
	p, n := utf8.DecodeRuneInString(pattern)
	return pattern[n:], width, p == c && pattern[:n] == name[:width]
}

// cutClass cuts the class that pattern starts with. A bracket that is never closed is an ordinary character; one directly
// behind the opening, or behind its "!", does not close.
func cutClass(pattern string) (class, rest string, closed bool) {
	from := 1
	if strings.HasPrefix(pattern[from:], "!") {
		from++
	}
	if strings.HasPrefix(pattern[from:], "]") {
		from++
	}
	end := strings.IndexByte(pattern[from:], ']')
	if end < 0 {
		return "", "", false
	}
	return pattern[1 : from+end], pattern[from+end+1:], true
}

// classHas tells whether c is in the class; a range whose ends are the wrong way round is empty.
func classHas(class string, c rune) bool {
	negated := strings.HasPrefix(class, "!")
	set := []rune(strings.TrimPrefix(class, "!"))
	found := false
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			found = found || set[i] <= c && c <= set[i+2]
			i += 2
			continue
		}
		found = found || set[i] == c
	}
	return found != negated
}
