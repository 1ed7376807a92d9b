package durable

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"math"
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
	seed maphash.Seed
	mu   sync.Mutex
	live map[string]*live
	all  broadcast
	// away wakes those who wait for runs that are not under way here: when one begins or ends here. Each run has one of them, by
	// its ID: the many who wait for queued runs do not all look whenever one of these moves.
	away [256]broadcast
}

// awayFrom is where a run that is not under way here is waited for; the caller holds mu.
func (h *hub) awayFrom(id string) *broadcast {
	return &h.away[maphash.String(h.seed, id)%uint64(len(h.away))]
}

// live is what is known of one run beyond the store.
type live struct {
	run     store.Run
	state   task.State
	entered time.Time  // the state, by our clock
	stored  task.State // what the store was told last
	started time.Time
	events  []Event
	log     int64 // bytes of the current attempt's log
	// parked runs are back in the queue: whoever claims them next may be another server.
	parked  bool
	changed broadcast
	// over is closed when the run is let go; end is then how it ended, nil when only the store knows.
	over chan struct{}
	end  *store.Run
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

// open begins, or goes on, to follow a run of which an attempt starts. before are the events of the attempts before, where another
// process, or another server, saw them.
func (h *hub) open(run store.Run, before []Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.live[run.ID]
	if l == nil {
		l = &live{run: run, over: make(chan struct{}), events: before}
		h.live[run.ID] = l
		h.awayFrom(run.ID).wake()
		if len(before) == 0 {
			h.add(l, Event{At: run.CreatedAt, State: task.Queued})
		}
	}
	l.run, l.log, l.started, l.parked, l.stored = run, 0, time.Time{}, false, run.State
	h.add(l, Event{At: time.Now().UTC(), State: task.Preparing})
}

// add appends an event; the caller holds mu.
func (h *hub) add(l *live, e Event) {
	e.N, e.Attempt = len(l.events)+1, l.run.Attempt
	if e.State != "" {
		l.state, l.entered = e.State, time.Now()
		if e.State == task.Running || e.State == task.Starting && l.started.IsZero() {
			l.started = e.At
		}
		h.all.wake()
	}
	l.events = append(l.events, e)
	l.changed.wake()
}

// of is what is known of an attempt, nil when there is a later one; the caller holds mu.
func (h *hub) of(run store.Run) *live {
	if l := h.live[run.ID]; l != nil && l.run.Attempt <= run.Attempt {
		return l
	}
	return nil
}

func (h *hub) event(run store.Run, e worker.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.of(run)
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
	if l := h.of(run); l != nil {
		l.parked = true
		for _, e := range backInQueue(e) {
			h.add(l, e)
		}
	}
}

// backInQueue are the events of an attempt that is made again.
func backInQueue(e store.End) (events []Event) {
	if e.Reason != "" {
		events = append(events, Event{At: e.EndedAt, Retry: e.Reason})
	}
	return append(events, Event{At: e.EndedAt, State: task.Queued})
}

// ended lets a run go, unless a later attempt of it is under way; what is to be known of it is in the store, and in end, unless that
// is nil.
func (h *hub) ended(run store.Run, end *store.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all.wake()
	h.awayFrom(run.ID).wake()
	l := h.of(run)
	if l == nil {
		return
	}
	l.end = end
	close(l.over)
	l.changed.wake()
	delete(h.live, run.ID)
}

// lasting is how long a run stays in a state before the store is told: most are over sooner.
const lasting = 250 * time.Millisecond

// unstored answers the states that have lasted and that the store does not know, as if it knew them now.
func (h *hub) unstored() []store.Step {
	h.mu.Lock()
	defer h.mu.Unlock()
	var steps []store.Step
	for id, l := range h.live {
		if !l.parked && l.state != l.stored && time.Since(l.entered) >= lasting {
			l.stored = l.state
			steps = append(steps, store.Step{ID: id, Attempt: l.run.Attempt, State: l.state, StartedAt: l.started})
		}
	}
	return steps
}

// parked lists runs that are back in the queue, as they were claimed last.
func (h *hub) parked() (list []store.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.live {
		if l.parked {
			list = append(list, l.run)
		}
	}
	return list
}

// told answers a run's events and when its container started, zero if it did not.
func (h *hub) told(run store.Run) ([]Event, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.of(run)
	if l == nil {
		return nil, time.Time{}
	}
	return l.events, l.started
}

// look answers a run that is under way here, nil for any other, its events after the n-th, and a channel that is closed when
// that changes.
func (h *hub) look(id string, n int) (l *live, events []Event, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l = h.live[id]
	if l == nil {
		return nil, nil, h.awayFrom(id).wait()
	}
	events = append(events, l.events[min(n, len(l.events)):]...)
	if l.parked { // the store tells how it goes on
		return nil, events, l.changed.wait()
	}
	return l, events, l.changed.wait()
}

// log answers a run that is under way here as it was claimed, nil for any other, and how long its attempt's log is.
func (h *hub) log(id string) (run *store.Run, size int64, changed <-chan struct{}) {
	l, _, changed := h.look(id, math.MaxInt)
	if l == nil {
		return nil, 0, changed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	claimed := l.run
	return &claimed, l.log, changed
}

// show puts what is known here over what the store knows.
func (h *hub) show(run *store.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.live[run.ID]
	if l == nil || l.parked || run.State.Terminal() || l.run.Attempt < run.Attempt {
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
		l, _, changed := s.hub.look(id, math.MaxInt)
		if l == nil {
			run, err := s.Run(context.WithoutCancel(ctx), id)
			if err != nil || run.State.Terminal() || ctx.Err() != nil {
				return run, err
			}
		} else {
			changed = l.over // its states on the way are of no interest
		}
		t := time.NewTimer(following)
		select {
		case <-changed:
			if l != nil && l.end != nil {
				t.Stop()
				return *l.end, nil
			}
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
			l, events, changed := s.hub.look(id, n)
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
	for _, e := range s.keptEvents(ctx, run) {
		if e.N <= *n {
			continue
		}
		*n, *last = e.N, cmp.Or(e.State, *last)
		if !yield(e, nil) {
			return true, nil
		}
	}
	if run.State.Terminal() {
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
