package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/task"
)

// Client gives jobs to worker processes. A worker that dies is replaced at the next Begin.
type Client struct {
	cfg ClientConfig

	mu      sync.Mutex
	current *process // nil until needed, and after it died
}

var _ Worker = (*Client)(nil)

// ClientConfig says how workers are started.
type ClientConfig struct {
	// Dir is the folder of all jobs; servers that share it share its jobs.
	Dir string
	// Version tells programs apart: a worker of another version finishes what it has and gets nothing new.
	Version string
	// Command makes the command of a worker process, which calls Serve on Dir and writes one line to its standard output
	// when it is ready. Its output goes to LogFile.
	Command func() *exec.Cmd
	LogFile string
}

// process is a worker that this client may give jobs to.
type process struct {
	socket string
	hold   net.Conn // while it is open, the worker knows that somebody needs it
	gone   chan struct{}
}

// NewClient returns a client. A worker is looked for, or started, when the first job begins.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, socketFolder), 0o700); err != nil {
		return nil, err
	}
	return &Client{cfg: cfg}, nil
}

// Start looks for a worker or starts one, so that the first job need not wait for it.
func (c *Client) Start(ctx context.Context) error {
	_, err := c.worker(ctx)
	return err
}

// Close lets the workers go, which end when their jobs have; the outcomes stay for the next client. With retire they end then
// even if another client needs them, and at once if they have none.
func (c *Client) Close(retire bool) error {
	if retire {
		for _, s := range c.sockets() {
			_, _ = exchange(context.Background(), s, call{Op: "retire"}, nil) // one that does not answer ends by itself
		}
	}
	c.mu.Lock()
	p := c.current
	c.current = nil
	c.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.hold.Close()
}

// PID is the number of the worker process, 0 without one.
func (c *Client) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return 0
	}
	var pid int
	_, _ = fmt.Sscan(c.current.socket[strings.LastIndexByte(c.current.socket, '.')+1:], &pid)
	return pid
}

// worker answers one that takes jobs.
func (c *Client) worker(ctx context.Context) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		select {
		case <-c.current.gone:
			c.current = nil
		default:
			return c.current, nil
		}
	}
	entries, _ := os.ReadDir(filepath.Join(c.cfg.Dir, socketFolder))
	for _, e := range entries {
		s := filepath.Join(c.cfg.Dir, socketFolder, e.Name())
		if strings.HasPrefix(filepath.Base(s), c.cfg.Version+".") {
			if p, err := attach(ctx, s); err == nil {
				c.current = p
				return p, nil
			}
		}
	}
	p, err := c.start(ctx)
	if err != nil {
		return nil, task.Errorf(task.ReasonEngine, "cannot start a worker process: %w", err).WithHint("its log is %s", c.cfg.LogFile)
	}
	c.current = p
	return p, nil
}

// sockets lists those of workers, the current one's first. Those that a dead worker left are removed when they are tried.
func (c *Client) sockets() []string {
	entries, _ := os.ReadDir(filepath.Join(c.cfg.Dir, socketFolder)) // none before the first worker
	var list []string
	for _, e := range entries {
		list = append(list, filepath.Join(c.cfg.Dir, socketFolder, e.Name()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		list = append([]string{c.current.socket}, slices.DeleteFunc(list, func(s string) bool { return s == c.current.socket })...)
	}
	return list
}

// readyTimeout bounds the start of a worker process.
const readyTimeout = 30 * time.Second

func (c *Client) start(ctx context.Context) (*process, error) {
	log, err := os.OpenFile(c.cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := c.cfg.Command()
	cmd.Stdout, cmd.Stderr = w, log
	// A session of its own: what ends the server from a terminal does not end its worker.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	line := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(r).ReadString('\n')
		line <- err
	}()
	t := time.NewTimer(readyTimeout)
	defer t.Stop()
	select {
	case err = <-line:
	case <-ctx.Done():
		err = ctx.Err()
	case <-t.C:
		err = fmt.Errorf("it was not ready within %s", readyTimeout)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, errors.Join(err, <-ended)
	}
	return attach(ctx, filepath.Join(c.cfg.Dir, socketFolder, fmt.Sprintf("%s.%d", c.cfg.Version, cmd.Process.Pid)))
}

func attach(ctx context.Context, socket string) (*process, error) {
	p := &process{socket: socket, gone: make(chan struct{})}
	conn, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	p.hold = conn
	in := bufio.NewReader(conn)
	err = json.NewEncoder(conn).Encode(call{Op: "attach"})
	if err == nil {
		_, err = in.ReadString('\n')
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		_, _ = in.ReadByte() // nothing ever comes: it returns when the worker dies, or the connection is closed
		close(p.gone)
	}()
	return p, nil
}

// exchange sends one call and gives the answers to each, until one has End or each is nil.
func exchange(ctx context.Context, socket string, q call, each func(Event)) (reply, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return reply{}, err
	}
	for d := json.NewDecoder(conn); ; {
		var r reply
		if err := d.Decode(&r); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return reply{}, err
		}
		if r.Event != nil && each != nil {
			each(*r.Event)
			continue
		}
		if r.Error != nil {
			return r, &task.Error{Code: r.Error.Reason, Message: r.Error.Message, Hint: r.Error.Hint}
		}
		return r, nil
	}
}

