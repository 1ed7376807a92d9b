package task

import (
	"errors"
	"fmt"
	"strings"
)

// Code is one of a closed, append-only list of reasons. The ones of failed runs cross the wire and are stored.
type Code string

// The reasons a run can fail for (design section 3), then the codes of errors that are no run's.
const (
	ReasonExit        Code = "exit"         // the program ended with another code than 0
	ReasonOOM         Code = "oom"          // the memory limit was reached
	ReasonTimeout     Code = "timeout"      // a stage took too long
	ReasonNotReady    Code = "not-ready"    // the server never got ready
	ReasonBadResponse Code = "bad-response" // the server answered an error, or nothing that can be used
	ReasonInput       Code = "input"        // a value is missing or wrong
	ReasonOutput      Code = "output"       // an output is missing or wrong
	ReasonImage       Code = "image"        // the image cannot be built, loaded, pulled or started
	ReasonPolicy      Code = "policy"       // the operator does not allow it, or the machine cannot give it
	ReasonEngine      Code = "engine"       // our own fault; retried, never charged

	CodeUsage   Code = "usage"   // the command line or request is wrong
	CodePackage Code = "package" // the package is not valid
	CodeMissing Code = "missing" // something named does not exist

	CodeAccess   Code = "access"   // not signed in, or not allowed to this one
	CodeConflict Code = "conflict" // it contradicts what is there already
	CodeLimit    Code = "limit"    // too large, too many or too often
)

// Reasons lists why a run can fail.
func Reasons() []Code {
	return []Code{
		ReasonExit, ReasonOOM, ReasonTimeout, ReasonNotReady, ReasonBadResponse, ReasonInput, ReasonOutput, ReasonImage, ReasonPolicy, ReasonEngine,
	}
}

// Error is an error that people read: what, why, and what to do. Cause, when set, is kept for Unwrap.
type Error struct {
	Code    Code
	Message string // safe for people, says what and why, without a final full stop
	Hint    string // what to do; may be empty
	Cause   error
	// Findings of a package error, or one entry per wrong value.
	Findings []Finding
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an Error; %w keeps the cause reachable.
func Errorf(code Code, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	if cause := errors.Unwrap(wrapped); cause != nil {
		return &Error{Code: code, Message: strings.TrimSuffix(strings.TrimSuffix(wrapped.Error(), cause.Error()), ": "), Cause: cause}
	}
	return &Error{Code: code, Message: wrapped.Error()}
}

// WithHint returns e with the hint set.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// CodeOf returns the code of the first *Error in err's chain, and ReasonEngine for any other error.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ReasonEngine
}

// Severity of a finding.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // the package cannot be used
	SeverityWarning Severity = "warning" // passes on its platform, and fails or surprises later
	SeverityNote    Severity = "note"    // worth knowing
)

// The rules of inputs that were to be fetched by their address, which is the finding's file.
const (
	RuleInputDownload = "input-download" // it cannot be fetched
	RuleInputChecksum = "input-checksum" // its content is another
)

// Finding is one thing that was noticed about a package or a value.
type Finding struct {
	// Rule is a stable id, unique within its contract ("MECA006").
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// File is relative to the package; Line and Column count from 1, zero means unknown. Columns count characters.
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// What is wrong and why; Mend says what to do.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	Mend string `json:"mend,omitempty"`
}

// Position prints "file:line:col" as far as known, or "".
func (f Finding) Position() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(":%d", f.Line)
		if f.Column > 0 {
			s += fmt.Sprintf(":%d", f.Column)
		}
	}
	return s
}

// String prints the finding on one line.
func (f Finding) String() string {
	var b strings.Builder
	if p := f.Position(); p != "" {
		b.WriteString(p + ": ")
	}
	what := f.What
	if f.Why != "" || f.Mend != "" {
		what = strings.TrimSuffix(what, ".") // the sentence goes on
	}
	fmt.Fprintf(&b, "%s: %s", f.Severity, what)
	if f.Why != "" {
		fmt.Fprintf(&b, " (%s)", f.Why)
	}
	if f.Mend != "" {
		fmt.Fprintf(&b, "; %s", f.Mend)
	}
	fmt.Fprintf(&b, " [%s]", f.Rule)
	return b.String()
}

// HasErrors tells whether any finding is an error.
func HasErrors(fs []Finding) bool {
	for _, f := range fs {
		if f.Severity == SeverityError {
			return true
		}
	}
	return false
}
