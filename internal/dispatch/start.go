package dispatch

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"

	"longshore/internal/engine"
	"longshore/internal/task"
)

// applyPolicy fills in default limits and refuses what the operator does not allow or the machine cannot give.
func (r *run) applyPolicy() error {
	d, x, has := r.d.Policy.Defaults, &r.exec.Resources, r.d.Capacity
	if x.CPU == 0 {
		x.CPU = d.CPU
	}
	if x.Memory == 0 {
		x.Memory = max(d.Memory, x.MinMemory)
	}
	if x.Disk == 0 {
		x.Disk = d.Disk
	}
	switch x.Shm {
	case 0:
		x.Shm = d.Shm
	case task.HalfOfMemory:
		x.Shm = x.Memory / 2
	}
	refuse := func(what, hint string, args ...any) error {
		return (&task.Error{Code: task.ReasonPolicy, Message: what}).WithHint(hint, args...)
	}
	if err := r.checkGPUs(x.GPUs); err != nil {
		return err
	}
	asked := fmt.Sprintf("asked %s CPUs/%s/%d GPUs, this machine has %s CPUs/%s", x.CPU, x.Memory, x.GPUs, has.CPU, has.Memory)
	var less []string
	if has.CPU > 0 && x.CPU > has.CPU {
		less = append(less, fmt.Sprintf("fewer CPUs: --cpus %s", has.CPU))
	}
	if has.Memory > 0 && x.Memory > has.Memory {
		less = append(less, fmt.Sprintf("less memory: --memory %dMi", int64(has.Memory)>>20))
	}
	if len(less) > 0 {
		return refuse("resource limit exceeds the maximum: "+asked, "run it with %s", strings.Join(less, ", and "))
	}
	if r.exec.Network || r.job.Network {
		r.exec.Network = r.job.Network && r.d.Policy.Network
		if !r.exec.Network {
			r.warn("the task declares that it needs the network; it runs without. Allow it with --network host")
		}
	}
	r.result.Resources, r.result.Network = *x, r.exec.Network
	return nil
}

// checkGPUs refuses a task that asks for more GPUs than the engine can give; none is ever left out.
func (r *run) checkGPUs(want int) error {
	if want <= 0 {
		return nil
	}
	refuse := func(why, hint string) error {
		message := fmt.Sprintf("not enough GPU available: the task asks for %s, and %s", count(want, "GPU"), why)
		return (&task.Error{Code: task.ReasonPolicy, Message: message}).WithHint("%s", hint)
	}
	const elsewhere = "run it on a machine with GPUs, or ask for fewer with --gpus"
	p, ok := r.d.Engine.(engine.GPUProvider)
	if !ok {
		return refuse(fmt.Sprintf("the %s engine gives none", r.d.Engine.Name()), elsewhere)
	}
	names, err := p.GPUs()
	switch {
	case err != nil:
		return refuse(err.Error(), "let the vendor's tool describe the GPUs (`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`), name the folder of the specs with --cdi-spec-dir, or run it on a machine with GPUs")
	case want > len(names):
		return refuse(fmt.Sprintf("this machine has %d (%s)", len(names), strings.Join(names, ", ")), elsewhere)
	}
	return nil
}

// count is a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// start finds a server of the pool that fits, or makes the container.
func (r *run) start(ctx context.Context) error {
	if r.pool == nil || !r.poolable() {
		return r.startContainer(ctx)
	}
	return r.pool.enter(ctx, r)
}

