package dispatch

import (
	"context"
	"time"

	"longshore/internal/engine"
)

// Sample is what a running container has used until one time.
type Sample struct {
	CPUSeconds float64 `json:"cpuSeconds"`
	// MemoryBytes is what it has now, not its peak; zero means not measured.
	MemoryBytes int64 `json:"memoryBytes"`
}

// SampleObserver is the optional ability of an Observer to be told about every second what the container uses.
type SampleObserver interface{ Sampled(Sample) }

const (
	// samplePause lies between two samples; a container that ends sooner has none.
	samplePause = time.Second
	// sampleShare bounds the time spent measuring to a twentieth.
	sampleShare = 20
)

// sample tells the observer what the container uses until the returned function is called.
func (r *run) sample(ctx context.Context) (stop func()) {
	o, wants := r.job.Observe.(SampleObserver)
	s, can := r.d.Engine.(engine.Stater)
	if !wants || !can || r.handle == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	h := *r.handle
	go func() {
		defer close(over)
		for pause := samplePause; ; {
			t := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			start := time.Now()
			u, err := s.Stats(ctx, h)
			if err != nil {
				return // it is gone
			}
			o.Sampled(Sample{CPUSeconds: u.CPU.Seconds(), MemoryBytes: u.Memory})
			pause = max(samplePause, sampleShare*time.Since(start))
		}
	}()
	return func() { cancel(); <-over }
}
