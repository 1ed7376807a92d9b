package kaapana

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Kaapana's tools render files on disk as Jinja templates before parsing them, with env (the process environment) and
// custom; what an image carries is not rendered. This is an interpreter of the part of Jinja that such files use: output
// with filters, if, set, raw and comments. It reaches nothing but the variables it is given. Everything else is an error
// that names the construct.

// Limits of rendering.
const (
	maxRendered   = 4 * fileLimit
	maxJinjaDepth = 64
	// maxUnset bounds the unset names that are reported, and maxJinjaWork the text that expressions make.
	maxUnset     = 100
	maxJinjaWork = 16 * maxRendered
)

// lookup answers for a variable by its whole name, "env.NAME" or "custom.NAME".
type lookup func(name string) (value string, ok bool)

// environmentOf is what a document may read: the variables that the caller names, as NAME or custom.NAME, and for the caller's
// own task file the process environment too. A processing-container.json is a stranger's.
func environmentOf(name string, opts contract.Options) lookup {
	return func(full string) (string, bool) {
		short, isEnv := strings.CutPrefix(full, "env.")
		if !isEnv {
			short = full
		}
		if v, ok := opts.Variables[short]; ok {
			return v, true
		}
		if isEnv && opts.Own && !strings.HasSuffix(name, fileName) {
			return os.LookupEnv(short)
		}
		return "", false
	}
}

// RendersTemplates implements contract.TemplateReader.
func (Contract) RendersTemplates() {}

// inDotEnv tells whether the file .env of the current directory, which Kaapana's own tools read, sets a variable. Longshore
// reads no file that it is not given, so that this is for a message only.
func inDotEnv(full string) bool {
	data, err := os.ReadFile(".env")
	name, ok := strings.CutPrefix(full, "env.")
	if err != nil || !ok {
		return false
	}
	for line := range strings.Lines(string(data)) {
		key, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if strings.TrimSpace(key) == name {
			return true
		}
	}
	return false
}

func hasJinja(data []byte) bool {
	return bytes.Contains(data, []byte("{{")) || bytes.Contains(data, []byte("{%")) || bytes.Contains(data, []byte("{#"))
}

// warnOfJinja tells that a copy inside an image is taken literally.
func (r *reader) warnOfJinja(data []byte) {
	if !hasJinja(data) {
		return
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if hasJinja(line) {
			r.Warn(ruleJinjaInImage, contract.At{Line: i + 1}, "render the file before the image is built", "Templates are not rendered inside an image; this text is literal.")
			return
		}
	}
}

// render renders a document from disk. Findings tell what was used and what was unset. nil means that it failed.
func (r *reader) render(data []byte, env lookup) []byte {
	if !hasJinja(data) {
		return data
	}
	j := &jinja{in: string(data), env: env, vars: map[string]jinjaValue{}}
	j.run()
	for _, u := range j.unset {
		f := r.Add(task.SeverityWarning, ruleJinjaUndefined, contract.At{Line: u.line}, "`%s` is not set and became an empty string.", u.name)
		f.Mend = "set it, or give it a default: {{ " + u.name + " | default('…') }}"
		if r.own && inDotEnv(u.name) {
			f.Why = "it stands in .env, which is not read by itself"
			f.Mend = "add --var-file .env"
		}
	}
	if err := j.err; err != nil {
		rule, mend := ruleJinjaSyntax, "wrap literal braces in {% raw %}…{% endraw %}"
		what := fmt.Sprintf("Jinja: %s. `{{`, `{%%` and `{#` start an expression in files on disk.", err.reason)
		if err.undefined {
			rule, mend, what = ruleJinjaUndefined, "set it, or remove the attribute", err.reason
		}
		r.Error(rule, contract.At{Line: err.line}, mend, "%s", what)
		return nil
	}
	f := r.Add(task.SeverityNote, ruleDialect, contract.At{}, "The file is a Jinja template; positions below refer to the rendered text.")
	if len(j.used) > 0 {
		f.Why = "it uses " + strings.Join(j.used, ", ")
	}
	return []byte(j.out.String())
}

