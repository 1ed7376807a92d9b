// Package access says who may do what on a server: scopes, tokens, sessions of the web page, and the one-time link that lets the
// first administrator in. It knows neither HTTP nor what is guarded; edges ask it.
package access

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Scope is what a token is for. A token may have several.
type Scope string

// The scopes.
const (
	// Admin may everything; only it manages accounts and tokens.
	Admin Scope = "admin"
	// Author imports and hides tasks.
	Author Scope = "author"
	// Operator looks after the server: sees, cancels and submits runs for all accounts, prunes, reads the audit log.
	Operator Scope = "operator"
	// Caller submits runs, and sees and cancels its own account's.
	Caller Scope = "caller"
	// Reader sees tasks and its own account's runs.
	Reader Scope = "reader"
)

// Scopes lists all, from the most to the least powerful.
func Scopes() []Scope { return []Scope{Admin, Operator, Author, Caller, Reader} }

// Names joins scopes for people.
func Names(scopes []Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// Principal is somebody who was let in.
type Principal struct {
	Account string
	// Token is the ID of the token that was shown.
	Token, Name string
	Scopes      []Scope
	// ExpiresAt is when it ends; zero for never.
	ExpiresAt time.Time
	// Session tells that a browser sent it by itself, as a cookie: what changes something then needs proof that a page of ours
	// asked for it.
	Session bool
}

// Has tells whether the principal has any of the scopes. An administrator has all.
func (p *Principal) Has(any ...Scope) bool {
	return slices.ContainsFunc(p.Scopes, func(s Scope) bool { return s == Admin || slices.Contains(any, s) })
}

// SeesAll tells whether other accounts' runs may be seen.
func (p *Principal) SeesAll() bool { return p.Has(Operator) }

// Sees tells whether what belongs to an account may be seen.
func (p *Principal) Sees(account string) bool { return p.SeesAll() || p.Account == account }

type principalKey struct{}

// With puts a principal into a request's context.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From is the principal of a request, nil when nobody was let in.
func From(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}
