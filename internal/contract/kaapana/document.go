package kaapana

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// document is a processing-container.json of any dialect.
type document struct {
	Name, Description string
	Templates         []template
	// Flat tells that the file had no templates and is one use by itself (dialect of August 2025).
	Flat bool
}

// template is one use of the image.
type template struct {
	Identifier  string     `json:"identifier"`
	Description string     `json:"description,omitempty"`
	Inputs      []channel  `json:"inputs,omitempty"`
	Outputs     []channel  `json:"outputs,omitempty"`
	Env         []variable `json:"env,omitempty"`
	// Command replaces the image's own process when it has words.
	Command   []string       `json:"command,omitempty"`
	Resources task.Resources `json:"resources"`
	// Declared is resources as the document has them, nil when it has none.
	Declared json.RawMessage `json:"declared,omitempty"`
}

// channel is one folder of the container that data comes in or goes out by.
type channel struct {
	Name string `json:"name"`
	// Path is mounted_path, made absolute and clean.
	Path        string     `json:"path"`
	Description string     `json:"description,omitempty"`
	Rule        *scaleRule `json:"rule,omitempty"`
	// At is where the channel stands in the document.
	At contract.At `json:"at,omitzero"`
}

// variable is one environment variable of a template.
type variable struct {
	Name        string   `json:"name"`
	Value       string   `json:"value"`
	Description string   `json:"description,omitempty"`
	Type        string   `json:"type,omitempty"` // boolean, int, or "" for string
	Choices     []string `json:"choices,omitempty"`
	Fixed       bool     `json:"fixed,omitempty"` // adjustable: false
	// Unset tells that the template's own value is "", so that "" stands for unset.
	Unset bool `json:"unset,omitempty"`
	// Undeclared tells that a task sets it and its template does not have it; Near is a name of the template's that is like it.
	Undeclared bool   `json:"undeclared,omitempty"`
	Near       string `json:"near,omitempty"`
}

// reader reads one document and collects findings about it.
type reader struct {
	contract.Report
	// dialects are the older ways of writing that were met, in order of appearance.
	dialects []string
	// own tells that the document is the caller's own, on the caller's machine.
	own bool
	// compat is the runner whose reading is taken.
	compat string
}

// parse reads the JSON text of a document; nil when there is nothing to read further, as when it could not be rendered.
func (r *reader) parse(data []byte) *contract.Node {
	if data == nil {
		return nil
	}
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		r.Warn(ruleBOM, contract.At{Line: 1, Column: 1}, "save the file as UTF-8 without it", "The file starts with a byte-order mark; Kaapana's CLI refuses it.")
	}
	if i := invalidUTF8(data); i >= 0 {
		at := contract.At{Line: 1 + bytes.Count(data[:i], []byte("\n")), Column: i - bytes.LastIndexByte(data[:i], '\n')}
		r.Error(ruleSyntax, at, "save the file as UTF-8", "not valid JSON: the byte 0x%02x is no UTF-8", data[i])
		return nil
	}
	n, err := contract.ParseJSON(data)
	if err != nil {
		r.Syntax(ruleSyntax, "JSON", err)
		return nil
	}
	for _, m := range n.Duplicates() {
		r.Warn(ruleDuplicateKey, m.Pos(), "keep one of them", "`%s` occurs twice; the last one wins.", m.Key)
	}
	if n.Kind != contract.NodeObject {
		r.Error(ruleNotObject, n.Pos(), "put the fields into { … }", "Expected an object, found %s.", n.Kind)
		return nil
	}
	return n
}

// invalidUTF8 is where text stops being UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// dialect notes, once per element, that an older way of writing was met.
func (r *reader) dialect(at contract.At, element, name, when, today string) {
	if slices.Contains(r.dialects, element) {
		return
	}
	r.dialects = append(r.dialects, element)
	f := r.Add(task.SeverityNote, ruleDialect, at, "Uses the %s dialect (%s); Kaapana 0.6 %s.", name, when, today)
	f.Why = "by " + element
}

