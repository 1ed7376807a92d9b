package web

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// node is a JSON value as a tree that can be opened and closed.
type node struct {
	// Name is the member's, or the number in a list.
	Name string
	// Value is what is not a list or an object, as it was written; Kind names its colour.
	Value, Kind string
	// Says tells what a list or an object holds.
	Says     string
	Children []*node
	Open     bool
	// Cut tells that there are more children.
	Cut bool
}

// The bounds of a tree.
const (
	maxNodes = 2000
	maxDepth = 30
	// openDepth is how deep a tree is open to begin with.
	openDepth = 4
)

// tree reads a JSON document, numbers as they were written and members in their order. Of one that ends too early or is not valid,
// it has what comes before that.
func tree(data []byte) *node {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	left := maxNodes
	n, err := readNode(d, &left, 0)
	if err != nil && n == nil {
		return &node{Value: string(data)}
	}
	return n
}

func readNode(d *json.Decoder, left *int, depth int) (*node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		return readChildren(d, t, left, depth)
	case string:
		return &node{Value: quote(t), Kind: "string"}, nil
	case json.Number:
		return &node{Value: t.String(), Kind: "number"}, nil
	case nil:
		return &node{Value: "null", Kind: "null"}, nil
	}
	return &node{Value: fmt.Sprint(token), Kind: "boolean"}, nil
}

// quote writes a string as JSON does, but for what only HTML minds.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return s
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func readChildren(d *json.Decoder, open json.Delim, left *int, depth int) (*node, error) {
	n := &node{Open: depth < openDepth}
	count := 0
	var broken error
	for ; d.More(); count++ {
		name := fmt.Sprint(count)
		if open == '{' {
			token, err := d.Token()
			if err != nil {
				broken = err
				break
			}
			name = fmt.Sprint(token)
		}
		room := left
		keep := depth < maxDepth && *left > 0
		if keep {
			*left--
		} else {
			room = new(int) // nothing in it is kept either
		}
		child, err := readNode(d, room, depth+1)
		if broken = err; child == nil {
			break
		}
		child.Name = name
		if keep {
			n.Children = append(n.Children, child)
		}
		n.Cut = n.Cut || !keep // it is read on to be counted
		if broken != nil {
			count++
			break
		}
	}
	if broken == nil {
		_, broken = d.Token()
	}
	more := ""
	if broken != nil {
		n.Cut, more = true, "…"
	}
	n.Says = fmt.Sprintf("[%d%s]", count, more)
	if open == '{' {
		n.Says = fmt.Sprintf("{%d%s}", count, more)
	}
	n.Open = n.Open && count <= 50
	return n, broken
}
