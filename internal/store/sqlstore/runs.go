package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// small are the columns that lists show, large those that only a single run shows, in the order of scan.
const (
	small = "id, task, task_name, task_version, contract, variant, account, state, priority, cpu, memory, gpus, key, attempt, owner, lease_until, not_before, " +
		"cancel, cancelled_by, created_at, started_at, ended_at, reason, cache_key, cached_from, cpu_seconds, peak_memory, pruned, labels"
	large = small + ", request, inputs, files, result"
)

type scanner interface{ Scan(dest ...any) error }

func scanRun(row scanner, whole bool) (store.Run, error) {
	var r store.Run
	var cancel, pruned int
	var lease, notBefore, created, started, ended int64
	var labels, request, inputs, files, result string
	dest := []any{
		&r.ID, &r.Task, &r.TaskName, &r.TaskVersion, &r.Contract, &r.Variant, &r.Account, &r.State, &r.Priority, &r.Needs.CPU, &r.Needs.Memory, &r.Needs.GPUs,
		&r.Key, &r.Attempt, &r.Owner, &lease, &notBefore, &cancel, &r.CancelledBy, &created, &started, &ended, &r.Reason, &r.CacheKey, &r.CachedFrom,
		&r.CPUSeconds, &r.PeakMemory, &pruned, &labels,
	}
	if whole {
		dest = append(dest, &request, &inputs, &files, &result)
	}
	if err := row.Scan(dest...); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = store.ErrNotFound
		}
		return r, err
	}
	r.Cancel, r.Pruned = cancel != 0, pruned != 0
	r.LeaseUntil, r.NotBefore = fromMicros(lease), fromMicros(notBefore)
	r.CreatedAt, r.StartedAt, r.EndedAt = fromMicros(created), fromMicros(started), fromMicros(ended)
	r.Request, r.Result = raw(request), raw(result)
	return r, errors.Join(fromText(labels, &r.Labels), fromText(inputs, &r.Inputs), fromText(files, &r.Files))
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

