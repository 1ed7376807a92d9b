package sqlstore

import (
	"context"
	"errors"
	"strings"

	"longshore/internal/store"
)

const versionColumns = "id, name, version, contract, package, form, origin, document, account, created_at, hidden, task, findings"

func scanVersion(row scanner) (store.Version, error) {
	var v store.Version
	var created int64
	var hidden int
	var task, findings string
	if err := row.Scan(&v.ID, &v.Name, &v.Version, &v.Contract, &v.Package, &v.Form, &v.Origin, &v.Document, &v.Account, &created, &hidden, &task, &findings); err != nil {
		return v, err
	}
	v.CreatedAt, v.Hidden = fromMicros(created), hidden != 0
	return v, errors.Join(fromText(task, &v.Task), fromText(findings, &v.Findings))
}

// AddVersion implements store.Tasks.
func (d *DB) AddVersion(ctx context.Context, v store.Version, as string) error {
	task, err := text(v.Task)
	if err != nil {
		return err
	}
	findings, err := text(v.Findings)
	if err != nil {
		return err
	}
	var added, taken bool
	name := strings.ToLower(v.Name)
	insert := append([]statement{{
		text: "INSERT INTO versions (" + versionColumns + ", folded_name, folded) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		args: []any{
			v.ID, v.Name, v.Version, v.Contract, v.Package, v.Form, v.Origin, v.Document, v.Account, micros(v.CreatedAt), flag(v.Hidden), task, findings,
			name, name + "\n" + strings.ToLower(v.Task.Description),
		},
		affected: func(n int64) { added = n == 1 },
	}}, references("version:"+v.ID, []store.File{{Digest: v.Package}})...)
	err = d.change(ctx, func(*batch) ([]statement, round) {
		added, taken = false, false
		return []statement{
				// Of two first imports at the same time the second waits here for the first.
				{text: "INSERT INTO names (name, account) VALUES (?, ?) ON CONFLICT DO NOTHING", args: []any{v.Name, v.Account}},
				{text: ownerOf, args: []any{v.Name}, rows: each(func(r scanner) error {
					owner, err := scanText(r)
					taken = as != "" && owner != as
					return err
				})},
			}, func(*batch) ([]statement, round) {
				if taken {
					return nil, nil
				}
				return insert, nil
			}
	})
	switch {
	case err != nil:
		return err
	case taken:
		return store.ErrTaken
	case !added:
		return store.ErrConflict
	}
	return nil
}

const ownerOf = "SELECT account FROM names WHERE name = ?"

// Owner implements store.Tasks.
func (d *DB) Owner(ctx context.Context, name string) (string, error) {
	return first(ctx, d, scanText, ownerOf, name)
}

// Version implements store.Tasks.
func (d *DB) Version(ctx context.Context, ref string) (store.Version, error) {
	get := func(condition string, args ...any) (store.Version, error) {
		return first(ctx, d, scanVersion, "SELECT "+versionColumns+" FROM versions WHERE "+condition+" ORDER BY id DESC LIMIT 1", args...)
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
	w := (&where{}).equal("name", f.Name).equal("contract", f.Contract)
	if f.Search != "" {
		w.and(d.dialect.find+"(folded, ?) > 0", strings.ToLower(f.Search))
	}
	if !f.All {
		w.and("hidden = 0 AND id = (SELECT MAX(v.id) FROM versions v WHERE v.name = versions.name AND v.hidden = 0)")
	}
	if f.After != "" {
		w.and("id < ?", f.After)
	}
	limit := page(f.Limit)
	list, err := all(ctx, d, scanVersion, "SELECT "+versionColumns+" FROM versions"+w.String()+" ORDER BY id DESC LIMIT ?", append(w.args, limit+1)...)
	if err != nil {
		return nil, "", err
	}
	list, next := cut(list, limit, func(v store.Version) string { return v.ID })
	return list, next, nil
}

// HideVersion implements store.Tasks.
func (d *DB) HideVersion(ctx context.Context, id string) error {
	return d.one(ctx, "UPDATE versions SET hidden = 1 WHERE id = ?", id)
}

// one changes one row, which must be there.
func (d *DB) one(ctx context.Context, text string, args ...any) error {
	var n int64
	err := d.change(ctx, once(statement{text: text, args: args, affected: func(changed int64) { n = changed }}))
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}
