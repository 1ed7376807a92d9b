package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"longshore/internal/engine"
	"longshore/internal/engine/sandbox"
)

// BenchmarkTrue measures one whole cold run of "true": start, wait and removal, with a memory limit.
func BenchmarkTrue(b *testing.B) {
	layer := b.TempDir()
	os.MkdirAll(layer+"/bin", 0o755)
	d, _ := os.ReadFile("/bin/busybox")
	os.WriteFile(layer+"/bin/busybox", d, 0o755)
	os.Symlink("busybox", layer+"/bin/true")
	os.Symlink("busybox", layer+"/bin/sh")
	e, err := sandbox.New(sandbox.Config{Dir: filepath.Join(b.TempDir(), "run")})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	n := 0
	sum := map[string]float64{}
	for b.Loop() {
		n++
		h, err := e.Start(ctx, engine.Spec{
			ID:      fmt.Sprintf("bench-%d", n),
			Image:   engine.Image{Layers: []string{layer}},
			Process: engine.Process{Args: []string{"true"}},
			Limits:  engine.Limits{Memory: 256 << 20, MilliCPU: 1000},
		})
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range h.Steps {
			sum[s.Name] += float64(s.Took.Microseconds())
		}
		exit, err := e.Wait(ctx, h)
		if err != nil || exit.Code != 0 {
			b.Fatal(exit, err)
		}
		if err := e.Remove(ctx, h); err != nil {
			b.Fatal(err)
		}
	}
	for name, us := range sum {
		b.ReportMetric(us/float64(n), name+"-us/op")
	}
}
