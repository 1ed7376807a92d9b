package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"longshore/internal/engine"
	"longshore/internal/task"
)

// DefaultIdle is how long a pool keeps a server that no job uses: MECA's executor keeps it for a minute.
const DefaultIdle = time.Minute

// Pool keeps the servers of HTTP tasks running between jobs. A job whose container would be the same as an earlier one's (image,
// command, limits, privileges) is answered by that container, and jobs that need the same one at the same time share it. A server
// that fails a job is not used again. Jobs of files tasks, and of tasks with mounts, get a container of their own as ever.
//
// The order of calls is NewPool, Run as often as wanted and from any goroutine, Close.
type Pool struct {
	d    *Dispatcher
	idle time.Duration

	mu      sync.Mutex
	servers map[string]*server
	closed  bool
	ending  int        // servers that are being removed
	ended   *sync.Cond // told whenever one is
}

// NewPool returns an empty pool. idle is how long a server may be without a job; zero means DefaultIdle.
func NewPool(d *Dispatcher, idle time.Duration) *Pool {
	if idle <= 0 {
		idle = DefaultIdle
	}
	p := &Pool{d: d, idle: idle, servers: map[string]*server{}}
	p.ended = sync.NewCond(&p.mu)
	return p
}

// Run does what Dispatcher.Run does, with a server that runs already where one fits.
func (p *Pool) Run(ctx context.Context, job Job) (*task.Result, error) {
	r := p.d.newRun(job)
	r.pool = p
	return r.toEnd(ctx)
}

// Close ends the servers and waits until they are gone; one that a job still uses ends with that job. It can be called twice.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for key, s := range p.servers {
		delete(p.servers, key)
		if s.users == 0 {
			p.end(s)
		}
	}
	for p.ending > 0 {
		p.ended.Wait()
	}
}

// server is one running server. Its fields but opening are guarded by the pool's mutex, those of the second group settled once
// opening is closed.
type server struct {
	key      string
	opening  chan struct{} // closed once it answers, or never will
	users    int
	answered int
	idle     *time.Timer

	owner   *run // what the run that started it would otherwise have to remove
	port    task.Port
	open    bool // it was found ready
	watched *watched
	unwatch func()
}

// seat is one run's place at a server. A nil seat is that of a run whose container is its own.
type seat struct {
	*server
	pool *Pool
	// first is set for the run that started the server.
	first bool
	// from is how much of the log is older than the run.
	from [3]int64
	dir  string // of the run's part of the log, once there is one
}

// poolable tells whether other runs could use the container: it has nothing of this one's.
func (r *run) poolable() bool { return r.exec.HTTP != nil && len(r.exec.Mounts) == 0 }

// poolKey is the same for runs whose containers would be the same.
func (r *run) poolKey() (string, error) {
	h := *r.exec.HTTP
	h.Body = task.Body{}
	key, err := json.Marshal([]any{r.facts, r.exec.Process, r.exec.Resources, r.exec.Network, r.job.Privileges, h.Ports, h.ReadyMark, h.Probe})
	return string(key), err
}

// enter gives the run a place at a server that fits, which it starts when there is none.
func (p *Pool) enter(ctx context.Context, r *run) error {
	key, err := r.poolKey()
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the execution cannot be described: %w", err)
	}
	for {
		s, first := p.take(key)
		if first {
			return p.startServer(ctx, s, r)
		}
		select {
		case <-s.opening:
		case <-ctx.Done():
			p.giveUp(s)
			return ctx.Err()
		}
		if s.open && s.watched.alive() {
			r.sit(&seat{server: s, pool: p, from: s.owner.follow.sizes()}, *s.owner.handle, s.owner.follow)
			r.result.Notes = append(r.result.Notes, fmt.Sprintf("a container was used that runs already and has answered %s", count(p.answered(s), "request")))
			return nil
		}
		p.drop(s)
		p.giveUp(s)
	}
}

func (p *Pool) answered(s *server) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.answered
}

// take counts the caller as a user of the key's server, and tells whether it is the first, who must start it.
func (p *Pool) take(key string) (s *server, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s = p.servers[key]; s == nil {
		s = &server{key: key, opening: make(chan struct{})}
		first = true
		if !p.closed {
			p.servers[key] = s
		}
	}
	s.users++
	if s.idle != nil {
		s.idle.Stop()
	}
	return s, first
}

