package kaapana

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

var posixClass = regexp.MustCompile(`^\[:\^?[a-z]{1,10}:\]`)

// compileRegex compiles a target_regex, written in Python's dialect, for matching a whole relative path. What Go's engine
// lacks is an error that names the construct; what it reads and Python refuses or reads otherwise comes back as doubts.
func compileRegex(pattern string) (*regexp.Regexp, error) {
	text, _, err := translateRegex(pattern)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(text)
}

// checkRegex tells what is wrong with a pattern, or doubtful. It only parses it, as compiling takes time and memory that a file
// with thousands of patterns must not.
func checkRegex(pattern string) (doubts []string, err error) {
	if len(pattern) > maxRegex {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(pattern), maxRegex)
	}
	text, doubts, err := translateRegex(pattern)
	if err != nil {
		return nil, err
	}
	if _, err = syntax.Parse(text, syntax.Perl); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return doubts, nil
}

// maxRegex is longer than any path that a pattern could match, and what an engine can be given.
const maxRegex = 8 << 10

// translateRegex writes a pattern in Go's dialect. Global flags stand at the start in Python, and stay in force inside the group.
func translateRegex(pattern string) (text string, doubts []string, err error) {
	t := regexTranslator{in: pattern}
	if err := t.run(); err != nil {
		return "", nil, err
	}
	return `\A(?:` + t.out.String() + `)\z`, t.doubts, nil
}

// regexTranslator turns Python's dialect into Go's where they differ.
type regexTranslator struct {
	in     string
	i      int
	out    strings.Builder
	depth  int // open groups
	doubts []string
}

func (t *regexTranslator) doubt(format string, args ...any) {
	if d := fmt.Sprintf(format, args...); !slices.Contains(t.doubts, d) {
		t.doubts = append(t.doubts, d)
	}
}

func (t *regexTranslator) rest() string { return t.in[t.i:] }

