package operate_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"longshore/internal/api/client"
	"longshore/internal/task"
)

// A copy that was made as the manual says, while the server was under load, is a server: what had ended is all there, and what had
// not ends now.
func TestBackupWhileRunning(t *testing.T) {
	ctx := t.Context()
	s := start(t, t.TempDir())
	s.enter(t)
	c := s.client(t, nil)
	ticker(ctx, t, c)
	var stop atomic.Bool
	var ended atomic.Int64
	enough := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !stop.Load() {
				run, err := submit(ctx, c, 1)
				if err == nil {
					run, err = c.Wait(ctx, run.ID)
				}
				if err != nil || run.State != task.Succeeded {
					t.Errorf("%s %s: %v", run.ID, run.State, err)
					return
				}
				if ended.Add(1) == 8 {
					close(enough)
				}
			}
		})
	}
	<-enough
	copied := t.TempDir()
	if err := os.MkdirAll(filepath.Join(copied, "server"), 0o711); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(s.home, "server")
	for _, line := range [][]string{
		{"sqlite3", filepath.Join(from, "longshore.db"), fmt.Sprintf("VACUUM INTO '%s'", filepath.Join(copied, "server", "longshore.db"))},
		{"cp", "-a", filepath.Join(from, "blobs"), filepath.Join(from, "name"), filepath.Join(copied, "server")},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", line, err, out)
		}
	}
	stop.Store(true)
	load.Wait()
	s.end(syscall.SIGKILL)

	again := start(t, copied)
	again.token = s.token
	c = again.client(t, nil)
	page, err := c.Runs(ctx, client.RunQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Items) < 8 {
		t.Errorf("only %d runs are in the copy", len(page.Items))
	}
	for _, run := range page.Items {
		run, err := c.Wait(ctx, run.ID)
		if err != nil || run.State != task.Succeeded {
			t.Fatalf("%s %s: %v", run.ID, run.State, err)
		}
		dir := filepath.Join(t.TempDir(), "out")
		if _, err := c.Download(ctx, run.ID, dir); err != nil { // checks digests
			t.Fatal(err)
		}
		if last, err := os.ReadFile(filepath.Join(dir, "last")); err != nil || string(last) != "1\n" {
			t.Errorf("%s: %q %v", run.ID, last, err)
		}
	}
}
