package iexec

import (
	"strings"

	"longshore/internal/contract"
)

// block is one object of the manifest with the path that leads to it, for messages. Its node is nil when it is absent.
type block struct {
	l    *loader
	node *contract.Node
	path string
}

// name is the path of a member.
func (b block) name(key string) string {
	if b.path == "" {
		return key
	}
	return b.path + "." + key
}

// block returns a member that is an object.
func (b block) block(key string) block {
	n := b.node.Get(key)
	if n.IsNull() {
		n = nil
	} else if n.Kind != contract.NodeObject {
		b.l.wrongKind(n, b.name(key), "an object")
		n = nil
	}
	return block{b.l, n, b.name(key)}
}

// text returns a member that is a text; absent and null ones are "".
func (b block) text(key string) string {
	n := b.node.Get(key)
	if n.IsNull() {
		return ""
	}
	if n.Kind != contract.NodeString {
		b.l.wrongKind(n, b.name(key), "a string")
		return ""
	}
	return n.Text
}

// known warns of members with other names.
func (b block) known(keys ...string) {
	if b.node == nil {
		return
	}
next:
	for _, m := range b.node.Members {
		for _, k := range keys {
			if m.Key == k {
				continue next
			}
		}
		mend := "remove it"
		if near := contract.Nearest(m.Key, keys); near != "" {
			mend = "did you mean " + near + "?"
		}
		where := ""
		if b.path != "" {
			where = " in " + b.path
		}
		b.l.add(ruleUnknownField, m.Pos(), mend, "unknown field %q%s: nothing reads it", shorten(m.Key), where)
	}
}

// isZeroAddress tells an address that names nothing, or none at all.
func isZeroAddress(s string) bool {
	return strings.Trim(strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X"), "0") == ""
}
