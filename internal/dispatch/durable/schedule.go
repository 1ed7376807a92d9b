package durable

import (
	"context"
	"errors"
	"time"

	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/task"
)

// carried is a run that this server holds.
type carried struct {
	id    string
	needs task.Resources
	since time.Time
	// cancel ends the attempt; it is the job's in the worker that ends, not our following it.
	cancel chan struct{}
	asked  bool // guarded by Service.mu
}

// reserve claims a run at its submission, when nobody waits and there is room; nil otherwise.
func (s *Service) reserve(run *store.Run) *carried {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind || s.draining || s.slots <= 0 || !fits(run.Needs, s.room()) {
		s.behind = true
		return nil
	}
	run.State, run.Attempt, run.Owner, run.LeaseUntil, run.StartedAt = task.Preparing, 1, s.cfg.Name, run.CreatedAt.Add(s.cfg.Lease), run.CreatedAt
	return s.enter(*run)
}

// room is what is free, with zero for what is not counted; the caller holds mu.
func (s *Service) room() task.Resources {
	r := s.free
	// A zero of what is counted means that nothing is left, and not that it is not counted.
	if s.cfg.Capacity.CPU > 0 && r.CPU <= 0 {
		r.CPU = -1
	}
	if s.cfg.Capacity.Memory > 0 && r.Memory <= 0 {
		r.Memory = -1
	}
	return r
}

// enter books what a run needs; the caller holds mu. An earlier attempt of it that is still carried here, although its lease ran out,
// is over.
func (s *Service) enter(run store.Run) *carried {
	if stale := s.carried[run.ID]; stale != nil {
		stale.end()
	}
	c := &carried{id: run.ID, needs: run.Needs, since: time.Now(), cancel: make(chan struct{})}
	s.carried[run.ID] = c
	s.book(c.needs, -1)
	s.slots--
	return c
}

func (s *Service) book(n task.Resources, sign int64) {
	s.free.CPU += task.MilliCPU(sign) * n.CPU
	s.free.Memory += task.Bytes(sign) * n.Memory
	s.free.GPUs += int(sign) * n.GPUs
}

// leave gives back what a run needed, once, and lets the next one have it.
func (s *Service) leave(c *carried) {
	s.mu.Lock()
	if s.carried[c.id] == c {
		delete(s.carried, c.id)
	}
	s.book(c.needs, 1)
	s.slots++
	s.mu.Unlock()
	s.poke()
}

// poke has the queue looked at.
func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// schedule claims runs whenever there may be room for one, until ctx ends.
func (s *Service) schedule(ctx context.Context) {
	t := time.NewTicker(s.cfg.Poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.mu.Lock()
			s.behind = true // other servers, and runs that were held back
			s.mu.Unlock()
		case <-s.wake:
		}
		for ctx.Err() == nil && s.claim(ctx) {
		}
	}
}

// claim takes what fits, and tells whether there may be more.
func (s *Service) claim(ctx context.Context) bool {
	s.mu.Lock()
	if !s.behind || s.draining || s.slots <= 0 { // less than none while what was recovered is over
		s.mu.Unlock()
		return false
	}
	// What is submitted from here on pokes again.
	c := store.Claim{Owner: s.cfg.Name, Now: s.now(), Until: s.now().Add(s.cfg.Lease), Free: s.room(), Capacity: s.cfg.Capacity, Max: s.slots}
	s.behind = false
	s.mu.Unlock()
	runs, err := s.cfg.Store.Claim(ctx, c)
	s.trouble("claiming runs failed", err)
	waiting := err != nil || len(runs) == c.Max
	if !waiting {
		n, err := s.cfg.Store.Waiting(ctx, s.now())
		waiting = err != nil || n
	}
	s.mu.Lock()
	s.behind = s.behind || waiting
	here := make([]*carried, len(runs))
	for i, r := range runs {
		// What was free may have been taken by submissions meanwhile.
		if r.Cancel || s.slots > 0 && fits(r.Needs, s.room()) {
			here[i] = s.enter(r)
		}
	}
	s.mu.Unlock()
	for i, r := range runs {
		if here[i] == nil {
			s.under.Go(func() { s.finish(s.life, r, s.requeued(r)) })
			continue
		}
		if r.Cancel { // asked for while it was queued again
			s.cancelHere(r.ID)
			s.hub.open(r, s.keptEvents(s.life, r))
			s.under.Go(func() { defer s.leave(here[i]); s.finish(s.life, r, s.cancelled(r)) })
			continue
		}
		s.carry(here[i], r, false)
	}
	return err == nil && len(runs) == c.Max
}

// renewals is how often leases are renewed while they last. Cancellations that another server took are noticed then.
const renewals = 10

// renew keeps the leases, takes up the wishes of other servers' callers, and gives the runs of dead servers back to the queue.
func (s *Service) renew(ctx context.Context) {
	t := time.NewTicker(s.cfg.Lease / renewals)
	defer t.Stop()
	var strays map[string]bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := s.heartbeat(ctx); err != nil {
			s.trouble("telling that this server lives failed", err)
			continue // so would the rest
		}
		cancel, err := s.cfg.Store.Renew(ctx, s.cfg.Name, s.now().Add(s.cfg.Lease))
		s.trouble("renewing leases failed", err)
		for _, id := range cancel {
			s.cancelHere(id)
		}
		expired, err := s.cfg.Store.Expire(ctx, s.cfg.Name, s.now())
		s.trouble("looking for runs of dead servers failed", err)
		if len(expired) > 0 {
			s.cfg.Log.Warn("took runs back into the queue: their server says nothing", "runs", len(expired), "server", expired[0].Owner)
			s.lookAgain()
		}
		strays = s.compare(ctx, strays)
		s.unpark(ctx)
	}
}

