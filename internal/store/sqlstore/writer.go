package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// errClosed is the answer to writes after Close.
var errClosed = errors.New("sqlstore: closed")

// maxBatch bounds how many writes share a transaction.
const maxBatch = 256

// write is one caller's change. It may be done again when the transaction that it was part of failed because of another's.
type write struct {
	ctx  context.Context
	do   func(ctx context.Context, tx *sql.Tx) error
	err  error
	done chan struct{}
}

// writer does writes, as many at once as have come while the last commit was under way.
type writer struct {
	queue chan *write
	mu    sync.RWMutex
	ended bool
	over  chan struct{}
}

func (w *writer) start(d *DB) {
	w.queue, w.over = make(chan *write, maxBatch), make(chan struct{})
	go func() {
		defer close(w.over)
		for first := range w.queue {
			d.transact(w.gather(first))
		}
	}()
}

func (w *writer) stop() {
	w.mu.Lock()
	if !w.ended {
		w.ended = true
		close(w.queue)
	}
	w.mu.Unlock()
	<-w.over
}

func (w *writer) gather(first *write) []*write {
	batch := []*write{first}
	for len(batch) < maxBatch {
		select {
		case next, ok := <-w.queue:
			if !ok {
				return batch
			}
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// transact does a batch in one transaction and, if that fails, each write in its own.
func (d *DB) transact(batch []*write) {
	err := d.inOne(batch)
	if err != nil && len(batch) > 1 {
		for _, w := range batch {
			w.err = d.inOne([]*write{w})
			close(w.done)
		}
		return
	}
	for _, w := range batch {
		w.err = err
		close(w.done)
	}
}

func (d *DB) inOne(batch []*write) error {
	// Nobody's wish to wait no longer may undo what others asked for.
	ctx := context.Background()
	if len(batch) == 1 {
		ctx = batch[0].ctx
	}
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, w := range batch {
		if err := w.do(ctx, tx); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// change does one write and answers when it is committed.
func (d *DB) change(ctx context.Context, do func(ctx context.Context, tx *sql.Tx) error) error {
	w := &write{ctx: context.WithoutCancel(ctx), do: do, done: make(chan struct{})}
	d.writer.mu.RLock()
	if d.writer.ended {
		d.writer.mu.RUnlock()
		return errClosed
	}
	select {
	case d.writer.queue <- w:
		d.writer.mu.RUnlock()
	case <-ctx.Done():
		d.writer.mu.RUnlock()
		return ctx.Err()
	}
	<-w.done
	return w.err
}
