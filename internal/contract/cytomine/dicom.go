package cytomine

import (
	"encoding/binary"
	"io"
	"strings"
)

// dicom walks the elements of a DICOM file.
type dicom struct {
	r        io.ReaderAt
	at, size int64
	order    binary.ByteOrder
	// implicit tells that elements do not say their type.
	implicit bool
	// left bounds the elements that are looked at.
	left int
}

// Transfer syntaxes that change how elements are read.
const (
	implicitLittle = "1.2.840.10008.1.2"
	explicitBig    = "1.2.840.10008.1.2.2"
	deflated       = "1.2.840.10008.1.2.1.99"
)

const (
	undefinedLength  = 0xffffffff
	maxDICOMElements = 100_000
	maxDICOMDepth    = 16
)

// dicomSize reads Columns and Rows, zero when they cannot be found.
func dicomSize(r io.ReaderAt, size int64) (width, height int) {
	d := &dicom{r: r, at: 132, size: size, order: binary.LittleEndian, left: maxDICOMElements}
	switch d.meta() {
	case implicitLittle:
		d.implicit = true
	case explicitBig:
		d.order = binary.BigEndian
	case deflated:
		return 0, 0
	}
	for {
		e, ok := d.next()
		if !ok || e.group > 0x0028 || e.group == 0x0028 && e.element > 0x0011 {
			return width, height
		}
		if e.group == 0x0028 && (e.element == 0x0010 || e.element == 0x0011) && e.length == 2 {
			var b [2]byte
			if _, err := r.ReadAt(b[:], d.at); err != nil {
				return width, height
			}
			if v := int(d.order.Uint16(b[:])); e.element == 0x0010 {
				height = v
			} else {
				width = v
			}
		}
		if !d.skip(e, 0) {
			return width, height
		}
	}
}

// element is the head of one element; d.at stands behind it.
type element struct {
	group, element uint16
	length         uint32
}

// meta reads the file's group 2, always explicit and little-endian, and returns the transfer syntax.
func (d *dicom) meta() string {
	syntax := ""
	for {
		start := d.at
		e, ok := d.next()
		if !ok || e.group != 2 {
			d.at = start
			return syntax
		}
		if e.element == 0x0010 && e.length <= 128 {
			b := make([]byte, e.length)
			if _, err := d.r.ReadAt(b, d.at); err == nil {
				syntax = strings.TrimRight(string(b), "\x00 ")
			}
		}
		if !d.skip(e, 0) {
			return syntax
		}
	}
}

// next reads an element's head.
func (d *dicom) next() (element, bool) {
	var b [12]byte
	if d.left--; d.left < 0 || d.at < 0 || d.at+8 > d.size {
		return element{}, false
	}
	n, _ := d.r.ReadAt(b[:], d.at) // the last head may be shorter
	if n < 8 {
		return element{}, false
	}
	e := element{group: d.order.Uint16(b[0:]), element: d.order.Uint16(b[2:])}
	if d.implicit || e.group == 0xfffe {
		e.length = d.order.Uint32(b[4:])
		d.at += 8
		return e, true
	}
	switch string(b[4:6]) {
	case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
		if n < 12 {
			return element{}, false
		}
		e.length = d.order.Uint32(b[8:])
		d.at += 12
	default:
		e.length = uint32(d.order.Uint16(b[6:]))
		d.at += 8
	}
	return e, true
}

// skip moves behind an element's value, which may be a sequence without length.
func (d *dicom) skip(e element, depth int) bool {
	if e.length != undefinedLength {
		d.at += int64(e.length)
		return d.at <= d.size
	}
	if depth > maxDICOMDepth {
		return false
	}
	for {
		in, ok := d.next()
		switch {
		case !ok:
			return false
		case in.group == 0xfffe && (in.element == 0xe0dd || in.element == 0xe00d): // the end of a sequence, of an item
			return true
		case !d.skip(in, depth+1):
			return false
		}
	}
}
