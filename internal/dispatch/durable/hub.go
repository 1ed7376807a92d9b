package durable

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
	"time"

	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Event is one thing that happened to a run, for those who follow it. Exactly one of the fields after At is set, but for Attempt.
type Event struct {
	// N numbers the events of a run from 1, so that a follower that lost its connection can go on after the last.
	N       int        `json:"n"`
	At      time.Time  `json:"at"`
	Attempt int        `json:"attempt,omitempty"`
	State   task.State `json:"state,omitempty"`
	Warning string     `json:"warning,omitempty"`
	// Progress is a line about pulling or building.
	Progress string         `json:"progress,omitempty"`
	Usage    *worker.Sample `json:"usage,omitempty"`
	// Retry is why an attempt is made again.
	Retry task.Code `json:"retry,omitempty"`
}

// hub tells followers in this process what happens to the runs that are under way here.
type hub struct {
	mu   sync.Mutex
	live map[string]*live
	all  broadcast
}

// live is what is known of one run beyond the store.
type live struct {
	run     store.Run
	state   task.State
	started time.Time
	events  []Event
	log     int64 // bytes of the current attempt's log
	over    bool
	changed broadcast
}

// broadcast wakes everybody who waits for a change. Its zero value is ready; whoever uses it holds the hub's mu.
type broadcast struct{ c chan struct{} }

func (b *broadcast) wait() <-chan struct{} {
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

func (b *broadcast) wake() {
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}

// open begins, or goes on, to follow a run of which an attempt starts.
func (h *hub) open(run store.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.live[run.ID]
	if l == nil {
		l = &live{}
		h.live[run.ID] = l
	}
	l.run, l.log, l.started = run, 0, time.Time{}
	if l.state != task.Preparing {
		h.add(l, Event{At: time.Now().UTC(), State: task.Preparing})
	}
}

// add appends an event; the caller holds mu.
func (h *hub) add(l *live, e Event) {
	e.N, e.Attempt = len(l.events)+1, l.run.Attempt
	if e.State != "" {
		l.state = e.State
		if e.State == task.Running || e.State == task.Starting && l.started.IsZero() {
			l.started = e.At
		}
		h.all.wake()
	}
	l.events = append(l.events, e)
	l.changed.wake()
}

func (h *hub) event(run store.Run, e worker.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.live[run.ID]
	if l == nil {
		return
	}
	if e.Log > 0 {
		l.log = e.Log
		l.changed.wake()
		return
	}
	if e.State != "" && e.State == l.state {
		return
	}
	h.add(l, Event{At: e.At, State: e.State, Warning: e.Warning, Progress: e.Progress, Usage: e.Usage})
}

// again notes that the run went back into the queue.
func (h *hub) again(run store.Run, e store.End) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.live[run.ID]; l != nil {
		if e.Reason != "" {
			h.add(l, Event{At: e.EndedAt, Retry: e.Reason})
		}
		h.add(l, Event{At: e.EndedAt, State: task.Queued})
	}
}

// ended lets a run go; what is to be known of it is in the store.
func (h *hub) ended(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all.wake()
	l := h.live[id]
	if l == nil {
		return
	}
	l.over = true
	l.changed.wake()
	delete(h.live, id)
}

// show puts what is known here over what the store knows.
func (h *hub) show(run *store.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.live[run.ID]
	if l == nil || run.State.Terminal() || l.run.Attempt < run.Attempt {
		return
	}
	run.State = l.state
	if !l.started.IsZero() {
		run.StartedAt = l.started
	}
}

// following is how often a run is looked at that is under way elsewhere, or queued.
const following = time.Second

// Run answers a run as it is now.
func (s *Service) Run(ctx context.Context, id string) (store.Run, error) {
	run, err := s.cfg.Store.Run(ctx, id)
	if err != nil {
		return run, s.runError(id, err)
	}
	s.hub.show(&run)
	return run, nil
}

func (s *Service) runError(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return (&task.Error{Code: task.CodeMissing, Message: "there is no run " + id, Cause: nil}).WithHint("`longshore runs` lists them; runs are removed when they are old")
	}
	return s.dbError(err)
}

