package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL server of a test's own, in a temporary folder, reached by a socket in it.
type Postgres struct {
	bin, dir string
	sync     bool
	cmd      *exec.Cmd
	stop     io.WriteCloser // a line ends it
	log      *bytes.Buffer
	made     atomic.Int64
}

// keeper is a shell script that runs a server until it reads a line. When there will be none, the test was killed: then it removes
// the server's folder, its first argument, too. SIGQUIT ends PostgreSQL at once, as a crash would.
const keeper = `dir=$1; shift; "$@" & read -r line; asked=$?; kill -QUIT $!; wait $!; [ $asked = 0 ] || rm -rf "$dir"`

// StartPostgres starts Debian's PostgreSQL, as an unprivileged user where the test has privileges. It ends with the test, and with
// the test's process, however that ends. sync says whether commits wait for the disk: without, tests are faster.
func StartPostgres(t testing.TB, sync bool) *Postgres {
	t.Helper()
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "pg") // short: it is part of a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &Postgres{bin: bin, dir: dir, sync: sync}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	out, err := p.command(p.program("initdb"), "-D", filepath.Join(dir, "data"), "-U", "longshore", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.Start(t)
	t.Cleanup(func() { p.Stop(t) })
	return p
}

// binaries is the folder of the programs: Debian's, of the latest version there is, or what the PATH has.
func binaries(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, lookErr := exec.LookPath("postgres"); len(found) == 0 && lookErr == nil {
		found = []string{path}
	}
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL is not installed: run scripts/setup.sh test")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1])
}

const nobody = 65534

func (p *Postgres) program(name string) string { return filepath.Join(p.bin, name) }

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = p.dir
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// Start starts it again after Stop, and waits until it answers.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	fsync := "off"
	if p.sync {
		fsync = "on"
	}
	p.log = &bytes.Buffer{}
	p.cmd = p.command("sh", "-c", keeper, "keeper", p.dir, p.program("postgres"), "-D", filepath.Join(p.dir, "data"), "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync="+fsync)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	stop, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stop = stop
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := p.exec("SELECT 1")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // it has no signal for this
	}
}

// Stop ends it at once, as a crash would: nothing is written that a commit did not wait for.
func (p *Postgres) Stop(t testing.TB) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if _, err := io.WriteString(p.stop, "\n"); err != nil {
		t.Error(err)
	}
	_ = p.cmd.Wait() // it tells of the signal
	p.cmd = nil
}

// Database makes a new one and answers its URL.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", p.made.Add(1))
	if err := p.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return p.url(name)
}

func (p *Postgres) url(database string) string {
	return "postgres://longshore@/" + database + "?host=" + url.QueryEscape(p.dir)
}

func (p *Postgres) exec(text string) error {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	c, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, text)
	return err
}
