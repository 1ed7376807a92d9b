package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"longshore/internal/access"
	"longshore/internal/task"
)

// Reference is the API as a page for people, in Markdown: docs/api.md.
func (a *API) Reference() string {
	b := &page{registry: a.huma.OpenAPI().Components.Schemas}
	b.line("# REST API")
	b.line("")
	b.line("This page is generated; `go test ./internal/api -run TestDocuments -update` writes it anew. The same as an OpenAPI 3.1 document: [openapi.json](openapi.json), and `/v1/openapi.json` of every server.")
	b.line("")
	b.line("Programs send `Authorization: Bearer lsk_…`. Times are RFC 3339 in UTC, sizes are bytes, digests are `sha256:` and 64 hexadecimal digits. Lists come in pages: `next` of one is `cursor` of the following. Unknown fields and query parameters are refused; `null` and an empty query parameter are as if they were not there. There are no CORS headers: pages of other sites cannot use the API.")
	b.line("")
	b.scopes(a.table)
	b.problems()
	tag := ""
	for _, r := range a.table {
		if r.Tag == "" {
			continue
		}
		if r.Tag != tag {
			tag = r.Tag
			b.line("## " + tag)
			b.line("")
		}
		b.operation(r, a.operation(r))
	}
	b.schemas()
	return b.String()
}

func (a *API) operation(r Route) *huma.Operation {
	item := a.huma.OpenAPI().Paths[r.Path]
	return map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodDelete: item.Delete}[r.Method]
}

// page is a page that is being written.
type page struct {
	strings.Builder
	registry huma.Registry
}

func (b *page) line(format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	b.WriteString(format + "\n")
}

// scopes is who may what.
func (b *page) scopes(table []Route) {
	b.line("## Scopes")
	b.line("")
	b.line("A token has one scope or several. `admin` may everything. Whoever is not `admin` or `operator` sees and changes only what belongs to its own account: runs, their files and logs, uploads, usage; what belongs to others is answered as if it were not there. Raising a run's priority takes `operator`.")
	b.line("")
	b.line("| | %s |", strings.ReplaceAll(access.Names(access.Scopes()), ", ", " | "))
	b.line("| --- |%s", strings.Repeat(" --- |", len(access.Scopes())))
	for _, r := range table {
		if r.Tag == "" || r.Public {
			continue
		}
		p := ""
		for _, s := range access.Scopes() {
			who := access.Principal{Scopes: []access.Scope{s}}
			p += " " + map[bool]string{true: "✓", false: " "}[who.Has(r.Scopes...)] + " |"
		}
		b.line("| %s |%s", r.Summary, p)
	}
	b.line("")
}

// problems is how errors look.
func (b *page) problems() {
	b.line("## Errors")
	b.line("")
	b.line("Every error is `application/problem+json` with `type`, `title`, `status`, `detail`, `code`, and where there are any `hint` and `findings`. 429 and 503 say in `Retry-After` when to come again. Every answer has the header `X-Request-Id`, as problems have it in `request`: the caller's own, where it is plain (up to 64 letters, digits and `._-`), or a new one; the server's log has it too.")
	b.line("")
	b.line("| code | status |")
	b.line("| --- | --- |")
	words := map[string]task.Code{}
	for code := range statuses {
		words[string(code)] = code
	}
	for _, word := range slices.Sorted(maps.Keys(words)) {
		status := statuses[words[word]]
		b.line("| `%s` | %d %s |", word, status, http.StatusText(status))
	}
	b.line("")
	b.line("Where HTTP has a status of its own, it is that one: 401 for who is not signed in, 405 and 415 for methods and media types (also for bodies with `Content-Encoding`: they are taken as they are), 412 and 416 for conditions and ranges of files that cannot be met, 413 for what is too large, 421 for a name that a server on loopback does not go by, 422 for a request that does not look as it should, 507 for a full disk, 500 for what nobody expected.")
	b.line("")
}

func (b *page) operation(r Route, op *huma.Operation) {
	b.line("### %s", r.Summary)
	b.line("")
	b.line("`%s %s`", r.Method, r.Path)
	b.line("")
	if op.Description != "" {
		b.line(op.Description)
		b.line("")
	}
	if len(op.Parameters) > 0 {
		b.line("| parameter | in | type | |")
		b.line("| --- | --- | --- | --- |")
		for _, p := range op.Parameters {
			b.line("| `%s` | %s | %s | %s |", p.Name, p.In, b.kind(p.Schema), cell(p.Description))
		}
		b.line("")
	}
	if op.RequestBody != nil {
		b.line("Request: %s.", b.media(op.RequestBody.Content))
		b.line("")
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if status != "default" {
			b.line("Answer: %s%s.", status, prefixed(" with ", b.media(op.Responses[status].Content)))
			b.line("")
		}
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", "\\|") }

func (b *page) media(content map[string]*huma.MediaType) string {
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(content)) {
		word := "`" + kind + "`"
		if s := content[kind].Schema; s != nil && s.Ref != "" {
			word = b.kind(s) + " as " + word
		}
		words = append(words, word)
	}
	return strings.Join(words, ", or ")
}

// kind is a type in words, linked to where it is described.
func (b *page) kind(s *huma.Schema) string {
	switch {
	case s == nil:
		return "anything"
	case s.Ref != "":
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	case s.Type == huma.TypeArray:
		return "list of " + b.kind(s.Items)
	case s.Type == huma.TypeObject:
		if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
			return "map of " + b.kind(of)
		}
		return "object"
	case len(s.Enum) > 0:
		var words []string
		for _, e := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(words, ", ")
	case s.Type == "":
		return "anything"
	case s.Format == "date-time":
		return "time"
	}
	return s.Type
}

// schemas describes what requests and answers are made of.
func (b *page) schemas() {
	b.line("## Documents")
	b.line("")
	all := b.registry.Map()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		b.line("### %s", name)
		b.line("")
		b.line("| field | type | |")
		b.line("| --- | --- | --- |")
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			f := s.Properties[field]
			needed := ""
			for _, r := range s.Required {
				if r == field {
					needed = " (always there)"
				}
			}
			b.line("| `%s` | %s%s | %s |", field, b.kind(f), needed, cell(f.Description))
		}
		b.line("")
	}
}
