package sqlstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"longshore/internal/store"
)

const insertEntry = "INSERT INTO audit (id, at, account, token, remote, action, subject, outcome, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

// pruneEntries is how many audit entries are removed in one transaction, so that others need not wait long.
const pruneEntries = 5000

// Record implements store.Audit. What callers sent is part of it, so texts that cannot be kept as they are lose what is wrong in
// them.
func (d *DB) Record(ctx context.Context, list []store.Entry) error {
	now := make([]statement, len(list))
	for i, e := range list {
		now[i] = statement{text: insertEntry, args: []any{
			fmt.Sprintf("%016x%08x%08x", micros(e.At), d.entries.Add(1), d.process), micros(e.At),
			clean(e.Account), clean(e.Token), clean(e.Remote), clean(e.Action), clean(e.Subject), clean(e.Outcome), clean(e.Detail),
		}}
	}
	return d.change(ctx, once(now...))
}

// clean is a text that every database can keep.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// entry is one with its place in the log.
type entry struct {
	id string
	store.Entry
}

// Entries implements store.Audit.
func (d *DB) Entries(ctx context.Context, account, action string, limit int, after string) ([]store.Entry, string, error) {
	w := (&where{}).equal("account", account)
	if action != "" {
		w.and("substr(action, 1, ?) = ?", len([]rune(action)), action)
	}
	if after != "" {
		w.and("id < ?", after)
	}
	limit = page(limit)
	found, err := all(ctx, d, scanEntry, "SELECT id, at, account, token, remote, action, subject, outcome, detail FROM audit"+w.String()+" ORDER BY id DESC LIMIT ?", append(w.args, limit+1)...)
	if err != nil {
		return nil, "", err
	}
	found, next := cut(found, limit, func(e entry) string { return e.id })
	list := make([]store.Entry, len(found))
	for i, e := range found {
		list[i] = e.Entry
	}
	return list, next, nil
}

func scanEntry(r scanner) (e entry, err error) {
	var at int64
	err = r.Scan(&e.id, &at, &e.Account, &e.Token, &e.Remote, &e.Action, &e.Subject, &e.Outcome, &e.Detail)
	e.At = fromMicros(at)
	return e, err
}

// PruneAudit implements store.Audit.
func (d *DB) PruneAudit(ctx context.Context, before time.Time) error {
	for {
		var n int64
		if err := d.change(ctx, once(statement{
			text:     "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ? ORDER BY id LIMIT ?)",
			args:     []any{fmt.Sprintf("%016x", micros(before)), pruneEntries},
			affected: func(removed int64) { n = removed },
		})); err != nil || n < pruneEntries {
			return err
		}
	}
}
