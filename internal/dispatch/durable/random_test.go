package durable_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/store/sqlstore"
	"longshore/internal/store/storetest"
	"longshore/internal/task"
)

var seed = flag.Uint64("seed", 0, "the seed of TestRandom; 0 for a new one")

// TestRandom has two servers on one database go through whatever may happen to them, in random order. Whatever that is: each run ends
// exactly once, moves along the table only, and no server takes more than it has; outputs are whole; nothing is left.
func TestRandom(t *testing.T) {
	t.Parallel()
	for name, db := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "db") },
		"postgres": func(t *testing.T) string { return storetest.StartPostgres(t, true).Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := *seed
			if n == 0 {
				n = rand.Uint64()
			}
			t.Logf("seed %d", n)
			newChaos(t, db(t), rand.New(rand.NewPCG(n, 0))).run(120)
		})
	}
}

// chaos is two servers and what is known of them from outside.
type chaos struct {
	t     *testing.T
	rand  *rand.Rand
	nodes []*node
	runs  []string

	mu   sync.Mutex
	ends map[string][]task.State
}

// node is a server with a worker that can lose jobs and a clock that can jump.
type node struct {
	*rig
	*worker.Pool
	chaos *chaos
	clock clock
	down  bool
	over  atomic.Bool // it has taken more than it has

	mu     sync.Mutex
	lost   map[string]bool
	active map[string]task.MilliCPU
}

const nodeCPU = 2000

func newChaos(t *testing.T, db string, random *rand.Rand) *chaos {
	c := &chaos{t: t, rand: random, ends: map[string][]task.State{}}
	first := newRig(t, func(cfg *durable.Config) { c.node(cfg, "one") })
	c.nodes[0].rig = first
	shared, err := sqlstore.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	first.close()
	if err := first.store.Close(); err != nil {
		t.Fatal(err)
	}
	first.cfg.Store, first.store = shared, shared
	first.open()
	// The second has everything of the first but its name, its worker and its clock.
	second := *first
	c.node(&second.cfg, "two")
	second.cfg.Dir = filepath.Join(first.dir, "two")
	pool, err := worker.NewPool(filepath.Join(first.dir, "jobs-two"), second.carry)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[1].Pool, second.pool = pool, pool
	second.open()
	c.nodes[1].rig = &second
	t.Cleanup(second.close)
	return c
}

func (c *chaos) node(cfg *durable.Config, name string) {
	n := &node{chaos: c, lost: map[string]bool{}, active: map[string]task.MilliCPU{}}
	n.Pool, _ = cfg.Worker.(*worker.Pool)
	c.nodes = append(c.nodes, n)
	n.clock.set(cfg)
	cfg.Name, cfg.Worker, cfg.Observe, cfg.Log = name, n, n, nil
	cfg.Capacity, cfg.Slots, cfg.Lease, cfg.MaxAttempts = task.Resources{CPU: nodeCPU}, 4, 300*time.Millisecond, 1000
}

// Ended implements durable.Observer.
func (n *node) Ended(run store.Run, e store.End) {
	if !e.State.Terminal() {
		return
	}
	n.chaos.mu.Lock()
	defer n.chaos.mu.Unlock()
	n.chaos.ends[run.ID] = append(n.chaos.ends[run.ID], e.State)
}

// Begin counts what the server has under way.
func (n *node) Begin(ctx context.Context, j worker.Job) error {
	n.mu.Lock()
	n.active[j.Name()] = j.Request.Resources.CPU
	sum := task.MilliCPU(0)
	for _, cpu := range n.active {
		sum += cpu
	}
	n.mu.Unlock()
	if sum > nodeCPU {
		n.over.Store(true)
	}
	return n.Pool.Begin(ctx, j)
}

// Follow answers for a lost job as for those of a worker that died.
func (n *node) Follow(ctx context.Context, name string, f func(worker.Event)) (worker.Outcome, error) {
	o, err := n.Pool.Follow(ctx, name, f)
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() == nil && n.lost[name] {
		return worker.Outcome{}, worker.ErrLost
	}
	return o, err
}

func (n *node) Forget(ctx context.Context, name string) error {
	err := n.Pool.Forget(ctx, name)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.active, name)
	return err
}

// lose has the worker die over one of its jobs.
func (n *node) lose(pick func(int) int) {
	jobs, err := n.Pool.Jobs(context.Background())
	if err != nil || len(jobs) == 0 {
		return
	}
	name := jobs[pick(len(jobs))]
	n.mu.Lock()
	n.lost[name] = true
	n.mu.Unlock()
	_ = n.Pool.Cancel(context.Background(), name) // what ends it does not matter
}

