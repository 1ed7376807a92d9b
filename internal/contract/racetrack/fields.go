package racetrack

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// unknown reports keys of a mapping that Racetrack's schema does not have (reference T2).
func (l *loader) unknown(n *contract.Node, prefix string, known []string) {
	for _, m := range n.Members {
		if contains(known, m.Key) {
			continue
		}
		add := l.onKey(ruleUnknown, m, "%s: extra inputs are not permitted", show(prefix+m.Key))
		switch near := meant(m.Key, prefix, known); {
		case near != "":
			add.Mend = "did you mean " + near + "?"
		case prefix == "" && home(m.Key) != "":
			add.Mend = "it belongs in " + home(m.Key)
		default:
			add.Mend = "remove it, or put it under labels"
		}
		l.environmentHint(add, m.Key)
	}
}

// meant names the fields that an unknown key stands for: one that it is a slip of, those that it is the beginning of, or the
// one that other platforms call so.
func meant(key, prefix string, known []string) string {
	if near := nearest(key, known); near != "" {
		return prefix + near
	}
	var begun []string
	for _, k := range known {
		if strings.HasPrefix(k, key+"_") {
			begun = append(begun, prefix+k)
		}
	}
	switch {
	case len(begun) > 0:
		return strings.Join(begun, " or ")
	case prefix != "":
		return ""
	}
	switch key {
	case "env", "environment", "envs", "variables":
		return "runtime_env"
	case "port", "ports":
		return "jobtype_extra.user_module_port"
	case "dockerfile", "build":
		return "docker.dockerfile_path"
	case "image":
		return "jobtype_extra.image"
	case "repository", "repo", "url", "source":
		return "git.remote"
	case "limits":
		return "resources"
	}
	return ""
}

// home names the mapping that a key belongs to when it is found at the top.
func home(key string) string {
	switch {
	case contains(gitKeys(), key):
		return "git"
	case contains(resourceKeys(), key):
		return "resources"
	case key == "dockerfile_path":
		return "docker"
	case contains(extraKeys(), key):
		return "jobtype_extra"
	}
	return ""
}

