package racetrack

import (
	"fmt"
	"maps"
	"strings"

	"longshore/internal/task"
)

// Limits of a template.
const (
	maxTemplateText  = 1 << 20
	maxTemplateDepth = 64
	maxTemplateSteps = 100_000
)

// template fills in a Dockerfile of a job of type dockerfile: the part of Jinja that such files use (reference 6.2). It
// reaches the values it is given, and nothing else. Everything else is an error that names the construct.
type template struct {
	in   string
	pos  int
	out  strings.Builder
	vars map[string]value
	// dead counts the untaken branches around the position, in which nothing is written and no value is missed.
	dead, depth, steps int
	// undefined are names that were printed without a value, with their lines.
	undefined []undefinedName
	// err is the first error; after it nothing is left to read.
	err *templateError
}

// templateError ends a template. what is a construct that is not supported unless whole tells that it says everything.
type templateError struct {
	line  int
	what  string
	whole bool
}

func (e *templateError) Error() string {
	if e.whole {
		return fmt.Sprintf("template error: %s (line %d)", e.what, e.line)
	}
	return fmt.Sprintf("template error: %s is not supported (line %d)", e.what, e.line)
}

type undefinedName struct {
	name string
	line int
}

// isTemplate tells whether a text has anything to fill in; one without passes byte for byte.
func isTemplate(in string) bool {
	return strings.Contains(in, "{{") || strings.Contains(in, "{%") || strings.Contains(in, "{#")
}

// render fills the text in.
func (t *template) render() (string, *templateError) {
	if word := t.block(); word != "" {
		t.wrong("%s ends nothing", word)
	}
	return t.out.String(), t.err
}

// unsupported records a construct that is not known here.
func (t *template) unsupported(construct string) {
	if t.err == nil {
		t.err = &templateError{line: t.line(), what: construct}
	}
	t.pos = len(t.in)
}

// wrong records any other error.
func (t *template) wrong(format string, args ...any) {
	if t.err == nil {
		t.err = &templateError{line: t.line(), what: fmt.Sprintf(format, args...), whole: true}
	}
	t.pos = len(t.in)
}

func (t *template) line() int { return 1 + strings.Count(t.in[:min(t.pos, len(t.in))], "\n") }

func (t *template) rest() string { return t.in[t.pos:] }

func (t *template) write(s string) {
	if t.dead > 0 {
		return
	}
	if t.out.Len()+len(s) > maxTemplateText {
		t.wrong("the text becomes longer than %s", task.Bytes(maxTemplateText))
		return
	}
	t.out.WriteString(s)
}

// enter counts a step, and a level until leave is called.
func (t *template) enter() (leave func()) {
	t.depth++
	if t.steps++; t.depth > maxTemplateDepth || t.steps > maxTemplateSteps {
		t.wrong("it is nested too deeply, or does not come to an end")
	}
	return func() { t.depth-- }
}

// charge counts the work on a text as steps.
func (t *template) charge(length int) {
	if t.steps += length / 32; t.steps > maxTemplateSteps {
		t.wrong("it is too much work")
	}
}

// block renders up to the end of the text, or to a word that ends a block, which it returns with its tag still open.
func (t *template) block() string {
	defer t.enter()()
	for t.pos < len(t.in) {
		next := t.nextTag()
		plain := t.in[t.pos:next]
		if next < len(t.in) && strings.HasPrefix(t.in[next+2:], "-") {
			plain = strings.TrimRight(plain, " \t\r\n")
		}
		t.write(plain)
		if t.pos = next; t.pos >= len(t.in) {
			return ""
		}
		if word := t.tag(); word != "" {
			return word
		}
	}
	return ""
}

// nextTag is where the next tag begins, or the text ends. It looks no further than that: there may be many tags.
func (t *template) nextTag() int {
	for at := t.pos; ; at++ {
		i := strings.IndexByte(t.in[at:], '{')
		if i < 0 {
			return len(t.in)
		}
		if at += i; at+1 < len(t.in) && strings.IndexByte("{%#", t.in[at+1]) >= 0 {
			return at
		}
	}
}

// tag reads one tag. Words that end a block are returned.
func (t *template) tag() string {
	switch t.rest()[:2] {
	case "{#":
		t.comment()
	case "{{":
		t.open()
		v := t.expression()
		t.close("}}")
		t.print(v)
	default:
		t.open()
		return t.statement()
	}
	return ""
}

// open skips the two characters of a tag and the sign of whitespace control.
func (t *template) open() {
	t.pos += 2
	if strings.HasPrefix(t.rest(), "-") || strings.HasPrefix(t.rest(), "+") {
		t.pos++
	}
}

// close reads the end of a tag; with "-" the white space behind it goes too.
func (t *template) close(end string) {
	t.space()
	trim := strings.HasPrefix(t.rest(), "-"+end)
	if trim || strings.HasPrefix(t.rest(), "+"+end) {
		t.pos++
	}
	if !strings.HasPrefix(t.rest(), end) {
		t.unsupported(t.construct())
		return
	}
	if t.pos += len(end); trim {
		t.space()
	}
}

