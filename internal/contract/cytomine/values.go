package cytomine

import (
	"cmp"
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"longshore/internal/task"
)

// The App Engine's texts for values that break a constraint. Clients compare them.
const (
	msgGT         = "value must be greater than defined constraint"
	msgGE         = "value must be greater than or equal to define constraint"
	msgLT         = "value must be less than defined constraint"
	msgLE         = "value must be less than or equal to defined constraint"
	msgInfinity   = "value cannot be infinity"
	msgNaN        = "value cannot be nan"
	msgNoMatch    = "value does not match defined constraint."
	msgBefore     = "date must be before the defined constraint"
	msgAfter      = "date must be after the defined constraint"
	msgType       = "invalid parameter type"
	msgFileSize   = "invalid file size"
	msgFileFormat = "invalid file format"
	msgDimensions = "invalid collection dimensions"
)

// checkText tests a written-down value against its type and returns the App Engine's text for the first check that fails, or
// "". Lengths are counted in characters.
func checkText(t task.Type, s string) string {
	switch t.Kind {
	case task.Integer:
		if v, ok := task.ParseInteger(s); !ok || !v.IsInt64() {
			return msgType
		}
	case task.Enumeration:
		if utf8.RuneCountInString(s) > maxChoice || strings.ContainsAny(s, "\r\n") {
			return msgGT
		}
	case task.Datetime:
		if _, ok := isDateTime(s); !ok {
			return msgType
		}
	case task.Geometry:
		return checkGeometry([]byte(s), anyProperties)
	}
	return messageOf(t, task.Check(t, task.Value{Text: s}))
}

// messageOf translates a violation into the App Engine's text, "" for nil.
func messageOf(t task.Type, err error) string {
	if err == nil {
		return ""
	}
	return cmp.Or(wording().Of(t, err).Text, msgType)
}

// wording is how the App Engine words what is wrong with values.
func wording() task.Wording {
	w := task.Wording{
		"min-items": {Code: codeDimensions, Text: msgDimensions}, "max-items": {Code: codeDimensions, Text: msgDimensions},
		"file/kind": {}, "file/type": {}, "image/kind": {}, "image/type": {}, // what is no file on this machine, no server is ever given
	}
	for rule, text := range map[string]string{
		"gt": msgGT, "ge": msgGE, "lt": msgLT, "le": msgLE, "infinity": msgInfinity, "nan": msgNaN,
		"min-length": msgGT, "max-length": msgGE, // upstream uses the texts of the bounds for lengths
		"choices": msgNoMatch, "before": msgBefore, "after": msgAfter,
		"kind": msgType, "boolean/kind": msgNoMatch, "geometry/kind": msgNoGeoJSON,
		"type": msgType, "boolean/type": msgNoMatch, "enumeration/type": msgNoMatch,
		"file/max-bytes": msgFileSize, "image/max-bytes": msgImageSize,
	} {
		w[rule] = task.Words{Code: codeValue, Text: text}
	}
	return w
}

// The documented forms of an integer in a file: binary, hexadecimal, decimal, and octal after a leading zero.
var (
	binaryForm  = regexp.MustCompile(`^([-+]?)0b([0-1_]+)$`)
	hexForm     = regexp.MustCompile(`^([-+]?)0x([0-9a-fA-F_]+)$`)
	octalForm   = regexp.MustCompile(`^([-+]?)0([0-7_]+)$`)
	decimalForm = regexp.MustCompile(`^([-+]?)(0|[1-9][0-9_]*)$`)
)

// parseInteger reads an integer as the I/O documentation writes it. octal tells that a leading zero made it octal, which
// today's App Engine reads as decimal.
func parseInteger(s string) (v *big.Int, octal, ok bool) {
	for _, f := range []struct {
		form *regexp.Regexp
		base int
	}{{decimalForm, 10}, {octalForm, 8}, {binaryForm, 2}, {hexForm, 16}} {
		m := f.form.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		digits := strings.ReplaceAll(m[2], "_", "")
		if len(digits) > maxMemoryText {
			return nil, false, false
		}
		v, ok := new(big.Int).SetString(m[1]+digits, f.base)
		return v, f.base == 8 && digits != "" && strings.Trim(digits, "0") != "", ok
	}
	return nil, false, false
}

// specialNumber reads NaN and the infinities in any letter case, as values of numbers have them.
func specialNumber(s string) (string, bool) {
	sign, rest := "", strings.ToLower(s)
	if cut, ok := strings.CutPrefix(rest, "-"); ok {
		sign, rest = "-", cut
	} else {
		rest = strings.TrimPrefix(rest, "+")
	}
	switch rest {
	case "nan":
		return "NaN", true
	case "inf", "infinity":
		return sign + "Infinity", true
	}
	return "", false
}

// parseNumber reads a number from a file. The result is a JSON number, or "NaN", "Infinity" or "-Infinity".
func parseNumber(s string) (string, bool) {
	if special, ok := specialNumber(s); ok {
		return special, true
	}
	if strings.ContainsAny(s, "xXpP_") {
		return "", false
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case math.IsInf(f, 0): // larger than any double
		return specialNumber(strconv.FormatFloat(f, 'g', -1, 64))
	case err != nil:
		return "", false
	case json.Valid([]byte(s)):
		return s, true
	}
	return strconv.FormatFloat(f, 'g', -1, 64), true
}

// written is the text of an input's file: the value as it is, and for NaN and the infinities the documented spelling.
func written(k task.Kind, s string) string {
	if k != task.Number {
		return s
	}
	switch s {
	case "NaN":
		return "nan"
	case "Infinity":
		return "inf"
	case "-Infinity":
		return "-inf"
	}
	return s
}

// trimmed removes what Java's String.trim does: every character up to U+0020 at both ends.
func trimmed(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}
