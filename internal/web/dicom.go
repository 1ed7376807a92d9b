package web

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// element is one entry of a DICOM header, for people.
type element struct{ Tag, Name, Value string }

// isDICOM tells a file of DICOM part 10 by its mark.
func isDICOM(head []byte) bool { return len(head) > 132 && string(head[128:132]) == "DICM" }

const (
	maxElements = 200
	pixelData   = 0x7FE00010
	// undefined is the length of what is closed by a mark.
	undefined = 0xFFFFFFFF
)

// The transfer syntaxes that say how a header is written, where that is not little endian with types.
const (
	implicitLittle = "1.2.840.10008.1.2"
	deflated       = "1.2.840.10008.1.2.1.99"
	explicitBig    = "1.2.840.10008.1.2.2"
)

// dicomHeader reads the elements before the pixels, as far as head reaches. Of files that are compressed as a whole or written
// big endian, it shows the meta information alone.
func dicomHeader(head []byte) []element {
	d := dicom{data: head, at: 132, typed: true}
	var list []element
	syntax := ""
	for len(list) < maxElements {
		if d.at+8 <= len(d.data) && binary.LittleEndian.Uint16(d.data[d.at:]) != 2 && syntax != "" {
			if syntax == deflated || syntax == explicitBig {
				return list
			}
			d.typed = syntax != implicitLittle
			syntax = ""
		}
		tag, e, ok := d.next()
		if !ok || tag == pixelData {
			return list
		}
		if tag == 0x00020010 {
			syntax = e.Value
		}
		list = append(list, e)
	}
	return list
}

// dicom reads elements in turn.
type dicom struct {
	data  []byte
	at    int
	typed bool // each element says its type
}

// longTypes have a length of four bytes.
const longTypes = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"

func (d *dicom) next() (tag uint32, e element, ok bool) {
	if d.at+8 > len(d.data) {
		return 0, e, false
	}
	le := binary.LittleEndian
	tag = uint32(le.Uint16(d.data[d.at:]))<<16 | uint32(le.Uint16(d.data[d.at+2:]))
	vr, length := "", le.Uint32(d.data[d.at+4:])
	d.at += 8
	if d.typed && tag>>16 != 0xFFFE {
		vr, length = string(d.data[d.at-4:d.at-2]), uint32(le.Uint16(d.data[d.at-2:]))
		if strings.Contains(longTypes, vr) {
			if d.at+4 > len(d.data) {
				return 0, e, false
			}
			length = le.Uint32(d.data[d.at:])
			d.at += 4
		}
	}
	e = element{Tag: fmt.Sprintf("(%04x,%04x)", tag>>16, tag&0xFFFF), Name: dicomNames[tag]}
	if length == undefined { // a sequence: its items follow as elements
		e.Value = "sequence"
		return tag, e, true
	}
	if tag>>16 == 0xFFFE { // the marks of items: what is in them follows
		return tag, e, true
	}
	if int64(length) > int64(len(d.data)-d.at) {
		return tag, e, tag == pixelData
	}
	e.Value = dicomValue(vr, tag, d.data[d.at:d.at+int(length)])
	d.at += int(length)
	return tag, e, true
}

// dicomValue writes a value for people.
func dicomValue(vr string, tag uint32, v []byte) string {
	le := binary.LittleEndian
	if vr == "" && numeric[tag] {
		vr = "US"
	}
	switch {
	case vr == "US" && len(v) >= 2:
		return fmt.Sprint(le.Uint16(v))
	case vr == "SS" && len(v) >= 2:
		return fmt.Sprint(int16(le.Uint16(v)))
	case vr == "UL" && len(v) >= 4:
		return fmt.Sprint(le.Uint32(v))
	case vr == "SL" && len(v) >= 4:
		return fmt.Sprint(int32(le.Uint32(v)))
	case vr == "SQ":
		return "sequence"
	}
	text := strings.TrimRight(string(v), " \x00")
	if len(text) > 256 || !isText([]byte(text), false) {
		return fmt.Sprintf("%d bytes", len(v))
	}
	return text
}

// numeric are the common elements that are two-byte numbers, for files that do not say types.
var numeric = map[uint32]bool{
	0x00280002: true, 0x00280010: true, 0x00280011: true, 0x00280100: true, 0x00280101: true, 0x00280102: true, 0x00280103: true,
}

// dicomNames are the elements that people look for.
var dicomNames = map[uint32]string{
	0x00020002: "Media Storage SOP Class UID", 0x00020003: "Media Storage SOP Instance UID", 0x00020010: "Transfer Syntax UID",
	0x00020012: "Implementation Class UID", 0x00020013: "Implementation Version Name",
	0x00080005: "Specific Character Set", 0x00080008: "Image Type", 0x00080016: "SOP Class UID", 0x00080018: "SOP Instance UID",
	0x00080020: "Study Date", 0x00080021: "Series Date", 0x00080030: "Study Time", 0x00080050: "Accession Number", 0x00080060: "Modality",
	0x00080070: "Manufacturer", 0x00080080: "Institution Name", 0x00080090: "Referring Physician's Name", 0x00081030: "Study Description",
	0x0008103E: "Series Description", 0x00081090: "Manufacturer's Model Name",
	0x00100010: "Patient's Name", 0x00100020: "Patient ID", 0x00100030: "Patient's Birth Date", 0x00100040: "Patient's Sex",
	0x00101010: "Patient's Age", 0x00180015: "Body Part Examined", 0x00180050: "Slice Thickness", 0x00180060: "KVP",
	0x00181030: "Protocol Name", 0x0020000D: "Study Instance UID", 0x0020000E: "Series Instance UID", 0x00200010: "Study ID",
	0x00200011: "Series Number", 0x00200013: "Instance Number", 0x00200032: "Image Position (Patient)",
	0x00200037: "Image Orientation (Patient)", 0x00280002: "Samples per Pixel", 0x00280004: "Photometric Interpretation",
	0x00280008: "Number of Frames", 0x00280010: "Rows", 0x00280011: "Columns", 0x00280030: "Pixel Spacing", 0x00280100: "Bits Allocated",
	0x00280101: "Bits Stored", 0x00280102: "High Bit", 0x00280103: "Pixel Representation", 0x00281050: "Window Center",
	0x00281051: "Window Width", 0x00281052: "Rescale Intercept", 0x00281053: "Rescale Slope",
	0xFFFEE000: "item", 0xFFFEE00D: "end of item", 0xFFFEE0DD: "end of sequence",
}
