package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"longshore/internal/app"
	"longshore/internal/task"
)

// certificate writes a self-signed certificate of a name.
func certificate(t *testing.T, name, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		// As those who renew certificates do: the new file takes the place of the old one.
		if err := os.WriteFile(file+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
}

// A certificate that is renewed counts for the next connection, and a broken one never does.
func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate(t, "first", certFile, keyFile)
	var told bytes.Buffer
	certs, err := app.NewCertificates(certFile, keyFile, slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ls, err := app.Listen(t.Context(), []string{"127.0.0.1:0"}, certs)
	if err != nil {
		t.Fatal(err)
	}
	defer ls[0].Close()
	handshakes := make(chan struct{})
	go func() {
		defer close(handshakes)
		for {
			c, err := ls[0].Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).HandshakeContext(context.Background())
			c.Close()
		}
	}()
	name := func() string {
		c, err := tls.Dial("tcp", ls[0].Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "first" {
		t.Fatal(got)
	}
	certificate(t, "second", certFile, keyFile)
	if got := name(); got != "second" {
		t.Fatal(got)
	}
	if err := os.WriteFile(certFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "second" {
		t.Fatal(got)
	}
	certificate(t, "third", certFile, keyFile)
	if got := name(); got != "third" {
		t.Fatal(got)
	}
	ls[0].Close()
	<-handshakes
	if n := strings.Count(told.String(), "stays in use"); n != 1 {
		t.Errorf("told %d times of the broken certificate:\n%s", n, told.String())
	}
	if _, err := app.NewCertificates(certFile, filepath.Join(dir, "none.pem"), slog.Default()); task.CodeOf(err) != task.CodeUsage {
		t.Error(err)
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "http.sock")
	ls, err := app.Listen(t.Context(), []string{"unix:" + path, "127.0.0.1:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Error(st, err)
	}
	// One that is in use is not taken away, and then nothing stays open.
	for _, addresses := range [][]string{{"127.0.0.1:0", "unix:" + path}, {ls[1].Addr().String()}, {"127.0.0.1"}, {"nowhere.invalid:1"}} {
		if _, err := app.Listen(t.Context(), addresses, nil); task.CodeOf(err) != task.CodeUsage {
			t.Errorf("%v: %v", addresses, err)
		}
	}
	// One that a killed server left is.
	ls[0].(*net.UnixListener).SetUnlinkOnClose(false)
	for _, l := range ls {
		l.Close()
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Fatal("there is nothing to take over")
	}
	again, err := app.Listen(t.Context(), []string{"unix:" + path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	again[0].Close()
	// What is no socket is never removed.
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Listen(t.Context(), []string{"unix:" + path}, nil); err == nil {
		t.Error("it listens on a file")
	}
	if data, _ := os.ReadFile(path); string(data) != "mine" {
		t.Error("the file is gone")
	}
}
