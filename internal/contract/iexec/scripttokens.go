package iexec

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type token struct {
	kind    tokenKind
	text    string // decoded for strings
	start   int
	newline bool // a line ended before the token
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString
	tokenNumber
	tokenTemplate // the opening back quote
	tokenMark
)

// marks are the punctuators, longer ones first.
var marks = []string{"...", "===", "!==", "=>", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "+=", "**",
	"{", "}", "[", "]", "(", ")", ",", ":", ";", ".", "=", "+", "-", "*", "/", "%", "!", "<", ">", "?", "&", "|", "^", "~"}

func (s *script) advance() {
	if s.steps--; s.steps < 0 {
		s.fail(s.tok.start, "write the values out", "the manifest computes longer than a manifest can need")
	}
	t := token{newline: s.skipSpace()}
	t.start = s.next
	rest := s.text[s.next:]
	if rest == "" {
		s.tok = t
		return
	}
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case r == '"' || r == '\'':
		t.kind, t.text = tokenString, s.scanString(rest[0])
	case r == '`':
		t.kind, t.text = tokenTemplate, "`"
		s.next++
	case r >= '0' && r <= '9', r == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		t.kind, t.text = tokenNumber, s.scanWhile(func(r rune) bool { return wordRune(r) || r == '.' })
		if e := s.text[s.next-1]; (e == 'e' || e == 'E') && !strings.HasPrefix(t.text, "0x") && s.next < len(s.text) && strings.IndexByte("+-", s.text[s.next]) >= 0 {
			s.next++
			t.text += s.text[s.next-1:s.next] + s.scanWhile(wordRune)
		}
	case r == '#' && lineStart(s.text[:s.next]):
		s.fail(s.next, "write // before it", "# begins no comment here")
	case wordRune(r) || r == '#' || r == '@':
		s.next += size
		t.kind, t.text = tokenWord, string(r)+s.scanWhile(wordRune)
	case strings.ContainsRune("“”„«»‘’", r):
		s.fail(s.next, `use the plain quote "`, "%c is a typographic quote", r)
	default:
		for _, m := range marks {
			if strings.HasPrefix(rest, m) {
				t.kind, t.text = tokenMark, m
				s.next += len(m)
				s.tok = t
				return
			}
		}
		s.fail(s.next, "remove it", "unexpected character %q", r)
	}
	s.tok = t
}

// lineStart tells whether nothing but space stands on the line before.
func lineStart(before string) bool {
	return strings.TrimSpace(before[strings.LastIndexByte(before, '\n')+1:]) == ""
}

func wordRune(r rune) bool {
	return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\u200c' || r == '\u200d'
}

func (s *script) scanWhile(is func(rune) bool) string {
	start := s.next
	for s.next < len(s.text) {
		r, size := utf8.DecodeRuneInString(s.text[s.next:])
		if !is(r) {
			break
		}
		s.next += size
	}
	return s.text[start:s.next]
}

// skipSpace passes white space and comments, and tells whether a line ended in them.
func (s *script) skipSpace() (newline bool) {
	for s.next < len(s.text) {
		rest := s.text[s.next:]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case r == '\n' || r == '\u2028' || r == '\u2029':
			newline = true
			s.next += size
		case unicode.IsSpace(r) || r == '\ufeff':
			s.next += size
		case strings.HasPrefix(rest, "//"), s.next == 0 && strings.HasPrefix(rest, "#!"):
			i := strings.IndexByte(rest, '\n')
			if i < 0 {
				i = len(rest)
			}
			s.next += i
		case strings.HasPrefix(rest, "/*"):
			i := strings.Index(rest, "*/")
			if i < 0 {
				s.fail(s.next, "write */ where it ends", "the comment is never closed")
			}
			newline = newline || strings.Contains(rest[:i], "\n")
			s.next += i + 2
		default:
			return newline
		}
	}
	return newline
}

func (s *script) scanString(quote byte) string {
	start := s.next
	s.next++
	var b strings.Builder
	for s.next < len(s.text) {
		switch c := s.text[s.next]; c {
		case quote:
			s.next++
			return b.String()
		case '\n':
			s.failOpen(start, quote)
		case '\\':
			s.escape(&b)
		default:
			b.WriteByte(c)
			s.next++
		}
	}
	s.failOpen(start, quote)
	return ""
}

func (s *script) failOpen(start int, quote byte) {
	line := s.lineFrom(start)
	mended := strings.TrimRight(line, ", ") + string(quote)
	if strings.HasSuffix(line, ",") {
		mended += ","
	}
	s.fail(start, "close it: "+mended, "the text that starts here is not closed on its line")
}

// escape decodes one backslash sequence.
func (s *script) escape(b *strings.Builder) {
	at := s.next
	s.next++
	if s.next >= len(s.text) {
		s.fail(at, "", "the file ends inside a text")
	}
	r, size := utf8.DecodeRuneInString(s.text[s.next:])
	s.next += size
	switch r {
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'v':
		b.WriteByte('\v')
	case '0':
		b.WriteByte(0)
	case '\r':
		if strings.HasPrefix(s.text[s.next:], "\n") {
			s.next++
		}
	case '\n':
	case 'x':
		b.WriteRune(s.hex(at, 2))
	case 'u':
		s.unicodeEscape(b, at)
	default:
		b.WriteRune(r)
	}
}

func (s *script) unicodeEscape(b *strings.Builder, at int) {
	if strings.HasPrefix(s.text[s.next:], "{") {
		end := strings.IndexByte(s.text[s.next:], '}')
		if end < 2 || end > 8 {
			s.fail(at, "", `a \u{…} escape holds one to six hexadecimal digits`)
		}
		s.next++
		r := s.hex(at, end-1)
		s.next++
		b.WriteRune(r)
		return
	}
	r := s.hex(at, 4)
	if r >= 0xd800 && r < 0xdc00 && strings.HasPrefix(s.text[s.next:], `\u`) {
		mark := s.next
		s.next += 2
		if low := s.hex(at, 4); low >= 0xdc00 && low < 0xe000 {
			b.WriteRune((r-0xd800)<<10 + (low - 0xdc00) + 0x10000)
			return
		}
		s.next = mark
	}
	b.WriteRune(r) // a lone surrogate becomes the replacement character
}

func (s *script) hex(at, digits int) rune {
	end := s.next + digits
	if end <= len(s.text) {
		if n, err := strconv.ParseUint(s.text[s.next:end], 16, 32); err == nil {
			s.next = end
			return rune(n)
		}
	}
	s.fail(at, `write \\ for a backslash`, "the escape has no %d hexadecimal digits", digits)
	return 0
}

func (s *script) is(mark string) bool { return s.tok.kind == tokenMark && s.tok.text == mark }

func (s *script) isWord(word string) bool { return s.tok.kind == tokenWord && s.tok.text == word }

func (s *script) accept(mark string) bool {
	if s.is(mark) {
		s.advance()
		return true
	}
	return false
}

func (s *script) expect(mark string) {
	if !s.accept(mark) {
		mend := fmt.Sprintf("write %s before it", mark)
		if s.tok.kind == tokenEnd {
			mend = "close every { [ ( and quote that was opened"
		}
		s.fail(s.tok.start, mend, "expected %s, found %s", mark, s.tok)
	}
}

func (s *script) word(what string) string {
	if s.tok.kind != tokenWord {
		s.fail(s.tok.start, "", "expected %s, found %s", what, s.tok)
	}
	w := s.tok.text
	s.advance()
	return w
}
