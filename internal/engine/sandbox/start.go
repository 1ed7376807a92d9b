package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// oomScore makes the kernel prefer containers over the machine's own processes when memory runs out.
const oomScore = 500

var validID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// Start implements engine.Engine.
func (e *Engine) Start(ctx context.Context, spec engine.Spec) (engine.Handle, error) {
	s := &starter{e: e, spec: spec, began: time.Now(), last: time.Now()}
	if err := s.validate(); err != nil {
		return engine.Handle{}, err
	}
	if err := s.run(ctx); err != nil {
		return engine.Handle{}, errors.Join(s.explain(ctx, err), s.undo())
	}
	return s.finish(), nil
}

// starter is one start under way. What it has made so far is in its fields, so that undo can take it back.
type starter struct {
	e      *Engine
	spec   engine.Spec
	caps   uint64
	filter []byte
	stop   unix.Signal

	ids     *ids
	held    bool   // of the spawner
	dir     string // the container's folder
	root    rootfs
	cgroup  *cgroup
	log     *logWriter
	disk    *diskWatch
	gpus    heldGPUs
	control link // to the launcher
	desc    *os.File
	pipes   []*os.File // our ends of stdout and stderr
	stage1  *os.Process
	proc    *os.Process
	made    []string

	began, last time.Time
	steps       []engine.Step
}

// step ends the current part of the start.
func (s *starter) step(name string) {
	now := time.Now()
	s.steps = append(s.steps, engine.Step{Name: name, Took: now.Sub(s.last)})
	s.last = now
}

func (s *starter) validate() (err error) {
	if !validID.MatchString(s.spec.ID) {
		return fmt.Errorf("sandbox: container ID %q is not 1 to 64 lower-case letters, digits and dashes", s.spec.ID)
	}
	if s.spec.Hostname == "" {
		s.spec.Hostname = s.spec.ID[:min(len(s.spec.ID), 12)]
	}
	p := &s.spec.Process
	if len(p.Args) == 0 || p.Args[0] == "" {
		return startError("command", "there is no command: neither the image nor the package names one")
	}
	if p.Dir == "" {
		p.Dir = "/"
	}
	if !filepath.IsAbs(p.Dir) {
		return startError("command", "the working directory %q is not absolute", p.Dir)
	}
	texts := slices.Concat(p.Args, p.Env, s.spec.Image.Layers, []string{p.Dir, p.User, s.spec.Hostname, s.spec.WritableLayer})
	for _, m := range s.spec.Mounts {
		texts = append(texts, m.Source, m.Target)
	}
	if i := slices.IndexFunc(texts, func(t string) bool { return strings.ContainsRune(t, 0) }); i >= 0 {
		return startError("unsupported", "%q contains a zero byte", texts[i])
	}
	for _, path := range append(slices.Clone(s.spec.Image.Layers), s.spec.WritableLayer) {
		if path != "" && !filepath.IsAbs(path) {
			return startError("unsupported", "layer %q is not an absolute path", path)
		}
	}
	if s.spec.Network != engine.NetworkNone && s.spec.Network != engine.NetworkHost {
		return startError("unsupported", "no network %q", s.spec.Network)
	}
	if s.stop, err = stopSignal(p.StopSignal); err != nil {
		return err
	}
	if s.caps, err = capMask(p.Capabilities); err != nil {
		return err
	}
	s.filter, err = filter(p.Capabilities)
	return err
}

func (s *starter) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if s.ids, err = findIDs(); err != nil {
		return err
	}
	if err := s.folder(); err != nil {
		return err
	}
	if err := s.takeGPUs(); err != nil {
		return err
	}
	mounts, err := mounts(&s.spec, s.gpus.mounts())
	if err != nil {
		return err
	}
	if s.root, err = newRootfs(s.dir, &s.spec, s.ids.privileged); err != nil {
		return err
	}
	s.log = newLog(filepath.Join(s.dir, logFile), &s.spec)
	s.step("folder")
	if s.cgroup, err = newCgroup(s.spec.ID+cgroupSuffix(s.e.dir), s.spec.Limits); err != nil {
		return err
	}
	if err := writeState(s.dir, s.state()); err != nil {
		return err
	}
	s.step("cgroup")
	s.e.spawner.hold()
	s.held = true
	if err := s.spawn(ctx, mounts); err != nil {
		return err
	}
	defer s.bound(ctx)()
	s.step("spawn")
	if err := s.namespaces(); err != nil {
		return err
	}
	s.step("namespaces")
	if err := s.rootfs(); err != nil {
		return err
	}
	s.step("rootfs")
	if err := s.become(); err != nil {
		return err
	}
	s.step("exec")
	return nil
}

