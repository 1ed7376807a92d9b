package contract

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ParseYAML parses one YAML document of at most 8 MiB into nodes. Plain scalars keep their source text, with the kind that
// YAML 1.2 gives them (so yes and no are strings that are not Quoted; contracts with other scalar rules look at Text).
// Duplicate keys are kept (see Node.Duplicates), anchors and merge keys are expanded up to a limit, unknown tags and a second
// document are errors. Any error is a *SyntaxError.
func ParseYAML(data []byte) (*Node, error) {
	if len(data) > maxDocument {
		return nil, &SyntaxError{Line: 1, Column: 1, Reason: fmt.Sprintf("the document has %d bytes, more than %d", len(data), maxDocument)}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return nil, notUTF8(data)
	}
	tokens, err := yamlTokens(withoutDirectives(data))
	if err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, yamlError(data, err)
	}
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			t := d.Body.GetToken().Position
			return nil, &SyntaxError{Line: t.Line, Column: t.Column, Reason: "a second document starts here", Mend: "keep one document in the file", Source: SourceLine(data, t.Line)}
		}
		body = d.Body
	}
	if body == nil {
		return nil, &SyntaxError{Line: 1, Column: 1, Reason: "the file is empty", Mend: "write a YAML document into it"}
	}
	c := &yamlConverter{data: data, anchors: map[string]ast.Node{}}
	return c.node(body, 0)
}

// notUTF8 tells where text stops to be UTF-8.
func notUTF8(data []byte) error {
	e := &SyntaxError{Line: 1, Column: 1, Reason: "the file is not UTF-8 text", Mend: "save it as UTF-8"}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			return e
		case r == '\n':
			e.Line, e.Column = e.Line+1, 1
		default:
			e.Column++
		}
		data = data[size:]
	}
	return e
}

// withoutDirectives makes comments of the lines %YAML and %TAG before a document, which the parser takes for a document.
func withoutDirectives(data []byte) []byte {
	out := bytes.Clone(data)
	for at := 0; at < len(out); {
		line, _, _ := bytes.Cut(out[at:], []byte("\n"))
		switch text := bytes.TrimSpace(line); {
		case bytes.HasPrefix(line, []byte("%")):
			line[0] = '#'
		case len(text) > 0 && text[0] != '#':
			return out
		}
		at += len(line) + 1
	}
	return out
}

func yamlError(data []byte, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil {
		return &SyntaxError{Line: 1, Column: 1, Reason: err.Error()}
	}
	p := y.GetToken().Position
	e := &SyntaxError{Line: p.Line, Column: p.Column, Reason: y.GetMessage(), Source: SourceLine(data, p.Line)}
	if strings.Contains(e.Source, "\t") && strings.TrimLeft(e.Source, " ") != strings.TrimLeft(e.Source, " \t") {
		e.Mend = "indent with spaces: YAML does not allow tabs"
	}
	if strings.HasPrefix(e.Reason, "tab character") {
		e.Reason, e.Mend = "a tab stands where blanks part one thing from the next", "write spaces instead"
	}
	if e.Mend == "" {
		e.Mend = yamlMend(e.Reason)
	}
	return e
}

// yamlMend says how to repair what the parser complains about.
func yamlMend(reason string) string {
	switch {
	case strings.Contains(reason, "pre-defined"):
		return "begin and end the text with the same quotes, and write quotes inside it as \\\""
	case strings.HasPrefix(reason, "mapping value is not allowed"):
		return "put text that holds a colon in quotes"
	case strings.HasPrefix(reason, "non-map value"):
		return "write a colon behind the key, or indent the line if it goes on from the one before"
	case strings.HasPrefix(reason, "value is not allowed"):
		return "begin keys and list entries of one level in the same column"
	}
	return ""
}

type yamlConverter struct {
	data    []byte
	anchors map[string]ast.Node
	nodes   int
}

func (c *yamlConverter) fail(n ast.Node, format string, args ...any) error {
	e := &SyntaxError{Line: 1, Column: 1, Reason: fmt.Sprintf(format, args...)}
	if t := n.GetToken(); t != nil && t.Position != nil {
		e.Line, e.Column, e.Source = t.Position.Line, t.Position.Column, SourceLine(c.data, t.Position.Line)
	}
	return e
}

// place sets the position of n's first token.
func place(out *Node, n ast.Node) *Node {
	if t := n.GetToken(); t != nil && t.Position != nil {
		out.Line, out.Column = t.Position.Line, t.Position.Column
	}
	return out
}

