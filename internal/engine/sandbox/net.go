package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// Dial connects to a port of the container from inside its own network namespace, first at 127.0.0.1, then at ::1.
func (e *Engine) Dial(ctx context.Context, h engine.Handle, port int) (net.Conn, error) {
	c, err := e.container(h.ID)
	if err != nil {
		return nil, err
	}
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("sandbox: no port %d", port)
	}
	if c.hostNetwork {
		return dialLoopback(ctx, port)
	}
	ns, err := c.network()
	if err != nil {
		return nil, fmt.Errorf("sandbox: container %s has ended: %w", h.ID, syscall.ECONNREFUSED)
	}
	return dialIn(ctx, ns, port)
}

func dialLoopback(ctx context.Context, port int) (net.Conn, error) {
	var d net.Dialer
	p := strconv.Itoa(port)
	conn, err := d.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", p))
	if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
		return conn, err
	}
	if six, err6 := d.DialContext(ctx, "tcp6", net.JoinHostPort("::1", p)); err6 == nil {
		return six, nil
	}
	return nil, err
}

// ownNetwork is the network namespace of this process.
var ownNetwork = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/ns/net") })

// dialIn connects on a thread that visits the namespace. A socket stays in the namespace it was made in, and dialling a literal
// address makes it on the calling thread.
func dialIn(ctx context.Context, ns *os.File, port int) (net.Conn, error) {
	own, err := ownNetwork()
	if err != nil {
		return nil, err
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- result{err: fmt.Errorf("sandbox: entering the container's network: %w", err)}
			return
		}
		conn, err := dialLoopback(ctx, port)
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // Else the thread, still locked, ends with this goroutine and runs nothing else.
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
