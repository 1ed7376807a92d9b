package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/task"
)

type eventsInput struct {
	RunInput
	After int `header:"Last-Event-ID" minimum:"0" doc:"Go on after this event"`
}

func (a *API) runEvents(ctx context.Context, in *eventsInput) (*stream, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
		if a.relayed(w, r, run) {
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no")
		w.WriteHeader(http.StatusOK)
		ctx, taken := a.until(r, run)
		foreign := func() bool {
			if run.Owner == a.svc.Name() || run.State.Terminal() {
				return false
			}
			now, err := a.svc.Run(r.Context(), run.ID)
			return err == nil && a.holder(r, now) != nil
		}
		last, left := a.follow(ctx, w, r, in.ID, in.After, foreign)
		run, yes := taken()
		if left && !yes {
			if now, err := a.svc.Run(r.Context(), run.ID); err == nil {
				run = now
			}
		}
		if yes || left {
			r.Header.Set("Last-Event-ID", strconv.Itoa(last))
			a.goOn(w, r, run)
		}
	}), nil
}

// follow writes a run's events until its end, or until ctx ends. It answers the number of the last one.
// The numbers of what happens at another server are that server's: as soon as it is foreign, left tells that it is to go on.
func (a *API) follow(ctx context.Context, w http.ResponseWriter, r *http.Request, id string, after int, foreign func() bool) (last int, left bool) {
	last = after
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &events{w: w, control: http.NewResponseController(w)}
	out.comment("run " + id)
	type told struct {
		event durable.Event
		err   error
	}
	news := make(chan told)
	go func() {
		defer close(news)
		for e, err := range a.svc.Events(ctx, id, after) {
			select {
			case news <- told{e, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	beat := time.NewTicker(a.cfg.Heartbeat)
	defer beat.Stop()
	for out.err == nil {
		select {
		case <-beat.C:
			out.comment("still there")
		case n, more := <-news:
			switch {
			case !more:
				a.endOf(ctx, out, id)
				return last, false
			case n.err != nil:
				a.note(w, r, n.err)
				out.send(0, v1.EventError, problemOf(n.err))
				return last, false
			}
			e := eventOf(n.event)
			if e.State != "" && e.State != task.Queued && !e.State.Terminal() && foreign() {
				return last, true
			}
			out.send(e.N, e.Kind(), e)
			last = e.N
		case <-ctx.Done():
			return last, false
		}
	}
	return last, false
}

// endOf tells the run as it is after its last event.
func (a *API) endOf(ctx context.Context, out *events, id string) {
	run, err := a.svc.Run(ctx, id)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		out.send(0, v1.EventError, problemOf(err))
	case run.State.Terminal():
		out.send(0, v1.EventEnd, runOf(run))
	}
}

func eventOf(e durable.Event) v1.Event {
	out := v1.Event{N: e.N, At: e.At, Attempt: e.Attempt, State: e.State, Warning: e.Warning, Progress: e.Progress, Retry: e.Retry}
	if e.Usage != nil {
		out.Usage = &v1.Sample{CPUSeconds: e.Usage.CPUSeconds, Memory: task.Bytes(e.Usage.MemoryBytes)}
	}
	return out
}

// events writes server-sent events, each at once.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (e *events) send(n int, kind string, data any) {
	var b bytes.Buffer
	if n > 0 {
		fmt.Fprintf(&b, "id: %d\n", n)
	}
	fmt.Fprintf(&b, "event: %s\ndata: ", kind)
	if err := json.NewEncoder(&b).Encode(data); err != nil { // one line, with its end
		e.err = err
		return
	}
	b.WriteByte('\n')
	e.write(b.Bytes())
}

func (e *events) comment(text string) { e.write([]byte(": " + text + "\n\n")) }

func (e *events) write(p []byte) {
	if e.err != nil {
		return
	}
	if _, e.err = e.w.Write(p); e.err == nil {
		e.err = e.control.Flush()
	}
}