// toggle ends a server, or starts it again.
func (n *node) toggle() {
	if n.down = !n.down; n.down {
		n.close()
		return
	}
	n.mu.Lock()
	clear(n.active) // of what it takes up, only new attempts are counted
	n.mu.Unlock()
	n.open()
}

// The tasks, and how they may end when nobody cancels them.
func tasks() map[string]task.State {
	return map[string]task.State{"whole": task.Succeeded, "gated": task.Succeeded, "failing": task.Failed}
}

func (c *chaos) run(steps int) {
	one := c.nodes[0]
	one.task("whole", "stdout=x", "write=/out/n=whole")
	one.task("gated", "stdout=x", "wait=gate", "write=/out/n=whole")
	one.task("failing", "stderr=x", "exit=3")
	for range steps {
		n := c.nodes[c.rand.IntN(2)]
		switch dice := c.rand.IntN(20); {
		case dice < 9 && !n.down:
			c.submit(n)
		case dice < 12 && !n.down && len(c.runs) > 0:
			if _, err := n.Service.Cancel(c.t.Context(), c.runs[c.rand.IntN(len(c.runs))], "ada"); err != nil {
				c.t.Error(err)
			}
		case dice < 14:
			n.lose(c.rand.IntN)
		case dice < 16:
			n.toggle()
		case dice < 18:
			n.clock.advance(time.Duration(c.rand.IntN(3000)-1000) * time.Millisecond)
		default:
			c.settleSome(n)
		}
	}
	one.engine.Release("gate")
	ahead := max(c.nodes[0].clock.ahead.Load(), c.nodes[1].clock.ahead.Load())
	for _, n := range c.nodes {
		n.clock.ahead.Store(ahead)
		if n.down {
			n.toggle()
		}
	}
	c.verdict()
}

func (c *chaos) submit(n *node) {
	names := []string{"whole", "gated", "failing"}
	run, _, err := n.Submit(c.t.Context(), "ada", durable.Submission{
		Task: names[c.rand.IntN(len(names))], Priority: c.rand.IntN(3), Resources: task.Resources{CPU: task.MilliCPU(500 * (1 + c.rand.IntN(4)))},
		Retry: durable.Retry{Max: c.rand.IntN(2), On: []task.Code{task.ReasonExit}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.runs = append(c.runs, run.ID)
}

// settleSome waits for some run to move, so that not everything happens at once.
func (c *chaos) settleSome(n *node) {
	if n.down {
		return
	}
	select {
	case <-n.Changed():
	case <-time.After(50 * time.Millisecond):
	}
}

func (c *chaos) verdict() {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for _, id := range c.runs {
		run, err := c.nodes[0].Wait(ctx, id)
		if err != nil || !run.State.Terminal() {
			c.t.Fatalf("run %s: %s, held by %q, attempt %d, %v", id, run.State, run.Owner, run.Attempt, err)
		}
	}
	for _, n := range c.nodes {
		eventually(c.t, func() bool { return n.Busy() == 0 })
		eventually(c.t, func() bool { jobs, err := n.Pool.Jobs(ctx); return err == nil && len(jobs) == 0 })
		if n.over.Load() {
			c.t.Errorf("server %s took more than it has", n.cfg.Name)
		}
	}
	for _, id := range c.runs {
		c.judge(id)
	}
}

// judge looks at what is on record of one run.
func (c *chaos) judge(id string) {
	n := c.nodes[0]
	run, err := n.Run(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	ends := slices.Clone(c.ends[id])
	c.mu.Unlock()
	// A server that ends between writing an end down and telling of it tells nobody.
	if len(ends) > 1 || len(ends) == 1 && ends[0] != run.State {
		c.t.Errorf("run %s, %s, ended as %v", id, run.State, ends)
	}
	if run.Owner != "" || run.State != task.Cancelled && run.State != tasks()[run.TaskName] || run.State == task.Cancelled && !run.Cancel {
		c.t.Errorf("%s run %s is %s %s, held by %q: %s", run.TaskName, id, run.State, run.Reason, run.Owner, run.Result)
	}
	if run.State == task.Succeeded && !slices.ContainsFunc(run.Files, func(f store.File) bool { return f.Path == "n" && f.Size == int64(len("whole")) }) {
		c.t.Errorf("run %s has the files %v", id, run.Files)
	}
	n.frames(id, false)
	var last task.State
	for e, err := range n.Events(c.t.Context(), id, 0) {
		if err != nil {
			c.t.Fatal(err)
		}
		if e.State == "" {
			continue
		}
		if last != "" && !slices.Contains(task.Moves[last], e.State) {
			c.t.Errorf("run %s moved from %s to %s", id, last, e.State)
		}
		last = e.State
	}
	if last != run.State {
		c.t.Errorf("run %s is %s, and its events end with %s", id, run.State, last)
	}
}
