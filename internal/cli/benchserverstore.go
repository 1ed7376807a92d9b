package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/app"
	"longshore/internal/task"
)

// benchDatabase is a database to measure with.
type benchDatabase struct {
	name, url string  // url is empty for SQLite in a server's home
	goal      float64 // runs a second of the queue alone
}

// databases are those that are here, SQLite first. PostgreSQL is started when somebody asks for the first time.
func (b *serverBench) databases(ctx context.Context) ([]benchDatabase, error) {
	list := []benchDatabase{{name: "SQLite", goal: 2000}}
	if b.postgres == "" {
		p, err := startPostgres(ctx)
		if err != nil {
			return nil, err
		}
		if p == nil {
			b.missing("PostgreSQL: it is not installed, and --db names none")
			return list, nil
		}
		b.started, b.postgres = p, p.url()
	}
	return append(list, benchDatabase{name: "PostgreSQL", url: b.postgres, goal: 5000}), nil
}

// queueCallers is how many callers the queue is measured with: commits are shared by those who come together.
const queueCallers = 256

// queue measures the queue and the state machine alone, each database in turns.
func (b *serverBench) queue(ctx context.Context) error {
	const rounds = 3
	databases, err := b.databases(ctx)
	if err != nil {
		return err
	}
	best := map[string]float64{}
	for n := range rounds {
		for _, d := range databases {
			a, err := b.open(fmt.Sprintf("queue-%d", n))
			if err != nil {
				return err
			}
			rate, err := a.QueueRate(ctx, d.url, queueCallers, b.few(20_000))
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			best[d.name] = max(best[d.name], rate)
		}
	}
	for _, d := range databases {
		b.add(serverFigure{What: fmt.Sprintf("queue alone, %s, best of %d", d.name, rounds), Figure: best[d.name], Unit: "runs/s", Goal: d.goal, Bound: atLeast})
	}
	return nil
}

// open makes an app whose home is a folder of the benchmark.
func (b *serverBench) open(home string) (*app.App, error) {
	g := *b.local.g
	g.home = filepath.Join(b.local.dir, home)
	if err := os.MkdirAll(filepath.Join(g.home, "server"), 0o711); err != nil {
		return nil, err
	}
	return g.open(nil)
}

// million measures a server whose database is full, beside the empty one.
func (b *serverBench) million(ctx context.Context) error {
	databases, err := b.databases(ctx)
	if err != nil {
		return err
	}
	for _, d := range databases {
		if err := b.full(ctx, d); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func (b *serverBench) full(ctx context.Context, d benchDatabase) (err error) {
	finished, queued := b.few(1_000_000), b.few(50_000)
	home := "full-" + d.name
	a, err := b.open(home)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := a.FillDatabase(ctx, d.url, finished, queued); err != nil {
		return err
	}
	b.g.info("  %s has %d runs after %s", d.name, finished+queued, time.Since(start).Round(time.Second))
	rig, err := b.serve(ctx, home, a, d.url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.end(ctx)) }()
	what := fmt.Sprintf("%s with %d runs", d.name, finished+queued)
	if err := b.questions(ctx, rig, what); err != nil {
		return err
	}
	return b.beside(ctx, rig, what)
}

// questions asks for lists and counts, with filters and without.
func (b *serverBench) questions(ctx context.Context, rig *serverRig, what string) error {
	var slowest float64
	var worst string
	var times []time.Duration
	for _, q := range questions(time.Now()) {
		for _, kind := range []struct {
			name string
			ask  func() error
		}{
			{"list", func() error { _, err := rig.client.Runs(ctx, q.query); return err }},
			{"count", func() error { _, err := rig.client.Count(ctx, q.query); return err }},
		} {
			var took []time.Duration
			for range 20 {
				start := time.Now()
				if err := kind.ask(); err != nil {
					return fmt.Errorf("%s %s: %w", kind.name, q.name, err)
				}
				took = append(took, time.Since(start))
			}
			if p := percentile(took, 95); p > slowest {
				slowest, worst = p, kind.name+" "+q.name
			}
			times = append(times, took...)
		}
	}
	b.add(serverFigure{What: what + ": lists and counts, p95 of all", Figure: percentile(times, 95), Unit: "ms", Goal: 100, Bound: atMost})
	b.add(serverFigure{What: what + ": the slowest (" + worst + "), p95", Figure: slowest, Unit: "ms", Goal: 100, Bound: atMost})
	return nil
}

// question is a choice of runs, as somebody makes it who looks for one.
type question struct {
	name  string
	query client.RunQuery
}

func questions(now time.Time) []question {
	day := 24 * time.Hour
	return []question{
		{"all", client.RunQuery{}},
		{"oldest", client.RunQuery{Oldest: true}},
		{"queued", client.RunQuery{States: []task.State{task.Queued}}},
		{"failed", client.RunQuery{States: []task.State{task.Failed}}},
		{"running", client.RunQuery{States: []task.State{task.Running}}},
		{"two states", client.RunQuery{States: []task.State{task.Failed, task.Cancelled}}},
		{"of a task", client.RunQuery{Task: "task-07"}},
		{"of an account", client.RunQuery{Account: "account-07"}},
		{"of nobody", client.RunQuery{Account: "nobody"}},
		{"for a reason", client.RunQuery{Reason: task.ReasonExit}},
		{"with a label", client.RunQuery{Labels: map[string]string{"batch": "3"}}},
		{"since", client.RunQuery{Since: now.Add(-10 * day)}},
		{"until", client.RunQuery{Until: now.Add(-10 * day)}},
		{"of a day", client.RunQuery{Since: now.Add(-11 * day), Until: now.Add(-10 * day)}},
		{"by a part of the name", client.RunQuery{Search: "SK-07"}},
		{"by what there is not", client.RunQuery{Search: "nothing"}},
		{"of an account, failed", client.RunQuery{Account: "account-07", States: []task.State{task.Failed}}},
		{"of an account and a task", client.RunQuery{Account: "account-07", Task: "task-07"}},
	}
}

// beside submits runs to the full server and to the empty one in turns: the answer to a submission, and the result.
func (b *serverBench) beside(ctx context.Context, full *serverRig, what string) error {
	rigs := []*serverRig{b.rig, full}
	var accepted, done [2][]time.Duration
	for range b.few(200) {
		for i, rig := range rigs {
			start := time.Now()
			run, err := rig.client.Submit(ctx, v1.RunRequest{Task: trueTask}, client.SubmitOptions{})
			if err != nil {
				return err
			}
			accepted[i] = append(accepted[i], time.Since(start))
			if run, err = rig.client.Wait(ctx, run.ID); err != nil {
				return err
			}
			done[i] = append(done[i], time.Since(start))
		}
	}
	for _, f := range []struct {
		name  string
		times [2][]time.Duration
	}{{"submission answered", accepted}, {"submission to result", done}} {
		empty, now := percentile(f.times[0], 50), percentile(f.times[1], 50)
		b.add(serverFigure{What: "empty: " + f.name + ", p50", Figure: empty, Unit: "ms"})
		b.add(serverFigure{What: what + ": " + f.name + ", p50", Figure: now, Unit: "ms"})
		b.add(serverFigure{What: "  full / empty", Figure: now / empty, Unit: "times", Goal: 1.5, Bound: atMost})
	}
	return nil
}
