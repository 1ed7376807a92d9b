package iexec

import (
	"errors"
	"strings"

	"longshore/internal/contract"
)

// form is how a manifest is written.
type form string

// The forms a manifest may have (iExec reference, section 2.1). Which one it is depends on the content, never on the name.
const (
	formJSON     form = "JSON"
	formLenient  form = "JSON with JavaScript's liberties"
	formModule   form = "JavaScript module"
	formFragment form = "members without the outer braces"
)

// readDocument parses a manifest in any form. loose is the first thing that strict JSON does not allow, for the two forms
// that look like JSON; err is a *contract.SyntaxError.
func readDocument(data []byte) (n *contract.Node, f form, loose *contract.SyntaxError, err error) {
	n, strict := contract.ParseJSON(data)
	if strict == nil {
		return n, formJSON, nil, nil
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	if len(text) > maxScript && strings.HasPrefix(strings.TrimSpace(text), "{") {
		return nil, formJSON, nil, strict // too long for anything but strict JSON, so what is wrong with that is what helps
	}
	switch f = formOf(text); f {
	case formModule:
		n, err = readModule(text)
	case formFragment:
		n, err = readMembers(text)
		// The fragment may be strict but for its braces. They stand on the first line, so that only columns there move.
		if _, inner := contract.ParseJSON([]byte("{" + text + "\n}")); errors.As(inner, &loose) && loose.Line == 1 {
			loose.Column--
		}
	default:
		n, err = readObject(text)
		errors.As(strict, &loose)
	}
	if err != nil {
		return nil, f, nil, err
	}
	return n, f, loose, nil
}

// formOf looks at how the text starts.
func formOf(text string) form {
	s := newScript(text)
	start, second := token{}, token{}
	if _, err := s.run(func(s *script) *contract.Node {
		start = s.tok
		s.advance()
		second = s.tok
		return nil
	}); err != nil {
		// Whatever cannot be split into words fails again, with its reason, in the reader.
		if strings.HasPrefix(strings.TrimSpace(text), `"`) {
			return formFragment
		}
	}
	switch {
	case start.kind == tokenMark && (start.text == "{" || start.text == "["), start.kind == tokenEnd:
		return formLenient
	case start.kind == tokenString && !(second.kind == tokenMark && (second.text == ";" || second.text == ".")) && start.text != "use strict",
		start.kind == tokenWord && second.kind == tokenMark && second.text == ":":
		return formFragment
	}
	return formModule
}
