package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// youngFolder is how long a container's folder may be without a state: its start is under way.
const youngFolder = time.Minute

// removeFolder removes a container's folder and its work folder elsewhere, if it has one.
func removeFolder(dir, work string) error {
	var errs []error
	if work != "" {
		errs = append(errs, removeAll(work))
	}
	return errors.Join(append(errs, removeAll(dir))...)
}

// RemoveFolder implements engine.FolderRemover.
func (e *Engine) RemoveFolder(_ context.Context, path string) error { return removeAll(path) }

// Leftovers implements engine.Sweeper. No mounts are ever left: they live and die with a container's own mount namespace.
func (e *Engine) Leftovers(ctx context.Context) ([]engine.Leftover, error) {
	orphans, err := e.orphans()
	if err != nil {
		return nil, err
	}
	var list []engine.Leftover
	for _, o := range orphans {
		list = append(list, o.list()...)
	}
	return list, nil
}

// Sweep implements engine.Sweeper. It removes as much as it can; the error tells of the rest.
func (e *Engine) Sweep(ctx context.Context) ([]engine.Leftover, error) {
	orphans, err := e.orphans()
	if err != nil {
		return nil, err
	}
	var list []engine.Leftover
	var errs []error
	for _, o := range orphans {
		if err := ctx.Err(); err != nil {
			return list, err
		}
		found := o.list()
		if err := o.remove(); err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, found...)
	}
	return list, errors.Join(errs...)
}

// orphan is what is left of a container whose owner has died.
type orphan struct {
	dir string // empty if only cgroups are left
	state
}

// orphans finds what nobody owns any more.
func (e *Engine) orphans() ([]orphan, error) {
	entries, err := os.ReadDir(e.dir)
	if err != nil && !missing(err) {
		return nil, err
	}
	var list []orphan
	known := map[string]bool{}
	for _, d := range entries {
		if d.Name() == skeletonName || d.Name() == gpuLocks {
			continue
		}
		known[d.Name()] = true
		dir := filepath.Join(e.dir, d.Name())
		s, err := readState(dir)
		if missing(err) || errors.Is(err, errDamaged) { // its owner may be writing it, or died while it did
			if info, err := d.Info(); err == nil && time.Since(info.ModTime()) > youngFolder {
				list = append(list, orphan{dir: dir, state: state{ID: d.Name()}})
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if !s.Owner.alive() {
			list = append(list, orphan{dir: dir, state: s})
		}
	}
	return append(list, e.strayCgroups(known)...), nil
}

// strayCgroups finds cgroups of this engine's folder that no container's folder tells of.
func (e *Engine) strayCgroups(known map[string]bool) []orphan {
	var list []orphan
	for _, h := range findCgroups().trees {
		entries, _ := os.ReadDir(h.parent)
		for _, d := range entries {
			id, ours := strings.CutSuffix(d.Name(), cgroupSuffix(e.dir))
			info, err := d.Info()
			if !ours || known[id] || err != nil || time.Since(info.ModTime()) < youngFolder {
				continue
			}
			list = append(list, orphan{state: state{ID: id, Cgroups: []string{filepath.Join(h.parent, d.Name())}}})
		}
	}
	return list
}

func (o *orphan) list() []engine.Leftover {
	var list []engine.Leftover
	add := func(kind, name string) { list = append(list, engine.Leftover{Kind: kind, Name: name, ID: o.ID}) }
	if o.Main.PID != 0 && o.Main.alive() {
		add("process", strconv.Itoa(o.Main.PID))
	}
	for _, c := range o.Cgroups {
		if _, err := os.Stat(c); err == nil {
			add("cgroup", c)
		}
	}
	for _, dir := range []string{o.WorkDir, o.dir} {
		if dir == "" {
			continue
		}
		if _, err := os.Stat(dir); err == nil {
			add("folder", dir)
		}
	}
	return list
}

func (o *orphan) remove() error {
	if o.Main.PID != 0 {
		letDie(o.Cgroups)
		if err := kill(o.Main); err != nil {
			return fmt.Errorf("sandbox: ending container %s: %w", o.ID, err)
		}
	}
	for _, c := range o.Cgroups {
		if err := removeCgroup(c); err != nil {
			return err
		}
	}
	if o.dir == "" {
		return nil
	}
	return removeFolder(o.dir, o.WorkDir)
}

// killTimeout bounds the wait for a killed process's end; one that hangs in the kernel (a dead network file system) may not end.
const killTimeout = 10 * time.Second

// kill ends a process, and with it its PID namespace, and waits for its end. A number that is another process's by now is left
// alone: the descriptor is taken first and then the start time compared.
func kill(p process) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !p.alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(killTimeout.Milliseconds()))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return fmt.Errorf("process %d does not end", p.PID)
		}
		return nil
	}
}

// removeForeign removes what is left of a container that this process did not start.
func (e *Engine) removeForeign(id string) error {
	if !validID.MatchString(id) {
		return nil // It can never have existed.
	}
	dir := filepath.Join(e.dir, id)
	s, err := readState(dir)
	if missing(err) {
		if _, err := os.Stat(dir); missing(err) {
			return nil
		}
		return fmt.Errorf("sandbox: container %s is being started by another process; or, after a crash, can be swept in a minute", id)
	}
	if err != nil {
		return err
	}
	if s.Owner != self() && s.Owner.alive() {
		return fmt.Errorf("sandbox: container %s belongs to process %d, which is alive; end it there", id, s.Owner.PID)
	}
	return (&orphan{dir: dir, state: s}).remove()
}
