package web

import (
	"net/http"

	"longshore/internal/access"
)

// Caller is who looks at a page.
type Caller struct {
	Account string
	// All shows everybody's runs, and the system; otherwise only those of Account are there.
	All bool
	// Import, Submit and Admin tell what the page offers; whether it is allowed is decided by the API.
	Import, Submit, Admin bool
}

// callerOf tells who asks; false for nobody that is known.
func callerOf(r *http.Request) (Caller, bool) {
	p := access.From(r.Context())
	if p == nil {
		return Caller{}, false
	}
	return Caller{
		Account: p.Account, All: p.SeesAll(), Import: p.Has(access.Author), Submit: p.Has(access.Caller, access.Operator), Admin: p.Has(access.Admin),
	}, true
}

// operators refuses everybody else.
func operators(c Caller) error {
	if c.All {
		return nil
	}
	return access.Denied("this page is for operators").WithHint("ask an administrator for a token with the scope operator")
}

// admins refuses everybody else.
func admins(c Caller) error {
	if c.Admin {
		return nil
	}
	return access.Denied("this page is for administrators").WithHint("ask for a token with the scope admin")
}
