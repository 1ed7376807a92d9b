package sqlstore

import (
	"context"
	"time"

	"longshore/internal/store"
)

const refer = "INSERT INTO refs (digest, holder) VALUES (?, ?) ON CONFLICT DO NOTHING"

// references note which blobs something holds.
func references(holder string, lists ...[]store.File) (now []statement) {
	seen := map[string]bool{}
	for _, files := range lists {
		for _, f := range files {
			if f.Digest == "" || seen[f.Digest] {
				continue
			}
			seen[f.Digest] = true
			now = append(now, statement{text: refer, args: []any{f.Digest, holder}})
		}
	}
	return now
}

// Hold implements store.Blobs. A hold is never shortened.
func (d *DB) Hold(ctx context.Context, account string, digests []string, until time.Time) error {
	list := make([]statement, len(digests))
	for i, digest := range digests {
		list[i] = statement{
			text: "INSERT INTO refs (digest, holder, until) VALUES (?, ?, ?) ON CONFLICT (digest, holder) DO UPDATE SET until = CASE WHEN excluded.until > refs.until THEN excluded.until ELSE refs.until END",
			args: []any{digest, "upload:" + account, micros(until)},
		}
	}
	return d.change(ctx, once(list...))
}

// Held implements store.Blobs. What follows the colon of a holder is an account, a run or a version.
func (d *DB) Held(ctx context.Context, account string, digests []string, now time.Time) ([]string, error) {
	var held []string
	for _, digest := range digests {
		one, err := all(ctx, d, scanText, `SELECT digest FROM refs WHERE digest = ? AND ((holder = ? AND until >= ?)
			OR (holder LIKE 'run:%' AND EXISTS (SELECT 1 FROM runs WHERE runs.id = substr(refs.holder, 5) AND runs.account = ?))
			OR (holder LIKE 'version:%' AND EXISTS (SELECT 1 FROM versions WHERE versions.id = substr(refs.holder, 9) AND versions.account = ?))) LIMIT 1`,
			digest, "upload:"+account, micros(now), account, account)
		if err != nil {
			return nil, err
		}
		held = append(held, one...)
	}
	return held, nil
}

// Unreferenced implements store.Blobs. Holds that have run out are removed on the way.
func (d *DB) Unreferenced(ctx context.Context, digests []string, now time.Time) ([]string, error) {
	if len(digests) == 0 {
		return nil, nil
	}
	held := map[string]bool{}
	err := d.change(ctx, func(*batch) (list []statement, _ round) {
		clear(held)
		for _, digest := range digests {
			list = append(list,
				statement{text: "DELETE FROM refs WHERE digest = ? AND until > 0 AND until < ?", args: []any{digest, micros(now)}},
				statement{text: "SELECT digest FROM refs WHERE digest = ? LIMIT 1", args: []any{digest}, rows: each(func(r scanner) error {
					digest, err := scanText(r)
					held[digest] = true
					return err
				})})
		}
		return list, nil
	})
	if err != nil {
		return nil, err
	}
	var unused []string
	for _, digest := range digests {
		if !held[digest] {
			unused = append(unused, digest)
		}
	}
	return unused, nil
}
