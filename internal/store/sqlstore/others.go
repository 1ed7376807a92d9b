package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"longshore/internal/store"
)

// refer notes which blobs something holds.
func (d *DB) refer(ctx context.Context, tx *sql.Tx, holder string, files []store.File) error {
	seen := map[string]bool{}
	for _, f := range files {
		if f.Digest == "" || seen[f.Digest] {
			continue
		}
		seen[f.Digest] = true
		if _, err := tx.ExecContext(ctx, d.dialect.sql("INSERT INTO refs (digest, holder) VALUES (?, ?) ON CONFLICT DO NOTHING"), f.Digest, holder); err != nil {
			return err
		}
	}
	return nil
}

// Hold implements store.Blobs.
func (d *DB) Hold(ctx context.Context, account string, digests []string, until time.Time) error {
	return d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, digest := range digests {
			if _, err := tx.ExecContext(ctx, d.dialect.sql("INSERT INTO refs (digest, holder, until) VALUES (?, ?, ?) ON CONFLICT (digest, holder) DO UPDATE SET until = excluded.until"), digest, "upload:"+account, micros(until)); err != nil {
				return err
			}
		}
		return nil
	})
}

// held finds digests by who refers to them. What follows the colon of a holder is an account, a run or a version.
const held = `SELECT DISTINCT digest FROM refs WHERE ((holder = ? AND until >= ?)
	OR (holder LIKE 'run:%' AND EXISTS (SELECT 1 FROM runs WHERE runs.id = substr(refs.holder, 5) AND runs.account = ?))
	OR (holder LIKE 'version:%' AND EXISTS (SELECT 1 FROM versions WHERE versions.id = substr(refs.holder, 9) AND versions.account = ?)))
	AND digest IN (`

// Held implements store.Blobs.
func (d *DB) Held(ctx context.Context, account string, digests []string, now time.Time) ([]string, error) {
	if len(digests) == 0 {
		return nil, nil
	}
	args := []any{"upload:" + account, micros(now), account, account}
	for _, digest := range digests {
		args = append(args, digest)
	}
	rows, err := d.read.QueryContext(ctx, d.dialect.sql(held+marks(len(digests))+")"), args...)
	return scanStrings(rows, err)
}

// Unreferenced implements store.Blobs. Holds that have run out are removed on the way.
func (d *DB) Unreferenced(ctx context.Context, digests []string, now time.Time) ([]string, error) {
	if len(digests) == 0 {
		return nil, nil
	}
	held := map[string]bool{}
	err := d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		args := make([]any, len(digests))
		for i, digest := range digests {
			args[i] = digest
		}
		if _, err := tx.ExecContext(ctx, d.dialect.sql("DELETE FROM refs WHERE until > 0 AND until < ? AND digest IN ("+marks(len(args))+")"), append([]any{micros(now)}, args...)...); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, d.dialect.sql("SELECT DISTINCT digest FROM refs WHERE digest IN ("+marks(len(args))+")"), args...)
		list, err := scanStrings(rows, err)
		for _, digest := range list {
			held[digest] = true
		}
		return err
	})
	var unused []string
	for _, digest := range digests {
		if !held[digest] {
			unused = append(unused, digest)
		}
	}
	return unused, err
}

const versionColumns = "id, name, version, contract, package, form, origin, document, account, created_at, hidden, task, findings"

func scanVersion(row scanner) (store.Version, error) {
	var v store.Version
	var created int64
	var hidden int
	var task, findings string
	err := row.Scan(&v.ID, &v.Name, &v.Version, &v.Contract, &v.Package, &v.Form, &v.Origin, &v.Document, &v.Account, &created, &hidden, &task, &findings)
	if errors.Is(err, sql.ErrNoRows) {
		return v, store.ErrNotFound
	}
	if err != nil {
		return v, err
	}
	v.CreatedAt, v.Hidden = fromMicros(created), hidden != 0
	return v, errors.Join(fromText(task, &v.Task), fromText(findings, &v.Findings))
}