// jinjaError ends rendering.
type jinjaError struct {
	line      int
	reason    string
	undefined bool // an attribute of something undefined was used
}

// jinjaValue is a string, a number, a boolean, none, or one of the two objects; undefined values remember their name.
type jinjaValue struct {
	kind jinjaKind
	text string // of strings and numbers; the name of undefined values and objects
}

type jinjaKind int

const (
	jinjaUndefined jinjaKind = iota
	jinjaString
	jinjaNumber
	jinjaTrue
	jinjaFalse
	jinjaNone
	jinjaObject
)

func (v jinjaValue) truth() bool {
	switch v.kind {
	case jinjaString:
		return v.text != ""
	case jinjaNumber:
		return strings.Trim(v.text, "0.") != ""
	case jinjaTrue, jinjaObject:
		return true
	}
	return false
}

func (v jinjaValue) String() string {
	switch v.kind {
	case jinjaString, jinjaNumber:
		return v.text
	case jinjaTrue:
		return "True"
	case jinjaFalse:
		return "False"
	case jinjaNone:
		return "None"
	}
	return ""
}

// jinja renders one text.
type jinja struct {
	in  string
	pos int
	env lookup
	out strings.Builder
	// vars are set by {% set %}.
	vars map[string]jinjaValue
	// dead counts the untaken branches around the position, in which nothing is written or reported.
	dead  int
	depth int
	work  int
	used  []string
	unset []unsetName
	// err is the first error; after it nothing is left to read.
	err *jinjaError
}

type unsetName struct {
	name string
	line int
}

// run renders everything.
func (j *jinja) run() {
	if word := j.block(); word != "" {
		j.fail("`%s` ends nothing", word)
	}
}

// fail records the first error and ends all reading.
func (j *jinja) fail(format string, args ...any) {
	if j.err == nil {
		j.err = &jinjaError{line: j.line(), reason: fmt.Sprintf(format, args...)}
	}
	j.pos = len(j.in)
}

func (j *jinja) line() int { return 1 + strings.Count(j.in[:min(j.pos, len(j.in))], "\n") }

func (j *jinja) write(s string) {
	if j.dead > 0 {
		return
	}
	if j.out.Len()+len(s) > maxRendered {
		j.fail("the rendered text is longer than %s", task.Bytes(maxRendered))
		return
	}
	j.out.WriteString(s)
}

func (j *jinja) rest() string { return j.in[j.pos:] }

// block renders up to the end of the text, or up to a word that ends a block, which it returns with its tag still open.
func (j *jinja) block() string {
	if j.depth++; j.depth > maxJinjaDepth {
		j.fail("blocks are nested too deeply")
	}
	defer func() { j.depth-- }()
	for j.pos < len(j.in) {
		next := j.nextTag()
		text := j.in[j.pos:next]
		if strings.HasPrefix(j.in[min(next+2, len(j.in)):], "-") {
			text = strings.TrimRight(text, " \t\r\n")
		}
		j.write(text)
		if j.pos = next; j.pos >= len(j.in) {
			return ""
		}
		switch tag := j.rest()[:2]; tag {
		case "{#":
			j.comment()
		case "{{":
			j.open()
			v := j.expression()
			j.close("}}")
			if j.err == nil {
				j.print(v)
			}
		default:
			j.open()
			if word := j.statement(); word != "" {
				return word
			}
		}
	}
	return ""
}

// nextTag is where the next tag starts, or the end.
func (j *jinja) nextTag() int {
	for i := j.pos; i+1 < len(j.in); i++ {
		if j.in[i] == '{' && strings.IndexByte("{%#", j.in[i+1]) >= 0 {
			return i
		}
	}
	return len(j.in)
}

// open skips the two characters of a tag and the sign of whitespace control.
func (j *jinja) open() {
	j.pos += 2
	if r := j.rest(); strings.HasPrefix(r, "-") || strings.HasPrefix(r, "+") {
		j.pos++
	}
}

