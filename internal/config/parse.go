package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"longshore/internal/task"
)

// entry is one setting in a file.
type entry struct {
	key, text, where string
	list             bool // it is written as one
}

// parse reads a YAML document of settings: mappings in mappings are sections, lists are lists.
func parse(name string, data []byte) ([]entry, error) {
	file, err := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\ufeff")), 0) // which editors of Windows put before it
	if err != nil {
		return nil, notYAML(name, err)
	}
	p := &reader{name: name}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			p.section("", doc.Body)
		}
	}
	return p.entries, p.err
}

// notYAML says where a document cannot be read.
func notYAML(name string, err error) error {
	where, what := name, strings.Split(err.Error(), "\n")[0]
	if e, ok := errors.AsType[yaml.Error](err); ok {
		what = e.GetMessage()
		if t := e.GetToken(); t != nil {
			where = fmt.Sprintf("%s:%d:%d", name, t.Position.Line, t.Position.Column)
		}
	}
	return task.Errorf(task.CodeUsage, "the server's configuration is wrong: %s: it is not YAML: %s", where, what).
		WithHint("`longshore serve --print-example` prints a file to start from")
}

type reader struct {
	name    string
	entries []entry
	err     error
}

func (p *reader) at(n ast.Node) string {
	pos := n.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", p.name, pos.Line, pos.Column)
}

func (p *reader) fail(n ast.Node, format string, args ...any) {
	if p.err == nil {
		p.err = task.Errorf(task.CodeUsage, "%s: %s", p.at(n), fmt.Sprintf(format, args...))
	}
}

// section reads what stands below a key.
func (p *reader) section(prefix string, n ast.Node) {
	switch n := n.(type) {
	case *ast.CommentGroupNode, *ast.NullNode:
	case *ast.MappingNode:
		for _, v := range n.Values {
			p.pair(prefix, v)
		}
	case *ast.MappingValueNode:
		p.pair(prefix, n)
	default:
		p.fail(n, "settings are expected, as name: value")
	}
}

func (p *reader) pair(prefix string, n *ast.MappingValueNode) {
	name := prefix + n.Key.GetToken().Value
	switch v := n.Value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		p.section(name+".", v)
	case *ast.SequenceNode:
		var items []string
		for _, item := range v.Values {
			text, ok := scalar(item)
			if !ok || strings.Contains(text, ",") {
				p.fail(item, "%s is a list of plain values", name)
			}
			items = append(items, text)
		}
		p.entries = append(p.entries, entry{name, strings.Join(items, ","), p.at(n.Key), true})
	case *ast.NullNode: // a key without a value is as good as none
	default:
		text, ok := scalar(v)
		if !ok {
			p.fail(v, "%s is not a plain value", name)
		}
		p.entries = append(p.entries, entry{name, text, p.at(n.Key), false})
	}
}

func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}
