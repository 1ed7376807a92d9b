package iexec

import (
	"strings"
	"unicode/utf16"
)

// lenientHex decodes text as the library of iExec's workers does: an optional 0x, every character that is no hexadecimal digit
// counts as -1, and of an odd number of characters the first makes a byte of its own. Texts of one length that differ only in
// other characters therefore give the same bytes (iExec reference, sections 5.1 and 9).
func lenientHex(text string) []byte {
	digits := utf16.Encode([]rune(strings.TrimPrefix(text, "0x")))
	out := make([]byte, 0, len(digits)/2+1)
	if len(digits)%2 == 1 {
		out, digits = append(out, byte(hexDigit(digits[0]))), digits[1:]
	}
	for ; len(digits) > 0; digits = digits[2:] {
		out = append(out, byte(hexDigit(digits[0])<<4+hexDigit(digits[1])))
	}
	return out
}

func hexDigit(c uint16) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// isHex tells text that holds hexadecimal digits only, after an optional 0x.
func isHex(text string) bool {
	return strings.Trim(strings.TrimPrefix(text, "0x"), "0123456789abcdefABCDEF") == ""
}
