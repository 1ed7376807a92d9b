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
	"time"

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
	if i, err := findIDs(); err != nil {
		return nil, err
	} else if !i.privileged {
		return dialAs(ctx, c.proc.Pid, port)
	}
	return dialIn(ctx, ns, port)
}

// dialAs connects by a helper's sockets, as only root may enter a network namespace by itself.
func dialAs(ctx context.Context, pid, port int) (net.Conn, error) {
	sockets, err := socketsIn(pid)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range sockets {
			s.Close()
		}
	}()
	addresses := []unix.Sockaddr{&unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}}
	var first error
	for i, s := range sockets {
		err := connect(ctx, s, addresses[i])
		if err == nil {
			return net.FileConn(s)
		}
		if first == nil {
			first = fmt.Errorf("sandbox: port %d of the container: %w", port, err)
		}
		if err != unix.ECONNREFUSED {
			break
		}
	}
	return nil, first
}

// connect connects a non-blocking socket.
func connect(ctx context.Context, s *os.File, to unix.Sockaddr) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })()
	var result error
	started := false
	err = raw.Write(func(fd uintptr) bool {
		if !started {
			started = true
			result = unix.Connect(int(fd), to)
			return result != unix.EINPROGRESS
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = err
		case code != 0:
			result = syscall.Errno(code)
		default:
			result = nil
		}
		return true
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return result
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

// enter moves the calling thread into a network namespace. The container's end closes ns, also while it is used here.
func enter(ns *os.File) error {
	raw, err := ns.SyscallConn()
	if err != nil {
		return fmt.Errorf("sandbox: the container has ended: %w", syscall.ECONNREFUSED)
	}
	var entered error
	if err := raw.Control(func(fd uintptr) { entered = unix.Setns(int(fd), unix.CLONE_NEWNET) }); err != nil {
		return fmt.Errorf("sandbox: the container has ended: %w", syscall.ECONNREFUSED)
	}
	if entered != nil {
		return fmt.Errorf("sandbox: entering the container's network: %w", entered)
	}
	return nil
}

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
		if err := enter(ns); err != nil {
			runtime.UnlockOSThread()
			done <- result{err: err}
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
