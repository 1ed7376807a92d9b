package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/image"
)

// buildRunner executes the RUN instructions of image builds in containers of an engine.
type buildRunner struct{ engine engine.Engine }

var _ image.Runner = (*buildRunner)(nil)

// Limits of one RUN instruction where the build says nothing.
const (
	buildPids    = 8192
	buildTimeout = time.Hour
	buildLog     = 1 << 40 // all of it is passed on, nothing but the frames in flight is kept for long
)

// Run implements image.Runner.
func (b *buildRunner) Run(ctx context.Context, s image.RunSpec) (image.RunResult, error) {
	spec := engine.Spec{
		ID:            "build-" + dispatch.NewID(time.Now()),
		Labels:        map[string]string{"build": "run"},
		Image:         engine.Image{Layers: s.Layers},
		Process:       engine.Process{Args: s.Args, Env: s.Env, Dir: s.Dir, User: s.User, Capabilities: engine.CapDefault},
		Limits:        engine.Limits{MilliCPU: s.Limits.MilliCPU, Memory: s.Limits.Memory, Pids: s.Limits.Pids, Disk: s.Limits.Disk},
		Hostname:      "build",
		WritableLayer: s.Upper,
	}
	if spec.Limits.Pids == 0 {
		spec.Limits.Pids = buildPids
	}
	if s.Network {
		spec.Network = engine.NetworkHost
	}
	for _, m := range s.Mounts {
		spec.Mounts = append(spec.Mounts, engine.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Tmpfs: m.Tmpfs, Size: m.Size})
	}
	h, err := b.engine.Start(ctx, spec)
	if err != nil {
		return image.RunResult{}, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := b.engine.Remove(clean, h); err != nil {
			fmt.Fprintf(os.Stderr, "longshore: a build container could not be removed: %v\n", err)
		}
	}()
	logs, err := b.engine.Logs(ctx, h, true)
	if err != nil {
		return image.RunResult{}, err
	}
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		frames := engine.NewLogReader(logs)
		for {
			f, err := frames.Next()
			if err != nil {
				return // the end of the log
			}
			if s.Output != nil {
				_, _ = s.Output.Write(f.Data) // progress only: the build goes on without a reader
			}
		}
	}()
	exit, err := b.engine.Wait(ctx, h)
	if err == nil {
		<-passed
	}
	logs.Close()
	<-passed
	if err != nil {
		return image.RunResult{}, err
	}
	res := image.RunResult{ExitCode: exit.Code}
	switch {
	case exit.OOM:
		res.Reason = "it ran out of memory"
	case exit.DiskExceeded:
		res.Reason = "it wrote more than the build's disk limit"
	case exit.PidsExceeded && exit.Code != 0:
		res.Reason = "it reached the limit of processes"
	}
	return res, nil
}