// bound makes waiting for the launcher end with ctx, until the returned function is called.
func (s *starter) bound(ctx context.Context) (unbind func()) {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		s.control.SetDeadline(time.Unix(1, 0))
		close(fired)
	})
	return func() {
		if !stop() {
			<-fired
		}
	}
}

// folder makes the container's folder, which reserves its ID among all processes that share Config.Dir.
func (s *starter) folder() error {
	dir := filepath.Join(s.e.dir, s.spec.ID)
	err := os.Mkdir(dir, 0o700)
	if missing(err) {
		if err = os.MkdirAll(s.e.dir, 0o700); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("sandbox: container ID %s is in use (%s exists)", s.spec.ID, dir)
	}
	if err != nil {
		return fmt.Errorf("sandbox: making the container's folder: %w", err)
	}
	s.dir = dir
	return nil
}

func (s *starter) state() state {
	return state{ID: s.spec.ID, Labels: s.spec.Labels, Created: s.began, Owner: self(), Cgroups: s.cgroup.dirs, WorkDir: s.root.workDir}
}

// self names this process.
var self = sync.OnceValue(func() process {
	_, start, err := procStat(os.Getpid())
	if err != nil {
		start = 0 // Without /proc nothing starts anyhow.
	}
	return process{PID: os.Getpid(), Start: start}
})

// spawn executes the launcher's stage 1.
func (s *starter) spawn(ctx context.Context, mounts []mount) error {
	tasks, unified, err := s.cgroup.open()
	files := slices.Clone(tasks)
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if unified != nil {
			unified.Close()
		}
	}()
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	files = append(files, null)
	var outputs []*os.File
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		s.pipes = append(s.pipes, r)
		files = append(files, w)
		outputs = append(outputs, w)
		// The container's users open their outputs anew by way of /dev/stdout.
		if err := r.Chmod(0o666); err != nil {
			return err
		}
	}
	ours, child, err := socketPair()
	if err != nil {
		return err
	}
	s.control.File = ours
	files = append(files, child)
	if s.desc, err = memoryFile(); err != nil {
		return err
	}
	pass := []uintptr{null.Fd(), outputs[0].Fd(), outputs[1].Fd(), child.Fd(), s.desc.Fd()}
	plan := early{
		privileged: s.ids.privileged,
		namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		base:       s.ids.base(),
		oomScore:   oomScore,
		hostname:   s.spec.Hostname,
		scratch:    s.dir,
		root:       s.root,
		mounts:     mounts,
	}
	if s.spec.Network != engine.NetworkHost {
		plan.namespaces |= unix.CLONE_NEWNET
	}
	for _, t := range tasks {
		plan.cgroups = append(plan.cgroups, uint64(len(pass)))
		pass = append(pass, t.Fd())
	}
	if _, err := s.desc.Write(plan.encode()); err != nil {
		return fmt.Errorf("sandbox: writing the description: %w", err)
	}
	cgroup := -1
	if unified != nil {
		cgroup = int(unified.Fd())
	}
	pid, err := s.e.spawner.start(pass, cgroup)
	if cgroup >= 0 && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		// Without root: the cgroup is ours, but the way there from where this process is leads through one that is not.
		s.cgroup.abandon("this process may not move processes there from its own cgroup")
		pid, err = s.e.spawner.start(pass, -1)
	}
	if err != nil {
		return err
	}
	s.stage1, err = os.FindProcess(pid)
	return err
}

// namespaces waits for the container's PID 1 and notes it.
func (s *starter) namespaces() error {
	text, err := s.control.receive('P')
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("sandbox: the launcher named process %q", text)
	}
	// It is our child, as stage 1 cloned it with CLONE_PARENT, so its number cannot have been used again.
	if s.proc, err = os.FindProcess(pid); err != nil {
		return err
	}
	if !s.ids.privileged {
		if err := s.ids.apply(pid); err != nil {
			return err
		}
		if err := s.control.send('M'); err != nil {
			return err
		}
	}
	return writePID(s.dir, pid)
}

// rootfs waits until the container's root file system stands, and measures what counts against the disk limit.
func (s *starter) rootfs() error {
	if s.spec.Limits.Disk > 0 {
		s.disk = &diskWatch{limit: s.spec.Limits.Disk, folders: []string{filepath.Join(s.root.upperRoot, s.root.upper)}}
		for _, m := range s.spec.Mounts {
			if !m.ReadOnly && !m.Tmpfs {
				s.disk.folders = append(s.disk.folders, m.Source)
			}
		}
		s.disk.before = diskUsage(s.disk.folders).sum
		s.disk.main.Store(int64(s.proc.Pid))
	}
	list, err := s.control.receive('R')
	if err != nil {
		return err
	}
	if len(list) > 0 {
		s.made = strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00")
	}
	return nil
}

