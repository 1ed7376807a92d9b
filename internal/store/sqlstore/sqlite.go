package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"runtime"

	_ "github.com/mattn/go-sqlite3" // the driver
	"github.com/pressly/goose/v3"
)

// openSQLite opens a file. One connection writes; others read what was committed, without waiting for it (write-ahead log).
// Every commit is on the disk when it returns (synchronous=FULL).
func openSQLite(path string) (*DB, error) {
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	q := url.Values{}
	for k, v := range map[string]string{"_journal_mode": "WAL", "_synchronous": "FULL", "_busy_timeout": "10000", "_cache_size": "-16000", "_foreign_keys": "off", "_txlock": "immediate"} {
		q.Set(k, v)
	}
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	write, err := sql.Open("sqlite3", name)
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite3", name+"&mode=ro&_query_only=1")
	if err != nil {
		return nil, err
	}
	read.SetMaxOpenConns(max(4, runtime.NumCPU()))
	return &DB{read: read, write: write, dialect: dialect{
		name: "sqlite", goose: goose.DialectSQLite3, like: "LIKE", backup: backupSQLite,
	}}, nil
}

func backupSQLite(ctx context.Context, db *sql.DB, file string) error {
	if _, err := os.Stat(file); err == nil {
		return fmt.Errorf("%s exists already", file)
	}
	_, err := db.ExecContext(ctx, "VACUUM INTO ?1", file)
	return err
}
