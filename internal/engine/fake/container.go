package fake

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"longshore/internal/engine"
)

// container is one container of the fake: a goroutine that follows a script.
type container struct {
	e     *Engine
	spec  engine.Spec
	log   *log
	stop  chan struct{} // closed when it is asked to end
	kill  chan struct{} // closed when it must
	ended chan struct{}

	mu      sync.Mutex
	exit    engine.Exit // valid once ended is closed
	stopped bool
	killed  bool
	waited  bool
	over    bool
	servers []*listener
}

// run follows the script and ends the container.
func (c *container) run(script []string) {
	var exit engine.Exit
	for _, word := range script {
		var done bool
		if exit, done = c.do(word); done {
			break
		}
	}
	c.mu.Lock()
	c.over = true
	servers := c.servers
	c.mu.Unlock()
	for _, s := range servers {
		s.Close()
	}
	c.log.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	exit.EndedAt = c.e.config.Now()
	exit.Stopped = c.stopped
	exit.LogDropped = c.log.droppedBytes()
	if exit.Usage == (engine.Usage{}) {
		exit.Usage = engine.Usage{CPU: time.Second, PeakMemory: 1 << 20}
	}
	c.exit = exit
	close(c.ended)
}

func bySignal(s syscall.Signal) engine.Exit {
	return engine.Exit{Code: 128 + int(s), Signal: int(s)}
}

// do does one word. It tells whether the container ends with it, and how.
func (c *container) do(word string) (exit engine.Exit, done bool) {
	verb, arg, _ := strings.Cut(word, "=")
	if c.isKilled() {
		return bySignal(syscall.SIGKILL), true
	}
	switch verb {
	case "stdout":
		c.log.append(engine.Stdout, arg, c.e.config.Now())
	case "stderr":
		c.log.append(engine.Stderr, arg, c.e.config.Now())
	case "env":
		c.log.append(engine.Stdout, c.env(arg), c.e.config.Now())
	case "write":
		path, text, _ := strings.Cut(arg, "=")
		return c.check(c.write(path, []byte(text)))
	case "copy":
		from, to, _ := strings.Cut(arg, "=")
		return c.check(c.copy(from, to))
	case "serve":
		port, err := strconv.Atoi(arg)
		if err == nil {
			c.serve(port)
		}
		return c.check(err)
	case "wait":
		return c.pause(c.e.gate(arg))
	case "sleep-until-stop":
		return c.pause(c.stop)
	case "ignore-stop":
		return c.pause(nil)
	case "oom":
		exit = bySignal(syscall.SIGKILL)
		exit.OOM = true
		return exit, true
	case "pids":
		return engine.Exit{Code: 1, PidsExceeded: true}, true
	case "disk":
		exit = bySignal(syscall.SIGKILL)
		exit.DiskExceeded = true
		return exit, true
	case "signal":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return c.check(err)
		}
		return bySignal(syscall.Signal(n)), true
	case "exit":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return c.check(err)
		}
		return engine.Exit{Code: n}, true
	default:
		return c.check(fmt.Errorf("no such word: %s", word))
	}
	return exit, false
}

// check ends a container whose word went wrong.
func (c *container) check(err error) (engine.Exit, bool) {
	if err == nil {
		return engine.Exit{}, false
	}
	c.log.append(engine.Stderr, "fake: "+err.Error()+"\n", c.e.config.Now())
	return engine.Exit{Code: 2}, true
}

// pause waits for something to happen, or until the container is killed.
func (c *container) pause(until <-chan struct{}) (engine.Exit, bool) {
	select {
	case <-until:
		return engine.Exit{}, false
	case <-c.kill:
		return bySignal(syscall.SIGKILL), true
	}
}

func (c *container) isKilled() bool {
	select {
	case <-c.kill:
		return true
	default:
		return false
	}
}

// end asks the container to end, and then makes it.
func (c *container) end(ctx context.Context, grace time.Duration) error {
	c.mu.Lock()
	if !c.over && !c.stopped {
		c.stopped = true
		if grace > 0 {
			close(c.stop)
		}
	}
	c.mu.Unlock()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	c.mu.Lock()
	if !c.killed {
		c.killed = true
		close(c.kill)
	}
	c.mu.Unlock()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// env returns a variable's value: the spec's, or what every engine adds.
func (c *container) env(name string) string {
	for _, kv := range append(slices.Clone(c.spec.Process.Env), "HOSTNAME="+c.spec.Hostname, "PATH=/bin", "HOME=/root") {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// outside finds where a path inside is on this machine.
func (c *container) outside(path string) (string, engine.Mount, error) {
	for i := len(c.spec.Mounts) - 1; i >= 0; i-- {
		m := c.spec.Mounts[i]
		if rel, err := filepath.Rel(m.Target, path); err == nil && filepath.IsLocal(rel) && !m.Tmpfs {
			return filepath.Join(m.Source, rel), m, nil
		}
	}
	return "", engine.Mount{}, fmt.Errorf("%s is in no mount", path)
}

func (c *container) write(path string, data []byte) error {
	out, m, err := c.outside(path)
	if err != nil {
		return err
	}
	if m.ReadOnly {
		return fmt.Errorf("%s: %w", path, syscall.EROFS)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, data, 0o644)
}

func (c *container) copy(from, to string) error {
	in, _, err := c.outside(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	return c.write(to, data)
}

// serve opens a port.
func (c *container) serve(port int) {
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{}), port: port}
	c.mu.Lock()
	c.servers = append(c.servers, l)
	c.mu.Unlock()
	server := &http.Server{Handler: c.e.config.Handler}
	go server.Serve(l)
	go func() {
		<-c.ended
		server.Close()
	}()
}

func (c *container) connect(port int) (net.Conn, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil, false
	}
	for _, l := range c.servers {
		if l.port == port {
			ours, theirs := net.Pipe()
			go func() {
				select {
				case l.conns <- theirs:
				case <-l.done:
					theirs.Close()
				}
			}()
			return ours, true
		}
	}
	return nil, false
}

// listener accepts connections that are pipes.
type listener struct {
	conns chan net.Conn
	port  int
	once  sync.Once
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.port} }
