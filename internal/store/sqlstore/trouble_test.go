package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/store"
	"longshore/internal/store/sqlstore"
	"longshore/internal/store/storetest"
	"longshore/internal/task"
)

// run is a queued run; size is that of its request.
func run(n, size int) store.Run {
	at := time.Now().UTC().Truncate(time.Microsecond)
	return store.Run{
		ID: fmt.Sprintf("%012x%08x", at.UnixMilli(), n), Task: "t", TaskName: "t", Account: "ann", CreatedAt: at, State: task.Queued,
		Request: json.RawMessage(`"` + strings.Repeat("x", size) + `"`),
	}
}

func submit(t *testing.T, s *sqlstore.DB, r store.Run) {
	t.Helper()
	if _, err := s.Submit(t.Context(), []store.Run{r}); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, s *sqlstore.DB) int64 {
	t.Helper()
	n, err := s.Count(t.Context(), store.RunFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return n[task.Queued]
}

// says fails unless err has each of the words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestOneServerPerFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	s := open(t, file)
	_, err := sqlstore.Open(t.Context(), file)
	says(t, err, file, "another server", fmt.Sprint(os.Getpid()), "PostgreSQL")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+file)
}

// TestFresh has many servers meet a database that is empty.
func TestFresh(t *testing.T) {
	t.Parallel()
	name := storetest.StartPostgres(t, false).Database(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			s, err := sqlstore.Open(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := s.Submit(t.Context(), []store.Run{run(i, 1)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := open(t, name) // and again
	if n := count(t, s); n != 4 {
		t.Errorf("%d runs", n)
	}
}

func TestNewerSchema(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	if err := open(t, file).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
		t.Fatal(err)
	}
	_, err = sqlstore.Open(t.Context(), file)
	says(t, err, "99", "newer Longshore")
	advises(t, err, "restore a backup")
}

// advises checks what a person is told to do.
func advises(t *testing.T, err error, words string) {
	t.Helper()
	if e, ok := errors.AsType[*task.Error](err); !ok || !strings.Contains(e.Hint, words) {
		t.Errorf("%v does not advise %q", err, words)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "db"))
	submit(t, s, run(1, 10))
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // under load
		for i := 2; ; i++ {
			select {
			case <-stop:
				return
			default:
				submit(t, s, run(i, 1000))
			}
		}
	})
	backup := filepath.Join(dir, "copy")
	err := s.Backup(t.Context(), backup)
	close(stop)
	all.Wait()
	if err != nil {
		t.Fatal(err)
	}
	says(t, s.Backup(t.Context(), backup), "exists already")
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(backup + ".*"); left != nil {
		t.Errorf("left over: %s", left)
	}
	copied := open(t, backup)
	if n := count(t, copied); n < 1 {
		t.Errorf("%d runs in the copy", n)
	}
	submit(t, copied, run(0, 1))
}

func TestBackupOfPostgres(t *testing.T) {
	t.Parallel()
	s := open(t, storetest.StartPostgres(t, false).Database(t))
	if err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "copy")); !errors.Is(err, store.ErrUnsupported) {
		t.Error(err)
	}
}

// TestCloseKeeps closes while writes wait: what was answered is there, what was refused is not.
func TestCloseKeeps(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	s := open(t, file)
	accepted := make(chan string, 500)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			if r := run(i, 1); submitted(s, r) {
				accepted <- r.ID
			}
		})
	}
	accepted <- <-accepted // some are done
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	close(accepted)
	s = open(t, file)
	if n := count(t, s); n != int64(len(accepted)) {
		t.Errorf("%d runs are on record, %d were accepted", n, len(accepted))
	}
	for id := range accepted {
		if _, err := s.Run(t.Context(), id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func submitted(s *sqlstore.DB, r store.Run) bool {
	_, err := s.Submit(context.Background(), []store.Run{r})
	return err == nil
}

// TestPostgresGoesAway stops the server under load, as a crash would, and starts it again. What was accepted is there.
func TestPostgresGoesAway(t *testing.T) {
	t.Parallel()
	p := storetest.StartPostgres(t, true)
	s := open(t, p.Database(t))
	const callers = 8
	var mu sync.Mutex
	accepted, refused := []string{}, 0
	stop, some := make(chan struct{}), make(chan struct{}, 1<<20)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r := run(c<<24+i, 1)
				_, err := s.Submit(context.Background(), []store.Run{r})
				mu.Lock()
				if err != nil {
					refused++
				} else {
					accepted = append(accepted, r.ID)
				}
				mu.Unlock()
				some <- struct{}{}
			}
		})
	}
	wait := func(enough func() bool) {
		for range some {
			mu.Lock()
			ok := enough()
			mu.Unlock()
			if ok {
				return
			}
		}
	}
	wait(func() bool { return len(accepted) > 50 })
	p.Stop(t)
	wait(func() bool { return refused > 50 })
	says(t, s.Ping(t.Context()), "the database postgres://")
	p.Start(t)
	mu.Lock()
	before := len(accepted)
	mu.Unlock()
	wait(func() bool { return len(accepted) > before+50 })
	close(stop)
	all.Wait()
	for _, id := range accepted {
		if _, err := s.Run(t.Context(), id); err != nil {
			t.Fatalf("an accepted run is gone: %v", err)
		}
	}
}