// startContainer makes the container and follows its log.
func (r *run) startContainer(ctx context.Context) error {
	spec, err := r.spec(ctx)
	if err != nil {
		return err
	}
	h, err := r.d.Engine.Start(ctx, spec)
	if err != nil {
		if se, ok := errors.AsType[*engine.StartError](err); ok {
			return startError(se)
		}
		return task.Errorf(task.ReasonEngine, "the container could not be started: %w", err)
	}
	r.handle = &h
	for _, s := range h.Steps {
		r.stepTimes(s)
	}
	for _, n := range h.Notes {
		r.warn("%s", n)
	}
	logs, err := r.private("logs", 0o700)
	if err != nil {
		return err
	}
	if r.follow, err = startFollower(ctx, r.d.Engine, h, logs, r.readyMark(), r.job.Observe); err != nil {
		return task.Errorf(task.ReasonEngine, "the container's log cannot be read: %w", err)
	}
	return nil
}

// readyMark is what the task prints once it is ready, "" if it prints nothing.
func (r *run) readyMark() string {
	if r.exec.HTTP == nil {
		return ""
	}
	return r.exec.HTTP.ReadyMark
}

// stepTimes keeps the engine's own steps until the stage is booked.
func (r *run) stepTimes(s engine.Step) {
	r.steptimes = append(r.steptimes, task.StepTime{Name: s.Name, Millis: float64(s.Took.Microseconds()) / 1000})
}

func startError(e *engine.StartError) error {
	out := &task.Error{Code: task.ReasonImage, Message: "the container could not be started", Cause: e.Err}
	switch e.Kind {
	case "command":
		out.Hint = "the image lacks the program it should start, or it may not be executed (chmod +x): check CMD, ENTRYPOINT and the package's command, and that scripts have Unix line ends"
	case "user":
		out.Hint = "the image's USER does not exist in its /etc/passwd"
	case "limit", "unsupported":
		out.Code, out.Hint = task.ReasonPolicy, "`longshore doctor` tells what this machine lacks"
	}
	return out
}

// spec merges what the image says with what the contract made of the task.
func (r *run) spec(ctx context.Context) (engine.Spec, error) {
	if h, ok := r.image.(Holder); ok {
		release, err := h.Hold()
		if err != nil {
			return engine.Spec{}, task.Errorf(task.ReasonImage, "the image cannot be used: %w", err)
		}
		r.release = release
	}
	layers, err := r.image.Layers(ctx)
	if err != nil {
		return engine.Spec{}, task.Errorf(task.ReasonImage, "the image cannot be used: %w", err)
	}
	args := commandLine(r.facts, r.exec.Process)
	if len(args) == 0 {
		return engine.Spec{}, (&task.Error{Code: task.ReasonImage, Message: "the image has neither ENTRYPOINT nor CMD, and the package names no command"}).
			WithHint("add a CMD to the Dockerfile")
	}
	env := append([]string(nil), r.facts.Env...)
	for _, e := range r.exec.Process.Env {
		env = append(env, e.Name+"="+e.Value)
	}
	x := r.exec.Resources
	spec := engine.Spec{
		ID:     r.container(),
		Labels: map[string]string{"contract": r.task.Contract, "task": r.task.Name},
		Image:  engine.Image{Reference: r.facts.Reference, Digest: r.facts.Digest, Layers: layers},
		Process: engine.Process{
			Args: args, Env: lastWins(env), Dir: first(r.exec.Process.Dir, r.facts.WorkingDir), User: first(r.exec.Process.User, r.facts.User),
			StopSignal: r.facts.StopSignal, Capabilities: r.job.Privileges,
		},
		Mounts:   r.mounts,
		Folders:  volumes(r.facts.Volumes),
		Limits:   engine.Limits{MilliCPU: int64(x.CPU), Memory: int64(x.Memory), Disk: int64(x.Disk), Shm: int64(x.Shm)},
		GPUs:     x.GPUs,
		LogLimit: r.d.Policy.LogLimit,
		LogMark:  r.readyMark(),
	}
	if r.exec.Network {
		spec.Network = engine.NetworkHost
	}
	if want := "linux/" + runtime.GOARCH; r.facts.Arch != "" && !strings.HasPrefix(r.facts.Arch, want) {
		return engine.Spec{}, (&task.Error{Code: task.ReasonImage, Message: fmt.Sprintf("the image is for %s, this machine runs %s", r.facts.Arch, want)}).
			WithHint("build or pull it for %s", want)
	}
	return spec, nil
}

