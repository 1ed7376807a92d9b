package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"longshore/internal/access"
	v1 "longshore/internal/api/v1"
	"longshore/internal/store"
	"longshore/internal/task"
)

func (a *API) self(ctx context.Context, _ *empty) (*answer[v1.Self], error) {
	p := who(ctx)
	self := v1.Self{Account: p.Account, Token: p.Token, Name: p.Name, Scopes: []string{}, Server: a.svc.Name(), Version: a.cfg.Version, ExpiresAt: p.ExpiresAt}
	for _, s := range p.Scopes {
		self.Scopes = append(self.Scopes, string(s))
	}
	return &answer[v1.Self]{Body: self}, nil
}

func (a *API) listAccounts(ctx context.Context, _ *empty) (*answer[v1.Page[v1.Account]], error) {
	list, err := a.cfg.Store.ListAccounts(ctx)
	if err != nil {
		return nil, access.DatabaseError(err)
	}
	page := v1.Page[v1.Account]{Items: []v1.Account{}}
	for _, acc := range list {
		page.Items = append(page.Items, v1.Account(acc))
	}
	return &answer[v1.Page[v1.Account]]{Body: page}, nil
}

type accountInput struct {
	Account string `path:"account" maxLength:"128"`
	Body    v1.AccountChange
}

func (a *API) putAccount(ctx context.Context, in *accountInput) (*answer[v1.Account], error) {
	callOf(ctx).subject = in.Account
	if err := access.CheckAccountName(in.Account); err != nil {
		return nil, err
	}
	if in.Body.Disabled && in.Account == who(ctx).Account {
		return nil, task.Errorf(task.CodeConflict, "an account cannot disable itself").WithHint("use a token of another administrator")
	}
	acc, err := a.cfg.Store.Account(ctx, in.Account)
	if errors.Is(err, store.ErrNotFound) {
		acc, err = store.Account{Name: in.Account, CreatedAt: a.cfg.Now().UTC().Truncate(time.Microsecond)}, nil
	}
	if err == nil {
		acc.Disabled = in.Body.Disabled
		err = a.cfg.Store.PutAccount(ctx, acc)
	}
	if err != nil {
		return nil, access.DatabaseError(err)
	}
	return &answer[v1.Account]{Body: v1.Account(acc)}, nil
}

type listTokensInput struct {
	Account string `query:"account" doc:"Whose; only administrators see others"`
}

func (a *API) listTokens(ctx context.Context, in *listTokensInput) (*answer[v1.Page[v1.Token]], error) {
	p := who(ctx)
	if !p.Has(access.Admin) {
		if in.Account != "" && in.Account != p.Account {
			return nil, access.Denied("only administrators see other accounts' tokens")
		}
		in.Account = p.Account
	}
	list, err := a.keeper.List(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	page := v1.Page[v1.Token]{Items: []v1.Token{}}
	for _, t := range list {
		page.Items = append(page.Items, tokenOf(t))
	}
	return &answer[v1.Page[v1.Token]]{Body: page}, nil
}

type createTokenInput struct{ Body v1.TokenRequest }

func (a *API) createToken(ctx context.Context, in *createTokenInput) (*answer[v1.NewToken], error) {
	g := access.Grant{Account: in.Body.Account, Name: in.Body.Name}
	for _, s := range in.Body.Scopes {
		g.Scopes = append(g.Scopes, access.Scope(s))
	}
	if err := durations(map[string]string{"expiresIn": in.Body.ExpiresIn}, map[string]*time.Duration{"expiresIn": &g.Life}); err != nil {
		return nil, err
	}
	t, secret, err := a.keeper.Create(ctx, g)
	if err != nil {
		return nil, err
	}
	callOf(ctx).subject, callOf(ctx).detail = t.ID, t.Account+": "+access.Names(g.Scopes)
	return &answer[v1.NewToken]{Status: http.StatusCreated, Body: v1.NewToken{Token: tokenOf(t), Secret: secret}}, nil
}

type tokenInput struct {
	ID string `path:"id" maxLength:"64"`
}

func (a *API) revokeToken(ctx context.Context, in *tokenInput) (*empty, error) {
	p := who(ctx)
	if !p.Has(access.Admin) {
		own, err := a.keeper.List(ctx, p.Account)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(own, func(t store.Token) bool { return t.ID == in.ID }) {
			return nil, task.Errorf(task.CodeMissing, "the account %s has no token %s", p.Account, in.ID).WithHint("`longshore token list` lists them")
		}
	}
	return nil, a.keeper.Revoke(ctx, in.ID)
}

func tokenOf(t store.Token) v1.Token {
	return v1.Token{
		ID: t.ID, Name: t.Name, Account: t.Account, Scopes: t.Scopes, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, LastUsedAt: t.LastUsedAt, RevokedAt: t.RevokedAt,
	}
}

type auditInput struct {
	PageQuery
	Account string `query:"account"`
	Action  string `query:"action" doc:"The beginning of an action: token, run.cancel"`
}

func (a *API) listAudit(ctx context.Context, in *auditInput) (*answer[v1.Page[v1.AuditEntry]], error) {
	list, next, err := a.cfg.Store.Entries(ctx, in.Account, in.Action, in.Limit, in.Cursor)
	if err != nil {
		return nil, access.DatabaseError(err)
	}
	page := v1.Page[v1.AuditEntry]{Items: []v1.AuditEntry{}, Next: next}
	for _, e := range list {
		page.Items = append(page.Items, v1.AuditEntry(e))
	}
	return &answer[v1.Page[v1.AuditEntry]]{Body: page}, nil
}
