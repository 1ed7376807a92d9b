package sqlstore

import (
	"context"
	"time"
)

// While runs are submitted and end, a question leaves its place empty for a multiple of the time that it took, but not for long.
const (
	restFactor = 2
	longRest   = 50 * time.Millisecond
)

// budget keeps questions, which may read much, from taking the processor from those who write: so many are under way at a time.
type budget struct {
	places chan struct{}
	writer *writer
}

func newBudget(places int, w *writer) *budget {
	return &budget{places: make(chan struct{}, places), writer: w}
}

// question waits for a place. done gives it back.
func (b *budget) question(ctx context.Context) (done func(), err error) {
	select {
	case b.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	begin, written := time.Now(), b.writer.written.Load()
	return func() {
		var rest time.Duration
		if b.writer.written.Load() > written {
			rest = min(restFactor*time.Since(begin), longRest)
		}
		time.AfterFunc(rest, func() { <-b.places })
	}, nil
}
