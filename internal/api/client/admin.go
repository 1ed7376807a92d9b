package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// Self answers who the token belongs to.
func (c *Client) Self(ctx context.Context) (s v1.Self, err error) {
	err = c.get(ctx, "/v1/self", nil, &s)
	return s, err
}

// SignIn opens a one-time link as a browser does, and answers the secret of the session that begins. It is asked once.
func (c *Client) SignIn(ctx context.Context, code string) (secret string, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.String()+"/login?code="+url.QueryEscape(code), nil)
	if err != nil {
		return "", task.Errorf(task.CodeUsage, "%w", err)
	}
	res, err := c.o.HTTP.Do(q)
	if err != nil {
		return "", c.away(c.unanswered(ctx, err))
	}
	defer res.Body.Close()
	for _, cookie := range res.Cookies() {
		if res.StatusCode == http.StatusSeeOther && strings.HasPrefix(cookie.Value, "lsk_") {
			return cookie.Value, nil
		}
	}
	return "", c.refused(res)
}

// UsageQuery chooses ended runs. Zero fields choose everything that the token may see.
type UsageQuery struct {
	Account, Task string
	Since, Until  time.Time
}

// Usage sums what was used.
func (c *Client) Usage(ctx context.Context, q UsageQuery) ([]v1.UsageRow, error) {
	var page v1.Page[v1.UsageRow]
	err := c.get(ctx, "/v1/usage", values(map[string]string{"account": q.Account, "task": q.Task, "since": moment(q.Since), "until": moment(q.Until)}), &page)
	return page.Items, err
}

// System answers how the server is doing.
func (c *Client) System(ctx context.Context) (s v1.System, err error) {
	err = c.get(ctx, "/v1/system", nil, &s)
	return s, err
}

// Prune removes what is old.
func (c *Client) Prune(ctx context.Context, r v1.PruneRequest) (p v1.Pruned, err error) {
	err = c.sendJSON(ctx, http.MethodPost, "/v1/system/prune", false, r, &p)
	return p, err
}

// Ready answers whether the server can take runs; the error is about reaching it.
func (c *Client) Ready(ctx context.Context) (h v1.Health, err error) {
	err = c.get(ctx, "/readyz", nil, &h)
	return h, err
}

// Accounts lists accounts.
func (c *Client) Accounts(ctx context.Context) ([]v1.Account, error) {
	var page v1.Page[v1.Account]
	err := c.get(ctx, "/v1/accounts", nil, &page)
	return page.Items, err
}

// PutAccount makes an account, or changes one.
func (c *Client) PutAccount(ctx context.Context, name string, change v1.AccountChange) (a v1.Account, err error) {
	err = c.sendJSON(ctx, http.MethodPut, "/v1/accounts/"+name, false, change, &a)
	return a, err
}

// Tokens lists an account's tokens, or for "" all that the token may see.
func (c *Client) Tokens(ctx context.Context, account string) ([]v1.Token, error) {
	var page v1.Page[v1.Token]
	err := c.get(ctx, "/v1/tokens", values(map[string]string{"account": account}), &page)
	return page.Items, err
}

// CreateToken makes a token. It is not asked twice for it.
func (c *Client) CreateToken(ctx context.Context, r v1.TokenRequest) (t v1.NewToken, err error) {
	err = c.sendJSON(ctx, http.MethodPost, "/v1/tokens", true, r, &t)
	return t, err
}

// RevokeToken has a token count no more.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: "/v1/tokens/" + id}, nil)
}

// AuditQuery chooses audit entries.
type AuditQuery struct {
	Account, Action string
	Limit           int
	Cursor          string
}

// Audit lists who changed what, latest first.
func (c *Client) Audit(ctx context.Context, q AuditQuery) (page v1.Page[v1.AuditEntry], err error) {
	err = c.get(ctx, "/v1/audit", values(map[string]string{"account": q.Account, "action": q.Action, "limit": number(q.Limit), "cursor": q.Cursor}), &page)
	return page, err
}
