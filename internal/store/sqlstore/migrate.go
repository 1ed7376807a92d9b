package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// words are what migrations leave to the database.
type words struct {
	// Text is the type of texts that compare byte by byte.
	Text string
	// Clustered follows a table that is kept in the order of its primary key.
	Clustered string
	Postgres  bool
}

// migrate brings the schema up to date. It may run in several processes at once, and again.
func (d *DB) migrate(ctx context.Context, db *sql.DB) error {
	steps, err := migrations(d.dialect.words)
	if err != nil {
		return err
	}
	options := append([]goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(steps...)}, d.dialect.gooseOptions...)
	p, err := goose.NewProvider(d.dialect.goose, db, nil, options...)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	has, knows, err := p.GetVersions(ctx)
	if err == nil && has > knows {
		err = fmt.Errorf("its schema has version %d and this program knows %d: %w", has, knows, errNewer)
	}
	return err
}

// migrations are the files, in the words of a database. A file's name starts with its version; its statements end with ";" at the
// end of a line. There is no way back: an older program refuses a newer schema.
func migrations(w words) ([]*goose.Migration, error) {
	all, err := template.ParseFS(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var list []*goose.Migration
	for _, t := range all.Templates() {
		version, err := goose.NumericComponent(t.Name())
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		if err := t.Execute(&text, w); err != nil {
			return nil, err
		}
		list = append(list, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			for _, statement := range strings.SplitAfter(text.String(), ";\n") {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return fmt.Errorf("%s: %w", t.Name(), err)
				}
			}
			return nil
		}}, nil))
	}
	return list, nil
}