func (t *regexTranslator) run() error {
	for t.i < len(t.in) {
		var err error
		switch c := t.in[t.i]; c {
		case '\\':
			err = t.escape(false)
		case '[':
			err = t.class()
		case '(':
			t.depth++
			err = t.group()
		case ')':
			t.depth--
			if t.depth < 0 {
				return fmt.Errorf("a ) closes nothing")
			}
			t.copy(1)
		case '*', '+', '?', '{':
			err = t.repeat()
		default:
			t.copy(1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *regexTranslator) copy(n int) {
	t.out.WriteString(t.in[t.i : t.i+n])
	t.i += n
}

func (t *regexTranslator) replace(n int, text string) {
	t.out.WriteString(text)
	t.i += n
}

// escape reads a backslash and what follows it, outside or inside a class.
func (t *regexTranslator) escape(inClass bool) error {
	if t.i+1 >= len(t.in) {
		return fmt.Errorf("it ends with a backslash")
	}
	c := t.in[t.i+1]
	switch {
	case c >= '1' && c <= '9' && !t.octal(inClass):
		return fmt.Errorf("back-references (\\%c) are not supported", c)
	case c >= '0' && c <= '9':
		n := t.octalDigits()
		t.replace(1+n, fmt.Sprintf(`\x{%x}`, parseOctal(t.in[t.i+1:t.i+1+n])))
	case c == 'Z' && !inClass:
		t.replace(2, `\z`)
	case c == 'u' || c == 'U':
		return t.unicode(c)
	case c == 'b' && inClass:
		t.replace(2, `\x08`)
	case c == 'd':
		t.replace(2, `\p{Nd}`)
	case c == 'D':
		t.replace(2, `\P{Nd}`)
	case c == 'w' && inClass:
		t.replace(2, `\p{L}\p{N}_`)
	case c == 'w':
		t.replace(2, `[\p{L}\p{N}_]`)
	case c == 'W' && !inClass:
		t.replace(2, `[^\p{L}\p{N}_]`)
	case (c == 'b' || c == 'B') && !inClass:
		t.doubt(`\%c knows ASCII letters only in Longshore's engine`, c)
		t.copy(2)
	case c == 'N':
		return fmt.Errorf(`named characters (\N) are not supported`)
	case c == 'z' || c == 'Q' || c == 'E' || c == 'p' || c == 'P' || c == 'C':
		t.doubt(`Python does not know \%c`, c)
		t.copy(2)
	case isLetter(c) && !strings.ContainsRune("AbBfnrstvxDSW", rune(c)):
		return fmt.Errorf(`\%c is unknown to Python`, c)
	case c < 0x80:
		t.copy(2)
	default: // an escaped character beyond ASCII stands for itself
		t.replace(1, "")
	}
	return nil
}

// octal tells whether the digits behind the backslash are a character rather than a back-reference: three octal digits, or
// any inside a class.
func (t *regexTranslator) octal(inClass bool) bool {
	n := t.octalDigits()
	return n == 3 || inClass && n > 0
}

func (t *regexTranslator) octalDigits() int {
	n := 0
	for n < 3 && t.i+1+n < len(t.in) && t.in[t.i+1+n] >= '0' && t.in[t.i+1+n] <= '7' {
		n++
	}
	return n
}

func parseOctal(s string) int {
	v := 0
	for _, c := range s {
		v = v*8 + int(c-'0')
	}
	return v
}

func (t *regexTranslator) unicode(c byte) error {
	n := 4
	if c == 'U' {
		n = 8
	}
	digits := t.in[t.i+2 : min(t.i+2+n, len(t.in))]
	if len(digits) < n || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return fmt.Errorf(`\%c needs %d hexadecimal digits`, c, n)
	}
	t.replace(2+n, `\x{`+digits+`}`)
	return nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// class reads […], in which only the escapes differ.
func (t *regexTranslator) class() error {
	t.copy(1)
	if strings.HasPrefix(t.rest(), "^") {
		t.copy(1)
	}
	if strings.HasPrefix(t.rest(), "]") {
		t.replace(1, `\]`)
	}
	for t.i < len(t.in) {
		switch {
		case t.in[t.i] == ']':
			t.copy(1)
			return nil
		case t.in[t.i] == '\\':
			if err := t.escape(true); err != nil {
				return err
			}
		case t.in[t.i] == '[':
			if posixClass.MatchString(t.rest()) {
				t.doubt("Python has no classes like [[:alpha:]]: it reads a set of these characters")
			}
			t.replace(1, `\[`)
		default:
			t.copy(1)
		}
	}
	return fmt.Errorf("a [ is never closed")
}

// group reads what follows an opening parenthesis.
func (t *regexTranslator) group() error {
	if !strings.HasPrefix(t.rest(), "(?") {
		t.copy(1)
		return nil
	}
	for _, g := range []struct{ prefix, name string }{
		{"(?=", "look-ahead ((?=…))"}, {"(?!", "look-ahead ((?!…))"}, {"(?<=", "look-behind ((?<=…))"}, {"(?<!", "look-behind ((?<!…))"},
		{"(?P=", "named back-references ((?P=…))"}, {"(?>", "atomic groups ((?>…))"}, {"(?(", "conditional groups ((?(…))"},
	} {
		if strings.HasPrefix(t.rest(), g.prefix) {
			return fmt.Errorf("%s are not supported", g.name)
		}
	}
	switch {
	case strings.HasPrefix(t.rest(), "(?#"):
		end := strings.IndexByte(t.rest(), ')')
		if end < 0 {
			return fmt.Errorf("a comment (?# is never closed")
		}
		t.depth--
		t.replace(end+1, "")
		return nil
	case strings.HasPrefix(t.rest(), "(?P<"), strings.HasPrefix(t.rest(), "(?:"):
	case strings.HasPrefix(t.rest(), "(?<"):
		t.doubt("Python writes a named group as (?P<name>…)")
	default:
		return t.flags()
	}
	t.copy(2)
	return nil
}

// flags reads (?i) and (?i:…).
func (t *regexTranslator) flags() error {
	end := strings.IndexAny(t.in[t.i+2:], ":)")
	if end < 0 {
		return fmt.Errorf("a group (? is never closed")
	}
	flags, global := t.in[t.i+2:t.i+2+end], t.in[t.i+2+end] == ')'
	for _, f := range flags {
		switch f {
		case 'x', 'a', 'L':
			return fmt.Errorf("the flag %c is not supported", f)
		case 'U':
			t.doubt("Python does not know the flag U")
		}
	}
	if global && t.i > 0 {
		t.doubt("Python takes global flags at the start only")
	}
	if flags = strings.ReplaceAll(flags, "u", ""); flags == "" && global { // u is how Python reads strings anyway
		t.depth--
		t.i += 3 + end
		return nil
	}
	t.replace(2+end, "(?"+flags)
	return nil
}

// inRootOnly tells a pattern that seems to be meant for file names: it has no slash, and does not begin with .*, whatever
// anchors, flags and groups stand before that.
func inRootOnly(pattern string) bool {
	if strings.Contains(pattern, "/") {
		return false
	}
	return !strings.HasPrefix(beforePattern.ReplaceAllString(pattern, ""), ".*")
}

var beforePattern = regexp.MustCompile(`^(?:\^|\\A|\((?:\?(?:[a-zA-Z]+[):]|:|P<\w+>))?)+`)

// repeat reads a quantifier. Python lets {,n} mean {0,n}; possessive forms are its own.
func (t *regexTranslator) repeat() error {
	n := 1
	if t.in[t.i] == '{' {
		end := strings.IndexByte(t.rest(), '}')
		if end < 0 || end == 1 || strings.Trim(t.in[t.i+1:t.i+end], "0123456789,") != "" || strings.Count(t.in[t.i:t.i+end], ",") > 1 {
			t.replace(1, `\{`)
			return nil
		}
		body := t.in[t.i+1 : t.i+end]
		if strings.HasPrefix(body, ",") {
			body = "0" + body
		}
		t.replace(end+1, "{"+body+"}")
		n = 0
	}
	t.copy(n)
	if strings.HasPrefix(t.rest(), "+") {
		return fmt.Errorf("possessive quantifiers are not supported")
	}
	if strings.HasPrefix(t.rest(), "?") {
		t.copy(1)
	}
	return nil
}
