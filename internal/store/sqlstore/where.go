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

// span is a stretch of time in microseconds, from ≤ t < to.
type span struct{ from, to int64 }

// whole cuts a stretch of time, each end of which may be open (zero), into whole hours and what is left of it at its ends.
func whole(since, until time.Time) (hours span, edges []span) {
	hours = span{from: -1 << 40, to: 1 << 40}
	from, to := micros(since), micros(until)
	if !since.IsZero() {
		hours.from = floorHour(from + hour - 1)
	}
	if !until.IsZero() {
		hours.to = floorHour(to)
	}
	if hours.from >= hours.to {
		return span{}, []span{{from, to}}
	}
	if start := hours.from * hour; !since.IsZero() && from < start {
		edges = append(edges, span{from, start})
	}
	if end := hours.to * hour; !until.IsZero() && end < to {
		edges = append(edges, span{end, to})
	}
	return hours, edges
}
