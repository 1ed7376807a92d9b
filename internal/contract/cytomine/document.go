package cytomine

import (
	"cmp"
	"fmt"
	"math/big"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// report gathers findings about one file, with the severities of the rules table.
type report struct {
	contract.Report
	// legacy takes the type wsi, see Options.Legacy.
	legacy bool
}

// found records a finding about the value at path; what may hold verbs.
func (r *report) found(rule string, at contract.At, mend, what string, args ...any) *task.Finding {
	f := r.Add(ruleOf(rule).Severity, rule, at, "%s", fmt.Sprintf(what, args...))
	f.Mend = mend
	return f
}

// portable records what works here and not in today's App Engine.
func (r *report) portable(at contract.At, path, does, mend string) {
	r.found(rulePortable, at, mend, "%s: works in Longshore; today's App Engine %s", path, does)
}

// differs records where today's App Engine does less with a descriptor than it says, and Longshore does all of it.
func (r *report) differs(at contract.At, path, does, mend string) {
	r.found(ruleDiffers, at, mend, "%s: Longshore does as it says; today's App Engine %s", path, does)
}

// need returns the member of an object, reporting that it is missing.
func (r *report) need(parent *contract.Node, path, name string) *contract.Node {
	n := parent.Get(name)
	if n == nil {
		p := join(path, name)
		r.found(ruleMissing, parent.Pos(), "add "+name, "%s: is missing but it is required", p)
	}
	return n
}

// is tests the JSON type of a value that is there, in the words of JSON Schema; 300.0 is an integer too.
func (r *report) is(n *contract.Node, path, want string) bool {
	if n == nil {
		return false
	}
	got := jsonType(n)
	_, whole := integerOf(n)
	if got == want || want == "number" && got == "integer" || want == "integer" && whole {
		return true
	}
	r.found(ruleType, n.Pos(), typeMend(n, want), "%s: must be %s %s, got %s", path, article(want), want, got)
	return false
}

func article(word string) string {
	if strings.ContainsAny(word[:1], "aeio") {
		return "an"
	}
	return "a"
}

func typeMend(n *contract.Node, want string) string {
	switch {
	case want == "string" && (n.Is(contract.NodeNumber) || n.Is(contract.NodeBool)):
		return fmt.Sprintf("quote it: %q", n.Text)
	case n.IsNull():
		return "give it a value, or leave an optional key out"
	case want == "boolean":
		return "write true or false, without quotes"
	case want == "integer" && n.Is(contract.NodeString):
		return "write a whole number, without quotes and unit"
	case want == "number" && n.Is(contract.NodeString):
		return "write a number, without quotes and unit"
	case want == "array" && n.Is(contract.NodeString):
		return fmt.Sprintf("write a list: [%s]", quote(n.Text))
	case want == "array":
		return "write a list"
	case want == "object":
		return "write keys and values"
	}
	return "write " + article(want) + " " + want
}

// bareNumber is what the App Engine's reader takes for a number when it is not quoted, and YAML's core schema does not: digits
// with an exponent or beyond 64 bits. Underscores between digits are its, too.
var bareNumber = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?$`)

// asWritten reads the plain scalars of a descriptor as the App Engine does, and returns the first node that stands in it as an
// alias or by a merge key, nil when there is none.
func asWritten(n *contract.Node) (expanded *contract.Node) {
	switch {
	case n.Is(contract.NodeString) && !n.Quoted && bareNumber.MatchString(n.Text):
		n.Kind, n.Text = contract.NodeNumber, strings.ReplaceAll(n.Text, "_", "")
	case n.Is(contract.NodeNumber):
		n.Text = strings.ReplaceAll(n.Text, "_", "")
	}
	if n.Expanded {
		expanded = n
	}
	for _, m := range n.Members {
		expanded = cmp.Or(expanded, asWritten(m.Value))
	}
	for _, it := range n.Items {
		expanded = cmp.Or(expanded, asWritten(it))
	}
	return expanded
}

// jsonType names the type of a value as JSON Schema does, and 1.0 a number.
func jsonType(n *contract.Node) string {
	switch n.Kind {
	case contract.NodeNumber:
		if _, ok := integerOf(n); ok && !strings.Contains(n.Text, ".") {
			return "integer"
		}
		return "number"
	case contract.NodeList:
		return "array"
	}
	return string(n.Kind)
}

// integerOf returns the value of a number without fraction, in any form that YAML has for it.
func integerOf(n *contract.Node) (*big.Int, bool) {
	if !n.Is(contract.NodeNumber) {
		return nil, false
	}
	if v, ok := task.ParseInteger(n.Text); ok {
		return v, true
	}
	if len(n.Text) > maxMemoryText {
		return nil, false
	}
	text := strings.TrimLeft(n.Text, "+-")
	if len(text) > 2 && text[0] == '0' && strings.ContainsAny(text[1:2], "xXoObB") {
		return new(big.Int).SetString(n.Text, 0)
	}
	return nil, false
}

// text returns a required or optional string that is at least there and a string.
func (r *report) text(n *contract.Node, path string) (string, bool) {
	if !r.is(n, path, "string") {
		return "", false
	}
	return n.Text, true
}

// form reports a string that breaks a rule given in words.
func (r *report) form(n *contract.Node, path, words, mend string) {
	r.found(ruleForm, n.Pos(), mend, "%s: %s does not match %s", path, quote(brief(n)), words)
}

// brief is a value's text for messages.
func brief(n *contract.Node) string {
	if n.Kind == contract.NodeList || n.Kind == contract.NodeObject {
		return string(n.JSON())
	}
	return n.Text
}

// quote shows a text from the package in a message: in quotes, shortened, and safe to print.
func quote(s string) string {
	const most = 120
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	if strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) || c == utf8.RuneError || c == '"' }) {
		return strconv.Quote(s)
	}
	return `"` + s + `"`
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// flag reads an optional boolean, false when absent.
func (r *report) flag(parent *contract.Node, path, name string) bool {
	n := parent.Get(name)
	if n == nil || !r.is(n, join(path, name), "boolean") {
		return false
	}
	v, _ := n.Bool()
	return v
}

// unknown warns of members that no reader of descriptors knows.
func (r *report) unknown(n *contract.Node, path string, known ...string) {
	if !n.Is(contract.NodeObject) {
		return
	}
	for _, m := range n.Members {
		if contains(known, m.Key) {
			continue
		}
		mend := "remove it; nobody reads it"
		var free []string
		for _, k := range known {
			if !n.Has(k) {
				free = append(free, k)
			}
		}
		if near := contract.Nearest(m.Key, free); contains(free, keyFor(m.Key)) {
			mend = "did you mean " + keyFor(m.Key) + "?"
		} else if near != "" {
			mend = "did you mean " + near + "?"
		}
		r.found(ruleKey, m.Pos(), mend, "%s: unknown key, ignored", join(path, printable(m.Key)))
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// printable returns a name from the package as it can be shown.
func printable(s string) string {
	if q := quote(s); q != `"`+s+`"` || s == "" || strings.TrimSpace(s) != s {
		return q
	}
	return s
}

var (
	uriForm   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"{}|\\^` + "`" + `]+$`)
	emailForm = regexp.MustCompile(`^[^\s@"(),:;<>\[\]\\]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$`)
)

func isURI(s string) bool {
	_, err := url.Parse(s)
	return err == nil && uriForm.MatchString(s)
}

// dateTimeForm is what Java's ISO-8601 instants and RFC 3339 agree on; Go's own parser takes more.
var dateTimeForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$`)

func isDateTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && dateTimeForm.MatchString(s)
}
