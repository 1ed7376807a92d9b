package cytomine

import (
	"encoding/binary"
	"io"
	"math"
)

// tiffFacts is what the first directory of a TIFF file says.
type tiffFacts struct {
	width, height, samples int
	tiled                  bool
}

// maxTIFFTags bounds a directory; real ones have a few dozen tags.
const maxTIFFTags = 4096

// readTIFF reads the first directory of a TIFF or BigTIFF file. What cannot be read is zero.
func readTIFF(r io.ReaderAt) tiffFacts {
	facts := tiffFacts{samples: 1} // the tag's default
	var head [16]byte
	n, _ := r.ReadAt(head[:], 0) // short files have no directory
	if n < 8 {
		return facts
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	big := order.Uint16(head[2:]) == 43
	at, count, width := int64(order.Uint32(head[4:])), 2, 12
	if big {
		if n < 16 || order.Uint64(head[8:]) > math.MaxInt64/2 {
			return facts
		}
		at, count, width = int64(order.Uint64(head[8:])), 8, 20
	}
	var number [8]byte
	if _, err := r.ReadAt(number[:count], at); err != nil {
		return facts
	}
	tags := uint64(order.Uint16(number[:]))
	if big {
		tags = order.Uint64(number[:])
	}
	tag := make([]byte, width)
	for i := range min(tags, maxTIFFTags) {
		if _, err := r.ReadAt(tag, at+int64(count)+int64(i)*int64(width)); err != nil {
			return facts
		}
		facts.take(order, tag)
	}
	return facts
}

// take reads one tag of 12 or 20 bytes whose value stands in it.
func (f *tiffFacts) take(order binary.ByteOrder, tag []byte) {
	value := tag[8:]
	if len(tag) == 20 {
		value = tag[12:]
	}
	v := 0
	switch order.Uint16(tag[2:]) {
	case 1: // byte
		v = int(value[0])
	case 3: // short
		v = int(order.Uint16(value))
	case 4: // long
		v = int(order.Uint32(value))
	case 16: // long8
		if len(value) < 8 || order.Uint64(value) > math.MaxInt32 {
			return
		}
		v = int(order.Uint64(value))
	}
	switch order.Uint16(tag) {
	case 256:
		f.width = v
	case 257:
		f.height = v
	case 277:
		f.samples = v
	case 322, 323, 324, 325: // width, length, offsets and sizes of tiles
		f.tiled = true
	}
}