// container reads the whole file.
func (r *reader) container(n *contract.Node) *document {
	d := &document{}
	d.Flat = !n.Has("templates") && (n.Has("inputs") || n.Has("outputs") || n.Has("env") || n.Has("command"))
	known := []string{"name", "description", "api_version"}
	if d.Flat {
		known = append(known, templateFields...)
	} else {
		known = append(known, "templates")
	}
	r.fields(n, "the processing-container", known)
	d.Name = r.text(n, "", "name")
	d.Description = r.text(n, "", "description")
	r.apiVersion(n)
	if d.Flat {
		r.dialect(n.Pos(), "no templates", "flat", "2025-08-15 to 2025-09-03", "refuses it")
		t := r.template(n, "", true)
		t.Identifier, t.Description = flatIdentifier, d.Description
		d.Templates = []template{t}
		return d
	}
	items, ok := r.listOr(n, "", "templates", "add a template")
	if ok && len(items) == 0 {
		r.Warn(ruleNoTemplates, n.Get("templates").Pos(), "add a template", "The file offers no template; nothing can be run.")
	}
	seen := map[string]bool{}
	for i, it := range items {
		path := fmt.Sprintf("templates[%d]", i)
		if !r.isObject(it, path) {
			continue
		}
		t := r.template(it, path, false)
		named := it.Get("identifier").Is(contract.NodeString)
		if named && seen[t.Identifier] {
			r.Warn(ruleTemplateTwice, it.Get("identifier").Pos(), "give each template its own identifier", "`%s` is defined twice; Kaapana uses the first.", t.Identifier)
			continue
		}
		seen[t.Identifier] = named
		d.Templates = append(d.Templates, t)
	}
	return d
}

// apiVersion checks that api_version, when there, is 1 in one of the forms that Kaapana's model takes.
func (r *reader) apiVersion(n *contract.Node) {
	v := n.Get("api_version")
	if v == nil {
		return
	}
	const mend = "write \"api_version\": 1"
	b, isBool := v.Bool()
	one, isInt := v.Int()
	switch {
	case v.Is(contract.NodeNumber) && v.Text == "1":
	case isInt && one == 1, isBool && b, v.Is(contract.NodeString) && isOne(v.Text):
		r.Warn(ruleAPIVersion, v.Pos(), mend, "api_version must be 1; this form of it is read as 1")
	default:
		r.Error(ruleAPIVersion, v.Pos(), mend, "api_version must be 1")
	}
}

func isOne(s string) bool {
	n, ok := task.ParseInteger(s)
	return ok && n.IsInt64() && n.Int64() == 1
}

var templateFields = []string{"identifier", "description", "inputs", "outputs", "env", "command", "resources"}

// template reads one template. A flat one is the document itself, whose name and description were read before.
func (r *reader) template(n *contract.Node, path string, flat bool) template {
	var t template
	if !flat {
		r.fields(n, "a task template", templateFields)
		t.Identifier = r.text(n, path, "identifier")
		t.Description = r.text(n, path, "description")
	}
	t.Inputs = r.channels(n, path, "inputs")
	t.Outputs = r.channels(n, path, "outputs")
	t.Env = r.env(n, path)
	t.Command = r.command(n, path)
	t.Resources = r.resources(n.Get("resources"), member(path, "resources"))
	if res := n.Get("resources"); res.Is(contract.NodeObject) {
		t.Declared = res.JSON()
	}
	r.checkChannels(t)
	return t
}

// command reads the list of words; null, absent and [] are the image's own process.
func (r *reader) command(n *contract.Node, path string) []string {
	c := n.Get("command")
	switch {
	case c.IsNull():
		return nil
	case c.Is(contract.NodeString):
		r.Error(ruleCommandType, c.Pos(), "write it as a list of words", "`command` is a list: [\"/bin/sh\", \"-c\", \"…\"].")
		return nil
	}
	words := r.strings(c, member(path, "command"))
	if c.Is(contract.NodeList) && len(c.Items) == 0 {
		r.Warn(ruleCommandEmpty, c.Pos(), "leave `command` out", "An empty command means the image's own process.")
	}
	return words
}

// strings reads a list of strings; nil when any is of another type, as nothing can be said of the list then.
func (r *reader) strings(n *contract.Node, path string) []string {
	if !n.Is(contract.NodeList) {
		r.wrongType(n, path, "a list of strings")
		return nil
	}
	var out []string
	wrong := false
	for i, it := range n.Items {
		if !it.Is(contract.NodeString) {
			r.wrongType(it, fmt.Sprintf("%s[%d]", path, i), "a string")
			wrong = true
			continue
		}
		r.noNUL(it, fmt.Sprintf("%s[%d]", path, i))
		out = append(out, it.Text)
	}
	if wrong {
		return nil
	}
	return out
}

