package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// patience is how long the first of the queue may be passed by smaller ones, where the claimer says nothing.
const patience = time.Minute

// clockSlack is how far in the future a time may lie before it is taken for one of a clock that was set back.
const clockSlack = time.Hour

// queued are the runs that may be claimed now.
const queued = "state = 'queued' AND (not_before <= ? OR not_before > ?)"

// maxLook bounds how far down the queue a claim looks for something that fits.
const maxLook = 2000

// Claim implements store.Queue.
func (d *DB) Claim(ctx context.Context, c store.Claim) ([]store.Run, error) {
	if c.Patience == 0 {
		c.Patience = patience
	}
	var claimed []store.Run
	err := d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		claimed = nil
		now, slack := micros(c.Now), micros(c.Now.Add(clockSlack))
		ids, err := d.choose(ctx, tx, c, now, slack)
		if err != nil || len(ids) == 0 {
			return err
		}
		args := []any{c.Owner, micros(c.Until), now}
		for _, id := range ids {
			args = append(args, id)
		}
		rows, err := tx.QueryContext(ctx, d.dialect.sql("UPDATE runs SET state = 'preparing', attempt = attempt + 1, owner = ?, lease_until = ?, not_before = 0, started_at = ? WHERE id IN ("+marks(len(ids))+") RETURNING "+large), args...)
		claimed, err = scanRuns(rows, err, true)
		return err
	})
	return claimed, err
}

// choose finds what fits together, in the order of the queue.
func (d *DB) choose(ctx context.Context, tx *sql.Tx, c store.Claim, now, slack int64) ([]string, error) {
	w := &where{}
	w.and(queued, now, slack)
	fits := "gpus <= ?"
	w.args = append(w.args, c.Free.GPUs)
	if c.Free.CPU != 0 {
		fits += " AND cpu <= ?"
		w.args = append(w.args, int64(c.Free.CPU))
	}
	if c.Free.Memory != 0 {
		fits += " AND memory <= ?"
		w.args = append(w.args, int64(c.Free.Memory))
	}
	// Everything that fits by itself, and the first ones that do not: they must not be passed for ever.
	first, err := tx.QueryContext(ctx, d.dialect.sql("SELECT id, cpu, memory, gpus, cancel, created_at FROM runs WHERE "+queued+" ORDER BY priority DESC, id LIMIT 1"), now, slack)
	head, err := scanNeeds(first, err)
	if err != nil || len(head) == 0 {
		return nil, err
	}
	if h := head[0]; !h.cancel && !h.within(c.Free) && c.Now.Sub(fromMicros(h.created)) > c.Patience {
		return nil, nil
	}
	w.parts[0] += " AND (cancel = 1 OR (" + fits + "))"
	rows, err := tx.QueryContext(ctx, d.dialect.sql("SELECT id, cpu, memory, gpus, cancel, created_at FROM runs"+w.String()+" ORDER BY priority DESC, id LIMIT ?"+d.dialect.skipLocked), append(w.args, min(4*c.Max, maxLook))...)
	list, err := scanNeeds(rows, err)
	if err != nil {
		return nil, err
	}
	free := c.Free
	var ids []string
	for _, n := range list {
		if len(ids) == c.Max {
			break
		}
		if !n.cancel {
			if !n.within(free) {
				continue
			}
			free = n.less(free)
		}
		ids = append(ids, n.id)
	}
	return ids, nil
}

// needs is what a queued run asks for.
type needs struct {
	id      string
	r       task.Resources
	cancel  bool
	created int64
}

func scanNeeds(rows *sql.Rows, err error) ([]needs, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []needs
	for rows.Next() {
		var n needs
		var cancel int
		if err := rows.Scan(&n.id, &n.r.CPU, &n.r.Memory, &n.r.GPUs, &cancel, &n.created); err != nil {
			return nil, err
		}
		n.cancel = cancel != 0
		list = append(list, n)
	}
	return list, rows.Err()
}

// within tells whether it fits; zero CPU and memory are not counted.
func (n needs) within(free task.Resources) bool {
	return n.r.GPUs <= free.GPUs && (free.CPU == 0 || n.r.CPU <= free.CPU) && (free.Memory == 0 || n.r.Memory <= free.Memory)
}

// less is what is left. What is counted and used up is negative, as zero means that it is not counted.
func (n needs) less(free task.Resources) task.Resources {
	free.GPUs -= n.r.GPUs
	if free.CPU != 0 {
		if free.CPU -= n.r.CPU; free.CPU == 0 {
			free.CPU = -1
		}
	}
	if free.Memory != 0 {
		if free.Memory -= n.r.Memory; free.Memory == 0 {
			free.Memory = -1
		}
	}
	return free
}

// Waiting implements store.Queue.
func (d *DB) Waiting(ctx context.Context) (bool, error) {
	now := time.Now()
	var one int
	err := d.read.QueryRowContext(ctx, d.dialect.sql("SELECT 1 FROM runs WHERE "+queued+" LIMIT 1"), micros(now), micros(now.Add(clockSlack))).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Heartbeat implements store.Queue.
func (d *DB) Heartbeat(ctx context.Context, s store.Server) error {
	capacity, err := json.Marshal(s.Capacity)
	if err != nil {
		return err
	}
	return d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, d.dialect.sql("DELETE FROM servers WHERE seen_at < ?"), micros(s.SeenAt.Add(-24*time.Hour))); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, d.dialect.sql("INSERT INTO servers (name, url, version, capacity, seen_at) VALUES (?, ?, ?, ?, ?) "+
			"ON CONFLICT (name) DO UPDATE SET url = excluded.url, version = excluded.version, capacity = excluded.capacity, seen_at = excluded.seen_at"),
			s.Name, s.URL, s.Version, string(capacity), micros(s.SeenAt))
		return err
	})
}

