package api

import (
	"cmp"
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"longshore/internal/access"
	v1 "longshore/internal/api/v1"
)

// maxJSON bounds what comes as JSON, in bytes.
const maxJSON = 8 << 20

// newHuma makes the framework's API: JSON in and out, unknown fields and parameters refused, no pages of its own.
func newHuma(mux *http.ServeMux, version string) huma.API {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	return huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Longshore", Version: "v1",
				Description: "Runs task containers of any contract. Errors are " + v1.ProblemType + " everywhere; unknown fields and parameters are refused.",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token, lsk_…; `longshore token create` makes them. Each operation says which scopes it takes."},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{translator{registry}.translate},
	}, &adapter{mux})
}

// schemaName names a type in the document; pages are named after what they hold.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	if of, ok := strings.CutPrefix(name, "Page"); ok && of != "" {
		return of + "Page"
	}
	return name
}

// adapter puts operations into the mux. A last element {path} stands for the rest of the path.
type adapter struct{ mux *http.ServeMux }

func (a *adapter) Handle(op *huma.Operation, h func(huma.Context)) {
	pattern := op.Path
	if strings.HasSuffix(pattern, "/{path}") {
		pattern = strings.TrimSuffix(pattern, "}") + "...}"
	}
	a.mux.HandleFunc(op.Method+" "+pattern, func(w http.ResponseWriter, r *http.Request) { h(humago.NewContext(op, r, w)) })
}

func (a *adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// rule says who may. Its zero value is refused, so that no route is forgotten.
type rule struct {
	scopes []access.Scope
	public bool
}

// allow lets those with any of the scopes through; administrators always.
func allow(scopes ...access.Scope) rule {
	if len(scopes) == 0 {
		scopes = []access.Scope{access.Admin}
	}
	return rule{scopes: scopes}
}

// Who may what: the matrix of the documentation.
var (
	public    = rule{public: true}
	anyone    = allow(access.Scopes()...)
	authors   = allow(access.Author)
	curators  = allow(access.Author, access.Operator)
	callers   = allow(access.Caller, access.Operator)
	uploaders = allow(access.Caller, access.Author, access.Operator)
	operators = allow(access.Operator)
	watchers  = allow(access.Operator, access.Reader)
	admins    = allow(access.Admin)
)

// route is an operation as the table of routes has it.
type route struct {
	id, method, path string
	tag, summary     string
	doc              string
	rule             rule
	// audit is what the audit log calls it; everything that changes something has one.
	audit  string
	status int // of success, where it is not the usual one
	// body is the request's content by media type, for operations that read it themselves; answer is that of the answer.
	body, answer map[string]*huma.Schema
	hidden       bool // from the document
}

const routeKey = "route"

// add registers a route. It panics on one that does not say who may use it, or that changes something without being written down.
func add[I, O any](a *API, rt route, h func(context.Context, *I) (*O, error)) {
	switch {
	case !rt.rule.public && len(rt.rule.scopes) == 0:
		panic("api: route " + rt.id + " does not say who may use it")
	case !safe(rt.method) && rt.audit == "":
		panic("api: route " + rt.id + " changes something, and has no name in the audit log")
	}
	op := huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: rt.summary, Description: rt.doc, Tags: []string{rt.tag},
		DefaultStatus: rt.status, MaxBodyBytes: maxJSON, BodyReadTimeout: -1, Hidden: rt.hidden, // the body's own reader has a limit
		Metadata: map[string]any{routeKey: rt},
	}
	if !rt.rule.public {
		op.Security = []map[string][]string{{"token": {}}}
		op.Description = strings.TrimSpace(op.Description + "\n\nScopes: " + access.Names(withAdmin(rt.rule.scopes)) + ".")
	}
	op.Responses = map[string]*huma.Response{"default": {
		Description: "What went wrong",
		Content:     map[string]*huma.MediaType{v1.ProblemType: {Schema: a.schema(reflect.TypeFor[v1.Problem]())}},
	}}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err == nil {
			if s, ok := any(out).(interface{ settle(status int) }); ok && out != nil {
				s.settle(cmp.Or(rt.status, http.StatusOK))
			}
			return out, nil
		}
		c := callOf(ctx)
		c.err = err
		a.note(c.w, c.r, err)
		p := problemOf(err)
		p.Request = c.w.Header().Get(requestHeader)
		setRetry(c.w.Header(), p, err)
		return nil, p
	})
	a.table = append(a.table, Route{rt.id, rt.method, rt.path, rt.tag, rt.summary, rt.rule.public, rt.rule.scopes})
	if !rt.hidden {
		a.describe(rt)
	}
}

func withAdmin(scopes []access.Scope) []access.Scope {
	if slices.Contains(scopes, access.Admin) {
		return scopes
	}
	return append([]access.Scope{access.Admin}, scopes...)
}

// describe adds bodies to the document that the framework does not read or write itself.
func (a *API) describe(rt route) {
	item := a.huma.OpenAPI().Paths[rt.path]
	op := map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodDelete: item.Delete}[rt.method]
	media := func(schemas map[string]*huma.Schema) map[string]*huma.MediaType {
		content := map[string]*huma.MediaType{}
		for kind, s := range schemas {
			content[kind] = &huma.MediaType{Schema: s}
		}
		return content
	}
	if rt.body != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: media(rt.body)}
	}
	if rt.answer != nil {
		op.Responses["200"].Content = media(rt.answer)
	}
}

func (a *API) schema(t reflect.Type) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(t, true, "")
}

// binary is the schema of bytes, text that of characters.
func binary() *huma.Schema { return &huma.Schema{Type: "string", Format: "binary"} }
func text() *huma.Schema   { return &huma.Schema{Type: "string"} }

// file is the content of an answer that is a file of any kind.
func file() map[string]*huma.Schema {
	return map[string]*huma.Schema{"application/octet-stream": binary(), "*/*": binary()}
}

// answer is a JSON answer, with the status where it is not the usual one.
type answer[T any] struct {
	Status int
	Body   T
}

// settle sets the status, unless the handler did.
func (a *answer[T]) settle(status int) { a.Status = cmp.Or(a.Status, status) }

// empty is an answer, or a request, without content.
type empty struct{}

// stream is an answer that is written by hand.
type stream struct {
	Body func(huma.Context)
}

// streamed has h write the answer. It gets the request with its principal.
func streamed(ctx context.Context, h func(w http.ResponseWriter, r *http.Request)) *stream {
	c := callOf(ctx)
	return &stream{Body: func(huma.Context) { h(c.w, c.r) }}
}
