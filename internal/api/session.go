package api

import (
	"context"
	"mime"
	"net/http"

	"longshore/internal/access"
	"longshore/internal/task"
)

type loginLinkInput struct {
	Code string `query:"code"`
}

// loginLink lets in who has the one-time link. Without a code it is the web page's, which asks for a token.
func (a *API) loginLink(ctx context.Context, in *loginLinkInput) (*stream, error) {
	if in.Code == "" || callOf(ctx).r.Method == http.MethodHead { // who only looks whether there is something uses up nothing
		return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
			if a.cfg.Web == nil {
				a.fail(w, r, task.Errorf(task.CodeMissing, "this server has no web page"))
				return
			}
			a.cfg.Web.ServeHTTP(w, a.guest(r))
		}), nil
	}
	c := callOf(ctx)
	secret, err := a.keeper.Redeem(ctx, in.Code)
	if err != nil {
		return nil, a.stray(c.r, err)
	}
	return a.signedIn(ctx, secret)
}

// login lets in who shows a token, in a form.
func (a *API) login(ctx context.Context, _ *empty) (*stream, error) {
	c := callOf(ctx)
	token, err := loginToken(c.r)
	if err != nil {
		return nil, err
	}
	return a.signedIn(ctx, token)
}

func loginToken(r *http.Request) (string, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		return "", noMediaType(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxText)
	if err := r.ParseForm(); err != nil {
		return "", task.Errorf(task.CodeUsage, "the form cannot be read: %w", err)
	}
	return r.PostFormValue("token"), nil
}

// signedIn has the browser keep a secret that counts, and go to the page.
func (a *API) signedIn(ctx context.Context, secret string) (*stream, error) {
	c := callOf(ctx)
	p, err := a.check(c.r, secret, true)
	if err != nil {
		return nil, err
	}
	c.who = p
	return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, a.cookie(r, secret, int(access.SessionLife.Seconds())))
		seeOther(w, "/")
	}), nil
}

func (a *API) logout(ctx context.Context, _ *empty) (*stream, error) {
	if err := a.keeper.SignOut(ctx, who(ctx)); err != nil {
		return nil, err
	}
	return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, a.cookie(r, "", -1))
		seeOther(w, "/")
	}), nil
}

func (a *API) cookie(r *http.Request, secret string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName(r), Value: secret, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: a.secure(r),
	}
}

func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}
