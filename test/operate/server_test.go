// Package operate_test tries what docs/operating.md tells operators to do, with the programs that it names: a reverse proxy, a
// backup while the server runs, packages.
package operate_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/cli"
)

// The test program is longshore too: servers and workers are processes of their own.
func TestMain(m *testing.M) {
	if os.Getenv("OPERATE_TEST_LONGSHORE") != "" {
		os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Setenv("OPERATE_TEST_LONGSHORE", "1") // of every process that is started from here
	os.Exit(m.Run())
}

// server is one that runs.
type server struct {
	home, url, token string
	cmd              *exec.Cmd
	gone             chan struct{}
	link             chan string
}

// start starts a server in a home on a free port, and waits until it is ready.
func start(t *testing.T, home string, flags ...string) *server {
	t.Helper()
	s := &server{home: home, gone: make(chan struct{}), link: make(chan string, 1)}
	address := freeAddress(t)
	s.url = "http://" + address
	s.cmd = exec.Command("/proc/self/exe", append([]string{"serve", "--home", home, "--listen", address, "--drain-timeout", "1s"}, flags...)...)
	output, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 1)
	go s.listen(t.Output(), output, ready)
	t.Cleanup(func() {
		s.end(syscall.SIGTERM)
		endWorker(home)
	})
	select {
	case <-ready:
	case <-s.gone:
		t.Fatal("the server ended")
	}
	c := s.client(t, nil)
	if h, err := c.Ready(t.Context()); err != nil || !h.Ready {
		t.Fatal(h, err)
	}
	return s
}

// listen passes on what the server tells, and notes when it listens and how to get in.
func (s *server) listen(log io.Writer, output io.Reader, ready chan<- struct{}) {
	defer close(s.gone)
	for lines := bufio.NewScanner(output); lines.Scan(); {
		text := strings.TrimSpace(lines.Text())
		fmt.Fprintln(log, "server:", text)
		if strings.Contains(text, " listens on ") {
			ready <- struct{}{}
		}
		if _, code, ok := strings.Cut(text, "/login?code="); ok {
			s.link <- code
		}
	}
	_ = s.cmd.Wait()
}

func (s *server) end(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig) // it may have ended
	<-s.gone
}

// endWorker ends the worker of a home.
func endWorker(home string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		line, rerr := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && rerr == nil && strings.Contains(string(line), "\x00worker\x00--home\x00"+home+"\x00") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// client talks to the server, through change when it is not nil.
func (s *server) client(t *testing.T, change func(*client.Options)) *client.Client {
	t.Helper()
	o := client.Options{URL: s.url, Token: s.token}
	if change != nil {
		change(&o)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// enter makes a token with the one-time link.
func (s *server) enter(t *testing.T) {
	t.Helper()
	user := t.TempDir()
	c := exec.Command("/proc/self/exe", "login", s.url+"/login?code="+<-s.link, "--name", "x")
	c.Env = append(os.Environ(), "HOME="+user, "XDG_CONFIG_HOME="+user)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	kept, err := os.ReadFile(filepath.Join(user, "longshore", "servers.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(kept), `"token": "`)
	s.token, _, _ = strings.Cut(rest, `"`)
}

// ticker imports a task that counts slowly, a tenth of a second each.
func ticker(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("a static busybox is needed: %v (Debian: busybox-static)", err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"busybox":    string(program),
		"Dockerfile": "FROM scratch\nCOPY busybox /bin/busybox\nCOPY tick.sh /tick.sh\nENTRYPOINT [\"/bin/busybox\", \"sh\", \"/tick.sh\"]\n",
		"tick.sh":    "n=$(busybox cat /inputs/n)\ni=0\nwhile [ $i -lt $n ]; do i=$((i + 1)); echo tick $i; busybox sleep 0.1; done\necho $i > /outputs/last\n",
		"descriptor.yml": `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: Ticker
name_short: ticker
namespace: com.example.ticker
version: "1.0.0"
description: Ticks.
authors: [{first_name: A, last_name: B, organization: C, email: a@example.com, is_contact: true}]
configuration:
  input_folder: /inputs
  output_folder: /outputs
  image: {file: /com.example.ticker-1.0.0.tar}
  resources: {ram: 64Mi, cpus: 1}
inputs:
  n: {display_name: N, description: how many ticks, type: integer}
outputs:
  last: {display_name: Last, description: the last tick, type: integer}
`,
	} {
		content = strings.ReplaceAll(content, "$(busybox ", "$(/bin/busybox ")
		content = strings.ReplaceAll(content, "; busybox ", "; /bin/busybox ")
		mode := os.FileMode(0o644)
		if name == "busybox" {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	up, err := c.Upload(ctx, func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		tar := exec.CommandContext(ctx, "tar", "-C", dir, "-c", ".")
		tar.Stdout = w
		go func() { w.CloseWithError(tar.Run()) }()
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Import(ctx, v1.ImportRequest{Upload: up.Digest, FileName: "ticker.tar"}); err != nil {
		t.Fatal(err)
	}
}

// submit submits a run of ticker.
func submit(ctx context.Context, c *client.Client, n int) (v1.Run, error) {
	return c.Submit(ctx, v1.RunRequest{Task: "ticker", Inputs: map[string]json.RawMessage{"n": json.RawMessage(strconv.Itoa(n))}}, client.SubmitOptions{})
}