// nearest finds the known key that a key is a slip of. Long ones are no slips, and would take long.
func nearest(key string, known []string) string {
	if len(key) > 64 {
		return ""
	}
	return contract.Nearest(key, known)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// wrongType reports a value of another type than the field's (reference T3).
func (l *loader) wrongType(n *contract.Node, field, want string) *task.Finding {
	add := l.on(ruleType, n, "%s: input should be a valid %s, got %s", show(field), want, source(n))
	switch s := scalarOf(n); {
	case want == "string" && s == scalarNull:
		add.Mend = "give it a value"
	case want == "string" && s != scalarNone:
		add.Why = "YAML 1.1 takes it for " + article(string(s))
		add.Mend = `quote it: "` + show(n.Text) + `"`
	default:
		add.Mend = "write " + formOf(want, n)
	}
	return add
}

// formOf says how a value of a type is written.
func formOf(want string, n *contract.Node) string {
	switch {
	case want == "dictionary":
		return "indented lines of key: value below it"
	case want == "list" && n.Is(contract.NodeString) && n.Text != "":
		return "a list: [" + show(n.Text) + "]"
	case want == "integer":
		return "a whole number"
	}
	return article(want)
}

// article puts "a" or "an" before a word.
func article(word string) string {
	if strings.ContainsAny(word[:min(1, len(word))], "aeiou") {
		return "an " + word
	}
	return "a " + word
}

// text reads a string; "" when it is not there or not a string.
func (l *loader) text(in *contract.Node, key, prefix string) (string, *contract.Node) {
	n := in.Get(key)
	if n.IsNull() {
		return "", nil
	}
	if scalarOf(n) != scalarString {
		l.wrongType(n, prefix+key, "string")
		return "", nil
	}
	return n.Text, n
}

// required reads a string that must be there (reference T1).
func (l *loader) required(in *contract.Node, key, prefix, mend string) (string, *contract.Node) {
	if in.Get(key).IsNull() {
		l.on(ruleRequired, in, "%s%s: field required", prefix, key).Mend = mend
		return "", nil
	}
	return l.text(in, key, prefix)
}

// mapping reads a mapping; nil when it is not there or not a mapping.
func (l *loader) mapping(in *contract.Node, key, prefix string) *contract.Node {
	n := in.Get(key)
	if n.IsNull() {
		return nil
	}
	if n.Kind != contract.NodeObject {
		l.wrongType(n, prefix+key, "dictionary")
		return nil
	}
	return n
}

// texts reads a list of strings, with the nodes of those that are strings.
func (l *loader) texts(in *contract.Node, key string) []*contract.Node {
	n := in.Get(key)
	if n.IsNull() {
		return nil
	}
	if n.Kind != contract.NodeList {
		l.wrongType(n, key, "list")
		return nil
	}
	var list []*contract.Node
	for i, it := range n.Items {
		if scalarOf(it) != scalarString {
			l.wrongType(it, key+"."+strconv.Itoa(i), "string")
			continue
		}
		list = append(list, it)
	}
	return list
}

// variables reads a mapping of strings to strings. Releases before 2.27 turned numbers and booleans into text, so these are
// taken as the manifest has them, with a warning (reference 2.3).
func (l *loader) variables(in *contract.Node, key string) []variable {
	n := l.mapping(in, key, "")
	if n == nil {
		return nil
	}
	var list []variable
	at := map[string]int{}
	for _, m := range n.Members {
		field := key + "." + m.Key
		switch s := scalarOf(m.Value); s {
		case scalarString:
		case scalarBool, scalarInt, scalarFloat:
			add := l.on(ruleSourceText, m.Value, "%s: input should be a valid string, got %s; it is taken as the text %q", show(field), source(m.Value), m.Value.Text)
			add.Why = "Racetrack since 2.27 refuses " + article(string(s)) + " here"
			add.Mend = `quote it: "` + show(m.Value.Text) + `"`
		default:
			l.wrongType(m.Value, field, "string")
			continue
		}
		if !l.usableVariable(m, field) {
			continue
		}
		v := variable{EnvVar: task.EnvVar{Name: m.Key, Value: m.Value.Text}, member: m}
		if i, twice := at[m.Key]; twice {
			list[i] = v
			continue
		}
		at[m.Key] = len(list)
		list = append(list, v)
	}
	return list
}

// variable is an environment variable with its place in the manifest.
type variable struct {
	task.EnvVar
	member contract.Member
}

// maxVariable is what Linux allows for one variable, name, sign and final zero included.
const maxVariable = 128<<10 - 1

// usableVariable tells whether a variable can be given to a process at all.
func (l *loader) usableVariable(m contract.Member, field string) bool {
	if why := unusable(m.Key, m.Value.Text); why != "" {
		l.onKey(ruleEnvName, m, "%s: %s", show(field), why).Mend = "rename it, or mend its value"
		return false
	}
	return true
}

// unusable says why a variable cannot be given to a process, "" when it can.
func unusable(name, value string) string {
	switch {
	case name == "":
		return "an environment variable needs a name"
	case strings.ContainsAny(name, "=\x00") || strings.ContainsFunc(name, unicode.IsControl):
		return "the name of an environment variable holds neither = nor control characters"
	case strings.ContainsRune(value, 0):
		return "the value of an environment variable holds no zero character"
	case len(name)+len(value)+1 > maxVariable:
		return "an environment variable holds at most 128 KiB"
	}
	return ""
}

// wholeFloat is a number without fraction, also as text.
var wholeFloat = regexp.MustCompile(`^\s*([-+]?[0-9]+)(?:\.0*)?\s*$`)

// integer reads an integer: a number, or a string that is one; booleans are not (reference 2.3).
func (l *loader) integer(in *contract.Node, key, prefix string) (*big.Int, *contract.Node) {
	n := in.Get(key)
	switch scalarOf(n) {
	case scalarNull:
		return nil, nil
	case scalarInt:
		if v, ok := integerOf(n.Text); ok {
			return v, n
		}
	case scalarFloat, scalarString:
		if m := wholeFloat.FindStringSubmatch(n.Text); m != nil && len(m[1]) < 100 {
			if v, ok := new(big.Int).SetString(strings.TrimPrefix(m[1], "+"), 10); ok {
				return v, n
			}
		}
	}
	l.wrongType(n, prefix+key, "integer")
	return nil, nil
}

// show returns a text of the package as it can be put into a message: quoted when it is not plain, and shortened.
func show(s string) string {
	const most = 160
	if len(s) > most {
		if r := []rune(s); len(r) > most {
			s = string(r[:most]) + "…"
		}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		q := strconv.Quote(s)
		return q[1 : len(q)-1]
	}
	return s
}
