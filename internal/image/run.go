package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// run executes a RUN instruction.
func (b *builder) run(ctx context.Context, st *state, c *instructions.RunCommand) error {
	if instructions.GetSecurity(c) == instructions.SecurityInsecure {
		return &Error{Kind: KindUnsupported, What: "--security=insecure", Why: "builds have no privileges"}
	}
	if len(instructions.GetDevices(c)) > 0 {
		return &Error{Kind: KindUnsupported, What: "--device", Why: "builds get no devices"}
	}
	network := b.opts.Network
	switch mode := instructions.GetNetwork(c); mode {
	case instructions.NetworkNone:
		network = false
	case instructions.NetworkHost:
		if !b.opts.Network {
			return &Error{Kind: KindUnsupported, What: "--network=host", Why: "this build may not use the network", Hint: "allow it"}
		}
	}
	args, script, err := b.runArgs(st, c)
	if err != nil {
		return err
	}
	r := &runStep{builder: b, state: st, args: args, script: script, network: network}
	if r.mounts, err = b.runMounts(ctx, st, c); err != nil {
		return err
	}
	text := c.String()
	if len(c.Files) > 0 {
		text += " " + strings.TrimSpace(c.Files[0].Data)
	}
	return b.step(ctx, st, c, text, r.history(), r.inputs(), func(tmp *tempDir) error { return r.execute(ctx, tmp) })
}

// runArgs makes the command line of a RUN. A script with an interpreter line is returned to be mounted as a file.
func (b *builder) runArgs(st *state, c *instructions.RunCommand) (args []string, script string, err error) {
	args = c.CmdLine
	if len(c.Files) > 0 {
		if len(args) != 1 || !c.PrependShell {
			return nil, "", &Error{Kind: KindInvalid, What: "RUN", Why: "a heredoc needs the shell form"}
		}
		if heredoc := parser.MustParseHeredoc(args[0]); heredoc != nil {
			data := c.Files[0].Data
			if c.Files[0].Chomp {
				data = parser.ChompHeredocContent(data)
			}
			if strings.HasPrefix(data, "#!") {
				return []string{scriptDir + "/" + c.Files[0].Name}, data, nil
			}
			args = []string{data}
		} else {
			text := args[0]
			for _, f := range c.Files {
				text += "\n" + f.Data + f.Name
			}
			args = []string{text}
		}
	}
	if c.PrependShell {
		args = append(st.shell(), strings.Join(args, " "))
	}
	return args, "", nil
}

// scriptDir is where scripts with an interpreter line are mounted, as BuildKit does it.
const scriptDir = "/dev/pipes"

// runStep is one RUN with everything looked up.
type runStep struct {
	builder *builder
	state   *state
	args    []string
	script  string
	network bool
	mounts  []runMount
}

// history is how the step appears in the image's history: with the build arguments it could see, as Docker writes it.
func (r *runStep) history() string {
	command := strings.Join(r.args, " ")
	var args []string
	for _, a := range r.state.args {
		if a.set {
			args = append(args, a.name+"="+a.value)
		}
	}
	if len(args) > 0 {
		command = fmt.Sprintf("|%d %s %s", len(args), strings.Join(args, " "), command)
	}
	return "RUN " + command
}

// inputs are what the step's result depends on.
func (r *runStep) inputs() inputs {
	cfg := r.state.config.Config
	in := inputs{{"chain", r.state.chain()}, {"instruction", "RUN " + strings.Join(r.args, "\x00")}, {"USER", cfg.User}, {"WORKDIR", cfg.WorkingDir}}
	if r.script != "" {
		in = append(in, input{"script", string(digestOf([]byte(r.script)))})
	}
	if !r.network {
		in = append(in, input{"network", "none"})
	}
	isArg := map[string]bool{}
	for _, a := range r.state.args {
		isArg[a.name] = true
	}
	for _, e := range r.state.env {
		name, value, _ := strings.Cut(e, "=")
		if isArg[name] {
			in = append(in, input{inputArg + name, value})
		} else {
			in = append(in, input{inputEnv + name, value})
		}
	}
	for _, m := range r.mounts {
		in = append(in, input{inputMount + m.target, m.key})
	}
	return in
}

// environment is what the command sees. Proxies and secrets are added to it and to nothing else.
func (r *runStep) environment() []string {
	env := append([]string(nil), r.state.env...)
	hasPath := false
	for _, e := range env {
		hasPath = hasPath || strings.HasPrefix(e, "PATH=")
	}
	if !hasPath {
		env = append(env, defaultPath)
	}
	for _, k := range slices.Sorted(maps.Keys(r.builder.opts.Args)) {
		if isProxyArg(k) {
			env = setEnv(env, k, r.builder.opts.Args[k])
		}
	}
	for _, m := range r.mounts {
		if m.env != "" {
			env = setEnv(env, m.env, string(m.secret))
		}
	}
	return env
}