// close reads the end of a tag; with "-" the white space behind it goes too.
func (j *jinja) close(end string) {
	j.space()
	trim := strings.HasPrefix(j.rest(), "-"+end)
	if trim || strings.HasPrefix(j.rest(), "+"+end) {
		j.pos++
	}
	if !strings.HasPrefix(j.rest(), end) {
		j.fail("%s is missing", end)
		return
	}
	if j.pos += len(end); trim {
		j.space()
	}
}

func (j *jinja) space() {
	for j.pos < len(j.in) && strings.IndexByte(" \t\r\n", j.in[j.pos]) >= 0 {
		j.pos++
	}
}

func (j *jinja) comment() {
	end := strings.Index(j.rest(), "#}")
	if end < 0 {
		j.fail("a comment is never closed")
		return
	}
	trim := j.in[j.pos+end-1] == '-' && end > 2
	if j.pos += end + 2; trim {
		j.space()
	}
}

// print writes a value; an undefined one is an empty string, which is worth telling.
func (j *jinja) print(v jinjaValue) {
	if j.dead > 0 {
		return
	}
	if v.kind == jinjaUndefined && len(j.unset) < maxUnset {
		j.unset = append(j.unset, unsetName{v.text, j.line()})
	}
	j.write(v.String())
}

// statement reads a tag behind its opening. Words that end a block are returned.
func (j *jinja) statement() string {
	switch word := j.name(); word {
	case "if":
		j.conditional()
	case "set":
		j.assign()
	case "raw":
		j.raw()
	case "elif", "else", "endif":
		return word
	default:
		j.fail("`%s` is not supported here; if, set and raw are", word)
	}
	return ""
}

func (j *jinja) assign() {
	name := j.name()
	j.operator("=")
	v := j.expression()
	j.close("%}")
	if j.err == nil && j.dead == 0 {
		j.vars[name] = v
	}
}

// raw copies everything up to {% endraw %}.
func (j *jinja) raw() {
	j.close("%}")
	from := j.pos
	for i := from; i < len(j.in); i++ {
		if !strings.HasPrefix(j.in[i:], "{%") {
			continue
		}
		j.pos = i
		j.open()
		if j.name() == "endraw" {
			j.write(j.in[from:i])
			j.close("%}")
			return
		}
	}
	j.pos = from
	j.fail("{%% raw %%} is never closed")
}

// conditional reads if … elif … else … endif. Branches that are not taken are read and not written.
func (j *jinja) conditional() {
	taken := false
	word := "if"
	for word == "if" || word == "elif" {
		if taken {
			j.dead++
		}
		cond := j.expression().truth()
		if taken {
			j.dead--
		}
		j.close("%}")
		word = j.branch(cond && !taken)
		taken = taken || cond
	}
	if word == "else" {
		j.close("%}")
		word = j.branch(!taken)
	}
	if word != "endif" {
		j.fail("{%% if %%} is never closed")
		return
	}
	j.close("%}")
}

func (j *jinja) branch(live bool) (word string) {
	if !live {
		j.dead++
		defer func() { j.dead-- }()
	}
	return j.block()
}

// name reads an identifier, or "".
func (j *jinja) name() string {
	j.space()
	from := j.pos
	for j.pos < len(j.in) && (isLetter(j.in[j.pos]) || j.in[j.pos] == '_' || j.pos > from && isDigit(j.in[j.pos])) {
		j.pos++
	}
	return j.in[from:j.pos]
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// word takes the identifier w if it comes next.
func (j *jinja) word(w string) bool {
	from := j.pos
	if j.name() == w {
		return true
	}
	j.pos = from
	return false
}

// sign takes s if it comes next.
func (j *jinja) sign(s string) bool {
	from := j.pos
	j.space()
	if strings.HasPrefix(j.rest(), s) {
		j.pos += len(s)
		return true
	}
	j.pos = from
	return false
}

func (j *jinja) operator(s string) {
	if !j.sign(s) {
		j.fail("%s is missing", s)
	}
}

// str is a string value; what expressions make is bounded in sum.
func (j *jinja) str(s string) jinjaValue {
	if j.work += len(s); j.work > maxJinjaWork || len(s) > maxRendered {
		j.fail("the expressions make too much text")
		return jinjaValue{}
	}
	return jinjaValue{jinjaString, s}
}
