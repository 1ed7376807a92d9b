package racetrack

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// document is the manifest after the overlay has been merged with its base.
type document struct {
	root *contract.Node
	// file is the manifest's path in the package; other tells which nodes come from another file.
	file  string
	other map[*contract.Node]string
	// text is the manifest as a text of its own.
	text string
}

// fileOf returns the file a node comes from.
func (d *document) fileOf(n *contract.Node) string {
	if f, ok := d.other[n]; ok {
		return f
	}
	return d.file
}

// manifestOf finds the manifest (reference: job.yaml, else fatman.yaml with a warning, else the file that was named).
func (l *loader) manifestOf(src contract.Source) (string, bool) {
	if src.File != "" {
		if !isFile(src.FS, src.File) {
			l.found(ruleNoManifest, "", contract.At{}, "local manifest file '%s' doesn't exist", show(src.Given)).Mend = "name the manifest, or the folder that holds it"
			return "", false
		}
		if path.Base(src.File) == legacyName {
			l.legacyName(src.File)
		}
		return src.File, true
	}
	job, fatman := present(src.FS, manifestName), present(src.FS, legacyName)
	switch {
	case job && fatman:
		l.found(ruleTwoManifests, manifestName, contract.At{}, "both job.yaml and fatman.yaml found; using job.yaml").Mend = "remove fatman.yaml"
		return manifestName, true
	case job:
		return manifestName, true
	case fatman:
		l.legacyName(legacyName)
		return legacyName, true
	}
	add := l.found(ruleNoManifest, "", contract.At{}, "local manifest file '%s' doesn't exist (fatman.yaml not found either)", path.Join(show(src.Given), manifestName))
	add.Mend = "add a job.yaml, or name the manifest's file"
	return "", false
}

func (l *loader) legacyName(file string) {
	add := l.found(ruleLegacyName, file, contract.At{}, `You are using old manifest file name "fatman.yaml". Please rename it to "job.yaml"`)
	add.Why = "Racetrack calls fatmen jobs since release 2.9"
	add.Mend = "rename it, once no older Racetrack needs it"
}

// present tells whether there is anything of that name, so that a folder called job.yaml is reported and not overlooked.
func present(fsys fs.FS, name string) bool {
	_, err := fs.Lstat(fsys, name)
	return err == nil
}

func isFile(fsys fs.FS, name string) bool {
	st, err := fs.Stat(fsys, name)
	return err == nil && st.Mode().IsRegular()
}

// readDocument reads the manifest and, when it is an overlay, its base. It is false when there is nothing to go on with.
func (l *loader) readDocument(fsys fs.FS, file string) bool {
	root, data, ok := l.parse(fsys, file)
	if !ok {
		return false
	}
	l.doc = &document{root: root, file: file, text: string(data)}
	if extends := root.Get("extends"); !extends.IsNull() {
		return l.extend(fsys, extends)
	}
	return true
}

// maxManifest bounds a manifest. One that is longer than 128 KiB cannot even be given to its job.
const maxManifest = 1 << 20

// parse reads one YAML file that must be a mapping. It looks before it opens: opening a named pipe would wait for a writer.
func (l *loader) parse(fsys fs.FS, file string) (*contract.Node, []byte, bool) {
	st, err := fs.Stat(fsys, file)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("it is a %s, not a file", contract.KindOf(st.Mode()))
	}
	if lost := contract.LostLink(fsys, file); lost != nil {
		err = lost
	}
	var data []byte
	if err == nil {
		data, err = contract.ReadText(fsys, file)
	}
	if len(data) > maxManifest {
		err = fmt.Errorf("it has %s, more than %s", task.Bytes(len(data)), task.Bytes(maxManifest))
	}
	if err != nil {
		l.found(ruleSyntax, file, contract.At{}, "loading YAML: %v", err).Mend = "make the manifest a readable YAML file"
		return nil, nil, false
	}
	root, err := contract.ParseYAML(data)
	if err == nil {
		err = unreadable(data)
	}
	if err != nil {
		l.syntax(file, err)
		return nil, nil, false
	}
	for _, m := range root.Duplicates() {
		add := l.found(ruleDuplicate, file, m.Pos(), "the key %s is repeated", show(m.Key))
		add.Why = "Racetrack silently takes the last one"
		add.Mend = "keep one of them"
	}
	if root.Kind != contract.NodeObject {
		l.found(ruleSyntax, file, root.Pos(), "manifest is not a YAML mapping").Mend = "write lines of key: value"
		return nil, nil, false
	}
	return root, data, true
}

// unreadable finds a character that Racetrack's reader of YAML refuses wherever it stands, also in comments and quotes.
func unreadable(data []byte) error {
	for i, r := range string(data) {
		if r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= '~' || r == 0x85 || r >= 0xa0 && r <= 0xfffd || r >= 0x10000 {
			continue
		}
		before := string(data[:i])
		line := 1 + strings.Count(before, "\n")
		return &contract.SyntaxError{
			Line: line, Column: 1 + utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]), Source: contract.SourceLine(data, line),
			Reason: fmt.Sprintf("special characters are not allowed, found %U", r), Mend: `remove it, or write it in double quotes as an escape such as "\x1b"`,
		}
	}
	return nil
}

