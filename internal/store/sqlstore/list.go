package sqlstore

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// maxNames is up to how many tasks of a search are looked for one by one, and maxRanges how many ranges one statement has.
const (
	maxNames  = 200
	maxRanges = 80
)

// The conditions of the partial indexes. over is no bound: SQLite takes the first that it meets for the start of a range.
const (
	live = "ended_at = 0"
	over = "ended_at <> 0"
)

// List implements store.Runs. What is asked for is cut into ranges, each of which an index has in order; a page is made of the
// first ones of them all.
func (d *DB) List(ctx context.Context, f store.RunFilter) ([]store.Run, string, error) {
	done, err := d.budget.question(ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	limit := page(f.Limit)
	order, after := "DESC", "id < ?"
	if f.Oldest {
		order, after = "ASC", "id > ?"
	}
	common := (&where{}).created(f.Since, f.Until)
	if f.After != "" {
		common.and(after, f.After)
	}
	if f.Kept {
		common.and("pruned = 0")
	}
	from := labelled(common, f.Labels)
	ranges, err := d.ranges(ctx, f)
	if err != nil {
		return nil, "", err
	}
	var list []store.Run
	for some := range slices.Chunk(ranges, maxRanges) {
		var parts []string
		var args []any
		for _, w := range some {
			w.all(common)
			parts = append(parts, "SELECT id FROM (SELECT id FROM "+from+w.String()+" ORDER BY id "+order+" LIMIT ?) r")
			args = append(append(args, w.args...), limit+1)
		}
		text := "SELECT " + small + " FROM runs WHERE id IN (SELECT id FROM (" + strings.Join(parts, " UNION ") + ") a ORDER BY id " + order + " LIMIT ?) ORDER BY id " + order
		found, err := all(ctx, d, scanSmall, text, append(args, limit+1)...)
		if err != nil {
			return nil, "", err
		}
		list = merge(list, found, f.Oldest)
	}
	list, next := cut(list, limit, func(r store.Run) string { return r.ID })
	return list, next, nil
}

// merge puts the second list into the first, by ID, each run once.
func merge(list, more []store.Run, oldest bool) []store.Run {
	if len(list) == 0 {
		return more
	}
	list = append(list, more...)
	slices.SortFunc(list, func(a, b store.Run) int {
		if oldest {
			a, b = b, a
		}
		return cmp.Compare(b.ID, a.ID)
	})
	return slices.CompactFunc(list, func(a, b store.Run) bool { return a.ID == b.ID })
}

func scanSmall(row scanner) (store.Run, error) { return scanRun(row) }

// labelled adds the conditions of labels, and answers what to select from: where there are labels, the first one leads.
func labelled(w *where, labels map[string]string) (from string) {
	from = "runs"
	for i, name := range slices.Sorted(maps.Keys(labels)) {
		if i == 0 {
			from = "labels CROSS JOIN runs" // CROSS keeps SQLite from beginning with the runs
			w.and("labels.name = ? AND labels.value = ? AND runs.id = labels.run", name, labels[name])
			continue
		}
		w.and("EXISTS (SELECT 1 FROM labels l WHERE l.name = ? AND l.value = ? AND l.run = runs.id)", name, labels[name])
	}
	return from
}

// ranges are what a filter asks for, other than its labels and times. They may overlap.
func (d *DB) ranges(ctx context.Context, f store.RunFilter) ([]*where, error) {
	if f.Search == "" {
		return d.byState(ctx, f, nil)
	}
	names, err := all(ctx, d, scanText, "SELECT DISTINCT name FROM versions WHERE "+d.hasName(), strings.ToLower(f.Search))
	if err != nil {
		return nil, err
	}
	var list []*where
	if prefix(f.Search) {
		list = append(list, flat(f).and("id >= ? AND id < ?", f.Search, past(f.Search)))
	}
	if f.Name != "" {
		names = slices.DeleteFunc(names, func(n string) bool { return n != f.Name })
	}
	if len(names) > maxNames {
		return append(list, flat(f).and("task_name IN (SELECT name FROM versions WHERE "+d.hasName()+")", strings.ToLower(f.Search))), nil
	}
	if len(names) == 0 {
		return list, nil
	}
	named, err := d.byState(ctx, f, names)
	return append(list, named...), err
}

// named is the condition that a task's name has a text in it.
func (d *DB) named(ctx context.Context, search string) (string, []any, error) {
	folded := strings.ToLower(search)
	names, err := all(ctx, d, scanText, "SELECT DISTINCT name FROM versions WHERE "+d.hasName(), folded)
	switch {
	case err != nil:
		return "", nil, err
	case len(names) == 0:
		return "(1 = 0)", nil, nil
	case len(names) > maxNames:
		return "task_name IN (SELECT name FROM versions WHERE " + d.hasName() + ")", []any{folded}, nil
	}
	w := (&where{}).oneOf("task_name", names)
	return w.parts[0], w.args, nil
}

// hasName is the condition that a version's name has a text in lower case in it.
func (d *DB) hasName() string { return d.dialect.find + "(folded_name, ?) > 0" }

// prefix tells whether s can be the start of a run's ID that is worth looking for.
func prefix(s string) bool {
	return len(s) >= 8 && len(s) <= 20 && strings.Trim(s, "0123456789abcdef") == ""
}

// past follows every ID that starts with p.
func past(p string) string { return p + "g" }

// same are the conditions on columns that runs and tallies share, but for the state.
func same(f store.RunFilter) *where {
	w := (&where{}).equal("task", f.Task).equal("task_name", f.Name).equal("account", f.Account).equal("reason", string(f.Reason))
	if f.Reason != "" {
		w.and("reason <> ''")
	}
	return w
}

// flat is a filter as one range.
func flat(f store.RunFilter) *where {
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	return same(f).oneOf("state", states)
}

// byState is a filter as one range for each state, if that is how the indexes have it. Where tasks are chosen by names, runs that
// ended have one for each name too, or, of one account, for each version of them that it has used.
func (d *DB) byState(ctx context.Context, f store.RunFilter, names []string) (list []*where, err error) {
	if f.Reason != "" || len(f.Labels) > 0 || len(names) == 0 && len(f.States) == 0 && f.Task == "" && f.Name == "" && f.Account == "" {
		return []*where{flat(f).oneOf("task_name", names)}, nil
	}
	each, err := d.endedRanges(ctx, f, names)
	if err != nil {
		return nil, err
	}
	states := f.States
	if len(states) == 0 {
		states = slices.Sorted(maps.Keys(task.Moves))
	}
	for _, s := range states {
		if !s.Terminal() {
			list = append(list, same(f).and("state = ?", string(s)).and(live).oneOf("task_name", names))
			continue
		}
		for _, g := range each {
			list = append(list, same(g).and("state = ?", string(s)).and(over))
		}
	}
	return list, nil
}

// endedRanges are the filters that ended runs are looked for by.
func (d *DB) endedRanges(ctx context.Context, f store.RunFilter, names []string) (list []store.RunFilter, err error) {
	chosen := names
	if len(chosen) == 0 {
		chosen = []string{f.Name}
	}
	g := f
	if f.Account != "" && f.Task == "" && chosen[0] != "" {
		w := (&where{}).and("span = ? AND at = 0", int64(spanAll)).equal("account", f.Account).oneOf("task_name", chosen)
		used, err := all(ctx, d, scanText, "SELECT DISTINCT task FROM tallies"+w.String()+" LIMIT ?", append(w.args, maxNames+1)...)
		if err != nil {
			return nil, err
		}
		if len(used) <= maxNames {
			g.Name = ""
			for _, g.Task = range used {
				list = append(list, g)
			}
			return list, nil
		}
	}
	for _, g.Name = range chosen {
		list = append(list, g)
	}
	return list, nil
}

// Count implements store.Runs. Live runs are counted, those that ended are summed up from tallies by the hour.
func (d *DB) Count(ctx context.Context, f store.RunFilter) (map[task.State]int64, error) {
	done, err := d.budget.question(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var c counting
	base := flat(f)
	if f.Search != "" {
		named, args, err := d.named(ctx, f.Search)
		if err != nil {
			return nil, err
		}
		if prefix(f.Search) {
			w := flat(f).and("id >= ? AND id < ?", f.Search, past(f.Search)).and("NOT "+named, args...).created(f.Since, f.Until)
			if f.Kept {
				w.and("pruned = 0")
			}
			c.runs(labelled(w, f.Labels), w)
		}
		base.and(named, args...)
	}
	if len(f.Labels) > 0 {
		w := base.created(f.Since, f.Until)
		if f.Kept {
			w.and("pruned = 0")
		}
		c.runs(labelled(w, f.Labels), w)
	} else {
		c.summed(base, f)
	}
	return d.counts(ctx, c)
}

// counting puts together what is added up.
type counting struct {
	parts []string
	args  []any
}

func (c *counting) add(what, from string, w *where) {
	c.parts = append(c.parts, "SELECT state, "+what+" AS n FROM "+from+w.String()+" GROUP BY state")
	c.args = append(c.args, w.args...)
}

func (c *counting) runs(from string, w *where) { c.add("COUNT(*)", from, w) }

func (c *counting) summed(base *where, f store.RunFilter) {
	if f.Reason == "" { // what lives has none
		c.runs("runs", (&where{}).and(live).all(base).created(f.Since, f.Until))
	}
	what := "SUM(present)"
	if f.Kept {
		what = "SUM(kept)"
	}
	sums, edges := tallied(f.Since, f.Until, spanCreatedHour, spanCreatedDay)
	for _, w := range sums {
		c.add(what, "tallies", w.all(base))
	}
	for _, e := range edges {
		w := (&where{}).and(over).all(base).created(time.UnixMicro(e.from), time.UnixMicro(e.to))
		if len(f.States) == 0 { // the indexes have the state before the ID
			w.and("state IN ('cancelled', 'failed', 'succeeded')")
		}
		if f.Kept {
			w.and("pruned = 0")
		}
		c.runs("runs", w)
	}
}

func (d *DB) counts(ctx context.Context, c counting) (map[task.State]int64, error) {
	counts := map[task.State]int64{}
	_, err := all(ctx, d, func(r scanner) (s string, err error) {
		var n int64
		if err := r.Scan(&s, &n); err != nil || n == 0 {
			return s, err
		}
		counts[task.State(s)] = n
		return s, nil
	}, "SELECT state, CAST(SUM(n) AS BIGINT) FROM ("+strings.Join(c.parts, " UNION ALL ")+") c GROUP BY state", c.args...)
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// Usage implements store.Runs.
func (d *DB) Usage(ctx context.Context, f store.UsageFilter) ([]store.Usage, error) {
	done, err := d.budget.question(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	base := (&where{}).equal("account", f.Account).equal("task_name", f.Name)
	var parts []string
	var args []any
	add := func(columns, from string, w *where) {
		parts = append(parts, "SELECT account, task_name, contract, state, "+columns+" FROM "+from+w.all(base).String())
		args = append(args, w.args...)
	}
	sums, edges := tallied(f.Since, f.Until, spanEndedHour, spanEndedDay)
	for _, w := range sums {
		add("runs, cpu_seconds, wall, peak_memory", "tallies", w)
	}
	for _, e := range edges {
		for _, pruned := range []int{0, 1} { // as the index has them
			add("1 AS runs, cpu_seconds, CASE WHEN started_at > 0 AND ended_at > started_at THEN ended_at - started_at ELSE 0 END AS wall, peak_memory", "runs",
				(&where{}).and(over).and("pruned = ? AND ended_at >= ? AND ended_at < ?", pruned, e.from, e.to))
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	return all(ctx, d, scanUsage, `SELECT account, task_name, contract, CAST(SUM(runs) AS BIGINT),
	CAST(SUM(CASE WHEN state = 'succeeded' THEN runs ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN state = 'failed' THEN runs ELSE 0 END) AS BIGINT),
	CAST(SUM(CASE WHEN state = 'cancelled' THEN runs ELSE 0 END) AS BIGINT), SUM(cpu_seconds), CAST(SUM(wall) AS BIGINT), MAX(peak_memory)
	FROM (`+strings.Join(parts, " UNION ALL ")+") u GROUP BY account, task_name, contract ORDER BY account, task_name, contract", args...)
}

func scanUsage(r scanner) (u store.Usage, err error) {
	var wall, peak int64
	err = r.Scan(&u.Account, &u.TaskName, &u.Contract, &u.Runs, &u.Succeeded, &u.Failed, &u.Cancelled, &u.CPUSeconds, &wall, &peak)
	u.WallTime, u.PeakMemory = float64(wall)/1e6, task.Bytes(peak)
	return u, err
}
