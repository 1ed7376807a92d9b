package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// pgWriters is how many transactions are under way at once: while one waits for the disk, the next is put together. pgReaders
// bounds the connections that read.
const (
	pgWriters = 3
	pgReaders = 8
)

// durable makes a commit mean what it says, whatever the database's default is; stronger settings stay.
const durable = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

// openPostgres opens a PostgreSQL database, which servers can share.
func openPostgres(ctx context.Context, d *DB, name string) error {
	cfg, err := pgxpool.ParseConfig(name)
	if err != nil {
		return err
	}
	if cfg.ConnConfig.ConnectTimeout == 0 || cfg.ConnConfig.ConnectTimeout > 2*time.Minute {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.MaxConns = pgReaders
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, durable)
		return err
	}
	readers, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	writers := cfg.Copy()
	writers.MaxConns = pgWriters
	writes, err := pgxpool.NewWithConfig(ctx, writers)
	if err != nil {
		readers.Close()
		return err
	}
	db := stdlib.OpenDBFromPool(readers)
	d.close = func() error {
		err := db.Close()
		readers.Close()
		writes.Close()
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return errors.Join(err, d.close())
	}
	numbered := &numbering{}
	d.dialect = dialect{
		goose: goose.DialectPostgres, gooseOptions: []goose.ProviderOption{goose.WithSessionLocker(locker)},
		words: words{Text: `TEXT COLLATE "C"`, Postgres: true}, skipLocked: " FOR UPDATE SKIP LOCKED", find: "strpos", numbered: true, explain: postgresTrouble,
	}
	if err := d.migrate(ctx, db); err != nil {
		return errors.Join(fmt.Errorf("bringing its schema up to date: %w", postgresTrouble(err)), d.close())
	}
	d.read = db
	d.writer = startWriter(&pgWriter{pool: writes, numbered: numbered}, pgWriters)
	return nil
}

// postgresTrouble says what to do about errors that an operator can mend.
func postgresTrouble(err error) error {
	var e *pgconn.PgError
	switch {
	case !errors.As(err, &e):
		return err
	case e.Code == "53100":
		return fmt.Errorf("its disk is full: nothing of this was written; free some space there: %w", err)
	case e.Code == "53300":
		return fmt.Errorf("it takes no more connections: raise its max_connections (a server uses up to %d): %w", pgReaders+pgWriters, err)
	case e.Code == "25006":
		return fmt.Errorf("it takes no writes: name the primary server, not a standby: %w", err)
	}
	return err
}

// numbering keeps statements with numbered parameters.
type numbering struct{ texts sync.Map }

func (n *numbering) text(t string) string {
	if done, ok := n.texts.Load(t); ok {
		return done.(string)
	}
	done := number(t)
	n.texts.Store(t, done)
	return done
}

// pgWriter begins transactions, whose statements travel together.
type pgWriter struct {
	pool     *pgxpool.Pool
	numbered *numbering
}

// begin implements beginner. A connection that broke while nobody used it is replaced.
func (w *pgWriter) begin(ctx context.Context) (transaction, error) {
	tx, err := w.pool.Begin(ctx)
	if err != nil && ctx.Err() == nil {
		tx, err = w.pool.Begin(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &pgTx{tx: tx, numbered: w.numbered}, nil
}

type pgTx struct {
	tx       pgx.Tx
	numbered *numbering
}

// run implements transaction.
func (t *pgTx) run(ctx context.Context, list []statement) error {
	var b pgx.Batch
	for _, s := range list {
		b.Queue(t.numbered.text(s.text), s.args...)
	}
	answers := t.tx.SendBatch(ctx, &b)
	for _, s := range list {
		if err := s.from(answers); err != nil {
			return errors.Join(err, answers.Close())
		}
	}
	return answers.Close()
}

// from reads a statement's answer.
func (s statement) from(answers pgx.BatchResults) error {
	if s.rows == nil {
		tag, err := answers.Exec()
		if err == nil && s.affected != nil {
			s.affected(tag.RowsAffected())
		}
		return err
	}
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	err = s.rows(rows)
	rows.Close()
	return errors.Join(err, rows.Err())
}

func (t *pgTx) commit(ctx context.Context) error   { return t.tx.Commit(ctx) }
func (t *pgTx) rollback(ctx context.Context) error { return t.tx.Rollback(ctx) }