func (l *loader) syntax(file string, err error) {
	s, ok := errors.AsType[*contract.SyntaxError](err)
	if !ok {
		l.found(ruleSyntax, file, contract.At{}, "loading YAML: %s", show(err.Error()))
		return
	}
	add := l.found(ruleSyntax, file, contract.At{Line: s.Line, Column: s.Column}, "loading YAML: %d:%d %s", s.Line, s.Column, show(s.Reason))
	add.Mend = cmp.Or(s.Mend, "mend that line, or the one before it: fields are lines of key: value")
	if line := strings.TrimSpace(s.Source); line != "" {
		add.Why = "the line is: " + show(line)
	}
}

// extend merges the overlay over its base. The base's path is relative to the overlay and must stay in the package.
func (l *loader) extend(fsys fs.FS, extends *contract.Node) bool {
	refuse := func(mend, what string, args ...any) bool {
		l.on(ruleExtends, extends, what, args...).Mend = mend
		return false
	}
	name := extends.Text
	if scalarOf(extends) != scalarString || name == "" {
		l.wrongType(extends, "extends", "string")
		return false
	}
	if path.IsAbs(name) {
		return refuse("write it relative to this file", "extends path should be relative")
	}
	file := path.Join(path.Dir(l.doc.file), name)
	if !fs.ValidPath(file) {
		return refuse("keep the base manifest in the package", "extends: %q leaves the package", show(name))
	}
	if !isFile(fsys, file) {
		add := l.on(ruleExtends, extends, "extends: base manifest %s doesn't exist", show(file))
		add.Mend = "add it, or mend the path"
		if lost := contract.LostLink(fsys, file); lost != nil {
			add.Why, add.Mend = show(lost.Error()), "put the file itself there"
		}
		return false
	}
	base, _, ok := l.parse(fsys, file)
	if !ok {
		return false
	}
	if b := base.Get("extends"); !b.IsNull() {
		l.doc.other = map[*contract.Node]string{b: file}
		l.on(ruleExtends, b, "base manifest cannot extend another one").Mend = "merge the bases into one"
		return false
	}
	l.doc.other = map[*contract.Node]string{}
	own(l.doc.other, base, file)
	l.doc.root = merge(base, without(l.doc.root, "extends"))
	l.doc.text = string(l.doc.root.JSON()) + "\n" // JSON is YAML
	l.note("manifest: %s merged over %s", show(l.doc.file), show(file))
	return true
}

// own marks a tree's nodes as a file's.
func own(files map[*contract.Node]string, n *contract.Node, file string) {
	if n == nil {
		return
	}
	files[n] = file
	for _, m := range n.Members {
		own(files, m.Value, file)
	}
	for _, it := range n.Items {
		own(files, it, file)
	}
}

// without returns an object less one key.
func without(n *contract.Node, key string) *contract.Node {
	out := *n
	out.Members = nil
	for _, m := range n.Members {
		if m.Key != key {
			out.Members = append(out.Members, m)
		}
	}
	return &out
}

// merge lays one tree over another: mappings deeply, anything else is replaced. The base's order of keys is kept.
func merge(base, over *contract.Node) *contract.Node {
	if !base.Is(contract.NodeObject) || !over.Is(contract.NodeObject) {
		return over
	}
	out := &contract.Node{Kind: contract.NodeObject, Line: over.Line, Column: over.Column}
	at := map[string]int{}
	add := func(m contract.Member, value *contract.Node) {
		m.Value = value
		if i, ok := at[m.Key]; ok {
			out.Members[i] = m
			return
		}
		at[m.Key] = len(out.Members)
		out.Members = append(out.Members, m)
	}
	for _, m := range base.Members {
		add(m, m.Value)
	}
	for _, m := range over.Members {
		value := m.Value
		if i, ok := at[m.Key]; ok {
			value = merge(out.Members[i].Value, value)
		}
		add(m, value)
	}
	return out
}

// maxFindings bounds what is told about one package: nobody reads more, and a hostile manifest could have a million.
const maxFindings = 300

// found records a finding of a rule and returns it for filling in Why and Mend, until the next one is recorded.
func (l *loader) found(rule, file string, at contract.At, what string, args ...any) *task.Finding {
	if len(l.findings) == maxFindings {
		if l.more++; severityOf(rule) == task.SeverityError {
			l.moreErrors++
		}
		return &task.Finding{}
	}
	r := contract.Report{File: file}
	r.Add(severityOf(rule), rule, at, "%s", fmt.Sprintf(what, args...))
	l.findings = append(l.findings, r.Findings...)
	return &l.findings[len(l.findings)-1]
}

// on records a finding about a node of the manifest; nil stands for the manifest as a whole.
func (l *loader) on(rule string, n *contract.Node, what string, args ...any) *task.Finding {
	return l.found(rule, l.doc.fileOf(n), n.Pos(), what, args...)
}

// onKey records a finding about a key.
func (l *loader) onKey(rule string, m contract.Member, what string, args ...any) *task.Finding {
	return l.found(rule, l.doc.fileOf(m.Value), m.Pos(), what, args...)
}

func (l *loader) note(what string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(what, args...))
}
