package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// git runs the git program in an environment that keeps a repository from doing anything but being fetched.
type git struct {
	env []string
	// secrets must not be shown, whatever git prints.
	secrets []string
}

// credentialHelper answers git's question for credentials from the environment. printf is built into the shell, so the
// values are in no argument list.
const credentialHelper = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$LONGSHORE_GIT_USERNAME" "$LONGSHORE_GIT_PASSWORD"; }; f`

// newGit makes git for a remote. Its connections go through p, unless that is nil.
func newGit(r remote, home string, p *proxy) *git {
	config := [][2]string{
		{"core.hooksPath", os.DevNull},
		{"core.fsmonitor", "false"},
		{"submodule.recurse", "false"},
		{"fetch.recurseSubmodules", "false"},
		{"filter.lfs.smudge", ""},
		{"filter.lfs.process", ""},
		{"filter.lfs.required", "false"},
		{"gc.auto", "0"},
		{"maintenance.auto", "false"},
		{"advice.detachedHead", "false"},
		{"remote.origin.uploadpack", "git-upload-pack"},
	}
	g := &git{env: inherited()}
	if p != nil {
		config = append(config, [2]string{"http.proxy", p.url})
		g.env = withoutProxies(g.env) // a name in no_proxy would go past it
	}
	if r.secret {
		// The first of the two forgets helpers that are configured for the host: the address's own credentials win.
		config = append(config, [2]string{"credential." + r.scope + ".helper", ""}, [2]string{"credential." + r.scope + ".helper", credentialHelper})
		g.env = append(g.env, "LONGSHORE_GIT_USERNAME="+r.username, "LONGSHORE_GIT_PASSWORD="+r.password)
		for _, s := range []string{r.password, r.username} {
			if len(s) > 3 { // shorter ones would garble every message, and tell nothing
				g.secrets = append(g.secrets, s)
			}
		}
	}
	g.env = append(g.env,
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS_REQUIRE=never", "GIT_LFS_SKIP_SMUDGE=1", "GIT_OPTIONAL_LOCKS=0",
		"GIT_CEILING_DIRECTORIES="+home, "LC_ALL=C.UTF-8", "GIT_ALLOW_PROTOCOL="+transports(r.scheme),
		"GIT_CONFIG_COUNT="+strconv.Itoa(len(config)),
	)
	for i, c := range config {
		g.env = append(g.env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, c[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, c[1]))
	}
	return g
}

// transports are what git may use for a scheme. The user's own configuration may turn https into ssh, and a server may turn
// http into https, but nothing remote may turn into a file, or the other way round.
func transports(scheme string) string {
	switch scheme {
	case "file":
		return "file"
	case "http":
		return "http:https:ssh"
	}
	return "https:ssh"
}

// inherited is this process's environment without what steers git or asks people.
func inherited() []string {
	keep := []string{"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_EXEC_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM"}
	drop := []string{"SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "LC_ALL", "LANGUAGE", "LONGSHORE_GIT_USERNAME", "LONGSHORE_GIT_PASSWORD", CredentialsVariable}
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if slices.Contains(drop, name) || strings.HasPrefix(name, "GIT_") && !slices.Contains(keep, name) {
			continue
		}
		env = append(env, e)
	}
	return env
}

// gitError is a git command that failed, with what it printed, made safe to show.
type gitError struct {
	command, stderr string
	cause           error
}

func (e *gitError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("git %s: %v", e.command, e.cause)
	}
	return e.stderr
}

func (e *gitError) Unwrap() error { return e.cause }

// run returns the trimmed standard output of a git command, of which 64 KiB are kept.
func (g *git) run(ctx context.Context, dir string, args ...string) (string, error) {
	var out string
	err := g.stream(ctx, dir, func(r io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(r, 64<<10))
		if err != nil {
			return err
		}
		out = strings.TrimSpace(string(data))
		_, err = io.Copy(io.Discard, r)
		return err
	}, args...)
	return out, err
}

// stream hands the standard output of a git command to read. When read returns an error, the command is ended and that error
// returned.
func (g *git) stream(ctx context.Context, dir string, read func(io.Reader) error, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	// A session of its own: no terminal to ask on, and one group to end, with the transports that git starts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir, cmd.Env = dir, g.env
	if cmd.Dir == "" {
		cmd.Dir = os.TempDir() // not a folder that may be a repository with settings of its own
	}
	stderr := &tail{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := read(stdout)
	if readErr != nil {
		cancel()
	}
	err = cmd.Wait()
	switch {
	case readErr != nil && !errors.Is(readErr, os.ErrClosed):
		return readErr
	case err != nil:
		return &gitError{command: args[0], stderr: g.clean(stderr.String()), cause: err}
	}
	return nil
}

// clean makes git's words safe to show: without secrets and control characters, on one line, without git's own prefixes.
func (g *git) clean(s string) string {
	for _, secret := range g.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	var lines []string
	for _, l := range strings.Split(s, "\n") {
		l = strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(l, "\uFFFD")))
		l = strings.TrimPrefix(strings.TrimPrefix(l, "fatal: "), "error: ")
		if l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "; ")
}

// tail keeps the last 4 KiB that were written.
type tail struct{ buf bytes.Buffer }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - tailSize; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.buf.String() }
