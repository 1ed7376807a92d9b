package cli

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/app"
	"longshore/internal/image"
	"longshore/internal/task"
)

// serverRig is a server in a folder of its own.
type serverRig struct {
	cmd    *exec.Cmd
	url    string
	token  string
	client *client.Client
	ended  chan error
}

// The tasks of the benchmark: a program that does nothing, and one that writes a line a second for ever.
const (
	trueTask = "true"
	tickTask = "tick"
)

// setUp makes the packages, and starts the server beside runs in process, each in a home of its own.
func (b *serverBench) setUp(ctx context.Context, dir string) (err error) {
	quiet := *b.g
	quiet.quiet = true
	b.local = &bencher{g: &quiet, o: &benchOptions{}, dir: dir, stages: map[string][]float64{}}
	for _, name := range []string{trueTask, tickTask} {
		if err := b.makePackage(name); err != nil {
			return err
		}
	}
	if b.local.app, err = b.open("local"); err != nil {
		return err
	}
	if err := b.importImages(ctx, b.local.app); err != nil {
		return err
	}
	if b.local.pkg, err = b.local.app.Open(ctx, b.packageDir(trueTask), app.OpenOptions{}); err != nil {
		return err
	}
	a, err := b.open("home")
	if err != nil {
		return err
	}
	b.rig, err = b.serve(ctx, "home", a, "")
	return err
}

// serve starts a server with the benchmark's tasks in a home.
func (b *serverBench) serve(ctx context.Context, home string, a *app.App, database string) (*serverRig, error) {
	if err := b.importImages(ctx, a); err != nil {
		return nil, err
	}
	rig, err := b.startServer(ctx, filepath.Join(b.local.dir, home), database)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{trueTask, tickTask} {
		req, err := b.local.g.uploadPackage(ctx, rig.client, b.packageDir(name), v1.ImportOptions{Name: name})
		if err == nil {
			_, err = rig.client.Import(ctx, req)
		}
		if err != nil {
			return nil, errors.Join(err, rig.end(ctx))
		}
	}
	return rig, nil
}

func (b *serverBench) packageDir(name string) string {
	return filepath.Join(b.local.dir, "packages", name)
}

func (b *serverBench) rootfs(name string) string { return filepath.Join(b.local.dir, name+".tar") }

func benchReference(name string) string { return "longshore-bench/" + name + ":latest" }

func (b *serverBench) importImages(ctx context.Context, a *app.App) error {
	images, err := a.Images()
	if err != nil {
		return err
	}
	for _, name := range []string{trueTask, tickTask} {
		if _, err := images.Import(ctx, b.rootfs(name), image.ImportOptions{Names: []string{benchReference(name)}, Cmd: []string{"/" + name}}); err != nil {
			return app.ImageError(err)
		}
	}
	return nil
}

// makePackage makes a task whose image holds one program and nothing else.
func (b *serverBench) makePackage(name string) error {
	program, err := trueProgram(runtime.GOARCH)
	if name == tickTask {
		program, err = tickProgram(runtime.GOARCH)
	}
	if err != nil {
		return err
	}
	if err := writeTar(b.rootfs(name), func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(program))}); err != nil {
			return err
		}
		_, err := w.Write(program)
		return err
	}); err != nil {
		return err
	}
	if err := os.MkdirAll(b.packageDir(name), 0o755); err != nil {
		return err
	}
	manifest := fmt.Sprintf(`{"app": {"name": "%s", "price": 0, "params": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=%s"}}}`, name, benchReference(name))
	return os.WriteFile(filepath.Join(b.packageDir(name), "iexec.json"), []byte(manifest), 0o644)
}

func (b *serverBench) tearDown(ctx context.Context) {
	if err := b.started.end(); err != nil {
		b.g.info("the benchmark's PostgreSQL did not end well: %v", err)
	}
	if b.local.pkg != nil {
		b.local.pkg.Close()
	}
	if b.rig != nil {
		if err := b.rig.end(ctx); err != nil {
			b.g.info("the benchmark's server did not end well: %v", err)
		}
	}
}

