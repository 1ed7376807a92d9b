package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"longshore/internal/task"
)

// benchPostgres is a PostgreSQL server in a folder, reached by a socket in it.
type benchPostgres struct {
	bin, dir string
	cmd      *exec.Cmd
}

// startPostgres starts Debian's PostgreSQL as it comes, with commits that wait for the disk; nil when it is not installed. It does
// not run as root.
func startPostgres(ctx context.Context) (p *benchPostgres, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	slices.Sort(found)
	p = &benchPostgres{bin: filepath.Dir(found[len(found)-1])}
	if p.dir, err = os.MkdirTemp("", "pg"); err != nil { // short: it is part of a socket's name
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.end())
		}
	}()
	if os.Geteuid() == 0 {
		if err := os.Chown(p.dir, nobody, nobody); err != nil {
			return p, err
		}
	}
	out, err := p.command(ctx, "initdb", "-D", p.dir+"/data", "-U", "longshore", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust").CombinedOutput()
	if err != nil {
		return p, task.Errorf(task.ReasonEngine, "PostgreSQL cannot be set up: %w: %s", err, tail(string(out)))
	}
	// Its end is ours to order: an interrupt ends the measurements first.
	p.cmd = p.command(context.WithoutCancel(ctx), "postgres", "-D", p.dir+"/data", "-k", p.dir, "-c", "listen_addresses=")
	if err := p.cmd.Start(); err != nil {
		return p, err
	}
	return p, p.create(ctx)
}

const nobody = 65534

func (p *benchPostgres) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// create makes the database, as soon as the server answers.
func (p *benchPostgres) create(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, err := p.command(ctx, "createdb", "-h", p.dir, "-U", "longshore", "bench").CombinedOutput()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			if err != nil {
				err = task.Errorf(task.ReasonEngine, "PostgreSQL does not answer: %w: %s", err, tail(string(out)))
			}
			return err
		}
		if err := settle(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (p *benchPostgres) url() string {
	return fmt.Sprintf("postgres://longshore@/bench?host=%s", url.QueryEscape(p.dir))
}

// end ends it, and removes its folder.
func (p *benchPostgres) end() error {
	if p == nil {
		return nil
	}
	var err error
	if p.cmd != nil && p.cmd.Process != nil {
		err = p.cmd.Process.Signal(syscall.SIGINT) // those who are connected are not waited for
		_ = p.cmd.Wait()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
