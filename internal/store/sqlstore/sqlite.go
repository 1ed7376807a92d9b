package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"

	"longshore/internal/store"
)

// walPages is after how many pages the log is copied into the file, and walBytes how large the log may get when readers keep it
// from being started anew; then the writer waits for them.
const (
	walPages = 4000
	walBytes = 64 << 20
)

// openSQLite opens a file. One connection writes; others read what was committed, without waiting for it (write-ahead log).
// Every commit is on the disk when it returns (synchronous=FULL).
func openSQLite(ctx context.Context, d *DB, path string) (err error) {
	var closers []func() error
	d.close = func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(sqliteTrouble(err), d.close())
		}
	}()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return err
	}
	closers = append(closers, lock.Close)
	write, err := connect(path, 1, "-16000", nil)
	if err != nil {
		return err
	}
	closers = append(closers, write.Close)
	d.dialect = dialect{
		goose: goose.DialectSQLite3, find: "instr", words: words{Text: "TEXT", Clustered: " WITHOUT ROWID"}, explain: sqliteTrouble,
	}
	if err := d.migrate(ctx, write); err != nil {
		return fmt.Errorf("bringing its schema up to date: %w", err)
	}
	read, err := connect(path, max(4, runtime.NumCPU()), "-4000", map[string]string{"mode": "ro", "_query_only": "1"})
	if err != nil {
		return err
	}
	closers = append(closers, read.Close)
	reads := &prepared{on: read}
	closers = append(closers, reads.Close)
	d.read = reads
	d.dialect.backup = func(ctx context.Context, file string) error { return backupSQLite(ctx, path, file) }
	conn, err := write.Conn(ctx)
	if err != nil {
		return err
	}
	closers = append(closers, conn.Close)
	w := &sqliteWriter{conn: conn, stmts: &prepared{on: conn}, wal: path + "-wal"}
	closers = append(closers, w.stmts.Close)
	if _, err := conn.ExecContext(ctx, "PRAGMA wal_autocheckpoint = "+strconv.Itoa(walPages)); err != nil {
		return err
	}
	d.writer = startWriter(w, 1)
	d.budget = newBudget(max(1, runtime.NumCPU()/2), d.writer)
	return nil
}

// connect opens connections to a file, each with every setting that counts per connection.
func connect(path string, most int, cache string, more map[string]string) (*sql.DB, error) {
	q := url.Values{}
	for k, v := range map[string]string{"_journal_mode": "WAL", "_synchronous": "FULL", "_busy_timeout": "10000", "_cache_size": cache, "_foreign_keys": "off", "_txlock": "immediate"} {
		q.Set(k, v)
	}
	for k, v := range more {
		q.Set(k, v)
	}
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(most)
	// A connection that is closed takes its prepared statements with it: only one that nobody needs for a while is.
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

// lockFile keeps other processes away for as long as it is open. The lock goes with the process, however that ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		by := ""
		if data, readErr := os.ReadFile(path); readErr == nil && len(data) > 0 {
			by = " (process " + string(data) + ")"
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("another server is using it%s: stop that one first, or give both a PostgreSQL database, which servers can share", by)
		}
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprint(f, os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// backupSQLite writes the copy beside its place, so that a file of that name is always whole.
func backupSQLite(ctx context.Context, path, file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s exists already: name a file that does not", file), err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.part") // only its owner may read it: there are tokens' hashes in it
	if err != nil {
		return err
	}
	part := f.Name()
	defer os.Remove(part)
	defer f.Close()
	db, err := connect(path, 1, "-4000", nil)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(part, file); err != nil { // unlike a rename, it replaces nothing
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// sqliteTrouble says what to do about errors that an operator can mend.
func sqliteTrouble(err error) error {
	var e sqlite3.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Code == sqlite3.ErrFull, e.SystemErrno == unix.ENOSPC, e.SystemErrno == unix.EDQUOT:
		return fmt.Errorf("%w; free some space: %w", store.ErrFull, err)
	case e.Code == sqlite3.ErrReadonly:
		return fmt.Errorf("the file or its folder cannot be written: check their owner and that the file system is not mounted read-only: %w", err)
	case e.Code == sqlite3.ErrCorrupt, e.Code == sqlite3.ErrNotADB:
		return fmt.Errorf("the file is damaged or is no database of Longshore's: restore a backup: %w", err)
	}
	return err
}

// sqliteWriter is the connection that writes. Its statements cannot be waited for in vain: nobody else writes. So contexts, for
// which the driver would start a goroutine each, are not handed on.
type sqliteWriter struct {
	conn  *sql.Conn
	stmts *prepared
	wal   string
	// commits counts those since the log's size was looked at.
	commits int
}

var (
	_ beginner    = (*sqliteWriter)(nil)
	_ transaction = (*sqliteWriter)(nil)
)

// begin implements beginner.
func (w *sqliteWriter) begin(context.Context) (transaction, error) {
	return w, w.run(context.Background(), []statement{{text: "BEGIN IMMEDIATE"}})
}

// run implements transaction.
func (w *sqliteWriter) run(_ context.Context, list []statement) error {
	for _, s := range list {
		stmt, err := w.stmts.statement(context.Background(), s.text)
		if err != nil {
			return err
		}
		if stmt == nil {
			return fmt.Errorf("more than %d different statements write", maxPrepared)
		}
		if err := s.on(stmt); err != nil {
			return err
		}
	}
	return nil
}

// on runs a prepared statement.
func (s statement) on(stmt *sql.Stmt) error {
	if s.rows == nil {
		res, err := stmt.Exec(s.args...)
		if err != nil || s.affected == nil {
			return err
		}
		n, err := res.RowsAffected()
		s.affected(n)
		return err
	}
	rows, err := stmt.Query(s.args...)
	if err != nil {
		return err
	}
	return errors.Join(s.rows(rows), rows.Err(), rows.Close())
}

// commit implements transaction.
func (w *sqliteWriter) commit(ctx context.Context) error {
	if err := w.run(ctx, []statement{{text: "COMMIT"}}); err != nil {
		return err
	}
	if w.commits++; w.commits >= 32 {
		w.commits = 0
		w.boundLog()
	}
	return nil
}

// rollback implements transaction. SQLite has done it by itself after some errors.
func (w *sqliteWriter) rollback(context.Context) error {
	var e sqlite3.Error
	if err := w.run(context.Background(), []statement{{text: "ROLLBACK"}}); !errors.As(err, &e) || e.Code != sqlite3.ErrError {
		return err
	}
	return nil
}

// boundLog starts the log anew when readers have kept it from that for long. What fails is tried again later: everything is
// in the log.
func (w *sqliteWriter) boundLog() {
	if info, err := os.Stat(w.wal); err == nil && info.Size() > walBytes {
		_ = w.run(context.Background(), []statement{{text: "PRAGMA wal_checkpoint(TRUNCATE)", rows: drain}})
	}
}

// drain reads an answer to its end.
func drain(r rows) error {
	for r.Next() {
	}
	return r.Err()
}
