package api

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"longshore/internal/task"
)

// UnmarshalText reads a time, a day, or how long ago.
func (m *moment) UnmarshalText(text []byte) error {
	s := strings.Replace(string(text), " ", "+", 1) // a zone's + that somebody left as it is in a query
	for _, form := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			m.Time = t
			return nil
		}
	}
	d, err := parseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is neither a time such as 2026-05-01T12:00:00Z, nor a day, nor how long ago, such as 24h", s)
	}
	m.Time = time.Now().Add(-d)
	return nil
}

// Schema is its form in the document.
func (m moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Pattern: `^(` + timePattern + `|` + durationPattern + `)?$`,
		PatternDescription: "a time such as 2026-05-01T12:00:00Z, a day, or how long ago, such as 24h",
	}
}

// wait is how long an answer may take.
type wait struct{ time.Duration }

// maxWait bounds how long a request waits for a run.
const maxWait = 5 * time.Minute

// UnmarshalText reads a duration.
func (w *wait) UnmarshalText(text []byte) (err error) {
	if w.Duration, err = parseDuration(string(text)); err == nil && (w.Duration < 0 || w.Duration > maxWait) {
		err = fmt.Errorf("%s is not between 0s and %s", w.Duration, maxWait)
	}
	return err
}

// Schema is its form in the document.
func (w wait) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: `^(` + durationPattern + `)?$`, PatternDescription: "a duration such as 30s or 5m"}
}

// How times and durations are written, for the document.
const (
	timePattern     = `\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[-+ ]\d{2}:\d{2}))?`
	durationPattern = `0|\d+d|(\d+(\.\d+)?(h|m|s|ms|us|µs|ns))+`
)

var (
	_ huma.SchemaProvider = moment{}
	_ huma.SchemaProvider = wait{}
)

// parseDuration reads 90s, 1h30m, or 7d.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+"\n", "%d\n", &n); err == nil && n >= 0 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration: write 90s, 1h30m or 7d", s)
	}
	return d, nil
}

// durations reads several, of which those that are empty stay zero.
func durations(given map[string]string, into map[string]*time.Duration) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] == "" {
			continue
		}
		d, err := parseDuration(given[name])
		if err != nil || d <= 0 {
			return task.Errorf(task.CodeUsage, "%s: %q is no duration", name, given[name]).WithHint("write 90s, 1h30m or 7d")
		}
		*into[name] = d
	}
	return nil
}

// quantity reads bytes, or zero for "".
func quantity(name, s string) (task.Bytes, error) {
	if s == "" {
		return 0, nil
	}
	n, err := task.ParseBytes(s)
	if err != nil {
		return 0, task.Errorf(task.CodeUsage, "%s: %w", name, err)
	}
	return n, nil
}

// schemaOf is the schema of a type in the document.
func schemaOf[T any](a *API) *huma.Schema { return a.schema(reflect.TypeFor[T]()) }

// span is a duration as requests have it, "" for none.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// bytesOf is a quantity as requests have it, "" for none.
func bytesOf(b task.Bytes) string {
	if b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(b), 10)
}
