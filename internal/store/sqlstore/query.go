package sqlstore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// query is a statement that is being put together. "?" in its text stands for the next argument.
type query struct {
	text strings.Builder
	args []any
}

func (q *query) add(text string, args ...any) *query {
	q.text.WriteString(text)
	q.args = append(q.args, args...)
	return q
}

// where collects conditions.
type where struct {
	parts []string
	args  []any
}

func (w *where) and(text string, args ...any) {
	w.parts = append(w.parts, text)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.parts, " AND ")
}

// sql is a statement's text as the database takes it.
func (d dialect) sql(text string) string {
	if !d.numbered {
		return text
	}
	var b strings.Builder
	n := 0
	for {
		i := strings.IndexByte(text, '?')
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		n++
		b.WriteString(text[:i])
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		text = text[i+1:]
	}
}

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

// text is a value as JSON; what is empty is "".
func text(v any) (string, error) {
	data, err := json.Marshal(v)
	if s := string(data); s == "null" || s == "[]" || s == "{}" {
		return "", err
	}
	// PostgreSQL keeps no zero character in a text.
	if strings.Contains(string(data), `\u0000`) {
		return "", fmt.Errorf("sqlstore: a value holds a zero character")
	}
	return string(data), err
}

func fromText(s string, v any) error {
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), v)
}

// escapeLike makes a text match itself in LIKE … ESCAPE '!'.
func escapeLike(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

// page is the size of a page, one more than is answered, so that it is known whether there is a next.
func page(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, 1000)
}
