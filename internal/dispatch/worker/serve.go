package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"longshore/internal/task"
)

// socketFolder, in the folder of all jobs, holds one socket per worker process, "<version>.<pid>".
const socketFolder = ".workers"

// lonely is how long a worker without jobs waits for a server to come back.
const lonely = 30 * time.Second

// maxCall bounds what one connection may send, in bytes: a job's values are in it, its files are not.
const maxCall = 256 << 20

// call is what a client sends: one JSON line per connection.
type call struct {
	Op   string `json:"op"` // "begin", "cancel", "follow", "attach", "retire"
	Job  *Job   `json:"job,omitempty"`
	Name string `json:"name,omitempty"`
}

// reply is what the worker answers: one line, but for "follow", which gets a line per event and then one with End.
type reply struct {
	Event *Event        `json:"event,omitempty"`
	End   bool          `json:"end,omitempty"`
	Known bool          `json:"known,omitempty"`
	Error *task.Failure `json:"error,omitempty"`
}

// Serve carries out jobs for clients on this machine until nobody needs it any more: a client said so or all have gone, and no
// job is under way. version keeps clients of another program from giving it jobs. ready is called once clients can connect.
func Serve(ctx context.Context, p *Pool, version string, ready func()) error {
	dir := filepath.Join(p.dir, socketFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, fmt.Sprintf("%s.%d", version, os.Getpid()))
	_ = os.Remove(path) // of a process that had our number
	l, err := listen(ctx, path)
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	s := &server{pool: p, left: make(chan struct{}, 1)}
	go s.accept(ctx, l)
	ready()
	err = s.untilUnneeded(ctx)
	_ = os.Remove(path)
	l.Close()
	return errors.Join(err, p.Idle(ctx))
}

type server struct {
	pool *Pool
	left chan struct{} // somebody detached or retired us

	mu       sync.Mutex
	attached int
	retired  bool
}

// untilUnneeded waits for the end of the last reason to live.
func (s *server) untilUnneeded(ctx context.Context) error {
	const look = time.Second
	alone := time.Now()
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.left:
		case <-t.C:
		}
		s.mu.Lock()
		attached, retired := s.attached, s.retired
		s.mu.Unlock()
		switch {
		case s.pool.Busy() > 0 || attached > 0 && !retired:
			alone = time.Now()
		case retired || time.Since(alone) > lonely:
			return nil
		}
	}
}

func (s *server) accept(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer c.Close()
			s.answer(ctx, c)
		}()
	}
}

func (s *server) answer(ctx context.Context, c net.Conn) {
	in := bufio.NewReader(io.LimitReader(c, maxCall))
	out := json.NewEncoder(c)
	var q call
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		return
	}
	switch q.Op {
	case "begin":
		if q.Job == nil {
			return
		}
		_ = out.Encode(failure(s.pool.begin(*q.Job)))
	case "cancel":
		_ = out.Encode(failure(s.pool.Cancel(ctx, q.Name)))
	case "follow":
		s.follow(ctx, q.Name, in, out)
	case "attach":
		if s.ending() {
			return
		}
		s.attach(1)
		defer s.attach(-1)
		_ = out.Encode(reply{Known: true})
		_, _ = in.ReadByte() // until the client goes
	case "retire":
		s.retire()
		s.signal()
		_ = out.Encode(reply{Known: true})
	}
}

func (s *server) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
}

// ending tells whether the worker takes no more jobs.
func (s *server) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired
}

func (s *server) attach(by int) {
	s.mu.Lock()
	s.attached += by
	s.mu.Unlock()
	s.signal()
}

func (s *server) signal() {
	select {
	case s.left <- struct{}{}:
	default:
	}
}

// follow sends events as long as the client listens.
func (s *server) follow(ctx context.Context, name string, in *bufio.Reader, out *json.Encoder) {
	if !s.pool.has(name) {
		_ = out.Encode(reply{End: true})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = in.ReadByte() // the client says no more: it ended the connection
		cancel()
	}()
	_, err := s.pool.Follow(ctx, name, func(e Event) {
		if out.Encode(reply{Event: &e}) != nil {
			cancel()
		}
	})
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		_ = out.Encode(reply{End: true, Known: true})
	}
}

func (p *Pool) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live[name] != nil
}

func failure(err error) reply {
	if err == nil {
		return reply{Known: true}
	}
	f := &task.Failure{Reason: task.CodeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[*task.Error](err); ok {
		f.Hint = e.Hint
	}
	return reply{Error: f}
}