// become tells the container's PID 1 who it is to be, and waits for its execve.
func (s *starter) become() error {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", s.proc.Pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("sandbox: opening the container's root: %w", err)
	}
	who, err := lookUp(root, s.spec.Process.User, s.ids)
	root.Close()
	if err != nil {
		return err
	}
	l := late{
		who:       who,
		setGroups: s.ids.setGroups(),
		caps:      s.caps,
		dir:       filepath.Clean(s.spec.Process.Dir),
		rlimits:   map[int]uint64{unix.RLIMIT_CORE: 0},
		args:      s.spec.Process.Args,
		filter:    s.filter,
	}
	s.spec.Process.Env = s.gpus.environment(s.spec.Process.Env)
	l.env, l.path = environment(s.spec.Process, s.spec.Hostname, who.home)
	if s.disk != nil {
		l.rlimits[unix.RLIMIT_FSIZE] = uint64(s.disk.limit)
	}
	if s.cgroup.by["pids"] == nil { // A weaker limit: each of the container's users has it for himself.
		l.rlimits[unix.RLIMIT_NPROC] = uint64(pidsLimit(s.spec.Limits))
	}
	if _, err := s.desc.Write(l.encode()); err != nil {
		return fmt.Errorf("sandbox: writing the description: %w", err)
	}
	if err := s.control.send('G'); err != nil {
		return err
	}
	if _, err := s.control.receive(0); err != io.EOF {
		return err
	}
	return s.executed()
}

// executed tells whether the launcher's socket closed because of execve and not because stage 1 failed. A stage 2 that was killed
// in between, for want of memory, counts as a container that was killed.
func (s *starter) executed() error {
	st, err := s.stage1.Wait()
	if err != nil {
		return fmt.Errorf("sandbox: waiting for the launcher: %w", err)
	}
	s.stage1 = nil
	if !st.Success() {
		return fmt.Errorf("sandbox: the launcher ended: %s", st)
	}
	return nil
}

// explain says why a start failed where the launcher could not.
func (s *starter) explain(ctx context.Context, err error) error {
	if s.cgroup != nil && s.cgroup.oomKilled() {
		return startError("limit", "a memory limit of %d bytes is too little to start anything", s.spec.Limits.Memory)
	}
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("sandbox: start of %s given up: %w", s.spec.ID, ctx.Err())
	}
	return err
}

// meetTimeout bounds the wait for the launcher's first word, before which it does nothing that takes time.
const meetTimeout = 10 * time.Second

// meet learns of the container's PID 1, if a start was given up between its birth and the news of it.
func (s *starter) meet() {
	if s.stage1 == nil || s.proc != nil {
		return
	}
	s.control.SetDeadline(time.Now().Add(meetTimeout))
	if text, err := s.control.receive('P'); err == nil {
		if pid, err := strconv.Atoi(string(text)); err == nil {
			s.proc, _ = os.FindProcess(pid)
		}
	}
}

// undo takes back everything that a failed start has made. The folder goes last: it reserves the ID.
func (s *starter) undo() error {
	s.meet()
	for _, p := range []*os.Process{s.stage1, s.proc} {
		if p != nil {
			p.Kill()
			p.Wait()
		}
	}
	for _, f := range append(s.pipes, s.control.File, s.desc) {
		if f != nil {
			f.Close()
		}
	}
	if s.log != nil {
		s.log.close()
	}
	var errs []error
	if s.cgroup != nil {
		errs = append(errs, s.cgroup.remove())
	}
	if s.held {
		s.e.spawner.release()
	}
	s.gpus.release()
	if s.dir != "" {
		errs = append(errs, removeFolder(s.dir, s.root.workDir))
	}
	if s.spec.WritableLayer != "" {
		errs = append(errs, tidyUpper(s.spec.WritableLayer, s.made))
	}
	return errors.Join(errs...)
}

// finish hands the started container over to the engine.
func (s *starter) finish() engine.Handle {
	s.control.Close()
	s.desc.Close()
	c := &container{
		id: s.spec.ID, dir: s.dir, hostNetwork: s.spec.Network == engine.NetworkHost, stopSignal: s.stop, cgroup: s.cgroup,
		log: s.log, disk: s.disk, root: s.root, kept: s.spec.WritableLayer, made: s.made, gpus: s.gpus, proc: s.proc, ended: make(chan struct{}),
	}
	var streams sync.WaitGroup
	for i, stream := range []engine.Stream{engine.Stdout, engine.Stderr} {
		streams.Go(func() { c.log.copy(stream, s.pipes[i]) })
	}
	s.e.mu.Lock()
	s.e.containers[c.id] = c
	s.e.mu.Unlock()
	go c.follow(&streams, s.pipes, s.e.spawner.release)
	return engine.Handle{ID: c.id, Engine: Name, PID: c.proc.Pid, StartedAt: s.last, Steps: s.steps, Notes: s.gpus.grant.Notes}
}
