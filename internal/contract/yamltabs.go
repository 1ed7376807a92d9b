package contract

import (
	"bytes"
	"strings"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// standIn takes the place of a tab while a document is split into tokens. It is no character of any text (Unicode, noncharacters).
const standIn = "\ufdd0"

// tokenize splits a document into tokens. The lexer drops tabs inside plain scalars ("1<tab>2" is the number 12 to it), and behind
// a tab in double quotes it loses as many characters: tabs inside text go past it as something else.
func tokenize(data []byte) (token.Tokens, error) {
	if !bytes.Contains(data, []byte("\t")) || bytes.Contains(data, []byte(standIn)) {
		return lexer.Tokenize(string(data)), nil
	}
	lines := strings.SplitAfter(string(data), "\n")
	for i, line := range lines {
		lines[i] = withoutTabs(line)
	}
	tokens := lexer.Tokenize(strings.Join(lines, ""))
	for _, t := range tokens {
		if t.Type == token.DoubleQuoteType && strings.Contains(strings.TrimSpace(t.Origin), "\t") {
			e := tokenError(data, t, "a tab stands inside double quotes")
			e.Mend = `write \t for it`
			return nil, e
		}
		t.Value, t.Origin = strings.ReplaceAll(t.Value, standIn, "\t"), strings.ReplaceAll(t.Origin, standIn, "\t")
	}
	return tokens, nil
}

// withoutTabs replaces the tabs of a line that have text on both sides. Those that may part two tokens stay.
func withoutTabs(line string) string {
	const blanks = " \t"
	var b strings.Builder
	for {
		before, after, found := strings.Cut(line, "\t")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		left, right := strings.TrimRight(b.String(), blanks+standIn), strings.TrimLeft(after, blanks)
		if left == "" || strings.ContainsAny(left[len(left)-1:], ":,-?[]{}\"'|>") || right == "" || strings.ContainsAny(right[:1], ":,#[]{}\r\n") {
			b.WriteByte('\t')
		} else {
			b.WriteString(standIn)
		}
		line = after
	}
}