// construct is what stands at the position, for messages.
func (t *template) construct() string {
	line, _, _ := strings.Cut(t.rest(), "\n")
	for _, end := range []string{"%}", "}}"} {
		line, _, _ = strings.Cut(line, end)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "a tag without an end"
	}
	return line
}

func (t *template) comment() {
	end := strings.Index(t.rest(), "#}")
	if end < 0 {
		t.wrong("a comment is never closed")
		return
	}
	trim := end > 2 && t.in[t.pos+end-1] == '-'
	if t.pos += end + 2; trim {
		t.space()
	}
}

func (t *template) print(v value) {
	if t.err != nil || t.dead > 0 {
		return
	}
	if v.kind == valueUndefined && len(t.undefined) < maxFindings {
		t.undefined = append(t.undefined, undefinedName{v.text, t.line()})
	}
	t.write(v.String())
}

// statement reads a tag behind its opening.
func (t *template) statement() string {
	switch word := t.name(); word {
	case "if":
		t.conditional()
	case "for":
		t.loop()
	case "set":
		name := t.name()
		t.operator("=")
		v := t.expression()
		t.close("%}")
		if t.err == nil && t.dead == 0 {
			t.vars[name] = v
		}
	case "elif", "else", "endif", "endfor":
		return word
	default:
		t.unsupported("{% " + word + " %}")
	}
	return ""
}

// conditional reads if … elif … else … endif. Branches that are not taken are read and not written.
func (t *template) conditional() {
	taken, word := false, "if"
	for word == "if" || word == "elif" {
		holds := t.quietly(taken, t.expression).truth()
		t.close("%}")
		word = t.branch(holds && !taken)
		taken = taken || holds
	}
	if word == "else" {
		t.close("%}")
		word = t.branch(!taken)
	}
	t.end(word, "endif")
}

// loop reads for … in … endfor.
func (t *template) loop() {
	names := []string{t.name()}
	for t.sign(",") {
		names = append(names, t.name())
	}
	if !t.word("in") {
		t.unsupported("for " + t.construct())
		return
	}
	over := t.expression()
	t.close("%}")
	rows := t.rows(over, len(names))
	from, outer, word := t.pos, t.vars, ""
	if len(rows) == 0 {
		word = t.branch(false)
	}
	for _, row := range rows {
		if t.err != nil {
			return
		}
		t.pos, t.vars = from, maps.Clone(outer)
		for i, name := range names {
			t.vars[name] = row[i]
		}
		word = t.block()
	}
	t.vars = outer
	t.end(word, "endfor")
}

// rows are what the loop's variables are, one after the other.
func (t *template) rows(over value, names int) [][]value {
	if t.dead > 0 || t.err != nil {
		return nil
	}
	var rows [][]value
	switch {
	case over.kind == valueMapping && names == 1:
		for _, k := range over.keys {
			rows = append(rows, []value{text(k)})
		}
	case over.kind == valueList:
		for _, it := range over.list {
			row := []value{it}
			if names > 1 {
				row = it.list
			}
			if len(row) != names {
				t.wrong("an item of the loop has not %d values", names)
				return nil
			}
			rows = append(rows, row)
		}
	default:
		t.wrong("what the loop goes over is no list")
	}
	return rows
}

// end reads the tag that ends a block.
func (t *template) end(word, want string) {
	if word != want {
		t.wrong("%s is missing", want)
		return
	}
	t.close("%}")
}

func (t *template) branch(live bool) (word string) {
	if !live {
		t.dead++
		defer func() { t.dead-- }()
	}
	return t.block()
}

// quietly evaluates an expression whose value does not count when quiet.
func (t *template) quietly(quiet bool, evaluate func() value) value {
	if quiet {
		t.dead++
		defer func() { t.dead-- }()
	}
	return evaluate()
}

func (t *template) space() {
	for t.pos < len(t.in) && strings.IndexByte(" \t\r\n", t.in[t.pos]) >= 0 {
		t.pos++
	}
}

// name reads an identifier, or "".
func (t *template) name() string {
	t.space()
	from := t.pos
	for t.pos < len(t.in) && isNameByte(t.in[t.pos], t.pos > from) {
		t.pos++
	}
	return t.in[from:t.pos]
}

func isNameByte(c byte, later bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || later && c >= '0' && c <= '9'
}

// word takes the identifier w if it comes next.
func (t *template) word(w string) bool {
	from := t.pos
	if t.name() == w {
		return true
	}
	t.pos = from
	return false
}

// sign takes s if it comes next.
func (t *template) sign(s string) bool {
	from := t.pos
	t.space()
	if strings.HasPrefix(t.rest(), s) {
		t.pos += len(s)
		return true
	}
	t.pos = from
	return false
}

func (t *template) operator(s string) {
	if !t.sign(s) {
		t.unsupported(t.construct())
	}
}
