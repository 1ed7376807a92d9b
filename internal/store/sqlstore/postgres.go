package sqlstore

import (
	"database/sql"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/pressly/goose/v3"
)

func openPostgres(name string) (*DB, error) {
	db, err := sql.Open("pgx", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(8)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &DB{read: db, write: db, dialect: dialect{
		name: "postgres", goose: goose.DialectPostgres, skipLocked: " FOR UPDATE SKIP LOCKED", like: "ILIKE", numbered: true,
	}}, nil
}
