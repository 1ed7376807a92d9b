package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// callers is how many callers at once the sustained rate is measured with.
const callers = 16

// runs measures a run of true in process and through the API in turns, and then as many as go in either way.
func (b *serverBench) runs(ctx context.Context) error {
	var direct, api []time.Duration
	for n := range b.few(200) + 3 {
		for _, way := range []struct {
			do   func(context.Context) error
			into *[]time.Duration
		}{{b.runDirect, &direct}, {b.runByAPI, &api}} {
			start := time.Now()
			if err := way.do(ctx); err != nil {
				return err
			}
			if n >= 3 { // the first rounds warm caches up
				*way.into = append(*way.into, time.Since(start))
			}
		}
	}
	b.add(serverFigure{What: "run of true in process, p50", Figure: percentile(direct, 50), Unit: "ms"})
	b.add(serverFigure{What: "run of true through the API, p50", Figure: percentile(api, 50), Unit: "ms", Goal: 20, Bound: atMost})
	b.add(serverFigure{What: "run of true through the API, p95", Figure: percentile(api, 95), Unit: "ms"})
	b.add(serverFigure{What: "through the API / in process, p50", Figure: percentile(api, 50) / percentile(direct, 50), Unit: "times"})
	return b.sustained(ctx)
}

func (b *serverBench) runDirect(ctx context.Context) error {
	_, err := b.local.oneRun(ctx)
	return err
}

func (b *serverBench) runByAPI(ctx context.Context) error {
	run, err := b.rig.client.Submit(ctx, v1.RunRequest{Task: trueTask}, client.SubmitOptions{Wait: time.Minute})
	if err == nil && run.State != task.Succeeded {
		err = task.Errorf(task.ReasonEngine, "run %s is %s and not succeeded: %s", run.ID, run.State, run.Reason)
	}
	return err
}

// sustained keeps callers busy, in process and through the API in turns, and counts that nothing was lost.
func (b *serverBench) sustained(ctx context.Context) error {
	before, err := b.rig.client.Count(ctx, client.RunQuery{Task: trueTask, States: []task.State{task.Succeeded}})
	if err != nil {
		return err
	}
	const rounds = 3
	direct := rateOf{processes: []int{os.Getpid()}}
	api := rateOf{processes: []int{b.rig.cmd.Process.Pid, b.rig.worker()}}
	for range rounds {
		each := time.Duration(b.few(10_000)) * time.Millisecond
		if err := direct.during(ctx, each, 2, b.runDirect); err != nil {
			return err
		}
		if err := api.during(ctx, each, callers, b.runByAPI); err != nil {
			return err
		}
	}
	after, err := b.rig.client.Count(ctx, client.RunQuery{Task: trueTask})
	if err != nil {
		return err
	}
	lost := before.Total + api.done.Load() - after.States[task.Succeeded]
	b.add(serverFigure{What: "in process, two at a time", Figure: direct.perSecond(), Unit: "runs/s"})
	b.add(serverFigure{What: "  CPU time of each run", Figure: direct.cpuEach(), Unit: "ms"})
	b.add(serverFigure{What: fmt.Sprintf("through the API, %d callers", callers), Figure: api.perSecond(), Unit: "runs/s", Goal: 40, Bound: atLeast})
	b.add(serverFigure{What: "  CPU time of each run, server and worker", Figure: api.cpuEach(), Unit: "ms"})
	b.add(serverFigure{What: "lost, or ended otherwise than succeeded", Figure: float64(lost + after.Total - after.States[task.Succeeded]), Unit: "runs", Bound: atMost})
	return nil
}

// rateOf counts what is done in how much time, and in how much CPU time of processes and those that they waited for.
type rateOf struct {
	processes []int
	done      atomic.Int64
	took, cpu time.Duration
}

// during has callers do something again and again, for so long, and waits for the last.
func (r *rateOf) during(ctx context.Context, long time.Duration, callers int, do func(context.Context) error) error {
	start, used := time.Now(), r.used()
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for errs[i] == nil && time.Since(start) < long {
				if errs[i] = do(ctx); errs[i] == nil {
					r.done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	r.took += time.Since(start)
	r.cpu += r.used() - used
	return errors.Join(errs...)
}

func (r *rateOf) perSecond() float64 { return float64(r.done.Load()) / r.took.Seconds() }

func (r *rateOf) cpuEach() float64 { return millis(r.cpu) / float64(max(1, r.done.Load())) }

func (r *rateOf) used() (sum time.Duration) {
	for _, pid := range r.processes {
		sum += cpuTime(pid)
	}
	return sum
}

// cpuTime is what a process, and those that it waited for, have used so far; zero when it is gone.
func cpuTime(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The fields after the name, which stands in brackets: utime, stime, cutime and cstime are the 12th to the 15th.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int64
	for i := 11; i < min(15, len(fields)); i++ {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ, the same on every machine that Longshore runs on
	return time.Duration(ticks) * time.Second / perSecond
}