// execute runs the command and leaves its changes in tmp's folder "layer".
func (r *runStep) execute(ctx context.Context, tmp *tempDir) error {
	b, st := r.builder, r.state
	if b.opts.Runner == nil {
		return &Error{Kind: KindUnsupported, What: "RUN", Why: "this build has nothing to run commands with"}
	}
	layers, err := b.dirs(st)
	if err != nil {
		return err
	}
	// The runner may put its own things beside the upper folder; they go with the inner folder.
	inner := tmp.join("run")
	if err := os.Mkdir(inner, 0o755); err != nil {
		return b.store.storeError(err)
	}
	dir := inner + "/upper"
	u, err := b.store.newUpper(dir, layers)
	if err != nil {
		return err
	}
	out := newOutputLog(b.opts, func(line string) {
		b.opts.Progress.send(Event{Kind: EventOutput, Step: st.step, Total: st.total, Stage: st.name, Text: line})
	})
	spec := RunSpec{Layers: layers, Upper: dir, Args: r.args, Env: r.environment(), Dir: st.config.Config.WorkingDir, User: st.config.Config.User, Network: r.network, Output: out, Limits: b.opts.Limits}
	if spec.Dir == "" {
		spec.Dir = "/"
	}
	release, err := r.prepareMounts(ctx, tmp, &spec)
	defer release()
	if err != nil {
		return err
	}
	before := u.snapshot(artefacts(spec.Mounts))
	rctx, cancel := context.WithTimeout(ctx, b.opts.Limits.Timeout)
	defer cancel()
	result, err := b.opts.Runner.Run(rctx, spec)
	out.flush()
	if err := r.outcome(ctx, rctx, result, err, out); err != nil {
		return err
	}
	if err := u.removeArtefacts(before); err != nil {
		return b.store.storeError(err)
	}
	return b.store.storeError(os.Rename(dir, tmp.join("layer")))
}

// outcome says how a command that did not succeed ended.
func (r *runStep) outcome(ctx, rctx context.Context, result RunResult, err error, out *outputLog) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fail := &BuildError{File: r.builder.plan.name, ExitCode: result.ExitCode, Log: out.tail()}
	switch {
	case errors.Is(rctx.Err(), context.DeadlineExceeded):
		fail.Err = &Error{Kind: KindLimit, What: "the command", Why: "still ran after " + r.builder.opts.Limits.Timeout.String() + " and was ended", Hint: "allow RUN more time, or make it do less"}
	case err != nil:
		fail.Err = fmt.Errorf("the command cannot be run: %w", err)
	case result.ExitCode == 0:
		return nil
	default:
		fail.Err = fmt.Errorf("the command failed with exit code %d", result.ExitCode)
		fail.Hint = result.Reason
		if fail.Hint == "" && r.builder.store.full() {
			fail.Hint = "the disk with the image store " + r.builder.store.cfg.Dir + " is full"
		}
		if fail.Hint == "" {
			fail.Hint = exitHint(result.ExitCode, r.network)
		}
	}
	return fail
}

func exitHint(code int, network bool) string {
	switch code {
	case 126:
		return "126 means that a program could not be executed"
	case 127:
		return "127 means that a program was not found in the image"
	case 137:
		return "137 means that it was killed, mostly for using too much memory"
	}
	if !network {
		return "this RUN had no network"
	}
	return ""
}

// snapshotEntry is a path where the runner may leave a mount point, and what was there before.
type snapshotEntry struct {
	path   string
	exists bool
}

// artefacts lists the paths where mounts leave empty files and folders behind.
func artefacts(mounts []RunMount) []string {
	out := []string{"/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console", "/proc", "/sys", "/sys/fs", "/sys/fs/cgroup", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/etc/mtab", "/.dockerenv", "/run/.containerenv"}
	for _, m := range mounts {
		out = append(out, m.Target)
	}
	return out
}

// snapshot notes which of the paths, and which folders above them, are there before a command runs; parents come first.
func (u *upper) snapshot(paths []string) []snapshotEntry {
	seen := map[string]bool{}
	var out []snapshotEntry
	var note func(p string)
	note = func(p string) {
		if p == "/" || seen[p] {
			return
		}
		seen[p] = true
		note(path.Dir(p))
		_, err := u.below.lookup(p, false)
		out = append(out, snapshotEntry{p, err == nil})
	}
	for _, p := range paths {
		// A mount goes where the image's links lead.
		if real, _, err := u.resolve(p); err == nil && real != "" {
			p = real
		}
		note(path.Clean(p))
	}
	return out
}

// removeArtefacts removes what mount points left in the upper folder: empty files and folders that were not there
// before, and folders that only came along because of them.
func (u *upper) removeArtefacts(before []snapshotEntry) error {
	for i := len(before) - 1; i >= 0; i-- {
		e := before[i]
		file, info := u.inUpper(e.path)
		if info == nil {
			continue
		}
		switch {
		case e.exists && info.IsDir():
			if err := u.removeIfUntouched(e.path, file, info); err != nil {
				return err
			}
		case e.exists:
		case info.IsDir():
			// Not empty means that the command put something there.
			if err := os.Remove(file); err != nil && !isNotEmpty(err) {
				return err
			}
		case info.Mode().IsRegular() && info.Size() == 0:
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// inUpper finds a path in the upper folder itself, or nil. The command may have put a link where a folder was, and that
// link would lead into this machine: nothing is looked for behind one.
func (u *upper) inUpper(p string) (string, os.FileInfo) {
	file := u.dir
	var info os.FileInfo
	for _, name := range splitPath(p) {
		if info != nil && !info.IsDir() {
			return "", nil
		}
		file += "/" + name
		var err error
		if info, err = os.Lstat(file); err != nil {
			return "", nil
		}
	}
	return file, info
}

// removeIfUntouched removes an empty folder of the upper that says nothing new about the one below.
func (u *upper) removeIfUntouched(p, file string, now os.FileInfo) error {
	entries, err := os.ReadDir(file)
	if err != nil || len(entries) > 0 || isOpaque(file, u.view.opaque) {
		return err
	}
	n, err := u.below.lookup(p, false)
	if err != nil || !n.isDir() {
		return nil
	}
	was, is := n.stat(), (&node{info: now}).stat()
	if was.Mode != is.Mode || was.Uid != is.Uid || was.Gid != is.Gid {
		return nil
	}
	return os.Remove(file)
}
