package sqlstore

import (
	"context"
	"database/sql"
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

	"longshore/internal/store"
)

// pgWriters is how many transactions are under way at once: while one waits for the disk, the next is put together. pgReaders
// bounds the connections that read.
const (
	pgWriters = 3
	pgReaders = 8
)

const (
	// durable makes a commit mean what it says, whatever the database's default is; stronger settings stay.
	durable = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
	// brief is for reading: a question takes one core and not several, is planned for what is asked, and is over before it would
	// have been compiled.
	brief = "SELECT set_config('default_transaction_read_only', 'on', false), set_config('max_parallel_workers_per_gather', '0', false), " +
		"set_config('plan_cache_mode', 'force_custom_plan', false), set_config('jit', 'off', false)"
)

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
	readers, err := pool(ctx, cfg, pgReaders, brief)
	if err != nil {
		return err
	}
	writers, err := pool(ctx, cfg, pgWriters, durable)
	if err != nil {
		readers.Close()
		return err
	}
	db := stdlib.OpenDBFromPool(readers)
	d.close = func() error {
		err := db.Close()
		readers.Close()
		writers.Close()
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
	schema := stdlib.OpenDBFromPool(writers)
	migrate := func() error {
		if err := recent(ctx, schema); err != nil {
			return err
		}
		return d.migrate(ctx, schema)
	}
	if err := errors.Join(migrate(), schema.Close()); err != nil {
		return errors.Join(fmt.Errorf("bringing its schema up to date: %w", postgresTrouble(err)), d.close())
	}
	d.read = db
	d.writer = startWriter(&pgWriter{pool: writers, numbered: numbered}, pgWriters)
	d.budget = newBudget(pgReaders/2, d.writer)
	return nil
}

// oldest is the first release with all that the schema asks for, as server_version_num tells it.
const oldest = 13_00_00

// errOld is of a database before that release.
var errOld = errors.New("it is too old")

// recent sees that the database knows what the schema asks for.
func recent(ctx context.Context, db *sql.DB) error {
	var number int
	if err := db.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&number); err != nil {
		return err
	}
	return notOld(number)
}

func notOld(number int) error {
	if number < oldest {
		return fmt.Errorf("PostgreSQL %d: %w", number/1_00_00, errOld)
	}
	return nil
}

// pool keeps so many connections, each of which begins with a statement.
func pool(ctx context.Context, cfg *pgxpool.Config, most int32, begin string) (*pgxpool.Pool, error) {
	own := cfg.Copy()
	own.MaxConns = most
	own.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, begin)
		return err
	}
	return pgxpool.NewWithConfig(ctx, own)
}

// postgresTrouble says what to do about errors that an operator can mend.
func postgresTrouble(err error) error {
	var e *pgconn.PgError
	switch {
	case !errors.As(err, &e):
		return err
	case e.Code == "53100":
		return fmt.Errorf("%w; free some space there: %w", store.ErrFull, err)
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
