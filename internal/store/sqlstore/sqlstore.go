// Package sqlstore keeps the store in an SQL database: SQLite in this process, or PostgreSQL. One schema and one set of
// statements serve both; what differs is in dialect and in how a transaction sends its statements.
//
// Writes that come at the same time share a transaction, so that a hundred callers pay for one commit and not for a hundred.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"longshore/internal/store"
	"longshore/internal/task"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	name    string // without its password
	dialect dialect
	read    reader
	budget  *budget
	writer  *writer
	close   func() error
	// process and entries number audit entries of one microsecond, of this and of other processes.
	process uint32
	entries atomic.Uint32
}

var _ store.Store = (*DB)(nil)

// dialect is what the databases do differently.
type dialect struct {
	words        words
	goose        goose.Dialect
	gooseOptions []goose.ProviderOption
	// skipLocked follows a SELECT of rows that several servers may want.
	skipLocked string
	// find is the function that answers where in its first argument the second is, from 1.
	find string
	// backup writes a copy to a file, nil where that is not done by us.
	backup func(ctx context.Context, file string) error
	// numbered parameters are "$1", "$2" and so on; others are "?".
	numbered bool
	// explain says what the operator can do about an error.
	explain func(error) error
}

// reader reads what is committed.
type reader interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

// Open opens the database that a URL names, "postgres://…" or "sqlite:PATH" (or a path alone), and brings its schema up to date.
// An SQLite file belongs to one process at a time: a second one is refused. The error is a *task.Error that says what to do.
func Open(ctx context.Context, name string) (*DB, error) {
	open := openSQLite
	if scheme, _, ok := strings.Cut(name, "://"); ok {
		if scheme != "postgres" && scheme != "postgresql" {
			return nil, task.Errorf(task.CodeUsage, "there is no database of the kind %s://", scheme).WithHint("write postgres://USER:PASSWORD@HOST/NAME, or the path of a file for SQLite")
		}
		open = openPostgres
	}
	d := &DB{name: Redacted(name)}
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	d.process = binary.BigEndian.Uint32(id[:])
	if err := open(ctx, d, strings.TrimPrefix(name, "sqlite:")); err != nil {
		return nil, task.Errorf(task.ReasonEngine, "opening the database %s: %w", d.name, err).WithHint("%s", openHint(err))
	}
	return d, nil
}

// errNewer is of a database that a newer program has brought forward.
var errNewer = errors.New("a newer Longshore has used it")

// openHint says what to do about a database that cannot be opened.
func openHint(err error) string {
	e, answered := errors.AsType[*pgconn.PgError](err)
	_, unreached := errors.AsType[*pgconn.ConnectError](err)
	switch {
	case errors.Is(err, errOld):
		return "upgrade it: Longshore takes PostgreSQL 13 or later"
	case errors.Is(err, errNewer):
		return "use the newer program, or restore a backup from before the upgrade"
	case answered && strings.HasPrefix(e.Code, "28"):
		return "it refuses the user or the password: correct them in --db (or the file of --db-file), or its pg_hba.conf"
	case answered && e.Code == "3D000":
		return "make the database first: createdb -O USER NAME"
	case answered && e.Code == "42501":
		return "its user must be allowed to create tables: GRANT CREATE ON SCHEMA public TO USER, or make that user the database's owner"
	case unreached && !answered:
		return "check that PostgreSQL runs at that host and port, and that it lets this machine in"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "name a file in a folder that exists and that this user may write with --db"
	}
	return "check the --db address, and that its user may create tables"
}

// Redacted is a database's name without its password.
func Redacted(name string) string {
	u, err := url.Parse(name)
	if scheme, _, ok := strings.Cut(name, "://"); err != nil && ok {
		return scheme + "://…"
	}
	if err != nil || u.User == nil {
		return name
	}
	return u.Redacted()
}

// Ping implements store.Store.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	return d.trouble(d.read.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}

// Backup implements store.Store.
func (d *DB) Backup(ctx context.Context, file string) error {
	if d.dialect.backup == nil {
		return store.ErrUnsupported
	}
	return d.trouble(d.dialect.backup(ctx, file))
}

// Close waits for writes under way.
func (d *DB) Close() error {
	d.writer.stop()
	return d.close()
}

// trouble is an error of the database with its name and what to do about it. Errors that callers tell apart stay bare.
func (d *DB) trouble(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrInvalid), errors.Is(err, errClosed):
		return err
	}
	return fmt.Errorf("the database %s: %w", d.name, d.dialect.explain(err))
}
