package image

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of trouble an Error is. The list is append-only.
type Kind string

// The kinds of errors.
const (
	// KindNotFound: no such image, tag, stage or file.
	KindNotFound Kind = "not-found"
	// KindArchitecture: the image exists, but for another platform.
	KindArchitecture Kind = "wrong-architecture"
	// KindUnauthorised: the registry refused the credentials, or wants some.
	KindUnauthorised Kind = "unauthorised"
	// KindNetwork: a registry or URL cannot be reached.
	KindNetwork Kind = "network"
	// KindCorrupt: a digest, size or structure is not what it claims to be.
	KindCorrupt Kind = "corrupt"
	// KindHostile: an archive or context tries something that no honest one needs.
	KindHostile Kind = "hostile"
	// KindLimit: a configured limit was passed.
	KindLimit Kind = "limit"
	// KindUnsupported: understood, but not something this package does.
	KindUnsupported Kind = "unsupported"
	// KindInvalid: the request itself makes no sense, for example a malformed reference.
	KindInvalid Kind = "invalid"
	// KindStore: the local store cannot be read or written.
	KindStore Kind = "store"
)

// Error is what every exported function of this package returns for trouble a person can act on. Build failures are
// *BuildError, which may wrap one of these.
type Error struct {
	Kind Kind
	// What names the thing: an image reference, an archive entry, a file.
	What string
	// Why says what is wrong with it.
	Why string
	// Hint says what to do about it; may be empty.
	Hint string
	// Err is the cause, may be nil.
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.What)
	if e.Why != "" {
		b.WriteString(": ")
		b.WriteString(e.Why)
	}
	if e.Err != nil && e.Why == "" {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString(" (")
		b.WriteString(e.Hint)
		b.WriteString(")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's chain, or "" when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// BuildError is a build that failed because of the Dockerfile, the context, or a command it ran.
type BuildError struct {
	// File is the Dockerfile as the caller named it; Line is 1-based, 0 when the trouble is not at one line.
	File string
	Line int
	// Instruction is the source text of the instruction, shortened; may be empty.
	Instruction string
	// ExitCode is the command's exit code when a RUN failed, else 0.
	ExitCode int
	// Log holds the last lines that a failed RUN wrote.
	Log []string
	// Hint says what to do about it; may be empty.
	Hint string
	Err  error
}

func (e *BuildError) Error() string {
	out := e.Place() + ": " + e.Err.Error()
	if e.Hint != "" {
		out += " (" + e.Hint + ")"
	}
	return out
}

// Place says where it failed, as far as is known: "Dockerfile:3: RUN make".
func (e *BuildError) Place() string {
	out := e.File
	if e.Line > 0 {
		out += fmt.Sprintf(":%d", e.Line)
	}
	if e.Instruction != "" {
		out += ": " + e.Instruction
	}
	return out
}

func (e *BuildError) Unwrap() error { return e.Err }