// startServer starts a server for the pool, with the run as its first user.
func (p *Pool) startServer(ctx context.Context, s *server, r *run) error {
	if err := r.startContainer(ctx); err != nil {
		p.drop(s)
		close(s.opening)
		p.giveUp(s)
		return err
	}
	// From here on the container and its folder are the server's.
	owner := *r
	owner.result = &task.Result{ID: r.result.ID}
	owner.job.Observe = nil
	r.dir, r.lock, r.release = "", nil, nil
	s.owner = &owner
	s.watched, s.unwatch = p.d.watch(ctx, *r.handle)
	r.sit(&seat{server: s, pool: p, first: true}, *r.handle, r.follow)
	return nil
}

// sit takes a place at a server.
func (r *run) sit(at *seat, h engine.Handle, f *follower) {
	r.seat, r.handle, r.follow = at, &h, f
	f.watch(r.job.Observe)
}

// leave gives up the run's place at a server, which is not used again if it broke. It can be called twice, and without a place.
func (r *run) leave(broken bool) {
	s := r.seat
	if s == nil {
		return
	}
	r.seat, r.handle = nil, nil
	r.follow.watch(nil)
	unopened := s.first && !s.isOpen()
	if broken || unopened || !s.watched.alive() {
		s.pool.drop(s.server)
	}
	if unopened {
		close(s.opening)
	}
	s.pool.giveUp(s.server)
}

// drop sees that no other job comes to a server.
func (p *Pool) drop(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.servers[s.key] == s {
		delete(p.servers, s.key)
	}
}

// giveUp counts a user less. The last one of a server that was dropped ends it; else it is kept for a while.
func (p *Pool) giveUp(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	switch {
	case s.users > 0:
	case p.servers[s.key] == s:
		s.idle = time.AfterFunc(p.idle, func() { p.expire(s) })
	default:
		p.end(s)
	}
}

// expire ends a server that nobody used for long.
func (p *Pool) expire(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users == 0 && p.servers[s.key] == s {
		delete(p.servers, s.key)
		p.end(s)
	}
}

// end removes a server that nobody uses and nobody can find. The caller holds the mutex.
func (p *Pool) end(s *server) {
	if s.idle != nil {
		s.idle.Stop()
	}
	if s.owner == nil {
		return // it never started
	}
	p.ending++
	go func() {
		s.owner.removeContainer(context.Background())
		s.owner.removeFolder()
		s.unwatch()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ending--
		p.ended.Broadcast()
	}()
}

func (w *watched) alive() bool {
	select {
	case <-w.died:
		return false
	default:
		return true
	}
}

func (s *seat) isOpen() bool {
	select {
	case <-s.opening:
		return true
	default:
		return false
	}
}

// reused tells whether the server had answered others before.
func (s *seat) reused() bool { return s != nil && !s.first }

// port is where the server listens, once that was found out.
func (s *seat) port() (task.Port, bool) {
	if s == nil || s.first {
		return task.Port{}, false
	}
	return s.server.port, true
}

// opened tells others that the server is ready.
func (s *seat) opened(port task.Port) {
	if s == nil {
		return
	}
	s.server.port, s.server.open = port, true
	close(s.opening)
}

// keep tells whether the server goes on after an answer. It does not where only its end can tell that the answer was whole, unless
// others use it.
func (s *seat) keep(openEnded bool) bool {
	if s == nil {
		return false
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.answered++
	if !openEnded || s.users > 1 {
		return true
	}
	if s.pool.servers[s.key] == s.server {
		delete(s.pool.servers, s.key)
	}
	return false
}

// logs returns a folder with the run's part of the server's log.
func (s *seat) logs(r *run) (string, error) {
	if s.dir != "" {
		return s.dir, nil
	}
	dir, err := r.private("logs", 0o700)
	if err == nil {
		err = r.follow.copySince(s.from, dir)
	}
	if err != nil {
		return "", task.Errorf(task.ReasonEngine, "the log cannot be kept: %w", err)
	}
	s.dir = dir
	return dir, nil
}