// small is a file system of a few megabytes in a mount namespace of this test's process; the tests in it run as a process of their
// own.
func small(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LONGSHORE_TEST_SMALL")
	if dir != "" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	// In a user namespace too, so that it takes no privileges.
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "LONGSHORE_TEST_SMALL="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return ""
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := small(t)
	if dir == "" {
		return // another process did it
	}
	s := open(t, filepath.Join(dir, "db"))
	var accepted []string
	var err error
	for i := 0; err == nil; i++ {
		r := run(i, 50_000)
		if _, err = s.Submit(t.Context(), []store.Run{r}); err == nil {
			accepted = append(accepted, r.ID)
		}
	}
	says(t, err, dir, "disk is full", "free some space")
	if n := count(t, s); n != int64(len(accepted)) || n == 0 {
		t.Errorf("%d runs on record, %d accepted", n, len(accepted))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Mount("tmpfs", dir, "", unix.MS_REMOUNT, "size=40m"); err != nil {
		t.Fatal(err)
	}
	s = open(t, filepath.Join(dir, "db"))
	submit(t, s, run(1<<20, 50_000))
	for _, id := range accepted {
		if r, err := s.Run(t.Context(), id); err != nil || len(r.Request) != 50_002 {
			t.Errorf("%s: %d bytes, %v", id, len(r.Request), err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	dir := small(t)
	if dir == "" {
		return // another process did it
	}
	if err := open(t, filepath.Join(dir, "db")).Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := sqlstore.Open(t.Context(), filepath.Join(dir, "db"))
	says(t, err, dir, "read-only file system")
}

func TestNoDatabase(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(file, bytes.Repeat([]byte("no database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqlstore.Open(t.Context(), file)
	says(t, err, file, "no database of Longshore's")
	_, err = sqlstore.Open(t.Context(), filepath.Join(file, "missing"))
	says(t, err, "not a directory")
	_, err = sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "none", "db"))
	advises(t, err, "a folder that exists")
	_, err = sqlstore.Open(t.Context(), "postgres://ann:secret@127.0.0.1:1/none")
	says(t, err, "127.0.0.1:1", "refused")
	advises(t, err, "that PostgreSQL runs at that host and port")
	for _, name := range []string{"postgres://ann:secret@127.0.0.1:1/none", "mysql://ann:secret@127.0.0.1/none", "postgres://ann:secret%zz@127.0.0.1/none", "postgress://ann:secret@h/none"} {
		if _, err := sqlstore.Open(t.Context(), name); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %q", err)
		}
	}
	_, err = sqlstore.Open(t.Context(), "mysql://127.0.0.1/none")
	advises(t, err, "postgres://USER:PASSWORD@HOST/NAME")
}

// What an operator finds in the first minute with PostgreSQL.
func TestPostgresRefuses(t *testing.T) {
	t.Parallel()
	p := storetest.StartPostgres(t, false)
	name := p.Database(t)
	d, err := sql.Open("pgx", name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Exec("CREATE ROLE guest LOGIN"); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	as := func(user, database string) string {
		other := *u
		if user != "" {
			other.User = url.User(user)
		}
		if database != "" {
			other.Path = database
		}
		return other.String()
	}
	for name, advice := range map[string]string{
		as("nobody-here", ""): "refuses the user or the password", as("", "/missing"): "createdb", as("guest", ""): "allowed to create tables",
	} {
		_, err := sqlstore.Open(t.Context(), name)
		advises(t, err, advice)
	}
}