// maxVolumes bounds the folders that an image's configuration may ask for.
const maxVolumes = 64

// volumes are the folders that Docker makes for an image's VOLUMEs. What no path can be is left out.
func volumes(list []string) []string {
	var out []string
	for _, v := range list {
		if path.IsAbs(v) && len(v) < 1024 && len(out) < maxVolumes && !strings.ContainsRune(v, 0) && path.Clean(v) != "/" {
			out = append(out, path.Clean(v))
		}
	}
	return out
}

// commandLine applies the process's changes to the image's ENTRYPOINT and CMD, as "docker run" does.
func commandLine(img task.ImageFacts, p task.Process) []string {
	entrypoint, args := img.Entrypoint, img.Cmd
	if p.Entrypoint != nil {
		entrypoint, args = p.Entrypoint, nil
	}
	if p.Args != nil {
		args = p.Args
	}
	return append(append([]string(nil), entrypoint...), args...)
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// lastWins keeps the last value of each variable, at the place of its first.
func lastWins(env []string) []string {
	at := map[string]int{}
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			out[i] = e
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}

// wait waits for a files task to end.
func (r *run) wait(ctx context.Context) *task.Failure {
	var exit engine.Exit
	err := within(ctx, r.times.Run, func(ctx context.Context) (err error) {
		exit, err = r.d.Engine.Wait(ctx, *r.handle)
		return err
	})
	if err != nil {
		f := r.interrupted(ctx, err, r.times)
		if r.exec.AnyEnd && f.Reason == task.ReasonTimeout && r.exit != nil {
			r.warn("%s", f.Message)
			return nil
		}
		return f
	}
	<-r.follow.done // Wait answers when all output is in the log, so this is soon
	r.ended(exit)
	return nil
}

// interrupted ends a container whose stage was cut short, and says why.
func (r *run) interrupted(ctx context.Context, err error, t task.Timeouts) *task.Failure {
	f := r.failed(err)
	f.LogTail = r.logTail()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Stop+20e9)
	defer cancel()
	if serr := r.d.Engine.Stop(stop, *r.handle, t.Stop); serr != nil {
		r.warn("the container could not be stopped: %v", serr)
		return f
	}
	if exit, werr := r.d.Engine.Wait(stop, *r.handle); werr == nil {
		r.ended(exit)
	}
	if f.Reason == task.ReasonTimeout {
		f.Message = fmt.Sprintf("the container did not end within %s and was stopped", t.Run)
		f.Hint = "raise --timeout if it needs more time"
	}
	return f
}

// ended books how the container ended.
func (r *run) ended(e engine.Exit) {
	r.exit = &e
	code := e.Code
	exit := exitOf(e)
	r.left.Exit = exit
	if !e.Stopped { // else it is our signal that ended it, which says nothing about the program
		r.result.ExitCode, r.result.Exit = &code, &exit
	}
	r.result.Usage = usageOf(e.Usage)
	r.left.Usage = r.result.Usage
	for _, u := range e.Unenforced {
		r.warn("a limit could not be enforced on this machine: %s", u)
	}
	if e.LogDropped > 0 {
		r.warn("the log was cut: %s more were written than are kept", task.Bytes(e.LogDropped))
	}
}

func usageOf(u engine.Usage) task.Usage {
	return task.Usage{PeakMemory: task.Bytes(u.PeakMemory), CPUSeconds: u.CPU.Seconds(), DiskBytes: task.Bytes(u.Disk)}
}

func exitOf(e engine.Exit) task.Exit {
	return task.Exit{Code: e.Code, Signal: e.Signal, OOM: e.OOM, PidsExceeded: e.PidsExceeded, DiskExceeded: e.DiskExceeded, Stopped: e.Stopped, LogDropped: e.LogDropped}
}
