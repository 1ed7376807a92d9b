package adapter

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"longshore/internal/engine"
)

// inPlace is an engine without containers: it starts a program in the container that the adapter is in, with the mounts' content
// put to their places. Nothing is isolated, and limits are the platform's. One program runs at a time, or, with keep, one server
// for all runs.
type inPlace struct {
	// own is a folder whose content may be moved to where it is needed.
	own string
	// stdout and stderr receive what the program writes.
	stdout, stderr io.Writer
	// keep leaves a server running between runs: every run has the same program, and no mounts.
	keep bool

	mu     sync.Mutex
	kept   *process
	leases map[string]*lease
}

var (
	_ engine.Engine = (*inPlace)(nil)
	_ engine.Dialer = (*inPlace)(nil)
)

// lease is one run's use of a process.
type lease struct {
	*process
	// over is closed when the run needs the process no more, which goes on for others.
	over chan struct{}
	once sync.Once
}

// keptLog bounds the log of a server that runs on: 1 MiB. All of it has gone to the platform as it came.
const keptLog = 1 << 20

// Name implements engine.Engine.
func (*inPlace) Name() string { return "in place" }

// Start implements engine.Engine.
func (e *inPlace) Start(_ context.Context, spec engine.Spec) (engine.Handle, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.kept
	if !e.keep || p == nil || p.ended() || !slices.Equal(p.spec.Process.Args, spec.Process.Args) || !slices.Equal(p.spec.Process.Env, spec.Process.Env) {
		if e.keep {
			spec.LogLimit = keptLog
			if p != nil {
				p.end(0)
			}
		}
		var err error
		if p, err = e.start(spec); err != nil {
			return engine.Handle{}, err
		}
	}
	if e.keep {
		e.kept = p
	}
	if e.leases == nil {
		e.leases = map[string]*lease{}
	}
	e.leases[spec.ID] = &lease{process: p, over: make(chan struct{})}
	return engine.Handle{ID: spec.ID, Engine: e.Name(), PID: p.cmd.Process.Pid, StartedAt: p.started}, nil
}

func (e *inPlace) lease(h engine.Handle) (*lease, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.leases[h.ID]; l != nil {
		return l, nil
	}
	return nil, engine.ErrUnknown
}

// Wait implements engine.Engine.
func (e *inPlace) Wait(ctx context.Context, h engine.Handle) (engine.Exit, error) {
	l, err := e.lease(h)
	if err != nil {
		return engine.Exit{}, err
	}
	select {
	case <-l.done:
		return l.exit, nil
	case <-l.over:
		return engine.Exit{Stopped: true, EndedAt: time.Now()}, nil
	case <-ctx.Done():
		return engine.Exit{}, ctx.Err()
	}
}

// Logs implements engine.Engine.
func (e *inPlace) Logs(_ context.Context, h engine.Handle, follow bool) (io.ReadCloser, error) {
	l, err := e.lease(h)
	if err != nil {
		return nil, err
	}
	return l.log.reader(follow, l.over), nil
}

// Stop implements engine.Engine. A server that is kept goes on.
func (e *inPlace) Stop(_ context.Context, h engine.Handle, grace time.Duration) error {
	l, err := e.lease(h)
	if err != nil {
		return nil // it was removed
	}
	if !e.keep {
		l.end(grace)
	}
	l.once.Do(func() { close(l.over) })
	return nil
}

// Remove implements engine.Engine.
func (e *inPlace) Remove(ctx context.Context, h engine.Handle) error {
	err := e.Stop(ctx, h, 0)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.leases, h.ID)
	return err
}

// Dial implements engine.Dialer.
func (e *inPlace) Dial(ctx context.Context, _ engine.Handle, port int) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		if six, err := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", strconv.Itoa(port))); err == nil {
			return six, nil
		}
	}
	return c, err
}

// close ends the server that was kept.
func (e *inPlace) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept != nil {
		e.kept.end(stopGrace)
	}
}

// stopGrace is how long a server has to end by itself when the platform ends the container.
const stopGrace = 5 * time.Second

// stopSignal is the signal that an image wants to be asked to end with.
func stopSignal(name string) syscall.Signal {
	if n, err := strconv.Atoi(name); err == nil && n > 0 {
		return syscall.Signal(n)
	}
	named := map[string]syscall.Signal{
		"SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT, "SIGHUP": syscall.SIGHUP, "SIGUSR1": syscall.SIGUSR1,
		"SIGUSR2": syscall.SIGUSR2, "SIGKILL": syscall.SIGKILL, "SIGWINCH": syscall.SIGWINCH,
	}
	if s, ok := named[name]; ok {
		return s
	}
	return cmp.Or(named["SIG"+name], syscall.SIGTERM)
}

func startError(kind, format string, args ...any) error {
	return &engine.StartError{Kind: kind, Err: fmt.Errorf(format, args...)}
}
