package sqlstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// errClosed is the answer to writes after Close.
var errClosed = errors.New("sqlstore: closed")

const (
	// maxBatch bounds how many writes share a transaction.
	maxBatch = 256
	// maxWrite bounds how long a transaction may take, so that a database that says nothing is not waited for for ever.
	maxWrite = 30 * time.Second
)

// round answers the statements of a write that come next, and the round after them, nil at the end. What it was told in the
// round before counts. The first round is asked again when the write is done again.
type round func(t *batch) (now []statement, next round)

// statement is one step of a write. At most one of rows and affected is set.
type statement struct {
	text string
	args []any
	// rows reads the answer; affected is told how many rows were changed.
	rows     func(r rows) error
	affected func(n int64)
}

// rows is an answer.
type rows interface {
	scanner
	Next() bool
	Err() error
}

// beginner begins transactions.
type beginner interface {
	begin(ctx context.Context) (transaction, error)
}

// transaction sends statements, all of a list before it waits for an answer where the database can do that.
type transaction interface {
	run(ctx context.Context, list []statement) error
	commit(ctx context.Context) error
	rollback(ctx context.Context) error
}

// write is one caller's change. It may be done again when the transaction that it was part of failed because of another's.
type write struct {
	first round
	err   error
	done  chan struct{}
}

// writer does writes, as many at once as have come while the last commit was under way.
type writer struct {
	db    beginner
	queue chan *write
	mu    sync.RWMutex
	ended bool
	over  sync.WaitGroup
	// written counts writes, whatever came of them.
	written atomic.Int64
}

// startWriter begins up to so many transactions at once.
func startWriter(db beginner, parallel int) *writer {
	w := &writer{db: db, queue: make(chan *write, 2*maxBatch)}
	for range parallel {
		w.over.Go(func() {
			for first := range w.queue {
				w.transact(w.gather(first))
			}
		})
	}
	return w
}

func (w *writer) stop() {
	w.mu.Lock()
	if !w.ended {
		w.ended = true
		close(w.queue)
	}
	w.mu.Unlock()
	w.over.Wait()
}

func (w *writer) gather(first *write) []*write {
	list := []*write{first}
	for len(list) < maxBatch {
		select {
		case next, ok := <-w.queue:
			if !ok {
				return list
			}
			list = append(list, next)
		default:
			return list
		}
	}
	return list
}

// transact does writes in one transaction and, if one of them fails, each in its own. When the commit fails or the database is
// gone, nothing is done again: it may have happened.
func (w *writer) transact(list []*write) {
	w.written.Add(int64(len(list)))
	again, err := w.inOne(list)
	if again && len(list) > 1 {
		for _, one := range list {
			if _, err := w.inOne([]*write{one}); one.err == nil {
				one.err = err
			}
			close(one.done)
		}
		return
	}
	for _, one := range list {
		if one.err == nil {
			one.err = err
		}
		close(one.done)
	}
}

// inOne tells whether the writes could be done again one by one.
func (w *writer) inOne(list []*write) (again bool, err error) {
	// Nobody's wish to wait no longer may undo what others asked for.
	ctx, stop := context.WithTimeout(context.Background(), maxWrite)
	defer stop()
	tx, err := w.db.begin(ctx)
	if err != nil {
		return false, err
	}
	b := &batch{}
	if err := b.do(ctx, tx, list); err != nil {
		failed := tx.rollback(ctx)
		return failed == nil, errors.Join(err, failed)
	}
	return false, tx.commit(ctx)
}

// change does one write and answers when it is committed.
func (d *DB) change(ctx context.Context, first round) error {
	w := &write{first: first, done: make(chan struct{})}
	if err := d.writer.enqueue(ctx, w); err != nil {
		return err
	}
	<-w.done
	return d.trouble(w.err)
}

func (w *writer) enqueue(ctx context.Context, one *write) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.ended {
		return errClosed
	}
	select {
	case w.queue <- one:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once is a write of statements that do not depend on each other's answers.
func once(list ...statement) round {
	return func(*batch) ([]statement, round) { return list, nil }
}
