package app

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"longshore/internal/task"
)

// Listen opens all addresses, or none: "host:port", or "unix:PATH", a socket for the user and group of the process that replaces
// one that nobody listens on any more. With certs not nil, TCP is TLS; a socket of this machine never is.
func Listen(ctx context.Context, addresses []string, certs *Certificates) (_ []net.Listener, err error) {
	var all []net.Listener
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
		}
	}()
	for _, address := range addresses {
		l, err := listen(ctx, address)
		if err != nil {
			return nil, task.Errorf(task.CodeUsage, "cannot listen on %s: %w", address, err).WithHint("%s", listenHint(err))
		}
		if certs != nil && l.Addr().Network() != "unix" {
			l = tls.NewListener(l, &tls.Config{GetCertificate: certs.get, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
		}
		all = append(all, l)
	}
	return all, nil
}

// listenHint says what to do about an address that cannot be listened on.
func listenHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another server uses it (`ss -ltnp` names it); choose another address with --listen"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "it is no address of this machine; 0.0.0.0 is all that it has"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not; take a port from 1024, or a socket's folder that the user may write"
	case errors.Is(err, fs.ErrNotExist):
		return "make the socket's folder first"
	}
	return "write host:port, such as 127.0.0.1:8470, or unix:PATH"
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	path, isPath := strings.CutPrefix(address, "unix:")
	if !isPath {
		return lc.Listen(ctx, "tcp", address)
	}
	l, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if st, serr := os.Lstat(path); serr != nil || st.Mode().Type() != os.ModeSocket {
			return nil, err
		}
		c, derr := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		if derr == nil {
			c.Close()
			return nil, err
		}
		if !errors.Is(derr, syscall.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = lc.Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o660)
}

// Certificates answers with a certificate that is read again when its files change. One that cannot be read leaves the one
// before in use. It is safe for concurrent use.
type Certificates struct {
	certFile, keyFile string
	log               *slog.Logger

	mu    sync.Mutex
	stamp [2]fileStamp
	cert  *tls.Certificate
}

// fileStamp tells a file from what was there before.
type fileStamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

func stampOf(name string) (fileStamp, error) {
	st, err := os.Stat(name)
	if err != nil {
		return fileStamp{}, err
	}
	s := fileStamp{modified: st.ModTime(), size: st.Size()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s, nil
}

// NewCertificates reads both files for the first time. log is told of later trouble.
func NewCertificates(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, task.Errorf(task.CodeUsage, "the certificate cannot be used: %w", err).WithHint("--tls-cert and --tls-key are PEM files that this user may read, and belong together")
	}
	return c, nil
}

// read reads the files if they have changed; the caller holds mu or is alone.
func (c *Certificates) read() error {
	var now [2]fileStamp
	for i, name := range []string{c.certFile, c.keyFile} {
		var err error
		if now[i], err = stampOf(name); err != nil {
			return err
		}
	}
	if now == c.stamp {
		return nil
	}
	c.stamp = now // told once for each change
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil {
		c.cert = &pair
	}
	return err
}

func (c *Certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(); err != nil {
		c.log.Error("the changed certificate cannot be used; the one before stays in use", "error", err)
	}
	return c.cert, nil
}
