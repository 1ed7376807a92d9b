// Package durable makes runs last: what Submit has accepted is carried out to exactly one end, whatever dies meanwhile. It keeps
// runs in a store, their files as blobs, and has a worker carry out each attempt on the one path of dispatch. Everything at the
// edges (the REST API, the web page, the platforms' own APIs) goes through Service.
//
// One run:
//
//	Submit ─▶ queued ─claim▶ preparing … collecting ─▶ outputs become blobs ─▶ one transaction: its end ─▶ the job is forgotten
//	             ▲                 │
//	             └──── our fault ──┘
//
// A claim is a lease with a fencing number (the attempt): a server that comes back after another has taken over finds that its
// end does not count. The job's folder outlives both server and worker, so that nothing depends on what a process remembers.
package durable

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"longshore/internal/blob"
	"longshore/internal/contract"
	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/task"
)

// Service is the use cases of a server. It is safe for concurrent use.
type Service struct {
	cfg     Config
	outward outward
	hub     hub
	tasks   taskCache

	wake chan struct{}   // there may be something to claim
	left chan struct{}   // a worker may have left something
	life context.Context // ends with Close
	stop context.CancelFunc
	// under counts what must end before Close returns.
	under sync.WaitGroup

	mu       sync.Mutex
	free     task.Resources
	slots    int
	carried  map[string]*carried // by run
	behind   bool                // the queue may hold runs that did not fit
	draining bool
	silent   error // why the last heartbeat did not arrive, nil when it did
}

// Config says what a Service works with. Store, Blobs, Worker, Packages, Dir and Name must be set.
type Config struct {
	Store    store.Store
	Blobs    blob.Store
	Worker   worker.Worker
	Packages Packages
	// Dir is a folder for packages that were unpacked; it is made, and belongs to one service at a time.
	Dir string
	// Private are folders of this machine, such as the server's home: no caller is told the ways to what is in them.
	Private []string
	// Name tells servers of one store apart and stays the same over restarts; URL is where others reach this one's API.
	Name, URL, Version string

	// Capacity is what runs may use together; zero fields are not counted. Slots is how many may run at once; zero means four
	// per CPU.
	Capacity task.Resources
	Slots    int
	// Defaults count for what neither package nor caller says.
	Defaults task.Resources
	// Network allows runs to reach other machines.
	Network bool

	// Lease is how long a server that says nothing keeps its runs; zero means 30 seconds.
	Lease time.Duration
	// Poll is how often the queue is looked at without a reason; zero means a second.
	Poll time.Duration
	// MaxAttempts bounds attempts that end by our own fault; zero means 5. Backoff is the wait after the first, doubling;
	// zero means a second.
	MaxAttempts int
	Backoff     time.Duration
	// Patience is how long keeping an ended run's outputs is tried before the run is; zero means ten minutes.
	Patience time.Duration
	// Sweep, when not nil, removes what workers that died have left on this machine. It is called at the start, after a worker
	// has died, and by Keep.
	Sweep func(context.Context) error

	Log *slog.Logger // nil discards
	// Observe is told of ends; nil tells nobody.
	Observe Observer
	Now     func() time.Time
}

// Packages opens packages on this machine. Nothing outside a package may be read for it: it is a stranger's.
type Packages interface {
	// Open loads the package at a path (a folder, an archive, a document in a folder, "image:NAME"). contractName may be
	// empty. The error is about reaching it; what is wrong inside is in the findings.
	Open(ctx context.Context, path, contractName, variant string) (Opened, error)
	// Fetch clones a git source ("git+URL…") and calls use with the folder, which is removed afterwards.
	Fetch(ctx context.Context, git string, use func(dir, commit string) error) error
	// ImageDigest answers the digest of an image of the local store.
	ImageDigest(ctx context.Context, name string) (string, error)
}

// Opened is a loaded package.
type Opened struct {
	Task     *task.Task // nil when it is too broken to describe
	Findings []task.Finding
	Evidence string
	Contract contract.Contract
	Source   contract.Source
}

// New makes a service. Start sets it to work.
func New(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Lease = cmp.Or(cfg.Lease, 30*time.Second)
	cfg.Poll = cmp.Or(cfg.Poll, time.Second)
	cfg.Backoff = cmp.Or(cfg.Backoff, time.Second)
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, 5)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Minute)
	if cfg.Slots == 0 {
		cfg.Slots = max(4, int(cfg.Capacity.CPU)/1000*4)
	}
	for _, d := range []string{"packages", "empty"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	out := newOutward(cfg.Private)
	cfg.Packages, cfg.Worker = outwardPackages{cfg.Packages, out}, outwardWorker{cfg.Worker, out}
	s := &Service{cfg: cfg, outward: out, wake: make(chan struct{}, 1), left: make(chan struct{}, 1), free: cfg.Capacity, slots: cfg.Slots, carried: map[string]*carried{}, behind: true}
	s.hub.live, s.hub.seed = map[string]*live{}, maphash.MakeSeed()
	s.life, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Name is the server's own.
func (s *Service) Name() string { return s.cfg.Name }

// Start takes up what an earlier process of this server left, and begins to claim runs.
func (s *Service) Start(ctx context.Context) error {
	if err := s.clearHalfMade(); err != nil {
		return err
	}
	if err := s.heartbeat(ctx); err != nil {
		return err
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	s.poke()
	s.under.Go(func() { s.schedule(s.life) })
	s.under.Go(func() { s.renew(s.life) })
	s.under.Go(func() { s.flush(s.life) })
	s.under.Go(func() { s.sweeps(s.life) })
	return nil
}

// Drain claims nothing more and waits until nothing is under way here. What is queued stays queued; submissions are refused.
func (s *Service) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for s.Busy() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Busy tells how many runs are under way here.
func (s *Service) Busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.carried)
}

// Draining tells whether submissions are refused.
func (s *Service) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Close stops looking after runs, which go on in their worker until a service of the same name takes them up again.
func (s *Service) Close() error {
	s.stop()
	s.under.Wait()
	return nil
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// log tells the operator of our own trouble.
func (s *Service) trouble(what string, err error, args ...any) {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.cfg.Log.Error(what, append(args, "error", err)...)
	}
}