// AddVersion implements store.Tasks.
func (d *DB) AddVersion(ctx context.Context, v store.Version) error {
	task, err := text(v.Task)
	if err != nil {
		return err
	}
	findings, err := text(v.Findings)
	if err != nil {
		return err
	}
	return d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, d.dialect.sql("INSERT INTO versions ("+versionColumns+", description) VALUES ("+marks(14)+")"),
			v.ID, v.Name, v.Version, v.Contract, v.Package, v.Form, v.Origin, v.Document, v.Account, micros(v.CreatedAt), flag(v.Hidden), task, findings, v.Task.Description); err != nil {
			return err
		}
		return d.refer(ctx, tx, "version:"+v.ID, []store.File{{Digest: v.Package}})
	})
}

// Version implements store.Tasks.
func (d *DB) Version(ctx context.Context, ref string) (store.Version, error) {
	get := func(condition string, args ...any) (store.Version, error) {
		return scanVersion(d.read.QueryRowContext(ctx, d.dialect.sql("SELECT "+versionColumns+" FROM versions WHERE "+condition+" ORDER BY id DESC LIMIT 1"), args...))
	}
	v, err := get("id = ?", ref)
	if !errors.Is(err, store.ErrNotFound) {
		return v, err
	}
	if v, err = get("name = ? AND hidden = 0", ref); !errors.Is(err, store.ErrNotFound) {
		return v, err
	}
	i := strings.LastIndexByte(ref, ':')
	if i < 0 {
		return v, err
	}
	return get("name = ? AND version = ? AND hidden = 0", ref[:i], ref[i+1:])
}

// Versions implements store.Tasks.
func (d *DB) Versions(ctx context.Context, f store.VersionFilter) ([]store.Version, string, error) {
	w := &where{}
	if f.Name != "" {
		w.and("name = ?", f.Name)
	}
	if f.Contract != "" {
		w.and("contract = ?", f.Contract)
	}
	if f.Search != "" {
		like := "%" + escapeLike(f.Search) + "%"
		w.and("(name "+d.dialect.like+" ? ESCAPE '!' OR description "+d.dialect.like+" ? ESCAPE '!')", like, like)
	}
	if !f.All {
		w.and("hidden = 0 AND id = (SELECT MAX(v.id) FROM versions v WHERE v.name = versions.name AND v.hidden = 0)")
	}
	if f.After != "" {
		w.and("id < ?", f.After)
	}
	limit := page(f.Limit)
	rows, err := d.read.QueryContext(ctx, d.dialect.sql("SELECT "+versionColumns+" FROM versions"+w.String()+fmt.Sprintf(" ORDER BY id DESC LIMIT %d", limit+1)), w.args...)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	var list []store.Version
	for rows.Next() {
		v, err := scanVersion(rows)
		if err != nil {
			return nil, "", err
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil || len(list) <= limit {
		return list, "", err
	}
	return list[:limit], list[limit-1].ID, nil
}

// HideVersion implements store.Tasks.
func (d *DB) HideVersion(ctx context.Context, id string) error {
	return d.one(ctx, "UPDATE versions SET hidden = 1 WHERE id = ?", id)
}

// one changes one row, which must be there.
func (d *DB) one(ctx context.Context, statement string, args ...any) error {
	return d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, d.dialect.sql(statement), args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, store.ErrNotFound)
		}
		return nil
	})
}

// PutAccount implements store.Accounts.
func (d *DB) PutAccount(ctx context.Context, a store.Account) error {
	return d.one(ctx, "INSERT INTO accounts (name, created_at, disabled) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET disabled = excluded.disabled", a.Name, micros(a.CreatedAt), flag(a.Disabled))
}

func scanAccount(row scanner) (store.Account, error) {
	var a store.Account
	var created int64
	var disabled int
	err := row.Scan(&a.Name, &created, &disabled)
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	a.CreatedAt, a.Disabled = fromMicros(created), disabled != 0
	return a, err
}

// Account implements store.Accounts.
func (d *DB) Account(ctx context.Context, name string) (store.Account, error) {
	return scanAccount(d.read.QueryRowContext(ctx, d.dialect.sql("SELECT name, created_at, disabled FROM accounts WHERE name = ?"), name))
}

