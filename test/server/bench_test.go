package server_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"longshore/internal/task"
)

// BenchmarkRun measures the way from a submission to its result through a service, a worker process and a container.
func BenchmarkRun(b *testing.B) {
	s := start(b, home(b), nil)
	v := importFolder(b, s, "", script("bench", "echo $n >/outputs/data"))
	wait(b, s, submit(b, s, submission(v, 1)).ID, task.Succeeded, "")
	for name, callers := range map[string]int{"1 caller": 1, "16 callers": 16} {
		b.Run(name, func(b *testing.B) {
			var mu sync.Mutex
			var took []time.Duration
			var g sync.WaitGroup
			todo := make(chan struct{}, b.N)
			for range b.N {
				todo <- struct{}{}
			}
			close(todo)
			b.ResetTimer()
			for range callers {
				g.Go(func() {
					for range todo {
						start := time.Now()
						wait(b, s, submit(b, s, submission(v, 1)).ID, task.Succeeded, "")
						mu.Lock()
						took = append(took, time.Since(start))
						mu.Unlock()
					}
				})
			}
			g.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
		})
	}
}
