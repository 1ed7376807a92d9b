package operate_test

import (
	"syscall"
	"testing"
	"time"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// A server that is told to end says so, takes nothing more, and lets those who wait have their result.
func TestDrain(t *testing.T) {
	ctx := t.Context()
	s := start(t, t.TempDir(), "--drain-timeout", "30s")
	s.enter(t)
	c := s.client(t, func(o *client.Options) { o.Patience = -1 })
	ticker(ctx, t, c)
	run, err := submit(ctx, c, 20)
	if err != nil {
		t.Fatal(err)
	}
	type ended struct {
		run v1.Run
		err error
	}
	waited := make(chan ended, 1)
	go func() { r, err := c.Wait(ctx, run.ID); waited <- ended{r, err} }()
	for l, err := range c.Log(ctx, run.ID, client.LogQuery{Follow: true}) {
		if err != nil {
			t.Fatal(err, string(l.Content()))
		}
		break // it runs
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for ready := true; ready; time.Sleep(5 * time.Millisecond) { // between two looks
		h, err := c.Ready(ctx)
		ready = err == nil && h.Ready
	}
	if _, err := submit(ctx, c, 1); err == nil {
		t.Error("a run was taken by a server that is about to end")
	}
	if e := <-waited; e.err != nil || e.run.State != task.Succeeded {
		t.Errorf("%s: %v", e.run.State, e.err)
	}
	<-s.gone
	if !s.cmd.ProcessState.Success() {
		t.Error(s.cmd.ProcessState)
	}
}
