// Package v1 is what goes over the wire of the REST API, version 1: requests, answers and problems. Server and client share it.
// Fields are added, never renamed or removed; it knows neither HTTP nor the server behind it.
package v1

import (
	"fmt"
	"time"

	"longshore/internal/task"
)

// Problem is every error's answer (RFC 9457), with the media type ProblemType.
type Problem struct {
	Type   string `json:"type" doc:"Names the kind of problem: urn:longshore:problem:<code>"`
	Title  string `json:"title" doc:"The status in words"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty" doc:"What went wrong and why"`
	// Code is for programs.
	Code     task.Code      `json:"code" doc:"One of the closed list of codes, for programs"`
	Hint     string         `json:"hint,omitempty" doc:"What to do"`
	Findings []task.Finding `json:"findings,omitempty" nullable:"false" doc:"Each thing that is wrong, of a package or a request"`
	Request  string         `json:"request,omitempty" doc:"The request's ID, as in the header X-Request-Id and the server's log"`
}

// ProblemType is the media type of problems.
const ProblemType = "application/problem+json"

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type of the answer.
func (p *Problem) ContentType(string) string { return ProblemType }

// Err is the problem as the domain's error.
func (p *Problem) Err() *task.Error {
	msg := p.Detail
	if msg == "" {
		msg = fmt.Sprintf("the server answered %d %s", p.Status, p.Title)
	}
	e := &task.Error{Code: p.Code, Message: msg, Hint: p.Hint, Findings: p.Findings}
	if p.Status >= 500 && p.Request != "" {
		e.Message += " (request " + p.Request + ")"
	}
	return e
}

// File is a file of a run: an input, an output, or a file in one that is a folder.
type File struct {
	Path   string `json:"path" doc:"Relative, with slashes"`
	Digest string `json:"digest,omitempty" doc:"sha256:… of the content"`
	Size   int64  `json:"size" required:"false" doc:"In bytes; not needed in requests"`
	Mode   string `json:"mode,omitempty" enum:"dir,link" doc:"dir is an empty folder, link a symbolic link"`
	Target string `json:"target,omitempty" doc:"Of a link"`
}

// Upload is a file that was kept for runs and imports to come.
type Upload struct {
	Digest string `json:"digest" doc:"sha256:… of the content: what requests name it by"`
	Size   int64  `json:"size" doc:"In bytes"`
}

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent at the end"`
}

// Self is who a token belongs to.
type Self struct {
	Account   string    `json:"account"`
	Token     string    `json:"token" doc:"The token's ID"`
	Name      string    `json:"name,omitempty"`
	Scopes    []string  `json:"scopes" nullable:"false"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	Server    string    `json:"server" doc:"The name of the server that answered"`
	Version   string    `json:"version" doc:"The server's version"`
}
