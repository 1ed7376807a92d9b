package meca

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"longshore/internal/contract"
)

// maxText bounds name.txt, description.txt, config.json and the Dockerfile.
const maxText = 8 << 20

// text reads name.txt or description.txt, trimmed and safe to print: what is no text is replaced or left out.
func (l *loader) text(e string) string {
	data, err := l.read(e, maxText)
	if err != nil {
		l.found(ruleText, e, contract.At{}, "%s cannot be read: %v", e, err).Mend = "write a short text into it"
		return ""
	}
	if at, ok := badUTF8(data); ok {
		l.found(ruleText, e, at, "%s is not UTF-8", e).Mend = "save it as UTF-8"
	}
	s := trim(strings.ToValidUTF8(string(data), "\ufffd"))
	if s == "" {
		add := l.found(ruleText, e, contract.At{}, "%s is empty", e)
		add.Why = "MECA lists tasks by name and description"
		add.Mend = "describe the task in it"
	}
	clean := printable(s)
	if utf8.Valid(data) && len(clean) != len(lines(s)) {
		l.found(ruleText, e, contract.At{}, "%s holds control characters; they are left out", e).Mend = "remove them"
	}
	return clean
}

// title reads name.txt, of which one line counts.
func (l *loader) title() string {
	all := strings.Split(l.text(nameText), "\n")
	if n := len(all); n > 1 {
		add := l.found(ruleText, nameText, contract.At{Line: 2}, "name.txt has %d lines; only the first is shown", n)
		add.Mend = "move the rest to description.txt"
	}
	return trim(all[0])
}

// badUTF8 returns the place of the first byte that is not UTF-8.
func badUTF8(data []byte) (contract.At, bool) {
	line, start := 1, 0
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return contract.At{Line: line, Column: utf8.RuneCount(data[start:i]) + 1}, true
		}
		i += size
		if r == '\n' {
			line, start = line+1, i
		}
	}
	return contract.At{}, false
}

// printable returns s with line ends as \n and without the control characters that could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) && !bidi(r) {
			return r
		}
		return -1
	}, lines(s))
}

// lines returns s with every line end as \n.
func lines(s string) string { return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s) }

// bidi tells the characters that change the direction of what follows them.
func bidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// show returns a name from the package as it can be put into a message: quoted when it is not plain, and shortened.
func show(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	if s == "" || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return strconv.Quote(s)
	}
	return s
}

// pngSignature begins every PNG image; pngDamaged is what a tool leaves of it that takes CR LF for a line end.
const (
	pngSignature = "\x89PNG\r\n\x1a\n"
	pngDamaged   = "\x89PNG\n\x1a\n"
)

// damaged tells that an example is a PNG image spoiled by line-end conversion.
func damaged(data []byte) bool { return bytes.HasPrefix(data, []byte(pngDamaged)) }

func (l *loader) png(e string, data []byte) {
	if damaged(data) {
		add := l.found(rulePNG, e, contract.At{}, "%s: PNG signature damaged (CR LF turned into LF); the file is corrupt", e)
		add.Why = "a PNG image begins with " + strconv.QuoteToASCII(pngSignature)
		add.Mend = "copy the image again as binary (with git: *.bin -text in .gitattributes)"
	}
}

// exampleInput looks at the promised request body. The seed says "any json object"; MECA never looks.
func (l *loader) exampleInput() {
	data, err := l.read(exampleInput, maxBody)
	if err != nil {
		l.found(ruleInput, exampleInput, contract.At{}, "%s %v; it cannot be sent", exampleInput, err).Mend = "give a smaller example"
		return
	}
	if at, reason := jsonProblem(data); reason != "" {
		add := l.found(ruleInput, exampleInput, at, "example_input.bin is not valid JSON (%s); it will be sent as it is", reason)
		add.Why = "a MECA task takes JSON"
		add.Mend = "write the request's body exactly, without the quotes of a shell"
	}
	l.png(exampleInput, data)
}

// jsonProblem says where and why data is no JSON document, with "" when it is one.
func jsonProblem(data []byte) (contract.At, string) {
	if at, bad := badUTF8(data); bad {
		return at, "not UTF-8"
	}
	if len(data) > maxText {
		if json.Valid(data) {
			return contract.At{}, ""
		}
		return contract.At{}, "syntax error"
	}
	if _, err := contract.ParseJSON(data); err != nil && !json.Valid(data) {
		at, reason := syntaxAt(err)
		return at, reason
	}
	return contract.At{}, ""
}

// exampleOutput looks at the promised reply.
func (l *loader) exampleOutput() {
	data, err := l.read(exampleOutput, maxBody)
	if err != nil {
		l.found(ruleOutput, exampleOutput, contract.At{}, "%s %v; it cannot be compared", exampleOutput, err).Mend = "give a smaller example"
		return
	}
	if at, bad := badUTF8(data); bad {
		add := l.found(ruleOutput, exampleOutput, at, "example_output.bin is binary; MECA clients receive results as text, so the example cannot match")
		add.Mend = "answer binary results as base64 text"
	}
	l.png(exampleOutput, data)
}
