package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/task"
)

// TestClock has the clock jump by a day, forward and back, while runs are queued, held back and under way.
func TestClock(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			var offset atomic.Int64
			r := newRig(t, func(c *durable.Config) {
				c.Slots, c.Lease, c.Backoff = 2, 100*time.Millisecond, 50*time.Millisecond
				c.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
			})
			r.task("t", "wait=end", "write=/out/n=1")
			r.task("quick")
			r.task("broken", "broken-worker")
			broken := r.submit(durable.Submission{Task: "broken"})
			running, queued := r.submit(durable.Submission{Task: "t"}), r.submit(durable.Submission{Task: "quick"})
			r.reaches(running.ID, task.Running)
			offset.Store(int64(jump))
			later := r.submit(durable.Submission{Task: "quick"})
			for _, id := range []string{queued.ID, later.ID} {
				r.wait(id, task.Succeeded, "")
			}
			r.wait(broken.ID, task.Failed, task.ReasonEngine)
			r.engine.Release("end")
			run := r.wait(running.ID, task.Succeeded, "")
			if run.Attempt != 1 || run.EndedAt.Before(run.CreatedAt) {
				t.Errorf("attempt %d, made at %s, ended at %s", run.Attempt, run.CreatedAt, run.EndedAt)
			}
		})
	}
}

// TestBrokenJobs starts a service over jobs that cannot be read.
func TestBrokenJobs(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "wait=end", "write=/out/n=1")
	run := r.submit(durable.Submission{Task: "t"})
	r.reaches(run.ID, task.Running)
	r.close()
	r.engine.Release("end")
	if err := r.pool.(*worker.Pool).Idle(t.Context()); err != nil {
		t.Fatal(err)
	}
	job := r.pool.Folder(worker.Name(run.ID, 1))
	for name, text := range map[string]string{filepath.Join(job, "out", "result.json"): "{", r.pool.Folder("0123456789abcdef0123.1"): "no folder"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	if run = r.wait(run.ID, task.Succeeded, ""); run.Attempt != 2 {
		t.Errorf("%d attempts", run.Attempt)
	}
	eventually(t, func() bool {
		jobs, err := r.pool.Jobs(t.Context())
		return err == nil && len(jobs) == 0
	})
}

// small mounts a small file system.
func small(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a full disk needs a file system of its own, and that needs root")
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=711"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill leaves no room in a file system, until the file that it answers is removed.
func fill(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 1<<10)); errors.Is(err, unix.ENOSPC) {
			return f.Name()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk has no room for an output, first where blobs are and then where jobs are, until there is.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const size = 400_000 // bytes
	for _, what := range []string{"blobs", "jobs"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			small(t, filepath.Join(dir, what))
			r := newRigIn(t, dir, func(c *durable.Config) { c.MaxAttempts = 1000 })
			r.task("t", "stdout=hello", "write=/out/n="+strings.Repeat("1", size), "wait=full")
			run := r.submit(durable.Submission{Task: "t"})
			r.reaches(run.ID, task.Running)
			ballast := fill(t, filepath.Join(dir, what))
			r.engine.Release("full")
			r.reaches(run.ID, task.Collecting)
			if what == "jobs" { // what cannot be published is made again
				eventually(t, func() bool {
					got, err := r.store.Run(t.Context(), run.ID)
					return err == nil && got.Attempt > 1
				})
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			run = r.wait(run.ID, task.Succeeded, "")
			if what == "blobs" && run.Attempt != 1 {
				t.Errorf("outputs that were there were made again: attempt %d", run.Attempt)
			}
			if f := durable.Outputs(run); len(f) != 1 || f[0].Size != size {
				t.Errorf("%+v", f)
			}
		})
	}
}
