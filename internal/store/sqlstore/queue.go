package sqlstore

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// patience is how long the first of the queue may be passed by smaller ones, where the claimer says nothing.
const patience = time.Minute

// clockSlack is how far in the future a time may lie before it is taken for one of a clock that was set back.
const clockSlack = time.Hour

// queued are the runs that may be claimed now: those whose time has come, or lies so far ahead that the clock was set back, and
// those that are to be cancelled.
const queued = "state = 'queued' AND (not_before <= ? OR not_before > ? OR cancel = 1)"

// held and waits say of one run, found by its ID, that a server has it, and that it is queued. They are worded unlike the partial
// indexes, as PostgreSQL would walk through those where the ID leads it right there.
const (
	held  = "length(owner) > 0"
	waits = "length(owner) = 0 AND ended_at < 1"
)

// maxLook bounds how far down the queue a claim looks for something that fits.
const maxLook = 2000

const (
	needsColumns = "id, cpu, memory, gpus, cancel, created_at"
	claimRun     = "UPDATE runs SET state = 'preparing', attempt = attempt + 1, owner = ?, lease_until = ?, not_before = 0, started_at = ? WHERE id = ? AND " + waits + " RETURNING " + large
)

// claim is a claim under way.
type claim struct {
	store.Claim
	skipLocked string
	head, list []needs
	claimed    []store.Run
}

// Claim implements store.Queue.
func (d *DB) Claim(ctx context.Context, asked store.Claim) ([]store.Run, error) {
	if asked.Patience == 0 {
		asked.Patience = patience
	}
	c := &claim{Claim: asked, skipLocked: d.dialect.skipLocked}
	err := d.change(ctx, func(*batch) ([]statement, round) {
		*c = claim{Claim: asked, skipLocked: d.dialect.skipLocked}
		// Most of the time what comes first fits. Every run that is looked at is locked, so no more are than that needs.
		return []statement{c.first(), c.fitting(asked.Max)}, c.take(asked.Max)
	})
	if err != nil {
		return nil, err
	}
	return c.claimed, nil
}

// first is the first of the queue that this server can ever run.
func (c *claim) first() statement {
	most := bound(c.Capacity)
	return statement{
		text: "SELECT " + needsColumns + " FROM runs WHERE " + queued + " AND cancel = 0 AND cpu <= ? AND memory <= ? AND gpus <= ? ORDER BY priority DESC, id LIMIT 1",
		args: []any{micros(c.Now), micros(c.Now.Add(clockSlack)), int64(most.CPU), int64(most.Memory), int64(most.GPUs)},
		rows: appendNeeds(&c.head),
	}
}

// fitting are the first ones of which each fits by itself.
func (c *claim) fitting(limit int) statement {
	most := bound(c.Free)
	return statement{
		text: "SELECT " + needsColumns + " FROM runs WHERE " + queued + " AND (cancel = 1 OR (cpu <= ? AND memory <= ? AND gpus <= ?)) ORDER BY priority DESC, id LIMIT ?" + c.skipLocked,
		args: []any{micros(c.Now), micros(c.Now.Add(clockSlack)), int64(most.CPU), int64(most.Memory), int64(c.Free.GPUs), limit},
		rows: appendNeeds(&c.list),
	}
}

// take claims what fits together, and looks once more, further down, if that may find more.
func (c *claim) take(looked int) round {
	return func(b *batch) (now []statement, next round) {
		ids := b.choose(c)
		if deep := min(4*c.Max+64, maxLook); len(ids) < c.Max && len(c.list) >= looked && looked < deep {
			for _, id := range ids {
				delete(b.claimed, id)
			}
			c.list = nil
			return []statement{c.fitting(deep)}, c.take(deep)
		}
		for _, id := range ids {
			now = append(now, statement{text: claimRun, args: []any{c.Owner, micros(c.Until), micros(c.Now), id}, rows: each(func(r scanner) error {
				run, err := scanLarge(r)
				c.claimed = append(c.claimed, run)
				return err
			})})
		}
		return now, nil
	}
}

// bound is the most that a run may need: what is not counted is without bound.
func bound(r task.Resources) task.Resources {
	unbounded := r == task.Resources{}
	if r.CPU == 0 {
		r.CPU = math.MaxInt64
	}
	if r.Memory == 0 {
		r.Memory = math.MaxInt64
	}
	if unbounded {
		r.GPUs = math.MaxInt32
	}
	return r
}