// ListAccounts implements store.Accounts.
func (d *DB) ListAccounts(ctx context.Context) ([]store.Account, error) {
	rows, err := d.read.QueryContext(ctx, "SELECT name, created_at, disabled FROM accounts ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Account
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

const tokenColumns = "id, name, account, hash, scopes, expires_at, created_at, last_used_at, revoked_at"

func scanToken(row scanner) (store.Token, error) {
	var t store.Token
	var scopes string
	var expires, created, used, revoked int64
	err := row.Scan(&t.ID, &t.Name, &t.Account, &t.Hash, &scopes, &expires, &created, &used, &revoked)
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	t.Scopes = strings.Fields(scopes)
	t.ExpiresAt, t.CreatedAt, t.LastUsedAt, t.RevokedAt = fromMicros(expires), fromMicros(created), fromMicros(used), fromMicros(revoked)
	return t, err
}

// AddToken implements store.Accounts.
func (d *DB) AddToken(ctx context.Context, t store.Token) error {
	return d.one(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES ("+marks(9)+")", t.ID, t.Name, t.Account, t.Hash, strings.Join(t.Scopes, " "),
		micros(t.ExpiresAt), micros(t.CreatedAt), micros(t.LastUsedAt), micros(t.RevokedAt))
}

// TokenByHash implements store.Accounts.
func (d *DB) TokenByHash(ctx context.Context, hash string) (store.Token, error) {
	return scanToken(d.read.QueryRowContext(ctx, d.dialect.sql("SELECT "+tokenColumns+" FROM tokens WHERE hash = ?"), hash))
}

// ListTokens implements store.Accounts.
func (d *DB) ListTokens(ctx context.Context, account string) ([]store.Token, error) {
	w := &where{}
	if account != "" {
		w.and("account = ?", account)
	}
	rows, err := d.read.QueryContext(ctx, d.dialect.sql("SELECT "+tokenColumns+" FROM tokens"+w.String()+" ORDER BY created_at, id"), w.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Token
	for rows.Next() {
		t, err := scanToken(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// RevokeToken implements store.Accounts.
func (d *DB) RevokeToken(ctx context.Context, id string, at time.Time) error {
	return d.one(ctx, "UPDATE tokens SET revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END WHERE id = ?", micros(at), id)
}

// TouchToken implements store.Accounts.
func (d *DB) TouchToken(ctx context.Context, id string, at time.Time) error {
	return d.one(ctx, "UPDATE tokens SET last_used_at = ? WHERE id = ?", micros(at), id)
}

// entries numbers audit entries of one microsecond.
var entries atomic.Uint32

// Record implements store.Audit.
func (d *DB) Record(ctx context.Context, list []store.Entry) error {
	return d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, e := range list {
			id := fmt.Sprintf("%016x%08x", micros(e.At), entries.Add(1))
			if _, err := tx.ExecContext(ctx, d.dialect.sql("INSERT INTO audit (id, at, account, token, remote, action, subject, outcome, detail) VALUES ("+marks(9)+")"),
				id, micros(e.At), e.Account, e.Token, e.Remote, e.Action, e.Subject, e.Outcome, e.Detail); err != nil {
				return err
			}
		}
		return nil
	})
}

// Entries implements store.Audit.
func (d *DB) Entries(ctx context.Context, account, action string, limit int, after string) ([]store.Entry, string, error) {
	w := &where{}
	if account != "" {
		w.and("account = ?", account)
	}
	if action != "" {
		w.and("action LIKE ? ESCAPE '!'", escapeLike(action)+"%")
	}
	if after != "" {
		w.and("id < ?", after)
	}
	limit = page(limit)
	rows, err := d.read.QueryContext(ctx, d.dialect.sql("SELECT id, at, account, token, remote, action, subject, outcome, detail FROM audit"+w.String()+fmt.Sprintf(" ORDER BY id DESC LIMIT %d", limit+1)), w.args...)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	var list []store.Entry
	var ids []string
	for rows.Next() {
		var e store.Entry
		var id string
		var at int64
		if err := rows.Scan(&id, &at, &e.Account, &e.Token, &e.Remote, &e.Action, &e.Subject, &e.Outcome, &e.Detail); err != nil {
			return nil, "", err
		}
		e.At = fromMicros(at)
		list, ids = append(list, e), append(ids, id)
	}
	if err := rows.Err(); err != nil || len(list) <= limit {
		return list, "", err
	}
	return list[:limit], ids[limit-1], nil
}

// PruneAudit implements store.Audit.
func (d *DB) PruneAudit(ctx context.Context, before time.Time) error {
	return d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, d.dialect.sql("DELETE FROM audit WHERE at < ?"), micros(before))
		return err
	})
}
