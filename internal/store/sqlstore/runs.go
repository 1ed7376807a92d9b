package sqlstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
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

func scanLarge(row scanner) (store.Run, error) {
	var request, inputs, files, result string
	r, err := scanRun(row, &request, &inputs, &files, &result)
	if err != nil {
		return r, err
	}
	r.Request, r.Result = raw(request), raw(result)
	return r, errors.Join(fromText(inputs, &r.Inputs), fromText(files, &r.Files))
}

func scanRun(row scanner, more ...any) (store.Run, error) {
	var r store.Run
	var state, reason, labels string
	var cancel, pruned int
	var cpu, memory, gpus, lease, notBefore, created, started, ended, peak int64
	dest := append([]any{
		&r.ID, &r.Task, &r.TaskName, &r.TaskVersion, &r.Contract, &r.Variant, &r.Account, &state, &r.Priority, &cpu, &memory, &gpus,
		&r.Key, &r.Attempt, &r.Owner, &lease, &notBefore, &cancel, &r.CancelledBy, &created, &started, &ended, &reason, &r.CacheKey, &r.CachedFrom,
		&r.CPUSeconds, &peak, &pruned, &labels,
	}, more...)
	if err := row.Scan(dest...); err != nil {
		return r, err
	}
	r.State, r.Reason, r.PeakMemory = task.State(state), task.Code(reason), task.Bytes(peak)
	r.Needs = task.Resources{CPU: task.MilliCPU(cpu), Memory: task.Bytes(memory), GPUs: int(gpus)}
	r.Cancel, r.Pruned = cancel != 0, pruned != 0
	r.LeaseUntil, r.NotBefore = fromMicros(lease), fromMicros(notBefore)
	r.CreatedAt, r.StartedAt, r.EndedAt = fromMicros(created), fromMicros(started), fromMicros(ended)
	return r, fromText(labels, &r.Labels)
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

// row is a run as its columns, in the order of large.
func row(r store.Run) ([]any, error) {
	labels, err1 := text(r.Labels)
	inputs, err2 := text(r.Inputs)
	files, err3 := text(r.Files)
	return []any{
		r.ID, r.Task, r.TaskName, r.TaskVersion, r.Contract, r.Variant, r.Account, string(r.State), r.Priority, int64(r.Needs.CPU), int64(r.Needs.Memory), int64(r.Needs.GPUs),
		r.Key, r.Attempt, r.Owner, micros(r.LeaseUntil), micros(r.NotBefore), flag(r.Cancel), r.CancelledBy, micros(r.CreatedAt), micros(r.StartedAt), micros(r.EndedAt),
		string(r.Reason), r.CacheKey, r.CachedFrom, r.CPUSeconds, int64(r.PeakMemory), flag(r.Pruned), labels, string(r.Request), inputs, files, string(r.Result),
	}, errors.Join(err1, err2, err3)
}

const (
	// insertRun adds a run unless its account has used its key.
	insertRun = "INSERT INTO runs (" + large + ") VALUES (" +
		"?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
	insertLabel = "INSERT INTO labels (name, value, run) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
)

// submission is one run on its way into the store.
type submission struct {
	run   store.Run
	row   []any
	added bool
}

func newSubmission(r store.Run) (*submission, error) {
	if r.State == "" {
		r.State = task.Queued
	}
	if r.State.Terminal() && r.EndedAt.IsZero() {
		r.EndedAt = r.CreatedAt
	}
	for name, value := range r.Labels {
		if err := validArgs([]any{name, value}); err != nil {
			return nil, err
		}
	}
	row, err := row(r)
	return &submission{run: r, row: row}, err
}

// Submit implements store.Runs.
func (d *DB) Submit(ctx context.Context, runs []store.Run) ([]store.Run, error) {
	list := make([]*submission, len(runs))
	for i, r := range runs {
		var err error
		if list[i], err = newSubmission(r); err != nil {
			return nil, err
		}
	}
	err := d.change(ctx, func(*batch) ([]statement, round) {
		now := make([]statement, len(list))
		for i, s := range list {
			now[i] = statement{text: insertRun, args: s.row, affected: func(n int64) { s.added = n == 1 }}
		}
		return now, func(b *batch) (now []statement, _ round) {
			for _, s := range list {
				now = append(now, s.after(b)...)
			}
			return now, nil
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]store.Run, len(list))
	for i, s := range list {
		out[i] = s.run
	}
	return out, nil
}

// after notes what belongs to a run that was added, or finds the one that was there before.
func (s *submission) after(b *batch) (now []statement) {
	if !s.added {
		return []statement{{text: "SELECT " + large + " FROM runs WHERE account = ? AND key = ? AND key <> ''", args: []any{s.run.Account, s.run.Key}, rows: s.earlier}}
	}
	now = references("run:"+s.run.ID, s.run.Inputs, s.run.Files)
	for _, name := range slices.Sorted(maps.Keys(s.run.Labels)) {
		now = append(now, statement{text: insertLabel, args: []any{name, s.run.Labels[name], s.run.ID}})
	}
	if s.run.State.Terminal() {
		e := endedRun(s.run)
		e.add(b)
	}
	return now
}

// earlier takes the run that was there before. If its key is not the same, then its ID is.
func (s *submission) earlier(r rows) (err error) {
	if !r.Next() {
		return cmp.Or(r.Err(), store.ErrConflict)
	}
	s.run, err = scanLarge(r)
	return err
}

func endedRun(r store.Run) ended {
	return ended{
		id: r.ID, account: r.Account, task: r.Task, name: r.TaskName, contract: r.Contract, state: string(r.State), reason: string(r.Reason),
		created: micros(r.CreatedAt), started: micros(r.StartedAt), ended: micros(r.EndedAt), cpu: r.CPUSeconds, peak: int64(r.PeakMemory),
	}
}

// Run implements store.Runs.
func (d *DB) Run(ctx context.Context, id string) (store.Run, error) {
	return first(ctx, d, scanLarge, "SELECT "+large+" FROM runs WHERE id = ?", id)
}

// Cached implements store.Runs.
func (d *DB) Cached(ctx context.Context, key string) (store.Run, error) {
	return first(ctx, d, scanLarge, "SELECT "+large+" FROM runs WHERE cache_key = ? AND cache_key <> '' AND state = 'succeeded' AND pruned = 0 AND cached_from = '' ORDER BY id DESC LIMIT 1", key)
}

// Prune implements store.Runs.
func (d *DB) Prune(ctx context.Context, before time.Time, limit int, whole bool) (int, error) {
	var list []pruned
	choose := func(flag int) statement {
		return statement{
			text: "SELECT " + endedColumns + ", labels FROM runs WHERE ended_at <> 0 AND pruned = ? AND ended_at < ? ORDER BY ended_at LIMIT ?" + d.dialect.skipLocked,
			args: []any{flag, micros(before), limit},
			rows: each(func(r scanner) error {
				p := pruned{files: flag == 0}
				err := p.run.scan(r, &p.labels)
				list = append(list, p)
				return err
			}),
		}
	}
	err := d.change(ctx, func(*batch) ([]statement, round) {
		list = nil
		now := []statement{choose(0)}
		if whole {
			now = append(now, choose(1))
		}
		return now, func(b *batch) (now []statement, _ round) {
			slices.SortStableFunc(list, func(x, y pruned) int { return cmp.Compare(x.run.ended, y.run.ended) })
			list = list[:min(len(list), limit)]
			for _, p := range list {
				now = append(now, p.forget(b, whole)...)
			}
			return now, nil
		}
	})
	return len(list), err
}

// pruned is an ended run that is forgotten, or whose files are.
type pruned struct {
	run    ended
	labels string
	files  bool // it had them until now
}

func (p pruned) forget(b *batch, whole bool) []statement {
	change := tally{name: p.run.name, contract: p.run.contract}
	if p.files {
		change.kept = -1
	}
	now := []statement{{text: "DELETE FROM refs WHERE holder = ?", args: []any{"run:" + p.run.id}}}
	if whole {
		change.present = -1
		now = append(now, statement{text: "DELETE FROM runs WHERE id = ?", args: []any{p.run.id}})
		var labels map[string]string
		if fromText(p.labels, &labels) == nil { // it is what text made
			for name, value := range labels {
				now = append(now, statement{text: "DELETE FROM labels WHERE name = ? AND value = ? AND run = ?", args: []any{name, value, p.run.id}})
			}
		}
	} else {
		now = append(now, statement{text: "UPDATE runs SET pruned = 1, files = '', inputs = '' WHERE id = ?", args: []any{p.run.id}})
	}
	b.count(&p.run, change)
	return now
}
