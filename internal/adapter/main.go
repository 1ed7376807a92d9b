package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/front"
	"longshore/internal/task"
)

// failed is the exit code of a task that failed otherwise than by its program's own code.
const failed = 1

// Main runs the adapter and returns its exit code: that of the task's own program where the platform reads one.
func Main(contracts []contract.Contract, stdout, stderr io.Writer) int {
	plan, dir, err := readPlan()
	if err == nil {
		var a *adapter
		if a, err = newAdapter(plan, dir, contracts, stdout, stderr); err == nil {
			return a.run()
		}
	}
	fmt.Fprintln(stderr, "longshore-adapter:", err)
	return failed
}

// adapter is one running adapter.
type adapter struct {
	plan     *Plan
	source   contract.Contract
	dispatch *dispatch.Dispatcher
	engine   *inPlace
	// dir holds what runs need while they last.
	dir            string
	stdout, stderr io.Writer
}

func newAdapter(p *Plan, dir string, contracts []contract.Contract, stdout, stderr io.Writer) (*adapter, error) {
	a := &adapter{plan: p, dir: filepath.Join(dir, RunsFolder), stdout: stdout, stderr: stderr}
	for _, c := range contracts {
		if c.Name() == p.Task.Contract {
			a.source = plain{c}
		}
	}
	if a.source == nil {
		return nil, fmt.Errorf("there is no contract %q", p.Task.Contract)
	}
	programOut := stdout
	if p.Front.Server != nil {
		programOut = stderr // what the platform reads on stdout is the adapter's
	}
	a.engine = &inPlace{own: a.dir, stdout: programOut, stderr: stderr, keep: p.Task.Exchange == task.HTTP && p.Front.Server != nil}
	a.dispatch = &dispatch.Dispatcher{Engine: a.engine, Images: here{p.Image}, Dir: a.dir, Policy: dispatch.Policy{Network: true}}
	return a, nil
}

// plain hides what a contract can do beyond the interface: the image was looked into when it was converted.
type plain struct{ contract.Contract }

func (a *adapter) run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	defer a.engine.close()
	if a.plan.Front.Server != nil {
		return a.serve(ctx)
	}
	return a.once(ctx)
}

// once is one run of a platform that hands over files.
func (a *adapter) once(ctx context.Context) int {
	tmp, err := os.MkdirTemp(a.dir, "request-")
	if err != nil {
		return a.fail(err)
	}
	defer os.RemoveAll(tmp)
	req, err := front.ReadFiles(a.plan.Front, os.LookupEnv, tmp)
	if err != nil {
		return a.fail(err)
	}
	job := a.job(req)
	job.Use = func(res *task.Result, dir string) error { return front.WriteFiles(a.plan.Front, res, dir) }
	res, err := a.dispatch.Run(ctx, job)
	switch {
	case err != nil:
		return a.fail(err)
	case res.State == task.Succeeded:
		return 0
	}
	a.tell(res)
	switch {
	case res.State == task.Cancelled:
		return 128 + int(syscall.SIGTERM)
	case res.Reason == task.ReasonExit && res.ExitCode != nil && *res.ExitCode != 0:
		return *res.ExitCode
	}
	return failed
}

// job is one use of the task. The platform around the container sets the limits and the network.
func (a *adapter) job(req task.Request) dispatch.Job {
	return dispatch.Job{
		Contract: a.source, Task: a.plan.Task, Request: req, Network: true, Privileges: engine.CapDefault, Observe: observer{a.stderr},
		Timeouts: task.Timeouts{Run: -1},
	}
}

func (a *adapter) fail(err error) int {
	fmt.Fprintln(a.stderr, "longshore-adapter:", err)
	if e, ok := errors.AsType[*task.Error](err); ok && e.Hint != "" {
		fmt.Fprintln(a.stderr, "  hint:", e.Hint)
	}
	return failed
}

// tell says why a run failed.
func (a *adapter) tell(res *task.Result) {
	if res.Failure == nil {
		fmt.Fprintf(a.stderr, "longshore-adapter: %s\n", res.State)
		return
	}
	fmt.Fprintf(a.stderr, "longshore-adapter: %s: %s\n", res.Failure.Reason, res.Failure.Message)
	if len(res.Failure.Findings) > 1 {
		for _, f := range res.Failure.Findings {
			fmt.Fprintf(a.stderr, "  %s\n", f)
		}
	}
	if res.Failure.Hint != "" {
		fmt.Fprintln(a.stderr, "  hint:", res.Failure.Hint)
	}
}

// observer passes on warnings; the program's output goes its own way.
type observer struct{ stderr io.Writer }

func (observer) Moved(string, task.State) {}

func (observer) Logged(engine.Stream, []byte) {}

func (o observer) Warned(message string) {
	fmt.Fprintln(o.stderr, "longshore-adapter: warning:", message)
}

// here is the image that the adapter is in.
type here struct{ facts task.ImageFacts }

func (h here) Ensure(context.Context, task.ImageSource) (dispatch.Image, error) { return h, nil }

func (h here) Facts() task.ImageFacts { return h.facts }

func (here) Layers(context.Context) ([]string, error) { return nil, nil }

func (here) ReadFile(path string, _ int64) ([]byte, error) { return os.ReadFile(path) }
