package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"longshore/internal/access"
	"longshore/internal/store"
	"longshore/internal/task"
)

// cookieName is the cookie of the web page. Browsers send the cookies of one port of a host to all others, so that servers of one host
// would sign each other's visitors out if the name did not tell them apart.
func cookieName(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil && port != "" {
		return "longshore-" + port
	}
	return "longshore"
}

// call is one request on its way through.
type call struct {
	w http.ResponseWriter
	r *http.Request
	// who is nil on public routes when nobody showed a token.
	who *access.Principal
	// subject is what the audit log says it was done to, err how it failed.
	subject, detail string
	err             error
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// who is somebody who was let in: on every route that is not public there is one.
func who(ctx context.Context) *access.Principal { return callOf(ctx).who }

// guard lets through who may: it stands before every route.
func (a *API) guard(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	route := ctx.Operation().Metadata[routeKey].(route)
	c := &call{w: w, r: r, subject: r.PathValue("id")}
	err := a.admit(c, route)
	if err == nil {
		under := context.WithValue(access.With(r.Context(), c.who), callKey{}, c)
		if c.who != nil {
			var done func()
			secret, _ := secretOf(r)
			under, done = a.whileAdmitted(under, secret)
			defer done()
		}
		c.r = r.WithContext(under)
		next(huma.WithContext(ctx, under))
	} else {
		c.err = err
		a.fail(w, r, err)
	}
	if route.audit != "" && c.who != nil {
		a.record(c, route)
	}
}

// admit tells why somebody is not let through.
func (a *API) admit(c *call, route route) (err error) {
	if !safe(c.r.Method) && bearer(c.r) == "" {
		if err := a.origins.Check(c.r); err != nil {
			return access.Denied("a page of another site asked for this: %w", err).WithHint("programs send their token in the header Authorization: Bearer …")
		}
	}
	if err := readable(c.r.URL); err != nil {
		return err
	}
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &refusal{status: http.StatusUnsupportedMediaType, err: task.Errorf(task.CodeUsage, "the header Content-Encoding is %q, and bodies are taken as they are", enc).
			WithHint("send the body without it, unpacked")}
	}
	if route.rule.public {
		return nil
	}
	if c.who, err = a.authenticate(c.r); err != nil {
		return err
	}
	if wait := a.tokens.take(c.who.Token); wait > 0 {
		return tooOften(wait)
	}
	if !c.who.Has(route.rule.scopes...) {
		return access.Denied("this token may not do that: it has the scopes %s", access.Names(c.who.Scopes)).
			WithHint("it takes one of: %s", access.Names(withAdmin(route.rule.scopes)))
	}
	return nil
}

// readable refuses an address of which a part would silently be left out, or that no database could look for.
func readable(u *url.URL) error {
	query, err := url.QueryUnescape(u.RawQuery)
	if err != nil {
		return task.Errorf(task.CodeUsage, "the query cannot be read: %w", err).WithHint("write what is no letter or digit as %%XX, and join parameters by &")
	}
	for _, text := range []string{u.Path, query} {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return task.Errorf(task.CodeUsage, "the address holds a text that is not UTF-8, or a zero byte").WithHint("leave it out")
		}
	}
	return nil
}

func tooOften(wait time.Duration) error {
	return &refusal{status: http.StatusTooManyRequests, after: wait, err: task.Errorf(task.CodeLimit, "too many requests").WithHint("wait as long as the header Retry-After says")}
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// bearer is the token in the header, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// authenticate answers who sent a request.
func (a *API) authenticate(r *http.Request) (*access.Principal, error) {
	secret, session := secretOf(r)
	if secret == "" {
		return nil, &task.Error{Code: task.CodeAccess, Message: "this needs a token", Hint: "send the header Authorization: Bearer lsk_…", Cause: access.ErrUnknown}
	}
	return a.check(r, secret, session)
}

// secretOf is what a request shows: a token in the header, or else in the cookie of a session.
func secretOf(r *http.Request) (secret string, session bool) {
	if token := bearer(r); token != "" {
		return token, false
	}
	if c, err := r.Cookie(cookieName(r)); err == nil {
		return c.Value, true
	}
	return "", false
}

// whileAdmitted ends a request's context when what it showed counts no more: a token can expire or be revoked while an answer lasts. A
// database that is away lets nobody down. The returned function must be called when the request is over.
func (a *API) whileAdmitted(ctx context.Context, secret string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex // held while it is looked, so that nothing is asked of the store once the request is over
	var next *time.Timer
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if _, err := a.keeper.Check(ctx, secret); errors.Is(err, access.ErrUnknown) {
			cancel()
			return
		}
		next.Reset(a.cfg.Heartbeat)
	}
	mu.Lock()
	defer mu.Unlock()
	next = time.AfterFunc(a.cfg.Heartbeat, look)
	return ctx, func() {
		cancel()
		mu.Lock()
		defer mu.Unlock()
		next.Stop()
	}
}

// check answers whose secret it is, and slows those down who guess.
func (a *API) check(r *http.Request, secret string, session bool) (*access.Principal, error) {
	p, err := a.keeper.Check(r.Context(), secret)
	if err != nil {
		return nil, a.stray(r, err)
	}
	p.Session = session
	return p, nil
}

// stray answers those who are not let in. Others at the same address are not made to wait for them.
func (a *API) stray(r *http.Request, err error) error {
	if !errors.Is(err, access.ErrUnknown) {
		return err
	}
	if wait := a.strays.take(a.remote(r)); wait > 0 {
		return tooOften(wait)
	}
	a.cfg.Log.Warn("somebody was not let in", "remote", a.remote(r), "why", err)
	return err
}

// record writes down who did what.
func (a *API) record(c *call, route route) {
	outcome := "ok"
	if c.err != nil {
		outcome = string(problemOf(c.err).Code)
	} else if w := writerOf(c.w); w != nil && w.code() >= 400 {
		outcome = string(task.CodeUsage)
	}
	a.journal.add(store.Entry{
		At: a.cfg.Now().UTC(), Account: c.who.Account, Token: c.who.Token, Remote: a.remote(c.r), Action: route.audit,
		Subject: c.subject, Outcome: outcome, Detail: c.detail,
	})
}
