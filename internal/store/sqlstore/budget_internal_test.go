package sqlstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudget has one question follow another, with and without writes meanwhile.
func TestBudget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		takes  time.Duration
		writes int64
		rest   time.Duration
	}{
		{name: "nobody writes", takes: time.Second},
		{name: "short", takes: 10 * time.Millisecond, writes: 1, rest: restFactor * 10 * time.Millisecond},
		{name: "long", takes: time.Minute, writes: 1, rest: longRest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(1, &writer{})
				done, err := b.question(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.takes)
				b.writer.written.Add(c.writes)
				done()
				begin := time.Now()
				next, err := b.question(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if rest := time.Since(begin); rest != c.rest {
					t.Errorf("the next waited for %s, want %s", rest, c.rest)
				}
				impatient, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				if _, err := b.question(impatient); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a place that is taken was given away: %v", err)
				}
				next()
			})
		})
	}
}