// choose finds what fits together, in the order of the queue, and is not taken by another claim of the transaction.
func (b *batch) choose(c *claim) (ids []string) {
	// The first of the queue must not be passed for ever.
	blocked := len(c.head) > 0 && !c.head[0].within(c.Free) && c.Now.Sub(fromMicros(c.head[0].created)) > c.Patience
	if b.claimed == nil {
		b.claimed = map[string]bool{}
	}
	free := c.Free
	for _, n := range c.list {
		if len(ids) == c.Max {
			break
		}
		if b.claimed[n.id] || !n.cancel && (blocked || !n.within(free)) {
			continue
		}
		if !n.cancel {
			free = n.less(free)
		}
		b.claimed[n.id] = true
		ids = append(ids, n.id)
	}
	return ids
}

// needs is what a queued run asks for.
type needs struct {
	id      string
	r       task.Resources
	cancel  bool
	created int64
}

func appendNeeds(list *[]needs) func(rows) error {
	return each(func(r scanner) error {
		var id string
		var cpu, memory, gpus, cancel, created int64
		err := r.Scan(&id, &cpu, &memory, &gpus, &cancel, &created)
		*list = append(*list, needs{id: id, r: task.Resources{CPU: task.MilliCPU(cpu), Memory: task.Bytes(memory), GPUs: int(gpus)}, cancel: cancel != 0, created: created})
		return err
	})
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
func (d *DB) Waiting(ctx context.Context, now time.Time) (bool, error) {
	list, err := all(ctx, d, scanText, "SELECT id FROM runs WHERE "+queued+" LIMIT 1", micros(now), micros(now.Add(clockSlack)))
	return len(list) > 0, err
}

// Heartbeat implements store.Queue.
func (d *DB) Heartbeat(ctx context.Context, s store.Server) error {
	capacity, err := json.Marshal(s.Capacity)
	if err != nil {
		return err
	}
	return d.change(ctx, once(
		statement{text: "DELETE FROM servers WHERE seen_at < ?", args: []any{micros(s.SeenAt.Add(-24 * time.Hour))}},
		statement{
			text: "INSERT INTO servers (name, url, version, capacity, seen_at) VALUES (?, ?, ?, ?, ?) " +
				"ON CONFLICT (name) DO UPDATE SET url = excluded.url, version = excluded.version, capacity = excluded.capacity, seen_at = excluded.seen_at",
			args: []any{s.Name, s.URL, s.Version, string(capacity), micros(s.SeenAt)},
		}))
}

// Servers implements store.Queue.
func (d *DB) Servers(ctx context.Context) ([]store.Server, error) {
	return all(ctx, d, scanServer, "SELECT name, url, version, capacity, seen_at FROM servers ORDER BY name")
}

func scanServer(row scanner) (s store.Server, err error) {
	var capacity string
	var seen int64
	if err := row.Scan(&s.Name, &s.URL, &s.Version, &capacity, &seen); err != nil {
		return s, err
	}
	s.SeenAt = fromMicros(seen)
	return s, json.Unmarshal([]byte(capacity), &s.Capacity)
}

// Renew implements store.Queue. A run that is being changed in this moment is passed over: that is a sign of life too, and the
// next time is well before its lease ends.
func (d *DB) Renew(ctx context.Context, owner string, until time.Time) (cancel []string, err error) {
	err = d.change(ctx, func(*batch) ([]statement, round) {
		cancel = nil
		return []statement{
			{text: "UPDATE runs SET lease_until = ? WHERE id IN (SELECT id FROM runs WHERE owner = ? AND owner <> ''" + d.dialect.skipLocked + ")", args: []any{micros(until), owner}},
			{text: "SELECT id FROM runs WHERE owner = ? AND owner <> '' AND cancel = 1 ORDER BY id", args: []any{owner}, rows: each(func(r scanner) error {
				id, err := scanText(r)
				cancel = append(cancel, id)
				return err
			})},
		}, nil
	})
	return cancel, err
}

// Owned implements store.Queue.
func (d *DB) Owned(ctx context.Context, owner string) ([]store.Run, error) {
	return all(ctx, d, scanLarge, "SELECT "+large+" FROM runs WHERE owner = ? AND owner <> '' ORDER BY id", owner)
}

// Progress implements store.Queue.
func (d *DB) Progress(ctx context.Context, steps []store.Step) error {
	list := make([]statement, len(steps))
	for i, s := range steps {
		list[i] = statement{
			text: "UPDATE runs SET state = ?, started_at = COALESCE(?, started_at) WHERE id = ? AND attempt = ? AND " + held,
			args: []any{string(s.State), known(s.StartedAt), s.ID, s.Attempt},
		}
	}
	return d.change(ctx, once(list...))
}

const finishRun = "UPDATE runs SET state = ?, owner = '', lease_until = 0, not_before = ?, started_at = COALESCE(?, started_at), ended_at = ?, reason = ?, result = ?, files = ?, " +
	"cpu_seconds = ?, peak_memory = ?, cached_from = ? WHERE id = ? AND attempt = ? AND " + held + " RETURNING " + endedColumns

// Finish implements store.Queue.
func (d *DB) Finish(ctx context.Context, ends []store.End) ([]bool, error) {
	list := make([]statement, len(ends))
	counted := make([]bool, len(ends))
	done := make([]ended, len(ends))
	for i, e := range ends {
		files, err := text(e.Files)
		if err != nil {
			return nil, err
		}
		endedAt, result := micros(e.EndedAt), string(e.Result)
		if e.State == task.Queued {
			endedAt, result, e.Reason = 0, "", ""
		}
		list[i] = statement{
			text: finishRun,
			args: []any{string(e.State), micros(e.NotBefore), known(e.StartedAt), endedAt, string(e.Reason), result, files, e.Usage.CPUSeconds, int64(e.Usage.PeakMemory), e.CachedFrom, e.ID, e.Attempt},
			rows: each(func(r scanner) error {
				counted[i] = true
				return done[i].scan(r)
			}),
		}
	}
	err := d.change(ctx, func(*batch) ([]statement, round) {
		clear(counted)
		return list, func(b *batch) (now []statement, _ round) {
			for i, e := range ends {
				if !counted[i] {
					continue
				}
				now = append(now, references("run:"+e.ID, e.Files)...)
				if e.State != task.Queued {
					done[i].add(b)
				}
			}
			return now, nil
		}
	})
	if err != nil {
		return nil, err
	}
	return counted, nil
}

// Expire implements store.Queue.
func (d *DB) Expire(ctx context.Context, owner string, now time.Time) ([]store.Run, error) {
	var expired []store.Run
	err := d.change(ctx, func(*batch) ([]statement, round) {
		expired = nil
		return []statement{{
				text: "SELECT " + large + " FROM runs WHERE owner <> '' AND owner <> ? AND (lease_until < ? OR lease_until > ?) ORDER BY id" + d.dialect.skipLocked,
				args: []any{owner, micros(now), micros(now.Add(clockSlack))},
				rows: each(func(r scanner) error {
					run, err := scanLarge(r)
					expired = append(expired, run)
					return err
				}),
			}}, func(*batch) (now []statement, _ round) {
				for _, r := range expired {
					now = append(now, statement{text: "UPDATE runs SET state = 'queued', owner = '', lease_until = 0, not_before = 0 WHERE id = ? AND attempt = ? AND " + held, args: []any{r.ID, r.Attempt}})
				}
				return now, nil
			}
	})
	if err != nil {
		return nil, err
	}
	return expired, nil
}

// RequestCancel implements store.Queue.
func (d *DB) RequestCancel(ctx context.Context, id, by string, now time.Time) (store.Run, error) {
	var run store.Run
	var found bool
	err := d.change(ctx, func(*batch) ([]statement, round) {
		var end *ended
		found = false
		return []statement{
				{
					text: "UPDATE runs SET state = 'cancelled', cancel = 1, cancelled_by = ?, ended_at = ?, not_before = 0, reason = '' WHERE id = ? AND " + waits + " RETURNING " + endedColumns,
					args: []any{by, micros(now), id},
					rows: each(func(r scanner) error {
						end = &ended{}
						return end.scan(r)
					}),
				},
				{text: "UPDATE runs SET cancel = 1, cancelled_by = ? WHERE id = ? AND " + held + " AND cancel = 0", args: []any{by, id}},
				{text: "SELECT " + large + " FROM runs WHERE id = ?", args: []any{id}, rows: each(func(r scanner) (err error) {
					found = true
					run, err = scanLarge(r)
					return err
				})},
			}, func(b *batch) ([]statement, round) {
				if end != nil {
					end.add(b)
				}
				return nil, nil
			}
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Run{}, err
	}
	return run, nil
}
