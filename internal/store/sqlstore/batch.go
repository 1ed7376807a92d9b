package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"longshore/internal/store"
)

// batch is what the writes of one transaction share.
type batch struct {
	// claimed are runs that a claim of this transaction has taken.
	claimed map[string]bool
	tallies map[tallyKey]tally
}

// do runs writes side by side: the statements of all their first rounds, then those of all their second ones, and so on.
func (b *batch) do(ctx context.Context, tx transaction, list []*write) error {
	var under []round
	var now []statement
	for _, w := range list {
		w.err = nil
		steps, next := w.first(b)
		// What cannot be kept is refused before it is part of anything.
		if w.err = valid(steps); w.err != nil {
			continue
		}
		now = append(now, steps...)
		if next != nil {
			under = append(under, next)
		}
	}
	for {
		if len(now) > 0 {
			if err := tx.run(ctx, now); err != nil {
				return err
			}
		}
		if len(under) == 0 {
			break
		}
		now, under = b.next(under)
		if err := valid(now); err != nil {
			return err
		}
	}
	if len(b.tallies) == 0 {
		return nil
	}
	return tx.run(ctx, b.flush())
}

func (b *batch) next(under []round) (now []statement, later []round) {
	for _, r := range under {
		steps, next := r(b)
		now = append(now, steps...)
		if next != nil {
			later = append(later, next)
		}
	}
	return now, later
}

// valid refuses texts that not every database can keep as they are.
func valid(list []statement) error {
	for _, s := range list {
		if err := validArgs(s.args); err != nil {
			return err
		}
	}
	return nil
}

func validArgs(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
			return store.ErrInvalid
		}
	}
	return nil
}

// The spans of time that ended runs are summed up by: all time, the hour or day of creation, the hour or day of the end.
const (
	spanAll = iota
	spanCreatedHour
	spanCreatedDay
	spanEndedHour
	spanEndedDay
)

// tallyKey is what ended runs are summed up by.
type tallyKey struct {
	span, at                     int64
	account, task, state, reason string
}

// tally is what changes of their sums. Name and contract follow from the task.
type tally struct {
	name, contract      string
	runs, present, kept int64
	cpu                 float64
	wall, peak          int64
}

// In microseconds.
const (
	hour = 3_600_000_000
	day  = 24 * hour
)

// count adds to the sums that the transaction writes at its end: last, so that two transactions wait for each other as shortly as
// can be, and once for each sum, however many runs ended.
func (b *batch) count(e *ended, t tally) {
	for span, at := range [...]int64{
		spanAll: 0, spanCreatedHour: floor(e.created, hour), spanCreatedDay: floor(e.created, day), spanEndedHour: floor(e.ended, hour), spanEndedDay: floor(e.ended, day),
	} {
		b.sum(tallyKey{span: int64(span), at: at, account: e.account, task: e.task, state: e.state, reason: e.reason}, t)
	}
}

func (b *batch) sum(k tallyKey, t tally) {
	if b.tallies == nil {
		b.tallies = map[tallyKey]tally{}
	}
	sum := b.tallies[k]
	sum.name, sum.contract = t.name, t.contract
	sum.runs += t.runs
	sum.present += t.present
	sum.kept += t.kept
	sum.cpu += t.cpu
	sum.wall += t.wall
	sum.peak = max(sum.peak, t.peak)
	b.tallies[k] = sum
}

const addTally = `INSERT INTO tallies (span, at, account, task, state, reason, task_name, contract, runs, present, kept, cpu_seconds, wall, peak_memory)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (span, at, account, task, state, reason) DO UPDATE SET
	runs = tallies.runs + excluded.runs, present = tallies.present + excluded.present, kept = tallies.kept + excluded.kept,
	cpu_seconds = tallies.cpu_seconds + excluded.cpu_seconds, wall = tallies.wall + excluded.wall,
	peak_memory = CASE WHEN excluded.peak_memory > tallies.peak_memory THEN excluded.peak_memory ELSE tallies.peak_memory END`

// flush is in one order for all, so that transactions do not wait for each other in a circle.
func (b *batch) flush() []statement {
	keys := make([]tallyKey, 0, len(b.tallies))
	for k := range b.tallies {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y tallyKey) int {
		return cmp.Or(cmp.Compare(x.span, y.span), cmp.Compare(x.at, y.at), cmp.Compare(x.account, y.account), cmp.Compare(x.task, y.task),
			cmp.Compare(x.state, y.state), cmp.Compare(x.reason, y.reason))
	})
	list := make([]statement, len(keys))
	for i, k := range keys {
		t := b.tallies[k]
		list[i] = statement{text: addTally, args: []any{k.span, k.at, k.account, k.task, k.state, k.reason, t.name, t.contract, t.runs, t.present, t.kept, t.cpu, t.wall, t.peak}}
	}
	return list
}

// ended is a run that ended, as counting needs it.
type ended struct {
	id                            string
	account, task, name, contract string
	state, reason                 string
	created, started, ended       int64
	cpu                           float64
	peak                          int64
}

// endedColumns are those of ended, in the order of scan.
const endedColumns = "id, account, task, task_name, contract, state, reason, created_at, started_at, ended_at, cpu_seconds, peak_memory"

func (e *ended) scan(r scanner, more ...any) error {
	return r.Scan(append([]any{&e.id, &e.account, &e.task, &e.name, &e.contract, &e.state, &e.reason, &e.created, &e.started, &e.ended, &e.cpu, &e.peak}, more...)...)
}

// add counts a run that has just ended.
func (e *ended) add(b *batch) {
	t := tally{name: e.name, contract: e.contract, runs: 1, present: 1, kept: 1, cpu: e.cpu, peak: e.peak}
	if e.started > 0 {
		t.wall = max(0, e.ended-e.started)
	}
	b.count(e, t)
}

// floor is the number of the hour or day that a time in microseconds lies in.
func floor(micros, unit int64) int64 {
	n := micros / unit
	if micros%unit < 0 {
		n--
	}
	return n
}
