// Package sqlstore keeps the store in an SQL database: SQLite in this process, or PostgreSQL. One schema and one set of
// statements serve both; what differs is in dialect.
//
// Writes that come at the same time share a transaction, so that a hundred callers pay for one commit and not for a hundred.
package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/pressly/goose/v3"

	"longshore/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dialect dialect
	read    *sql.DB
	write   *sql.DB
	writer  writer
}

var _ store.Store = (*DB)(nil)

// dialect is what the databases do differently.
type dialect struct {
	name string
	// goose is its name there.
	goose goose.Dialect
	// skipLocked follows a SELECT of rows that several servers may want.
	skipLocked string
	// like compares without regard to case.
	like string
	// numbered parameters are "$1", "$2" and so on; others are "?".
	numbered bool
	// backup writes a copy to a file, nil where that is not done by us.
	backup func(ctx context.Context, db *sql.DB, file string) error
}

// Open opens the database that a URL names, "postgres://…" or "sqlite:PATH" (or a path alone), and brings its schema up to date.
func Open(ctx context.Context, name string) (*DB, error) {
	open := openSQLite
	if strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") {
		open = openPostgres
	}
	d, err := open(strings.TrimPrefix(name, "sqlite:"))
	if err != nil {
		return nil, fmt.Errorf("opening the database %s: %w", Redacted(name), err)
	}
	if err := d.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("bringing the schema of the database %s up to date: %w", Redacted(name), err), d.read.Close(), d.write.Close())
	}
	d.writer.start(d)
	return d, nil
}

// Redacted is a database's name without its password.
func Redacted(name string) string {
	u, err := url.Parse(name)
	if err != nil || u.User == nil {
		return name
	}
	return u.Redacted()
}

func (d *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(d.dialect.goose, d.write, files)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Ping implements store.Store.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	return d.read.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// Backup implements store.Store.
func (d *DB) Backup(ctx context.Context, file string) error {
	if d.dialect.backup == nil {
		return store.ErrUnsupported
	}
	return d.dialect.backup(ctx, d.read, file)
}

// Close waits for writes under way.
func (d *DB) Close() error {
	d.writer.stop()
	return errors.Join(d.read.Close(), d.write.Close())
}
