package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"longshore/internal/access"
	v1 "longshore/internal/api/v1"
	"longshore/internal/blob"
	"longshore/internal/contract"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// statuses is the one table from codes to HTTP.
var statuses = map[task.Code]int{
	task.CodeUsage:    http.StatusBadRequest,
	task.CodePackage:  http.StatusUnprocessableEntity,
	task.CodeMissing:  http.StatusNotFound,
	task.CodeAccess:   http.StatusForbidden,
	task.CodeConflict: http.StatusConflict,
	task.CodeLimit:    http.StatusTooManyRequests,

	task.ReasonInput:       http.StatusUnprocessableEntity,
	task.ReasonPolicy:      http.StatusForbidden,
	task.ReasonImage:       http.StatusUnprocessableEntity,
	task.ReasonOutput:      http.StatusUnprocessableEntity,
	task.ReasonExit:        http.StatusUnprocessableEntity,
	task.ReasonOOM:         http.StatusUnprocessableEntity,
	task.ReasonBadResponse: http.StatusBadGateway,
	task.ReasonNotReady:    http.StatusGatewayTimeout,
	task.ReasonTimeout:     http.StatusGatewayTimeout,
	task.ReasonEngine:      http.StatusServiceUnavailable,
}

// causes is what HTTP has a status of its own for. They go before the codes.
var causes = []struct {
	err    error
	status int
	code   task.Code // empty keeps the error's
}{
	{access.ErrUnknown, http.StatusUnauthorized, ""},
	{durable.ErrDraining, http.StatusServiceUnavailable, ""},
	{blob.ErrTooLarge, http.StatusRequestEntityTooLarge, task.CodeLimit},
	{blob.ErrFull, http.StatusInsufficientStorage, ""},
	{store.ErrFull, http.StatusInsufficientStorage, ""},
	{store.ErrConflict, http.StatusConflict, task.CodeConflict},
}

// refusal is an error whose status no table knows: it is about HTTP itself.
type refusal struct {
	status int
	err    *task.Error
	after  time.Duration // when to try again; zero for no word of it
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// problemOf translates an error. One that nobody meant for people is told to the log alone.
func problemOf(err error) *v1.Problem {
	if p, ok := errors.AsType[*v1.Problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*task.Error](err)
	switch {
	case !ok && errors.Is(err, blob.ErrAway):
		e = (&task.Error{Code: task.ReasonEngine, Message: "the server's storage of files does not answer"}).WithHint("try again; nothing was accepted that was not answered for")
	case !ok:
		e = (&task.Error{Code: task.ReasonEngine, Message: "the server failed to answer this request"}).WithHint("the operator finds the reason in the server's log, by the request's ID")
		return problem(http.StatusInternalServerError, e)
	}
	status, known := statuses[e.Code]
	if !known {
		status = http.StatusInternalServerError
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			status = c.status
			if c.code != "" {
				e = &task.Error{Code: c.code, Message: e.Message, Hint: e.Hint, Findings: e.Findings}
			}
			break
		}
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		status = r.status
	}
	return problem(status, e)
}

func problem(status int, e *task.Error) *v1.Problem {
	detail := e.Message
	if e.Cause != nil && e.Code != task.ReasonEngine && e.Code != task.CodeAccess {
		detail = e.Error() // what our own parts say among themselves is for the log
	}
	return &v1.Problem{
		Type: "urn:longshore:problem:" + string(e.Code), Title: http.StatusText(status), Status: status, Detail: detail,
		Code: e.Code, Hint: e.Hint, Findings: e.Findings,
	}
}

// fail answers with an error, unless an answer was begun: that is cut off then, so that nobody takes it for whole.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.note(w, r, err)
	p := problemOf(err)
	p.Request = w.Header().Get(requestHeader)
	if out := writerOf(w); out != nil && out.status != 0 {
		panic(http.ErrAbortHandler)
	}
	setRetry(w.Header(), p, err)
	w.Header().Set("Content-Type", v1.ProblemType)
	w.Header().Del("Content-Length")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that has gone
}

func writerOf(w http.ResponseWriter) *writer {
	out, _ := w.(*writer)
	return out
}

