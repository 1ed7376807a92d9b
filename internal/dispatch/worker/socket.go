package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxSocketName is how long the kernel lets a socket's path be.
const maxSocketName = len(unix.RawSockaddrUnix{}.Path) - 1

// short calls use with a path to a socket that the kernel takes: a long one is reached through its open folder.
func short(socket string, use func(path string) error) error {
	if len(socket) <= maxSocketName {
		return use(socket)
	}
	dir, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return err
	}
	defer dir.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket)))
}

// dial connects to a worker.
func dial(ctx context.Context, socket string) (conn net.Conn, err error) {
	err = short(socket, func(path string) (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", path)
		return err
	})
	if errors.Is(err, unix.ECONNREFUSED) {
		_ = os.Remove(socket) // its worker is dead
	}
	return conn, err
}

// listen makes a socket. Whoever closes the listener removes its file.
func listen(ctx context.Context, socket string) (l net.Listener, err error) {
	err = short(socket, func(path string) (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, "unix", path)
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		return err
	})
	return l, err
}
