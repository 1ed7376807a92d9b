package sqlstore

import (
	"context"
	"strings"
	"time"

	"longshore/internal/store"
)

// PutAccount implements store.Accounts.
func (d *DB) PutAccount(ctx context.Context, a store.Account) error {
	return d.one(ctx, "INSERT INTO accounts (name, created_at, disabled) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET disabled = excluded.disabled", a.Name, micros(a.CreatedAt), flag(a.Disabled))
}

func scanAccount(row scanner) (a store.Account, err error) {
	var created int64
	var disabled int
	err = row.Scan(&a.Name, &created, &disabled)
	a.CreatedAt, a.Disabled = fromMicros(created), disabled != 0
	return a, err
}

// Account implements store.Accounts.
func (d *DB) Account(ctx context.Context, name string) (store.Account, error) {
	return first(ctx, d, scanAccount, "SELECT name, created_at, disabled FROM accounts WHERE name = ?", name)
}

// ListAccounts implements store.Accounts.
func (d *DB) ListAccounts(ctx context.Context) ([]store.Account, error) {
	return all(ctx, d, scanAccount, "SELECT name, created_at, disabled FROM accounts ORDER BY name")
}

const tokenColumns = "id, name, account, hash, scopes, expires_at, created_at, last_used_at, revoked_at"

func scanToken(row scanner) (t store.Token, err error) {
	var scopes string
	var expires, created, used, revoked int64
	err = row.Scan(&t.ID, &t.Name, &t.Account, &t.Hash, &scopes, &expires, &created, &used, &revoked)
	t.Scopes = strings.Fields(scopes)
	t.ExpiresAt, t.CreatedAt, t.LastUsedAt, t.RevokedAt = fromMicros(expires), fromMicros(created), fromMicros(used), fromMicros(revoked)
	return t, err
}

// AddToken implements store.Accounts.
func (d *DB) AddToken(ctx context.Context, t store.Token) error {
	var n int64
	err := d.change(ctx, once(statement{
		text: "INSERT INTO tokens (" + tokenColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		args: []any{
			t.ID, t.Name, t.Account, t.Hash, strings.Join(t.Scopes, " "),
			micros(t.ExpiresAt), micros(t.CreatedAt), micros(t.LastUsedAt), micros(t.RevokedAt),
		},
		affected: func(added int64) { n = added },
	}))
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	return err
}

// TokenByHash implements store.Accounts.
func (d *DB) TokenByHash(ctx context.Context, hash string) (store.Token, error) {
	return first(ctx, d, scanToken, "SELECT "+tokenColumns+" FROM tokens WHERE hash = ?", hash)
}

// ListTokens implements store.Accounts.
func (d *DB) ListTokens(ctx context.Context, account string) ([]store.Token, error) {
	w := (&where{}).equal("account", account)
	return all(ctx, d, scanToken, "SELECT "+tokenColumns+" FROM tokens"+w.String()+" ORDER BY created_at, id", w.args...)
}

// RevokeToken implements store.Accounts.
func (d *DB) RevokeToken(ctx context.Context, id string, at time.Time) error {
	return d.one(ctx, "UPDATE tokens SET revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END WHERE id = ?", micros(at), id)
}

// TouchToken implements store.Accounts.
func (d *DB) TouchToken(ctx context.Context, id string, at time.Time) error {
	return d.one(ctx, "UPDATE tokens SET last_used_at = ? WHERE id = ?", micros(at), id)
}
