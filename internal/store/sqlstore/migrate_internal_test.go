package sqlstore

import (
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"
)

// TestForward brings a database of the first schema to today's: a name belongs to the account of its first import, also when that
// is hidden.
func TestForward(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	old, err := connect(file, 1, "-1000", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	steps, err := migrations(words{Text: "TEXT", Clustered: " WITHOUT ROWID"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, old, nil, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(steps...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		id, name, account string
		hidden            int
	}{{"t1", "sum", "ann", 1}, {"t2", "sum", "bob", 0}, {"t3", "other", "bob", 0}} {
		_, err := old.ExecContext(t.Context(), "INSERT INTO versions ("+versionColumns+", folded_name, folded) VALUES (?, ?, '1', '', '', '', '', '', ?, 0, ?, '{}', '', '', '')",
			v.id, v.name, v.account, v.hidden)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, want := range map[string]string{"sum": "ann", "other": "bob"} {
		if got, err := d.Owner(t.Context(), name); err != nil || got != want {
			t.Errorf("%s belongs to %q, %v; want %s", name, got, err, want)
		}
	}
}