// Servers implements store.Queue.
func (d *DB) Servers(ctx context.Context) ([]store.Server, error) {
	rows, err := d.read.QueryContext(ctx, "SELECT name, url, version, capacity, seen_at FROM servers ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Server
	for rows.Next() {
		var s store.Server
		var capacity string
		var seen int64
		if err := rows.Scan(&s.Name, &s.URL, &s.Version, &capacity, &seen); err != nil {
			return nil, err
		}
		s.SeenAt = fromMicros(seen)
		if err := json.Unmarshal([]byte(capacity), &s.Capacity); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// Renew implements store.Queue.
func (d *DB) Renew(ctx context.Context, owner string, until time.Time) (cancel []string, err error) {
	err = d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, d.dialect.sql("UPDATE runs SET lease_until = ? WHERE owner = ? AND owner <> ''"), micros(until), owner); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, d.dialect.sql("SELECT id FROM runs WHERE owner = ? AND owner <> '' AND cancel = 1"), owner)
		cancel, err = scanStrings(rows, err)
		return err
	})
	return cancel, err
}

// Owned implements store.Queue.
func (d *DB) Owned(ctx context.Context, owner string) ([]store.Run, error) {
	rows, err := d.read.QueryContext(ctx, d.dialect.sql("SELECT "+large+" FROM runs WHERE owner = ? AND owner <> '' ORDER BY id"), owner)
	return scanRuns(rows, err, true)
}

// Progress implements store.Queue.
func (d *DB) Progress(ctx context.Context, steps []store.Step) error {
	return d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, s := range steps {
			if _, err := tx.ExecContext(ctx, d.dialect.sql("UPDATE runs SET state = ?, started_at = COALESCE(?, started_at) WHERE id = ? AND attempt = ? AND owner <> ''"),
				string(s.State), known(s.StartedAt), s.ID, s.Attempt); err != nil {
				return err
			}
		}
		return nil
	})
}

// known is a time as a column's value, nil when there is none.
func known(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}

// Finish implements store.Queue.
func (d *DB) Finish(ctx context.Context, ends []store.End) ([]bool, error) {
	counted := make([]bool, len(ends))
	files := make([]string, len(ends))
	for i, e := range ends {
		var err error
		if files[i], err = text(e.Files); err != nil {
			return nil, err
		}
	}
	err := d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for i, e := range ends {
			ended := micros(e.EndedAt)
			result, kept := string(e.Result), files[i]
			if e.State == task.Queued {
				ended, result, kept = 0, "", ""
			}
			res, err := tx.ExecContext(ctx, d.dialect.sql("UPDATE runs SET state = ?, owner = '', lease_until = 0, not_before = ?, started_at = COALESCE(?, started_at), ended_at = ?, reason = ?, result = ?, files = ?, cpu_seconds = ?, peak_memory = ? "+
				"WHERE id = ? AND attempt = ? AND owner <> ''"),
				string(e.State), micros(e.NotBefore), known(e.StartedAt), ended, string(e.Reason), result, kept, e.Usage.CPUSeconds, int64(e.Usage.PeakMemory), e.ID, e.Attempt)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if counted[i] = n == 1; counted[i] && e.State != task.Queued {
				if err := d.refer(ctx, tx, "run:"+e.ID, e.Files); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return counted, err
}

// Expire implements store.Queue.
func (d *DB) Expire(ctx context.Context, owner string, now time.Time) ([]store.Run, error) {
	var expired []store.Run
	err := d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		const out = "owner <> '' AND owner <> ? AND (lease_until < ? OR lease_until > ?)"
		args := []any{owner, micros(now), micros(now.Add(clockSlack))}
		rows, err := tx.QueryContext(ctx, d.dialect.sql("SELECT "+large+" FROM runs WHERE "+out+d.dialect.skipLocked), args...)
		if expired, err = scanRuns(rows, err, true); err != nil {
			return err
		}
		for _, r := range expired {
			if _, err := tx.ExecContext(ctx, d.dialect.sql("UPDATE runs SET state = 'queued', owner = '', lease_until = 0, not_before = 0 WHERE id = ? AND attempt = ?"), r.ID, r.Attempt); err != nil {
				return err
			}
		}
		return nil
	})
	return expired, err
}

// RequestCancel implements store.Queue.
func (d *DB) RequestCancel(ctx context.Context, id, by string, now time.Time) (store.Run, error) {
	var run store.Run
	err := d.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, d.dialect.sql("UPDATE runs SET state = 'cancelled', cancel = 1, cancelled_by = ?, ended_at = ?, not_before = 0 WHERE id = ? AND state = 'queued'"), by, micros(now), id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, d.dialect.sql("UPDATE runs SET cancel = 1, cancelled_by = ? WHERE id = ? AND owner <> '' AND cancel = 0"), by, id); err != nil {
			return err
		}
		var err error
		run, err = scanRun(tx.QueryRowContext(ctx, d.dialect.sql("SELECT "+large+" FROM runs WHERE id = ?"), id), true)
		return err
	})
	return run, err
}
