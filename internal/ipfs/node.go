package ipfs

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of the two messages a block is made of: a dag-pb node, whose data is a UnixFS message.
const (
	nodeData, nodeLinks           = 1, 2
	linkHash, linkName, linkTotal = 1, 2, 3

	fsType, fsData, fsSize, fsBlockSizes, fsHash, fsFanout = 1, 2, 3, 4, 5, 6
)

// kind is UnixFS's DataType.
type kind uint64

const (
	kindRaw     kind = 0
	kindFolder  kind = 1
	kindFile    kind = 2
	kindSymlink kind = 4
	kindShard   kind = 5
)

func (k kind) String() string {
	switch k {
	case kindRaw, kindFile:
		return "file"
	case kindFolder, kindShard:
		return "folder"
	case kindSymlink:
		return "symbolic link"
	}
	return fmt.Sprintf("UnixFS object of type %d", uint64(k))
}

// link is a node's reference to another: its name in the node, and the size of all blocks below it, its own included.
type link struct {
	cid   CID
	name  string
	total uint64
}

// node is a block as UnixFS understands it.
type node struct {
	kind  kind
	data  []byte // a leaf's bytes, a symbolic link's target, a shard's bit field
	size  uint64 // of a file's content from here down
	links []link
	sizes []uint64 // of the content below each link of a file

	hash, fanout uint64 // of a shard
}

// encode appends the node's block to buf. Links come before the data and the data's fields in their order: the form that
// every implementation writes, so that equal content has one address.
func (n *node) encode(buf []byte) []byte {
	for _, l := range n.links {
		hash := l.cid.bytes()
		size := protowire.SizeTag(linkHash) + protowire.SizeBytes(len(hash)) + protowire.SizeTag(linkName) + protowire.SizeBytes(len(l.name)) +
			protowire.SizeTag(linkTotal) + protowire.SizeVarint(l.total)
		buf = protowire.AppendTag(buf, nodeLinks, protowire.BytesType)
		buf = protowire.AppendVarint(buf, uint64(size))
		buf = protowire.AppendTag(buf, linkHash, protowire.BytesType)
		buf = protowire.AppendBytes(buf, hash)
		buf = protowire.AppendTag(buf, linkName, protowire.BytesType)
		buf = protowire.AppendString(buf, l.name)
		buf = protowire.AppendTag(buf, linkTotal, protowire.VarintType)
		buf = protowire.AppendVarint(buf, l.total)
	}
	front := n.encodeFront()
	back := n.encodeBack()
	buf = protowire.AppendTag(buf, nodeData, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(len(front)+len(n.data)+len(back)))
	buf = append(buf, front...)
	buf = append(buf, n.data...)
	return append(buf, back...)
}

// encodeFront is the UnixFS message up to the bytes of its data.
func (n *node) encodeFront() []byte {
	front := protowire.AppendVarint(protowire.AppendTag(nil, fsType, protowire.VarintType), uint64(n.kind))
	if len(n.data) > 0 {
		front = protowire.AppendVarint(protowire.AppendTag(front, fsData, protowire.BytesType), uint64(len(n.data)))
	}
	return front
}

// encodeBack is the UnixFS message from behind its data. Folders have no size.
func (n *node) encodeBack() []byte {
	var back []byte
	if n.kind == kindFile {
		back = protowire.AppendVarint(protowire.AppendTag(back, fsSize, protowire.VarintType), n.size)
	}
	for _, s := range n.sizes {
		back = protowire.AppendVarint(protowire.AppendTag(back, fsBlockSizes, protowire.VarintType), s)
	}
	if n.kind == kindShard {
		back = protowire.AppendVarint(protowire.AppendTag(back, fsHash, protowire.VarintType), n.hash)
		back = protowire.AppendVarint(protowire.AppendTag(back, fsFanout, protowire.VarintType), n.fanout)
	}
	return back
}

// decode reads the block of a CID. The node's data points into block.
func decode(c CID, block []byte) (*node, error) {
	if c.codec == codecRaw {
		return &node{kind: kindRaw, data: block, size: uint64(len(block))}, nil
	}
	n := &node{}
	var data []byte
	err := fields(block, func(field protowire.Number, v value) error {
		switch {
		case field == nodeLinks && v.isBytes:
			l, err := decodeLink(v.bytes)
			n.links = append(n.links, l)
			return err
		case field == nodeData && v.isBytes && data == nil:
			data = v.bytes
			return nil
		}
		return fmt.Errorf("field %d is not one of dag-pb", field)
	})
	if err == nil && data == nil {
		err = errors.New("it has no UnixFS data")
	}
	if err == nil {
		err = n.decodeUnixFS(data)
	}
	if err == nil && len(n.sizes) != len(n.links) && n.kind == kindFile {
		err = fmt.Errorf("it has %d links and %d block sizes", len(n.links), len(n.sizes))
	}
	return n, err
}

func decodeLink(b []byte) (link, error) {
	var l link
	err := fields(b, func(field protowire.Number, v value) error {
		switch {
		case field == linkHash && v.isBytes:
			c, rest, err := readCID(v.bytes)
			if err == nil && len(rest) > 0 {
				err = errors.New("Invalid cid multihash string length")
			}
			l.cid = c
			return err
		case field == linkName && v.isBytes:
			l.name = string(v.bytes)
		case field == linkTotal && !v.isBytes:
			l.total = v.number
		default:
			return fmt.Errorf("field %d is not one of a dag-pb link", field)
		}
		return nil
	})
	if err == nil && l.cid == (CID{}) {
		err = errors.New("a link names no block")
	}
	return l, err
}

// decodeUnixFS reads the data of a node. Fields that are not known are passed over: newer ones carry times and permissions.
func (n *node) decodeUnixFS(data []byte) error {
	typed := false
	err := fields(data, func(field protowire.Number, v value) error {
		switch {
		case field == fsType && !v.isBytes:
			n.kind, typed = kind(v.number), true
		case field == fsData && v.isBytes:
			n.data = v.bytes
		case field == fsSize && !v.isBytes:
			n.size = v.number
		case field == fsBlockSizes && !v.isBytes:
			n.sizes = append(n.sizes, v.number)
		case field == fsBlockSizes:
			return n.packedSizes(v.bytes)
		case field == fsHash && !v.isBytes:
			n.hash = v.number
		case field == fsFanout && !v.isBytes:
			n.fanout = v.number
		}
		return nil
	})
	if err == nil && !typed {
		err = errors.New("its UnixFS data has no type")
	}
	return err
}

// packedSizes reads the sizes in the form that protobuf calls packed.
func (n *node) packedSizes(b []byte) error {
	for len(b) > 0 {
		v, size := protowire.ConsumeVarint(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		n.sizes, b = append(n.sizes, v), b[size:]
	}
	return nil
}

// value is the content of a protobuf field: bytes or a number.
type value struct {
	bytes   []byte
	number  uint64
	isBytes bool
}

// fields calls f for every field of a message.
func fields(b []byte, f func(protowire.Number, value) error) error {
	for len(b) > 0 {
		field, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("it is no protobuf message: %w", protowire.ParseError(n))
		}
		b = b[n:]
		var v value
		switch wire {
		case protowire.BytesType:
			v.isBytes = true
			v.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(field, wire, b)
		}
		if n < 0 {
			return fmt.Errorf("it is no protobuf message: %w", protowire.ParseError(n))
		}
		if err := f(field, v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
