package ipfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// readHeader reads the header of a CAR archive of version 1: the CBOR map {"roots": [CID…], "version": 1}.
func readHeader(r *counter, archive int64) ([]CID, error) {
	raw, err := r.section(nil, uint64(min(archive, 4096)))
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("its header: %w", err)
	}
	h := &cbor{rest: raw}
	var roots []CID
	version := uint64(0)
	for range h.head(cborMap, 2) {
		switch key := h.bytes(cborText); string(key) {
		case "roots":
			roots = h.cids()
		case "version":
			version = h.head(cborNumber, 2)
		default:
			h.fail("the header has an unknown member %q", key)
		}
	}
	if len(h.rest) > 0 {
		h.fail("something follows the header's map")
	}
	if version != 1 {
		h.fail("it is of version %d", version)
	}
	return roots, h.err
}

// The major types of CBOR that the header uses, and the tag of CIDs.
const (
	cborNumber = 0
	cborBytes  = 2
	cborText   = 3
	cborList   = 4
	cborMap    = 5
	cborTag    = 6

	tagCID = 42
)

// cbor reads the few kinds of values that a header consists of. After a failure everything it answers is empty.
type cbor struct {
	rest []byte
	err  error
}

func (c *cbor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
		c.rest = nil
	}
}

// head reads the beginning of a value of a major type: a number, or a length. It is at most limit.
func (c *cbor) head(major byte, limit uint64) uint64 {
	if len(c.rest) == 0 {
		c.fail("the header ends too early")
		return 0
	}
	first := c.rest[0]
	c.rest = c.rest[1:]
	v := uint64(first & 0x1f)
	if v == 24 && len(c.rest) > 0 { // one more byte
		v = uint64(c.rest[0])
		c.rest = c.rest[1:]
	} else if v >= 24 {
		c.fail("the header holds a number that does not belong there")
		return 0
	}
	if first>>5 != major || v > limit {
		c.fail("the header holds a value that does not belong there (type %d, %d)", first>>5, v)
		return 0
	}
	return v
}

func (c *cbor) bytes(major byte) []byte {
	n := c.head(major, 255)
	if n > uint64(len(c.rest)) {
		c.fail("the header ends too early")
		return nil
	}
	b := c.rest[:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cbor) cids() []CID {
	var list []CID
	for range c.head(cborList, maxRoots) {
		if c.head(cborTag, tagCID) != tagCID {
			c.fail("a root is not a CID")
		}
		raw := c.bytes(cborBytes)
		if c.err != nil {
			return nil
		}
		id, rest, err := readCID(bytes.TrimPrefix(raw, []byte{0}))
		if err != nil || len(rest) > 0 {
			c.fail("a root is not a CID of a folder: %w", errors.Join(err))
			return nil
		}
		list = append(list, id)
	}
	return list
}
