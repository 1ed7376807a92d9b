// Package sandbox is the embedded, daemonless engine: it runs containers with the Linux kernel's own means, from this program.
//
// A container is the process tree of one PID namespace. Start executes a fresh copy of this program, whose C constructor (see
// launch.c) becomes the container's PID 1; there is no other program, daemon or shim. The package knows folders, limits and
// processes, and nothing of tasks, images as archives, or contracts.
//
// What keeps a container in: user, PID, IPC, UTS, mount, cgroup and network namespaces of its own; 65536 user numbers that
// belong to nobody else on the machine, so that root inside is not root outside, while files keep the container's own numbers
// on disk through id-mapped mounts; no capabilities, no_new_privs and moby's default system call filter; masked and read-only
// kernel files; cgroup limits.
//
// Any program that imports this package can use the engine, tests too: nothing need be called in main. An ordinary run of the
// program costs one look at the environment more.
//
// Containers die with the process that started them.
//
// Without root the engine works as well as the kernel lets it, with differences that callers see: layers must belong to the
// calling user, and mark opaque folders by user.overlay.opaque instead of trusted.overlay.opaque; files that other users of the
// container write belong to the numbers that /etc/subuid grants (RemoveFolder removes them); limits without a delegated cgroup
// are told in Exit.Unenforced.
//
// A container's main process is PID 1 of its PID namespace. The kernel ignores signals to it that it has no handler for, so a
// program that does not handle Stop's signal is killed right away instead of after a grace that could not help.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
	"longshore/internal/engine/sandbox/cdi"
)

// Name is the engine's name.
const Name = "sandbox"

// Config says where the engine keeps what.
type Config struct {
	// Dir is a folder for the state of containers, absolute, made when missing with mode 0700. It must be on a file system that
	// overlayfs can write to (not itself an overlay or NFS) and that supports id-mapped mounts, such as ext4, xfs and btrfs.
	// Several processes may share it.
	Dir string
	// CDIDirs are the folders of Container Device Interface specs, the one that wins last; none means /etc/cdi and /var/run/cdi.
	CDIDirs []string
}

// Engine runs containers on this machine. It is safe for concurrent use.
type Engine struct {
	dir     string
	cdiDirs []string
	spawner spawner

	mu         sync.Mutex
	containers map[string]*container
}

var (
	_ engine.Engine        = (*Engine)(nil)
	_ engine.Dialer        = (*Engine)(nil)
	_ engine.Stater        = (*Engine)(nil)
	_ engine.Sweeper       = (*Engine)(nil)
	_ engine.Inspector     = (*Engine)(nil)
	_ engine.FolderRemover = (*Engine)(nil)
	_ engine.GPUProvider   = (*Engine)(nil)
)

// New returns an engine. It touches nothing: the machine is looked at on first use. There is nothing to close.
func New(c Config) (*Engine, error) {
	if !filepath.IsAbs(c.Dir) {
		return nil, fmt.Errorf("sandbox: Config.Dir %q is not an absolute path", c.Dir)
	}
	e := &Engine{dir: filepath.Clean(c.Dir), cdiDirs: c.CDIDirs, containers: map[string]*container{}}
	if len(e.cdiDirs) == 0 {
		e.cdiDirs = cdi.DefaultDirs()
	}
	return e, nil
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return Name }

// container is one container that this process started.
type container struct {
	id          string
	dir         string // its folder
	hostNetwork bool
	stopSignal  unix.Signal
	cgroup      *cgroup
	log         *logWriter
	disk        *diskWatch // nil without a limit
	root        rootfs
	kept        string   // Spec.WritableLayer
	made        []string // mount points made in it
	gpus        heldGPUs
	proc        *os.Process

	ended chan struct{} // closed when everything is dead, logged and counted
	exit  engine.Exit   // valid once ended is closed

	mu           sync.Mutex
	stopped      bool
	diskExceeded bool
	net          *os.File

	remove sync.Mutex // serialises Remove
}

func (e *Engine) container(id string) (*container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.containers[id]; c != nil {
		return c, nil
	}
	return nil, engine.ErrUnknown
}

// Wait implements engine.Engine.
func (e *Engine) Wait(ctx context.Context, h engine.Handle) (engine.Exit, error) {
	c, err := e.container(h.ID)
	if err != nil {
		return engine.Exit{}, err
	}
	select {
	case <-c.ended:
		return c.exit, nil
	case <-ctx.Done():
		return engine.Exit{}, ctx.Err()
	}
}

// Logs implements engine.Engine. Closing the reader ends a Read that blocks.
func (e *Engine) Logs(_ context.Context, h engine.Handle, follow bool) (io.ReadCloser, error) {
	c, err := e.container(h.ID)
	if err != nil {
		return nil, err
	}
	return &logReader{log: c.log, follow: follow}, nil
}