func scanRuns(rows *sql.Rows, err error, whole bool) ([]store.Run, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Run
	for rows.Next() {
		r, err := scanRun(rows, whole)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// row is a run as its columns, in the order of large.
func row(r store.Run) ([]any, error) {
	labels, err1 := text(r.Labels)
	inputs, err2 := text(r.Inputs)
	files, err3 := text(r.Files)
	return []any{
		r.ID, r.Task, r.TaskName, r.TaskVersion, r.Contract, r.Variant, r.Account, string(r.State), r.Priority, int64(r.Needs.CPU), int64(r.Needs.Memory), r.Needs.GPUs,
		r.Key, r.Attempt, r.Owner, micros(r.LeaseUntil), micros(r.NotBefore), flag(r.Cancel), r.CancelledBy, micros(r.CreatedAt), micros(r.StartedAt), micros(r.EndedAt),
		string(r.Reason), r.CacheKey, r.CachedFrom, r.CPUSeconds, int64(r.PeakMemory), flag(r.Pruned), labels, string(r.Request), inputs, files, string(r.Result),
	}, errors.Join(err1, err2, err3)
}

// insertRun adds a run unless its account has used its key.
var insertRun = "INSERT INTO runs (" + large + ") VALUES (" + marks(strings.Count(large, ",")+1) + ") ON CONFLICT DO NOTHING"

// Submit implements store.Runs.
func (d *DB) Submit(ctx context.Context, runs []store.Run) ([]store.Run, error) {
	rows := make([][]any, len(runs))
	for i, r := range runs {
		if r.State == "" {
			r.State = task.Queued
		}
		var err error
		if rows[i], err = row(r); err != nil {
			return nil, err
		}
	}
	out := make([]store.Run, len(runs))
	err := d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for i, r := range runs {
			res, err := tx.ExecContext(ctx, d.dialect.sql(insertRun), rows[i]...)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if n == 1 {
				out[i] = r
				if err := d.refer(ctx, tx, "run:"+r.ID, append(append([]store.File(nil), r.Inputs...), r.Files...)); err != nil {
					return err
				}
				continue
			}
			out[i], err = scanRun(tx.QueryRowContext(ctx, d.dialect.sql("SELECT "+large+" FROM runs WHERE account = ? AND key = ?"), r.Account, r.Key), true)
			if errors.Is(err, store.ErrNotFound) {
				err = store.ErrConflict // of the ID
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// Run implements store.Runs.
func (d *DB) Run(ctx context.Context, id string) (store.Run, error) {
	return scanRun(d.read.QueryRowContext(ctx, d.dialect.sql("SELECT "+large+" FROM runs WHERE id = ?"), id), true)
}

func (d *DB) filter(f store.RunFilter) *where {
	w := &where{}
	if len(f.States) > 0 {
		args := make([]any, len(f.States))
		for i, s := range f.States {
			args[i] = string(s)
		}
		w.and("state IN ("+marks(len(args))+")", args...)
	}
	for _, c := range []struct{ column, value string }{{"task", f.Task}, {"task_name", f.Name}, {"account", f.Account}, {"reason", string(f.Reason)}} {
		if c.value != "" {
			w.and(c.column+" = ?", c.value)
		}
	}
	for k, v := range f.Labels {
		pair, _ := json.Marshal(map[string]string{k: v}) // two strings
		w.and("labels LIKE ? ESCAPE '!'", "%"+escapeLike(strings.Trim(string(pair), "{}"))+"%")
	}
	if !f.Since.IsZero() {
		w.and("created_at >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		w.and("created_at < ?", micros(f.Until))
	}
	if f.Search != "" {
		w.and("(id LIKE ? ESCAPE '!' OR task_name "+d.dialect.like+" ? ESCAPE '!')", escapeLike(f.Search)+"%", "%"+escapeLike(f.Search)+"%")
	}
	if f.Kept {
		w.and("pruned = 0")
	}
	return w
}

// List implements store.Runs.
func (d *DB) List(ctx context.Context, f store.RunFilter) ([]store.Run, string, error) {
	w := d.filter(f)
	order, after := "DESC", "id < ?"
	if f.Oldest {
		order, after = "ASC", "id > ?"
	}
	if f.After != "" {
		w.and(after, f.After)
	}
	limit := page(f.Limit)
	rows, err := d.read.QueryContext(ctx, d.dialect.sql("SELECT "+small+" FROM runs"+w.String()+fmt.Sprintf(" ORDER BY id %s LIMIT %d", order, limit+1)), w.args...)
	list, err := scanRuns(rows, err, false)
	if err != nil || len(list) <= limit {
		return list, "", err
	}
	return list[:limit], list[limit-1].ID, nil
}

// Count implements store.Runs.
func (d *DB) Count(ctx context.Context, f store.RunFilter) (map[task.State]int64, error) {
	w := d.filter(f)
	rows, err := d.read.QueryContext(ctx, d.dialect.sql("SELECT state, COUNT(*) FROM runs"+w.String()+" GROUP BY state"), w.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[task.State]int64{}
	for rows.Next() {
		var s task.State
		var n int64
		if err := rows.Scan(&s, &n); err != nil {
			return nil, err
		}
		counts[s] = n
	}
	return counts, rows.Err()
}

// Cached implements store.Runs.
func (d *DB) Cached(ctx context.Context, key string) (store.Run, error) {
	return scanRun(d.read.QueryRowContext(ctx, d.dialect.sql("SELECT "+large+" FROM runs WHERE cache_key = ? AND state = 'succeeded' AND pruned = 0 AND cached_from = '' ORDER BY id DESC LIMIT 1"), key), true)
}

// Usage implements store.Runs.
func (d *DB) Usage(ctx context.Context, f store.UsageFilter) ([]store.Usage, error) {
	w := &where{}
	w.and("ended_at > 0")
	if f.Account != "" {
		w.and("account = ?", f.Account)
	}
	if f.Name != "" {
		w.and("task_name = ?", f.Name)
	}
	if !f.Since.IsZero() {
		w.and("ended_at >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		w.and("ended_at < ?", micros(f.Until))
	}
	rows, err := d.read.QueryContext(ctx, d.dialect.sql(`SELECT account, task_name, contract, COUNT(*),
	SUM(CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END), SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), SUM(CASE WHEN state = 'cancelled' THEN 1 ELSE 0 END),
	SUM(cpu_seconds), SUM(CASE WHEN started_at > 0 THEN ended_at - started_at ELSE 0 END) / 1000000.0, MAX(peak_memory)
	FROM runs`+w.String()+" GROUP BY account, task_name, contract ORDER BY account, task_name, contract"), w.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Usage
	for rows.Next() {
		var u store.Usage
		if err := rows.Scan(&u.Account, &u.TaskName, &u.Contract, &u.Runs, &u.Succeeded, &u.Failed, &u.Cancelled, &u.CPUSeconds, &u.WallTime, &u.PeakMemory); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, rows.Err()
}

// Prune implements store.Runs.
func (d *DB) Prune(ctx context.Context, before time.Time, limit int, whole bool) (int, error) {
	var n int
	err := d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		kept := " AND pruned = 0"
		if whole {
			kept = ""
		}
		rows, err := tx.QueryContext(ctx, d.dialect.sql("SELECT id FROM runs WHERE ended_at > 0 AND ended_at < ?"+kept+" ORDER BY ended_at LIMIT ?"), micros(before), limit)
		ids, err := scanStrings(rows, err)
		if n = len(ids); err != nil || n == 0 {
			return err
		}
		holders := make([]any, n)
		args := make([]any, n)
		for i, id := range ids {
			holders[i], args[i] = "run:"+id, id
		}
		if _, err := tx.ExecContext(ctx, d.dialect.sql("DELETE FROM refs WHERE holder IN ("+marks(n)+")"), holders...); err != nil {
			return err
		}
		what := "UPDATE runs SET pruned = 1, files = '', inputs = '' WHERE id IN ("
		if whole {
			what = "DELETE FROM runs WHERE id IN ("
		}
		_, err = tx.ExecContext(ctx, d.dialect.sql(what+marks(n)+")"), args...)
		return err
	})
	return n, err
}

func scanStrings(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, rows.Err()
}