// Folder implements Worker.
func (c *Client) Folder(name string) string { return filepath.Join(c.cfg.Dir, name) }

// Log implements Worker.
func (c *Client) Log(name string) string { return filepath.Join(c.cfg.Dir, name, logFile) }

// Begin implements Worker.
func (c *Client) Begin(ctx context.Context, j Job) error {
	if err := makeFolder(c.cfg.Dir, j); err != nil {
		return err
	}
	for again := true; ; again = false {
		p, err := c.worker(ctx)
		if err != nil {
			return err
		}
		_, err = exchange(ctx, p.socket, call{Op: "begin", Job: &j}, nil)
		if _, told := errors.AsType[*task.Error](err); err == nil || told || ctx.Err() != nil || !again {
			return err
		}
		// The worker died before it answered. Whether it had begun does not matter: with it, the job is lost.
		p.hold.Close()
		<-p.gone
	}
}

// Cancel implements Worker.
func (c *Client) Cancel(ctx context.Context, name string) error {
	for _, s := range c.sockets() {
		if _, err := exchange(ctx, s, call{Op: "cancel", Name: name}, nil); err != nil && !broken(err) {
			return err
		}
	}
	return nil
}

// Follow implements Worker.
func (c *Client) Follow(ctx context.Context, name string, f func(Event)) (Outcome, error) {
	seen := 0
	each := func(e Event) {
		if e.Log == 0 {
			seen++
		}
		f(e)
	}
	for _, s := range c.sockets() {
		r, err := exchange(ctx, s, call{Op: "follow", Name: name}, each)
		if ctx.Err() != nil {
			return Outcome{}, ctx.Err()
		}
		if err == nil && r.Known || err != nil && seen > 0 {
			break
		}
	}
	if err := c.unlocked(ctx, name); err != nil {
		return Outcome{}, err
	}
	// What was told already is not told again.
	return (&Pool{dir: c.cfg.Dir}).read(name, func(e Event) {
		if e.Log == 0 && seen > 0 {
			seen--
			return
		}
		f(e)
	})
}

// unlocked waits until nobody carries the job out: a worker that answered last, or that died, holds its lock a moment longer.
func (c *Client) unlocked(ctx context.Context, name string) error {
	f, err := os.Open(filepath.Join(c.Folder(name), lockFile))
	if err != nil {
		return nil // never begun, or forgotten
	}
	defer f.Close()
	got := make(chan error, 1)
	go func() { got <- unix.Flock(int(f.Fd()), unix.LOCK_SH) }()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// free tells whether nobody carries a job out.
func (c *Client) free(name string) bool {
	f, err := os.Open(filepath.Join(c.Folder(name), lockFile))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}

func broken(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Jobs implements Worker.
func (c *Client) Jobs(context.Context) ([]string, error) { return jobs(c.cfg.Dir) }

// Forget implements Worker.
func (c *Client) Forget(ctx context.Context, name string) error {
	if c.free(name) {
		return remove(c.cfg.Dir, name)
	}
	if err := c.Cancel(ctx, name); err != nil {
		return err
	}
	if err := c.unlocked(ctx, name); err != nil {
		return err
	}
	return remove(c.cfg.Dir, name)
}
