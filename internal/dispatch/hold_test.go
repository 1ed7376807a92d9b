package dispatch_test

import (
	"context"
	"testing"
	"time"

	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/engine/fake"
	"longshore/internal/task"
)

// heldImage counts who holds it.
type heldImage struct {
	emptyImage
	held *int
}

func (h heldImage) Ensure(context.Context, task.ImageSource) (dispatch.Image, error) { return h, nil }

func (h heldImage) Hold() (func(), error) {
	*h.held++
	released := false
	return func() {
		if !released {
			released = true
			*h.held--
		}
	}, nil
}

// watchedEngine sees whether the image is held while the engine uses it.
type watchedEngine struct {
	engine.Engine
	t    *testing.T
	held *int
}

func (e watchedEngine) Start(ctx context.Context, s engine.Spec) (engine.Handle, error) {
	if *e.held != 1 {
		e.t.Errorf("a container starts, and its image is held %d times", *e.held)
	}
	return e.Engine.Start(ctx, s)
}

func (e watchedEngine) Remove(ctx context.Context, h engine.Handle) error {
	if *e.held != 1 {
		e.t.Errorf("a container is removed, and its image is held %d times", *e.held)
	}
	return e.Engine.Remove(ctx, h)
}

func TestImageIsHeldWhileAContainerUsesIt(t *testing.T) {
	held := 0
	r := newRig(t, fake.Config{})
	r.Images, r.Engine = heldImage{held: &held}, watchedEngine{r.Engine, t, &held}
	job, _ := r.files("write=/out/n=42\n")
	if res := r.run(t.Context(), t, job); res.State != task.Succeeded || held != 0 {
		t.Errorf("state %s, held %d times afterwards", res.State, held)
	}
	job, _ = r.files("exit=3")
	job.OutDir += "-failed"
	if res := r.run(t.Context(), t, job); res.State != task.Failed || held != 0 {
		t.Errorf("state %s, held %d times afterwards", res.State, held)
	}
}

func TestPoolHoldsTheImageOfItsServer(t *testing.T) {
	held := 0
	r := newRig(t, fake.Config{Handler: echo})
	r.Images = heldImage{held: &held}
	p := r.pool(t, time.Hour)
	job := r.http("ready", "stdout=ready\n", "serve=8080", "sleep-until-stop")
	for range 2 {
		answers(t, p, job)
		if held != 1 {
			t.Errorf("held %d times while the server waits", held)
		}
	}
	p.Close()
	if held != 0 {
		t.Errorf("held %d times after the pool was closed", held)
	}
}