// lookAgain has the queue looked at, which may hold something new.
func (s *Service) lookAgain() {
	s.mu.Lock()
	s.behind = true
	s.mu.Unlock()
	s.poke()
}

// compare compares what the store says this server holds with what it carries. Runs that it does not carry, now and the time
// before, were claimed by a transaction whose answer was lost: they go back into the queue. Runs that others hold meanwhile, as
// this process slept beyond its lease, are ended here.
func (s *Service) compare(ctx context.Context, strays map[string]bool) map[string]bool {
	long := map[string]*carried{}
	s.mu.Lock()
	for id, c := range s.carried {
		if time.Since(c.since) > s.cfg.Lease/renewals {
			long[id] = c
		}
	}
	s.mu.Unlock()
	owned, err := s.cfg.Store.Owned(ctx, s.cfg.Name)
	if err != nil {
		return strays // the renewal told of the trouble
	}
	seen := map[string]bool{}
	for _, run := range owned {
		delete(long, run.ID)
		s.mu.Lock()
		_, here := s.carried[run.ID]
		s.mu.Unlock()
		if here {
			continue
		}
		if seen[run.ID] = true; strays[run.ID] {
			s.cfg.Log.Warn("a run was claimed here and not begun; it goes back into the queue", "run", run.ID)
			s.finish(ctx, run, s.requeued(run))
		}
	}
	for id, c := range long {
		if run, err := s.cfg.Store.Run(ctx, id); err == nil && run.Owner != s.cfg.Name {
			s.mu.Lock()
			c.end() // this attempt, and not one that was claimed here since
			s.mu.Unlock()
		}
	}
	return seen
}

// unpark lets runs go that were queued again and that another server took or ended.
func (s *Service) unpark(ctx context.Context) {
	for _, parked := range s.hub.parked() {
		run, err := s.cfg.Store.Run(ctx, parked.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && (run.State.Terminal() || run.Owner != "" && run.Owner != s.cfg.Name) {
			s.hub.ended(parked, nil)
		}
	}
}

// flush tells the store the states that last, so that other servers and a restart know them.
func (s *Service) flush(ctx context.Context) {
	t := time.NewTicker(lasting)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if steps := s.hub.unstored(); len(steps) > 0 {
			s.trouble("writing down the states of runs failed", s.cfg.Store.Progress(ctx, steps))
		}
	}
}

func (s *Service) heartbeat(ctx context.Context) error {
	err := s.cfg.Store.Heartbeat(ctx, store.Server{Name: s.cfg.Name, URL: s.cfg.URL, Version: s.cfg.Version, Capacity: s.cfg.Capacity, SeenAt: s.now()})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = err
	return err
}

// Writes tells whether the database took this server's last heartbeat, and else why not: one that can be read may have no room.
func (s *Service) Writes(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent == nil {
		return nil
	}
	return s.dbError(s.silent)
}

// Cancel asks for a run's end. It returns the run as it is then; it may take a moment to end.
func (s *Service) Cancel(ctx context.Context, id, by string) (store.Run, error) {
	now := s.now()
	run, err := s.cfg.Store.RequestCancel(ctx, id, by, now)
	if err != nil {
		return run, s.runError(id, err)
	}
	s.cancelHere(id)
	if run.State.Terminal() {
		if run.EndedAt.Equal(now) { // it was queued, and ended by this
			s.tell(run, store.End{ID: run.ID, Attempt: run.Attempt, State: run.State, EndedAt: run.EndedAt, Result: run.Result})
		}
		s.hub.ended(run, nil)
	}
	return run, nil
}

func (s *Service) cancelHere(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.carried[id]; c != nil {
		c.end()
	}
}

// end ends an attempt; the caller holds the service's mu.
func (c *carried) end() {
	if !c.asked {
		c.asked = true
		close(c.cancel)
	}
}

// recover takes up what an earlier process of this server held: runs whose job is there are followed to their end, the others go
// back into the queue. Jobs of runs that are not ours any more are forgotten.
func (s *Service) recover(ctx context.Context) error {
	owned, err := s.cfg.Store.Owned(ctx, s.cfg.Name)
	if err != nil {
		return err
	}
	if _, err := s.cfg.Store.Renew(ctx, s.cfg.Name, s.now().Add(s.cfg.Lease)); err != nil {
		return err
	}
	jobs, err := s.cfg.Worker.Jobs(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range jobs {
		there[name] = true
	}
	for _, run := range owned {
		name := worker.Name(run.ID, run.Attempt)
		s.mu.Lock()
		c := s.enter(run)
		s.mu.Unlock()
		if run.Cancel {
			s.cancelHere(run.ID)
		}
		if there[name] {
			s.cfg.Log.Info("taking up a run", "run", run.ID, "state", run.State)
			delete(there, name)
			s.carry(c, run, true)
			continue
		}
		s.cfg.Log.Info("a run had not started; it goes back into the queue", "run", run.ID)
		s.under.Go(func() { defer s.leave(c); s.finish(s.life, run, s.requeued(run)) })
	}
	for name := range there {
		s.under.Go(func() {
			s.trouble("removing a job that is not ours any more failed", s.cfg.Worker.Forget(s.life, name), "job", name)
		})
	}
	return nil
}