// setRetry says when to come again, and how to show who one is.
func setRetry(h http.Header, p *v1.Problem, err error) {
	switch r, ok := errors.AsType[*refusal](err); {
	case ok && r.after > 0:
		h.Set("Retry-After", strconv.Itoa(int((r.after+time.Second-1)/time.Second)))
	case p.Status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "2")
	case p.Status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="longshore"`)
	}
}

// note tells the operator of what is not the client's fault.
func (a *API) note(w http.ResponseWriter, r *http.Request, err error) {
	if problemOf(err).Status < 500 || errors.Is(err, durable.ErrDraining) || errors.Is(err, context.Canceled) || r.Context().Err() != nil {
		return
	}
	a.cfg.Log.Error("answering a request failed", "request", w.Header().Get(requestHeader), "method", r.Method, "path", r.URL.Path, "error", err)
}

// translate turns the framework's errors, which are about the form of requests, into problems.
func (t translator) translate(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	e := &task.Error{Code: task.CodeUsage, Message: m.Detail}
	switch m.Status {
	case http.StatusRequestEntityTooLarge:
		e.Code, e.Message, e.Hint = task.CodeLimit, "the request is larger than "+task.Bytes(maxJSON).String(), "send files as files, not within JSON"
	case http.StatusRequestTimeout:
		e.Message = "the request's body did not arrive in time"
	case http.StatusUnsupportedMediaType:
		return asked(ctx, problemOf(noMediaType(ctx.Header("Content-Type"), "application/json"))), nil
	}
	var schema *huma.Schema
	op := ctx.Operation()
	if op.RequestBody != nil && op.RequestBody.Content["application/json"] != nil {
		schema = op.RequestBody.Content["application/json"].Schema
	}
	f := former{schema: schema, registry: t.registry, parameters: op.Parameters}
	for _, d := range m.Errors {
		f.add(d)
	}
	return asked(ctx, problem(m.Status, f.wrong(e))), nil
}

// asked says in a problem which request it is about.
func asked(ctx huma.Context, p *v1.Problem) *v1.Problem {
	_, w := humago.Unwrap(ctx)
	p.Request = w.Header().Get(requestHeader)
	return p
}

type translator struct{ registry huma.Registry }

// former makes findings of what is wrong with the form of a request.
type former struct {
	schema     *huma.Schema // of the body
	registry   huma.Registry
	parameters []*huma.Param
	found      []task.Finding
}

// The framework's words for what nobody knows.
const (
	unknownProperty  = "unexpected property"
	unknownParameter = "unknown query parameter"
)

func (f *former) add(d *huma.ErrorDetail) {
	if d == nil {
		return
	}
	finding := task.Finding{Rule: "request", Severity: task.SeverityError, What: d.Message}
	if d.Location != "" && d.Location != "body" {
		finding.What = d.Location + ": " + d.Message
	}
	var names []string
	last := d.Location[strings.LastIndexByte(d.Location, '.')+1:]
	switch d.Message {
	case unknownProperty:
		names = f.properties(d.Location)
	case unknownParameter:
		for _, p := range f.parameters {
			if p.In == "query" {
				names = append(names, p.Name)
			}
		}
	}
	if near := contract.Nearest(last, names); near != "" {
		finding.Mend = fmt.Sprintf("did you mean %s?", near)
	} else if len(names) > 0 && len(names) <= 30 {
		finding.Mend = "there are: " + strings.Join(names, ", ")
	}
	f.found = append(f.found, finding)
}

// properties lists what could stand at a place of the body, beside its last element.
func (f *former) properties(location string) []string {
	words := strings.Split(location, ".")
	s := f.resolve(f.schema)
	for _, w := range words[1:max(1, len(words)-1)] { // between "body" and the name, which may be empty
		name, _, list := strings.Cut(w, "[")
		if s == nil {
			return nil
		}
		next := s.Properties[name]
		if additional, ok := s.AdditionalProperties.(*huma.Schema); next == nil && ok {
			next = additional
		}
		if s = f.resolve(next); list && s != nil {
			s = f.resolve(s.Items)
		}
	}
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}

func (f *former) resolve(s *huma.Schema) *huma.Schema {
	for s != nil && s.Ref != "" && f.registry != nil {
		s = f.registry.SchemaFromRef(s.Ref)
	}
	return s
}

// wrong puts what was found into the error.
func (f *former) wrong(e *task.Error) *task.Error {
	slices.SortStableFunc(f.found, func(a, b task.Finding) int { return known(b) - known(a) }) // a slip explains what is missing
	e.Findings = f.found
	if len(f.found) > 0 {
		e.Message = "the request is wrong: " + f.found[0].What
		if len(f.found) > 1 {
			e.Message += fmt.Sprintf(" (and %d more)", len(f.found)-1)
		}
		if e.Hint == "" {
			e.Hint = f.found[0].Mend
		}
	}
	return e
}

// known is 1 for a finding that knows how to mend it.
func known(f task.Finding) int { return min(1, len(f.Mend)) }

// readJSON reads a body into v, which must look as the schema says. Unknown fields are refused.
func (a *API) readJSON(r io.Reader, schema *huma.Schema, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	if err != nil {
		return err
	}
	if len(data) > maxJSON {
		return tooLarge("the request is larger than %s", task.Bytes(maxJSON)).WithHint("send files as files, not within JSON")
	}
	if len(data) == 0 {
		return task.Errorf(task.CodeUsage, "the request has no body").WithHint("send a JSON document")
	}
	var parsed any
	if err := json.Unmarshal(data, &parsed); err != nil {
		return notJSON(data, err)
	}
	registry := a.huma.OpenAPI().Components.Schemas
	res := &huma.ValidateResult{}
	path := huma.NewPathBuffer(nil, 0)
	path.Push("body")
	huma.Validate(registry, schema, path, huma.ModeWriteToServer, parsed, res)
	f := former{schema: schema, registry: registry}
	for _, err := range res.Errors {
		d, ok := errors.AsType[*huma.ErrorDetail](err)
		if !ok {
			d = &huma.ErrorDetail{Message: err.Error()}
		}
		f.add(d)
	}
	if len(f.found) > 0 {
		return &refusal{status: http.StatusUnprocessableEntity, err: f.wrong(&task.Error{Code: task.CodeUsage})}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return task.Errorf(task.CodeUsage, "the request cannot be read: %w", err)
	}
	return nil
}

// notJSON says what is wrong in a body that cannot be read, and where.
func notJSON(data []byte, err error) error {
	what, at := fmt.Sprintf("is no JSON document: %v", err), int64(len(data))
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		number := strings.TrimPrefix(e.Value, "number ")
		what, at = "holds a number that is out of range: "+number, int64(bytes.LastIndex(data[:min(e.Offset, int64(len(data)))], []byte(number)))
	} else if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = e.Offset - 1
	}
	before := string(data[:min(max(at, 0), int64(len(data)))])
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return task.Errorf(task.CodeUsage, "the request, at line %d, column %d, %s", strings.Count(before, "\n")+1, utf8.RuneCountInString(line)+1, what)
}

// tooLarge is the error of what goes over a limit of size.
func tooLarge(format string, args ...any) *task.Error {
	e := task.Errorf(task.CodeLimit, format, args...)
	e.Cause = blob.ErrTooLarge
	return e
}
