package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"longshore/internal/store"
)

// number turns "?" into "$1", "$2" and so on.
func number(text string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		text = after
	}
}

// maxRead bounds how long an answer is waited for, so that a database that says nothing holds nobody for ever, and a question that
// reads too much ends.
const maxRead = 30 * time.Second

var errSlow = fmt.Errorf("no answer within %s: ask for less at a time, or look what keeps it busy", maxRead)

// query reads what is committed.
func (d *DB) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := validArgs(args); err != nil {
		return nil, err
	}
	if d.dialect.numbered {
		text = number(text)
	}
	return d.read.QueryContext(ctx, text, args...)
}

// all reads every row with scan.
func all[T any](ctx context.Context, d *DB, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	ctx, stop := context.WithTimeoutCause(ctx, maxRead, errSlow)
	defer stop()
	list, err := read(ctx, d, scan, text, args...)
	if err != nil && errors.Is(context.Cause(ctx), errSlow) {
		err = errSlow
	}
	return list, d.trouble(err)
}

func read[T any](ctx context.Context, d *DB, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := d.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// first reads the first row, or answers store.ErrNotFound.
func first[T any](ctx context.Context, d *DB, scan func(scanner) (T, error), text string, args ...any) (T, error) {
	list, err := all(ctx, d, scan, text, args...)
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return list[0], nil
}

// each reads the rows that a write's statement answers.
func each(scan func(scanner) error) func(rows) error {
	return func(r rows) error {
		for r.Next() {
			if err := scan(r); err != nil {
				return err
			}
		}
		return r.Err()
	}
}

func scanText(row scanner) (s string, err error) {
	err = row.Scan(&s)
	return s, err
}

type scanner interface{ Scan(dest ...any) error }

// marks is "?, ?, ?" for n arguments.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// micros keeps a time; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// known is a time as a column's value, nil when there is none.
func known(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}

// text is a value as JSON; what is empty is "".
func text(v any) (string, error) {
	data, err := json.Marshal(v)
	if s := string(data); s == "null" || s == "[]" || s == "{}" {
		return "", err
	}
	return string(data), err
}

func fromText(s string, v any) error {
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), v)
}

// page is the size of a page. One more is read, so that it is known whether there is a next.
func page(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, 1000)
}

// cut makes a page of what was read for it, and tells the cursor of the next.
func cut[T any](list []T, limit int, cursor func(T) string) ([]T, string) {
	if len(list) <= limit {
		return list, ""
	}
	return list[:limit], cursor(list[limit-1])
}
