package api

import (
	"context"
	"log/slog"
	"time"

	"longshore/internal/store"
)

// journal writes audit entries down, those that come together in one transaction. Nobody waits for it: what matters most of a
// change is in the database already when its entry is made. When more come than the database takes, callers wait.
type journal struct {
	store store.Audit
	log   *slog.Logger
	in    chan store.Entry
	done  chan struct{}
}

const (
	journalRoom  = 10_000
	journalBatch = 500
)

func newJournal(s store.Audit, log *slog.Logger) *journal {
	j := &journal{store: s, log: log, in: make(chan store.Entry, journalRoom), done: make(chan struct{})}
	go j.write()
	return j
}

func (j *journal) add(e store.Entry) { j.in <- e }

func (j *journal) close() {
	close(j.in)
	<-j.done
}

func (j *journal) write() {
	defer close(j.done)
	for e := range j.in {
		batch := []store.Entry{e}
	more:
		for len(batch) < journalBatch {
			select {
			case e, ok := <-j.in:
				if !ok {
					break more
				}
				batch = append(batch, e)
			default:
				break more
			}
		}
		j.keep(batch)
	}
}

// keep tries for half a minute; then the log has the entries.
func (j *journal) keep(batch []store.Entry) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := j.store.Record(ctx, batch)
		if err == nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			for _, e := range batch {
				j.log.Error("an audit entry could not be written down", "entry", e, "error", err)
			}
			return
		}
	}
}
