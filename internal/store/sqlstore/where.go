package sqlstore

import (
	"fmt"
	"strings"
	"time"
)

// where collects conditions.
type where struct {
	parts []string
	args  []any
}

func (w *where) and(text string, args ...any) *where {
	w.parts = append(w.parts, text)
	w.args = append(w.args, args...)
	return w
}

// all adds the conditions of another.
func (w *where) all(other *where) *where {
	w.parts = append(w.parts, other.parts...)
	w.args = append(w.args, other.args...)
	return w
}

// equal adds a condition unless the value is empty.
func (w *where) equal(column, value string) *where {
	if value == "" {
		return w
	}
	return w.and(column+" = ?", value)
}

// oneOf adds a condition unless there are no values.
func (w *where) oneOf(column string, values []string) *where {
	if len(values) == 0 {
		return w
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return w.and(column+" IN ("+marks(len(args))+")", args...)
}

// created adds bounds of the time of creation. IDs start with it, which is what narrows the search.
func (w *where) created(since, until time.Time) *where {
	if !since.IsZero() {
		w.and("created_at >= ?", micros(since)).and("id >= ?", idAt(since, 0))
	}
	if !until.IsZero() {
		w.and("created_at < ?", micros(until)).and("id < ?", idAt(until, 1))
	}
	return w
}

// idAt is how IDs of a time start, or of some milliseconds later.
func idAt(t time.Time, later int64) string {
	return fmt.Sprintf("%012x", max(0, t.UnixMilli()+later))
}

func (w *where) String() string {
	if len(w.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.parts, " AND ")
}

// stretch is one of time, from ≤ t < to, in a unit that is said elsewhere.
type stretch struct{ from, to int64 }

// tallied are conditions on tallies, each served by their primary key, which together are a time that may be open (zero) at either
// end; and what is left of it at its ends, in microseconds. hours and days are the spans to look at.
func tallied(since, until time.Time, hours, days int64) (list []*where, edges []stretch) {
	if since.IsZero() && until.IsZero() {
		return []*where{(&where{}).and("span = ?", int64(spanAll))}, nil
	}
	const end = day << 24 // whole days, further than any time
	all := stretch{-end, end}
	if !since.IsZero() {
		all.from = micros(since)
	}
	if !until.IsZero() {
		all.to = micros(until)
	}
	inHours, edges := all.whole(hour)
	inDays, rest := inHours.whole(day)
	for _, r := range rest {
		list = append(list, spanned(hours, stretch{r.from / hour, r.to / hour}))
	}
	if inDays.from < inDays.to {
		list = append(list, spanned(days, stretch{floor(inDays.from, day), floor(inDays.to, day)}))
	}
	return list, edges
}

func spanned(span int64, s stretch) *where {
	return (&where{}).and("span = ? AND at >= ? AND at < ?", span, s.from, s.to)
}

// whole cuts out what is whole units, and answers what is left before and after.
func (s stretch) whole(unit int64) (inner stretch, rest []stretch) {
	inner = stretch{floor(s.from+unit-1, unit) * unit, floor(s.to, unit) * unit}
	if inner.from >= inner.to {
		if s.from < s.to {
			rest = []stretch{s}
		}
		return stretch{}, rest
	}
	if s.from < inner.from {
		rest = append(rest, stretch{s.from, inner.from})
	}
	if inner.to < s.to {
		rest = append(rest, stretch{inner.to, s.to})
	}
	return inner, rest
}
