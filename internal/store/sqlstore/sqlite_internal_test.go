package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/store"
)

// TestDurable asks the connection that writes whether its commits wait for the disk: nothing else can tell short of a power cut.
func TestDurable(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal"} {
		var got string
		if err := d.change(t.Context(), once(statement{text: "PRAGMA " + pragma, rows: each(func(r scanner) error { return r.Scan(&got) })})); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	if _, err := d.read.QueryContext(t.Context(), "DELETE FROM runs RETURNING id"); err == nil {
		t.Error("a connection that reads can write")
	}
}

// TestLogIsBounded writes a lot while a reader keeps its place in the log.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	d, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	detail := strings.Repeat("x", 1<<20)
	write := func(n int) {
		for range n {
			if err := d.Record(t.Context(), []store.Entry{{At: time.Now(), Detail: detail}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	reader, err := connect(file, 1, "-1000", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	conn, err := reader.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begin(t, conn)
	write(70)
	if _, err := conn.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	write(64)
	if info, err := os.Stat(file + "-wal"); err != nil || info.Size() > walBytes {
		t.Errorf("the log has %d bytes after its reader went, %v", info.Size(), err)
	}
}

func begin(t *testing.T, conn *sql.Conn) {
	t.Helper()
	for _, text := range []string{"BEGIN DEFERRED", "SELECT COUNT(*) FROM audit"} {
		if _, err := conn.ExecContext(context.Background(), text); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", text, err))
		}
	}
}

func TestOldPostgres(t *testing.T) {
	t.Parallel()
	for number, old := range map[int]bool{9_06_24: true, 12_00_22: true, 13_00_00: false, 17_00_02: false} {
		err := notOld(number)
		if errors.Is(err, errOld) != old {
			t.Errorf("%d: %v", number, err)
		}
		if old && !strings.Contains(openHint(err), "13 or later") {
			t.Errorf("%d: %s", number, openHint(err))
		}
	}
}