// fields warns of keys that no dialect knows.
func (r *reader) fields(n *contract.Node, object string, known []string) {
	for _, m := range distinct(n.Members) {
		if slices.Contains(known, m.Key) {
			continue
		}
		what := fmt.Sprintf("`%s` is not a field of %s; Kaapana ignores it.", m.Key, object)
		mend := "remove it"
		if near := contract.Nearest(m.Key, known); near != "" {
			what += fmt.Sprintf(" Did you mean `%s`?", near)
			mend = fmt.Sprintf("write `%s`, or remove it", near)
		}
		f := r.Add(task.SeverityWarning, ruleUnknownField, m.Pos(), "%s", what)
		f.Mend = mend
	}
}

// text reads a required string.
func (r *reader) text(n *contract.Node, path, key string) string {
	v := n.Get(key)
	if v == nil {
		r.missing(n, member(path, key), "")
		return ""
	}
	return r.str(v, member(path, key))
}

// checkedText reads a required string whose characters a rule of its own looks at.
func (r *reader) checkedText(n *contract.Node, path, key string) string {
	v := n.Get(key)
	if v.Is(contract.NodeString) {
		return v.Text
	}
	return r.text(n, path, key)
}

// optionalText reads a string that may be absent or null.
func (r *reader) optionalText(n *contract.Node, path, key string) string {
	v := n.Get(key)
	if v.IsNull() {
		return ""
	}
	return r.str(v, member(path, key))
}

func (r *reader) str(v *contract.Node, path string) string {
	if !v.Is(contract.NodeString) {
		r.wrongType(v, path, "a string")
		return ""
	}
	r.noNUL(v, path)
	return v.Text
}

// noNUL refuses a character that neither a process nor a file system can be given.
func (r *reader) noNUL(v *contract.Node, path string) {
	if strings.ContainsRune(v.Text, 0) {
		r.Error(ruleFieldType, v.Pos(), "remove \\u0000", "`%s` must not contain the character NUL", path)
	}
}

// list reads a required list, which may be empty; ok tells that it is one.
func (r *reader) list(n *contract.Node, path, key string) (items []*contract.Node, ok bool) {
	return r.listOr(n, path, key, "write [] for none")
}

// listOr reads a required list, and says mend when it is not there.
func (r *reader) listOr(n *contract.Node, path, key, mend string) (items []*contract.Node, ok bool) {
	v := n.Get(key)
	if v == nil {
		r.missing(n, member(path, key), mend)
		return nil, false
	}
	if !v.Is(contract.NodeList) {
		r.wrongType(v, member(path, key), "a list")
		return nil, false
	}
	return v.Items, true
}

func (r *reader) isObject(n *contract.Node, path string) bool {
	if n.Is(contract.NodeObject) {
		return true
	}
	r.wrongType(n, path, "an object")
	return false
}

func (r *reader) missing(n *contract.Node, path, mend string) {
	if mend == "" {
		mend = "add it"
	}
	r.Error(ruleFieldMissing, n.Pos(), mend, "`%s` is required", path)
}

func (r *reader) wrongType(n *contract.Node, path, want string) {
	mend := "write " + want + " there"
	if want == "a string" && (n.Is(contract.NodeNumber) || n.Is(contract.NodeBool)) {
		mend = `write "` + n.Text + `"`
	}
	r.Error(ruleFieldType, n.Pos(), mend, "`%s` must be %s, found %s", path, want, n.Kind)
}

// distinct are an object's members as Python's dictionaries keep them: each key where it came first, with the last of its values.
// json-duplicate-key tells of the others.
func distinct(members []contract.Member) []contract.Member {
	out := make([]contract.Member, 0, len(members))
	at := make(map[string]int, len(members))
	for _, m := range members {
		if i, ok := at[m.Key]; ok {
			out[i] = m
			continue
		}
		at[m.Key] = len(out)
		out = append(out, m)
	}
	return out
}

func member(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