// Stop implements engine.Engine. A main process that neither handles nor blocks the signal would never see it and is killed
// at once.
func (e *Engine) Stop(ctx context.Context, h engine.Handle, grace time.Duration) error {
	c, err := e.container(h.ID)
	if err != nil {
		return err
	}
	select {
	case <-c.ended:
		return nil
	default:
	}
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	if grace > 0 && c.stopSignal != unix.SIGKILL && handles(c.proc.Pid, c.stopSignal) {
		if err := c.signal(c.stopSignal); err != nil {
			return err
		}
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-c.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	if err := c.kill(); err != nil {
		return err
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// signal sends a signal to the main process; one that has ended is not an error.
func (c *container) signal(s unix.Signal) error {
	if err := c.proc.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sandbox: sending %s to container %s: %w", unix.SignalName(s), c.id, err)
	}
	return nil
}

// kill ends the main process, and with it everything in the container.
func (c *container) kill() error {
	err := c.signal(unix.SIGKILL)
	letDie(c.cgroup.dirs)
	return err
}

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, h engine.Handle) error {
	c, err := e.container(h.ID)
	if err != nil {
		return e.removeForeign(h.ID)
	}
	if err := e.Stop(ctx, h, 0); err != nil {
		return err
	}
	c.remove.Lock()
	defer c.remove.Unlock()
	if err := removeFolder(c.dir, c.root.workDir); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers[c.id] == c {
		delete(e.containers, c.id)
	}
	return nil
}

// Stats implements engine.Stater.
func (e *Engine) Stats(_ context.Context, h engine.Handle) (engine.Usage, error) {
	c, err := e.container(h.ID)
	if err != nil {
		return engine.Usage{}, err
	}
	select {
	case <-c.ended:
		return c.exit.Usage, nil
	default:
	}
	u := c.cgroup.usage()
	u.Memory = c.cgroup.memory()
	if c.disk != nil {
		u.Disk = c.disk.used()
	}
	return u, nil
}

// follow waits for the container's end, gathers what is to be known and releases everything but its folder. It runs once, on a
// goroutine of its own.
func (c *container) follow(streams *sync.WaitGroup, pipes []*os.File, release func()) {
	defer release()
	stop := make(chan struct{})
	if c.disk != nil {
		go c.disk.watch(stop, func() {
			c.mu.Lock()
			c.diskExceeded = true
			c.mu.Unlock()
			_ = c.kill()
		})
	}
	// PID 1 is reaped only after the kernel has killed and reaped everything else in its PID namespace.
	st, err := c.proc.Wait()
	close(stop)
	if c.disk != nil {
		c.disk.main.Store(0)
	}
	c.exit.EndedAt = time.Now()
	if err == nil {
		c.exit.Code, c.exit.Signal = exitCode(st)
	} else {
		c.exit.Code = 255
	}
	c.exit.OOM = c.cgroup.oomKilled()
	c.exit.PidsExceeded = c.cgroup.pidsHit()
	c.exit.Usage = c.cgroup.usage()
	if c.exit.Usage.CPU == 0 && st != nil {
		c.exit.Usage.CPU = st.UserTime() + st.SystemTime()
	}
	c.exit.Unenforced = c.cgroup.unenforced
	if c.disk != nil {
		c.exit.Usage.Disk = c.disk.used()
	}
	c.drain(streams, pipes)
	c.exit.LogDropped = c.log.droppedBytes()
	if err := c.cgroup.remove(); err != nil {
		c.exit.Unenforced = append(c.exit.Unenforced, "clean-up: "+err.Error())
	}
	if c.kept != "" {
		if err := errors.Join(removeAll(c.root.workDir), tidyUpper(c.kept, c.made)); err != nil {
			c.exit.Unenforced = append(c.exit.Unenforced, "clean-up: "+err.Error())
		}
	}
	c.gpus.release()
	c.mu.Lock()
	if c.net != nil {
		c.net.Close()
	}
	c.exit.Stopped = c.stopped
	c.exit.DiskExceeded = c.diskExceeded || c.disk != nil && c.exit.Usage.Disk > c.disk.limit
	close(c.ended)
	c.mu.Unlock()
}

// drainTimeout bounds the wait for output after the end: all writers are dead, unless the container passed its output on to
// a process outside, through a socket in a shared folder.
const drainTimeout = 5 * time.Second

func (c *container) drain(streams *sync.WaitGroup, pipes []*os.File) {
	for _, p := range pipes {
		p.SetReadDeadline(time.Now().Add(drainTimeout))
	}
	streams.Wait()
	for _, p := range pipes {
		p.Close()
	}
	c.log.close()
}

// network opens the container's network namespace, once.
func (c *container) network() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ended:
		return nil, os.ErrProcessDone
	default:
	}
	if c.net != nil {
		return c.net, nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.proc.Pid))
	if err != nil {
		return nil, err
	}
	c.net = f
	return f, nil
}