// startServer starts "longshore serve" with nothing but its folder and an address set, and without a limit on requests.
func (b *serverBench) startServer(ctx context.Context, home, database string) (*serverRig, error) {
	g := b.local.g
	log, err := os.Create(home + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := []string{"serve", "--home", home, "--listen", "127.0.0.1:0", "--limits-rate", "0", "--log-level", "warn"}
	if g.engine != "" {
		args = append(args, "--engine", g.engine)
	}
	if database != "" {
		args = append(args, "--db", database)
	}
	r := &serverRig{cmd: exec.Command("/proc/self/exe", args...), ended: make(chan error, 1)}
	r.cmd.Args[0] = os.Args[0] // for ps, and for programs that are several by their name
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LONGSHORE_") { // settings of another server
			r.cmd.Env = append(r.cmd.Env, v)
		}
	}
	out, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	link, err := r.ready(out, log)
	if err == nil {
		err = r.login(ctx, g, link)
	}
	if err != nil {
		return nil, errors.Join(err, r.end(ctx)) // with its worker, if it has one
	}
	return r, nil
}

// ready waits for the one-time link, and keeps what the server tells.
func (r *serverRig) ready(out io.Reader, log io.Writer) (link string, err error) {
	links := make(chan string, 1)
	go func() {
		var said strings.Builder
		for in := bufio.NewScanner(out); in.Scan(); {
			line := strings.TrimSpace(in.Text())
			fmt.Fprintln(log, line)
			if strings.Contains(line, "/login?code=") {
				links <- line
			} else {
				fmt.Fprintln(&said, line)
			}
		}
		err := r.cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, tail(said.String()))
		}
		r.ended <- err
	}()
	t := time.NewTimer(30 * time.Second)
	defer t.Stop()
	select {
	case link = <-links:
		return link, nil
	case err := <-r.ended:
		r.ended <- err
		return "", task.Errorf(task.ReasonEngine, "the server ended: %w", err)
	case <-t.C:
		return "", task.Errorf(task.ReasonEngine, "the server was not ready within 30s")
	}
}

func tail(s string) string {
	const most = 500
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-most):]
}

func (r *serverRig) login(ctx context.Context, g *globals, link string) error {
	base, code, _ := strings.Cut(link, "/login?code=")
	s, err := g.redeem(ctx, base, code, "")
	if err != nil {
		return err
	}
	r.url, r.token = s.URL, s.Token
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.MaxIdleConns = 64, 0
	r.client, err = client.New(client.Options{URL: s.URL, Token: s.Token, HTTP: &http.Client{Transport: t}, Patience: -1})
	return err
}

// end ends the server, and its worker with it.
func (r *serverRig) end(ctx context.Context) error {
	worker := r.worker()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(time.Minute)
	defer t.Stop()
	var err error
	select {
	case err = <-r.ended:
	case <-t.C:
		err = errors.Join(task.Errorf(task.ReasonEngine, "it did not end within a minute"), r.cmd.Process.Kill(), <-r.ended)
	}
	return errors.Join(err, gone(context.WithoutCancel(ctx), worker))
}

// gone waits for the end of a process that is not our child.
func gone(ctx context.Context, pid int) error {
	if pid == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return task.Errorf(task.ReasonEngine, "the server's worker, process %d, did not end", pid)
		}
	}
	return nil
}

// worker is the number of the server's worker process, its only child; 0 without one.
func (r *serverRig) worker() int {
	pid := r.cmd.Process.Pid
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		data, _ := os.ReadFile(name)
		if first, _, _ := strings.Cut(strings.TrimSpace(string(data)), " "); first != "" {
			n, _ := strconv.Atoi(first)
			return n
		}
	}
	return 0
}

// resident is the memory that a process has in use, in MB, shared pages of its program included; 0 when it is gone.
func resident(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		return 0
	}
	return float64(pages*int64(os.Getpagesize())) / 1e6
}