func (c *yamlConverter) node(n ast.Node, depth int) (*Node, error) {
	if c.nodes++; c.nodes > maxNodes {
		return nil, c.fail(n, "the document has too many values (anchors are expanded)")
	}
	if depth > maxDepth {
		return nil, c.fail(n, "the document is nested too deeply")
	}
	scalar := func(k NodeKind) (*Node, error) {
		return place(&Node{Kind: k, Text: strings.TrimSpace(n.GetToken().Value)}, n), nil
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return scalar(NodeNull)
	case *ast.BoolNode:
		return scalar(NodeBool)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar(NodeNumber)
	case *ast.StringNode:
		t := n.GetToken().Type.String()
		return place(&Node{Kind: NodeString, Text: n.Value, Quoted: strings.Contains(t, "Quote")}, n), nil
	case *ast.LiteralNode:
		return place(&Node{Kind: NodeString, Text: n.Value.Value, Quoted: true}, n), nil
	case *ast.SequenceNode:
		out := place(&Node{Kind: NodeList}, n)
		for _, v := range n.Values {
			it, err := c.node(v, depth+1)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, it)
		}
		return out, nil
	case *ast.MappingNode:
		return c.object(n, n.Values, depth)
	case *ast.MappingValueNode:
		return c.object(n, []*ast.MappingValueNode{n}, depth)
	case *ast.AnchorNode:
		c.anchors[n.Name.GetToken().Value] = n.Value
		return c.node(n.Value, depth+1)
	case *ast.AliasNode:
		target, ok := c.anchors[n.Value.GetToken().Value]
		if !ok {
			return nil, c.fail(n, "the alias *%s names no anchor before it", n.Value.GetToken().Value)
		}
		out, err := c.node(target, depth+1)
		if err != nil {
			return nil, err
		}
		out.Expanded = true
		return place(out, n), nil
	case *ast.TagNode:
		return c.tag(n, depth)
	case nil:
		return &Node{Kind: NodeNull}, nil
	}
	return nil, c.fail(n, "%s is not supported here", n.Type())
}

func (c *yamlConverter) tag(n *ast.TagNode, depth int) (*Node, error) {
	tag := n.Start.Value
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
	default:
		return nil, c.fail(n, "the tag %s is not supported", tag)
	}
	out, err := c.node(n.Value, depth+1)
	if err == nil && tag == "!!str" && out.Kind != NodeList && out.Kind != NodeObject {
		out.Kind, out.Quoted = NodeString, true
	}
	return out, err
}

func (c *yamlConverter) object(at ast.Node, values []*ast.MappingValueNode, depth int) (*Node, error) {
	out := &Node{Kind: NodeObject}
	if m, ok := at.(*ast.MappingNode); ok && m.IsFlowStyle || len(values) == 0 {
		place(out, at)
	} else {
		place(out, values[0].Key)
	}
	var inherited []*Node
	own := map[string]bool{}
	for _, v := range values {
		if v.Key.IsMergeKey() {
			merged, err := c.node(v.Value, depth+1)
			if err != nil {
				return nil, err
			}
			inherited = append(inherited, merged)
			inherited = append(inherited, merged.Items...)
			continue
		}
		key, err := c.key(v.Key)
		if err != nil {
			return nil, err
		}
		val, err := c.node(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		p := v.Key.GetToken().Position
		if val.Line == 0 {
			val.Line, val.Column = p.Line, p.Column
		}
		own[key] = true
		out.Members = append(out.Members, Member{Key: key, KeyLine: p.Line, KeyColumn: p.Column, Value: val})
	}
	out.Members = append(merge(inherited, own), out.Members...)
	out.Expanded = len(inherited) > 0
	return out, nil
}

// merge lists the members that merge keys add to an object: not those that it has itself, and of several with one name the first.
func merge(sources []*Node, own map[string]bool) []Member {
	var fresh []Member
	for _, s := range sources {
		for _, m := range s.Members {
			if !own[m.Key] {
				own[m.Key] = true
				fresh = append(fresh, m)
			}
		}
	}
	return fresh
}

func (c *yamlConverter) key(k ast.MapKeyNode) (string, error) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, nil
	case *ast.MappingKeyNode:
		if s, ok := k.Value.(*ast.StringNode); ok {
			return s.Value, nil
		}
		return "", c.fail(k, "only text can be a key")
	}
	return strings.TrimSpace(k.GetToken().Value), nil
}