// Runs lists runs.
func (s *Service) Runs(ctx context.Context, f store.RunFilter) ([]store.Run, string, error) {
	runs, next, err := s.cfg.Store.List(ctx, f)
	if err != nil {
		return nil, "", s.dbError(err)
	}
	for i := range runs {
		s.hub.show(&runs[i])
	}
	return runs, next, nil
}

// Wait answers the run when it has ended, or as it is when ctx ends before.
func (s *Service) Wait(ctx context.Context, id string) (store.Run, error) {
	for {
		// Registered before the look, so that no end is missed.
		s.hub.mu.Lock()
		l := s.hub.live[id]
		var changed <-chan struct{}
		if l != nil {
			changed = l.changed.wait()
		} else {
			changed = s.hub.all.wait()
		}
		s.hub.mu.Unlock()
		if l == nil {
			run, err := s.Run(context.WithoutCancel(ctx), id)
			if err != nil || run.State.Terminal() || ctx.Err() != nil {
				return run, err
			}
		}
		t := time.NewTimer(following)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return s.Run(context.WithoutCancel(ctx), id)
		}
		t.Stop()
	}
}

// Changed answers a channel that is closed when any run of this server changes its state.
func (s *Service) Changed() <-chan struct{} {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.hub.all.wait()
}

// Events tells what happens to a run, after its n-th event, until it has ended or ctx ends. The last event has a terminal state.
func (s *Service) Events(ctx context.Context, id string, n int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		last := task.State("")
		for {
			s.hub.mu.Lock()
			l := s.hub.live[id]
			var events []Event
			var changed <-chan struct{}
			if l != nil {
				events = append(events, l.events[min(n, len(l.events)):]...)
				changed = l.changed.wait()
			} else {
				changed = s.hub.all.wait()
			}
			s.hub.mu.Unlock()
			for _, e := range events {
				n = e.N
				if e.State != "" {
					last = e.State
				}
				if !yield(e, nil) {
					return
				}
			}
			if l == nil {
				over, err := s.elsewhere(ctx, id, &n, &last, yield)
				if err != nil {
					yield(Event{}, err)
				}
				if over || err != nil {
					return
				}
			}
			t := time.NewTimer(following)
			select {
			case <-changed:
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
			t.Stop()
		}
	}
}

// elsewhere tells of a run that is not under way here: what was kept of it, or its state whenever that changes.
func (s *Service) elsewhere(ctx context.Context, id string, n *int, last *task.State, yield func(Event, error) bool) (over bool, err error) {
	run, err := s.cfg.Store.Run(ctx, id)
	if err != nil {
		return true, s.runError(id, err)
	}
	if run.State.Terminal() {
		for _, e := range s.keptEvents(ctx, run) {
			if e.N > *n && !yield(e, nil) {
				return true, nil
			}
			*n = max(*n, e.N)
		}
		*n++
		yield(Event{N: *n, At: run.EndedAt, Attempt: run.Attempt, State: run.State}, nil)
		return true, nil
	}
	if run.State != *last {
		*last = run.State
		*n++
		at := run.CreatedAt
		if !run.StartedAt.IsZero() {
			at = run.StartedAt
		}
		return !yield(Event{N: *n, At: at, Attempt: run.Attempt, State: run.State}, nil), nil
	}
	return false, nil
}

// keptEvents are those of the last attempt of an ended run.
func (s *Service) keptEvents(ctx context.Context, run store.Run) []Event {
	for _, f := range run.Files {
		if f.Path != store.EventsPath {
			continue
		}
		r, _, err := s.cfg.Blobs.Open(ctx, f.Digest)
		if err != nil {
			return nil // they went with their age; the run's end is told all the same
		}
		defer r.Close()
		var events []Event
		for d := json.NewDecoder(r); ; {
			var e worker.Event
			if d.Decode(&e) != nil {
				return events
			}
			events = append(events, Event{N: len(events) + 1, At: e.At, Attempt: run.Attempt, State: e.State, Warning: e.Warning, Progress: e.Progress, Usage: e.Usage})
		}
	}
	return nil
}
