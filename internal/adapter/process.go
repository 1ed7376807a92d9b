package adapter

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"longshore/internal/engine"
)

// process is the task's program.
type process struct {
	spec    engine.Spec
	cmd     *exec.Cmd
	started time.Time
	log     *frameLog
	stopped atomic.Bool
	// done is closed when the program has ended and its mounts' content is back where it came from; exit is set then.
	done chan struct{}
	exit engine.Exit
}

// drain is how long output is read on when the program has ended and something it started holds the pipe.
const drain = 500 * time.Millisecond

// start puts the mounts to their places and starts the program.
func (e *inPlace) start(spec engine.Spec) (*process, error) {
	placed, err := e.place(spec.Mounts)
	if err != nil {
		return nil, errors.Join(startError("mount", "%w", err), placed.back())
	}
	p := &process{spec: spec, log: newFrameLog(spec.LogLimit), done: make(chan struct{})}
	env := withDefaults(spec.Process.Env)
	program, err := find(spec.Process.Args[0], env, spec.Process.Dir)
	if err == nil {
		p.cmd = &exec.Cmd{
			Path: program, Args: spec.Process.Args, Env: env, Dir: workingDir(spec.Process.Dir), WaitDelay: drain,
			Stdout: p.log.writer(engine.Stdout, e.stdout), Stderr: p.log.writer(engine.Stderr, e.stderr),
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		}
		err = p.cmd.Start()
	}
	if err != nil {
		p.log.close()
		return nil, errors.Join(startError("command", "%s: %w", spec.Process.Args[0], err), placed.back())
	}
	p.started = time.Now()
	go p.watch(placed)
	return p, nil
}

// watch waits for the end of the program, ends what it left running, and puts the mounts' content back.
func (p *process) watch(placed placement) {
	err := p.cmd.Wait()
	if exited := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exited) && !errors.Is(err, exec.ErrWaitDelay) {
		fmt.Fprintln(p.cmd.Stderr, err)
	}
	killAll(p.cmd.Process.Pid)
	p.exit = engine.Exit{Code: p.cmd.ProcessState.ExitCode(), Stopped: p.stopped.Load(), EndedAt: time.Now()}
	if w, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		p.exit.Signal = int(w.Signal())
		p.exit.Code = 128 + p.exit.Signal
	}
	if err := placed.back(); err != nil {
		fmt.Fprintln(p.cmd.Stderr, "longshore-adapter:", err)
		p.exit.Code = max(p.exit.Code, failed)
	}
	p.exit.LogDropped = p.log.close()
	close(p.done)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end asks the program to end, kills it after grace, and waits for its end.
func (p *process) end(grace time.Duration) {
	if !p.ended() {
		p.stopped.Store(true)
	}
	pid := p.cmd.Process.Pid
	if grace > 0 {
		_ = syscall.Kill(pid, stopSignal(p.spec.Process.StopSignal)) // it may have ended
		select {
		case <-p.done:
			return
		case <-time.After(grace):
		}
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// killAll ends what a program left running: its process group, and as the container's first process everything. Those are
// then reaped, as nobody else does.
func killAll(group int) {
	_ = syscall.Kill(-group, syscall.SIGKILL) // nothing may be left
	if os.Getpid() != 1 {
		return
	}
	_ = syscall.Kill(-1, syscall.SIGKILL)
	for {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// withDefaults adds what every container has.
func withDefaults(env []string) []string {
	has := func(name string) bool { _, ok := lookup(env, name); return ok }
	if !has("PATH") {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	if home := os.Getenv("HOME"); !has("HOME") && home != "" {
		env = append(env, "HOME="+home)
	} else if !has("HOME") {
		env = append(env, "HOME=/")
	}
	if name, err := os.Hostname(); err == nil && !has("HOSTNAME") {
		env = append(env, "HOSTNAME="+name)
	}
	return env
}

func lookup(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// find looks a program up in the PATH of its own environment.
func find(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(workingDir(dir), name)
		}
		return name, nil
	}
	path, _ := lookup(env, "PATH")
	for _, d := range filepath.SplitList(path) {
		full := filepath.Join(workingDir(dir), name)
		if filepath.IsAbs(d) {
			full = filepath.Join(d, name)
		}
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", exec.ErrNotFound
}

// workingDir is the program's folder; it is made when missing.
func workingDir(dir string) string {
	if dir == "" {
		return "/"
	}
	_ = os.MkdirAll(dir, 0o755) // else the start says what is wrong
	return dir
}
