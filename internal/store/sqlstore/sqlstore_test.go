package sqlstore_test

import (
	"path/filepath"
	"testing"

	"longshore/internal/store"
	"longshore/internal/store/sqlstore"
	"longshore/internal/store/storetest"
)

// open opens a store that is closed with the test.
func open(t testing.TB, name string) *sqlstore.DB {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "db")) })
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	p := storetest.StartPostgres(t, false)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, p.Database(t)) })
}
