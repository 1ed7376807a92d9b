// Package web_test opens every page of the server in a real browser, uses every form, and looks at what a person would.
package web_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"longshore/internal/access"
	"longshore/internal/app"
	"longshore/internal/cli"
	"longshore/internal/image"
)

// TestMain is the server's worker too, which is started from the same program, and the longshore command.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "command" {
		os.Exit(cli.Main(os.Args[2:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		if err := work(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// work carries out jobs until nobody needs it.
func work(home string) error {
	a, err := app.New(app.Config{Home: home})
	if err != nil {
		return err
	}
	return a.RunWorker(context.Background(), version, func() { fmt.Println("ready") })
}

const version = "test"

// server is a whole one, with an image "busybox".
type server struct {
	*app.Server
	edge *app.Edge
	URL  string

	app  *app.App
	home string
	http *http.Server
	over chan struct{}
}

func startServer(t *testing.T) *server {
	t.Helper()
	home := t.TempDir()
	a, err := app.New(app.Config{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	importBusybox(t, a)
	s := &server{app: a, home: home}
	s.start(t, "127.0.0.1:0")
	t.Cleanup(func() {
		if err := s.Worker.Close(true); err != nil { // what still runs ends with the worker
			t.Error(err)
		}
		s.stop(t)
	})
	return s
}

func (s *server) start(t *testing.T, address string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	if s.Server, err = s.app.NewServer(context.Background(), app.ServerConfig{Version: version, WorkerArgs: []string{"worker", s.home}, Log: log}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + l.Addr().String()
	s.edge = s.NewEdge(app.EdgeConfig{URL: s.URL, Version: version, Log: log})
	s.http, s.over = &http.Server{Handler: s.edge, ReadHeaderTimeout: time.Minute}, make(chan struct{})
	go func(h *http.Server, over chan struct{}) {
		defer close(over)
		_ = h.Serve(l) // it ends with Close
	}(s.http, s.over)
}

// stop ends the server; its worker, and what runs in it, goes on.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.http.Close()
	<-s.over
	s.edge.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.Drain(ctx) // what runs is not waited for
	if err := s.Server.Close(); err != nil {
		t.Error(err)
	}
}

// token makes one for an account.
func (s *server) token(t *testing.T, account string, scopes ...access.Scope) string {
	t.Helper()
	_, secret, err := access.NewKeeper(s.Store, nil).Create(t.Context(), access.Grant{Account: account, Name: "test", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// get asks for a page or a file without a browser.
func (s *server) get(t *testing.T, secret, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func importBusybox(t *testing.T, a *app.App) {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("the tasks need a static busybox: %v (Debian: busybox-static)", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "etc", "tmp"} {
		add(&tar.Header{Name: d + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(&tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, applet := range []string{"sh", "basename", "cat", "cp", "echo", "head", "mkdir", "printf", "sleep", "test", "tr", "true", "wc"} {
		add(&tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeLink, Linkname: "bin/busybox", Mode: 0o755}, nil)
	}
	add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "busybox.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	images, err := a.Images()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := images.Import(t.Context(), file, image.ImportOptions{Names: []string{"busybox:latest"}, Cmd: []string{"sh"}}); err != nil {
		t.Fatal(err)
	}
}
