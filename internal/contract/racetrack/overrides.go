package racetrack

import (
	"fmt"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// TakesOverrides implements contract.Overrider: "-e key=value" of Racetrack's own client (reference 2.5).
func (Contract) TakesOverrides() {}

// overrideFile is where findings say that an override stands; the line is its number.
const overrideFile = "-e"

// override lays settings over the document, in their order, after an overlay was merged with its base.
func (l *loader) override(list []contract.Override) {
	if len(list) == 0 {
		return
	}
	if l.doc.other == nil {
		l.doc.other = map[*contract.Node]string{}
	}
	for i, o := range list {
		value := l.overrideValue(o, i+1)
		if value == nil {
			continue
		}
		own(l.doc.other, value, overrideFile)
		parts := strings.Split(o.Key, ".")
		if slices.Contains(parts, "") {
			l.found(ruleOverride, overrideFile, contract.At{Line: i + 1}, "extra var key cannot be empty").Mend = "write key=value, or key.key=value"
			continue
		}
		if at := missingParent(l.doc.root, parts); at > 0 {
			add := l.found(ruleOverride, overrideFile, contract.At{Line: i + 1}, "extra var %s: the manifest has no mapping %s", show(o.Key), show(strings.Join(parts[:at], ".")))
			add.Mend = fmt.Sprintf("give the mapping as a whole: %s={…}", show(parts[0]))
			continue
		}
		l.doc.root = set(l.doc.root, parts, value)
	}
	l.doc.text = string(l.doc.root.JSON()) + "\n" // JSON is YAML
	l.note("manifest: %d fields overridden with -e", len(list))
}

// overrideValue reads a value as YAML, of which JSON is a part. Nothing is null, as in YAML.
func (l *loader) overrideValue(o contract.Override, number int) *contract.Node {
	if strings.TrimSpace(o.Value) == "" {
		return &contract.Node{Kind: contract.NodeNull, Line: number}
	}
	value, err := contract.ParseYAML([]byte(o.Value))
	if err != nil {
		l.found(ruleOverride, overrideFile, contract.At{Line: number}, "extra var %s: its value is not YAML: %s", show(o.Key), show(err.Error())).Mend = "put quotes around text with special characters"
		return nil
	}
	return placed(value, number)
}

// placed returns a tree all of which stands in one line.
func placed(n *contract.Node, line int) *contract.Node {
	out := *n
	out.Line, out.Column, out.Members, out.Items = line, 0, nil, nil
	for _, m := range n.Members {
		out.Members = append(out.Members, contract.Member{Key: m.Key, KeyLine: line, Value: placed(m.Value, line)})
	}
	for _, it := range n.Items {
		out.Items = append(out.Items, placed(it, line))
	}
	return &out
}

// missingParent returns how many parts of a key name the first mapping that is not there, zero when all are.
func missingParent(n *contract.Node, parts []string) int {
	for i, p := range parts[:len(parts)-1] {
		if n = n.Get(p); !n.Is(contract.NodeObject) {
			return i + 1
		}
	}
	return 0
}

// set returns a copy of an object in which the node at a path of keys is another.
func set(n *contract.Node, parts []string, value *contract.Node) *contract.Node {
	out := *n
	out.Members = slices.Clone(n.Members)
	if len(parts) > 1 {
		value = set(n.Get(parts[0]), parts[1:], value)
	}
	for i := len(out.Members) - 1; i >= 0; i-- {
		if m := &out.Members[i]; m.Key == parts[0] {
			m.Value = value
			if len(parts) == 1 {
				m.KeyLine, m.KeyColumn = value.Line, value.Column
			}
			return &out
		}
	}
	out.Members = append(out.Members, contract.Member{Key: parts[0], KeyLine: value.Line, Value: value})
	return &out
}

// environmentHint adds what to do about an override that was meant as an environment variable.
func (l *loader) environmentHint(add *task.Finding, key string) {
	if add.File == overrideFile {
		add.Mend = strings.TrimPrefix(add.Mend+"; an environment variable is given with --env "+show(key)+"=…", "; ")
	}
}
