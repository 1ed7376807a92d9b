package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"longshore/internal/blob/disk"
	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/store"
	"longshore/internal/store/sqlstore"
	"longshore/internal/store/storeload"
	"longshore/internal/task"
)

// FillDatabase makes a server's database with ended runs of the last thirty days, and queued ones that no machine can run. Empty
// means the one in Home.
func (a *App) FillDatabase(ctx context.Context, database string, finished, queued int) (err error) {
	s, err := a.openDatabase(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return storeload.Fill(ctx, s, time.Now(), finished, queued, func(r *store.Run) { r.Needs.GPUs = 1000 })
}

// QueueRate answers how many runs a second a service takes from their submission to their end, by so many callers who wait for
// each, when carrying them out takes no time: the queue and the state machine alone.
func (a *App) QueueRate(ctx context.Context, database string, callers, runs int) (perSecond float64, err error) {
	s, err := a.openDatabase(ctx, database)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v := store.Version{ID: storeload.ID(time.Now()), Name: "nothing", Version: "1", Contract: "meca", Form: "image", Origin: "nothing", Package: "nothing", CreatedAt: time.Now()}
	v.Task = task.Task{Contract: v.Contract, Name: v.Name, Version: v.Version, Exchange: task.Files}
	if err := s.AddVersion(ctx, v, ""); err != nil {
		return 0, err
	}
	dir := filepath.Join(a.serverDir(), "queue-rate")
	blobs, err := disk.New(filepath.Join(dir, "blobs"))
	if err != nil {
		return 0, err
	}
	svc, err := durable.New(durable.Config{
		Store: s, Blobs: blobs, Worker: atOnce{}, Packages: nothing{}, Dir: dir, Name: "bench", Slots: callers, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return 0, err
	}
	if err := svc.Start(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, svc.Close()) }()
	start := time.Now()
	if err := drive(ctx, svc, v.ID, callers, runs); err != nil {
		return 0, err
	}
	return float64(runs) / time.Since(start).Seconds(), nil
}

// drive has callers submit runs together, each waiting for the end of one before the next.
func drive(ctx context.Context, svc *durable.Service, version string, callers, runs int) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		all.Go(func() {
			for errs[i] == nil && next.Add(1) <= int64(runs) {
				errs[i] = driveOne(ctx, svc, version)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func driveOne(ctx context.Context, svc *durable.Service, version string) error {
	run, _, err := svc.Submit(ctx, "bench", durable.Submission{Task: version})
	if err == nil {
		run, err = svc.Wait(ctx, run.ID)
	}
	if err == nil && run.State != task.Succeeded {
		err = fmt.Errorf("run %s is %s", run.ID, run.State)
	}
	return err
}

func (a *App) openDatabase(ctx context.Context, name string) (store.Store, error) {
	if name == "" {
		name = filepath.Join(a.serverDir(), "longshore.db")
	}
	s, err := sqlstore.Open(ctx, name)
	if err != nil {
		return nil, task.Errorf(task.CodeUsage, "the database cannot be used: %w", err).WithHint("check its address")
	}
	return s, nil
}

// atOnce is a worker whose jobs have ended when they are begun, with a result as a real one's.
type atOnce struct{}

var _ worker.Worker = atOnce{}

func (atOnce) Begin(context.Context, worker.Job) error { return nil }
func (atOnce) Cancel(context.Context, string) error    { return nil }
func (atOnce) Jobs(context.Context) ([]string, error)  { return nil, nil }
func (atOnce) Folder(string) string                    { return "" }
func (atOnce) Log(string) string                       { return "" }
func (atOnce) Forget(context.Context, string) error    { return nil }
func (atOnce) Follow(_ context.Context, name string, f func(worker.Event)) (worker.Outcome, error) {
	run, _, _ := worker.Split(name)
	now := time.Now().UTC()
	r := &task.Result{ID: run, Contract: "meca", Task: "nothing", Version: "1", State: task.Succeeded, StartedAt: now, EndedAt: now, Outputs: []task.OutputResult{}}
	for _, s := range []task.State{task.Preparing, task.Starting, task.Running, task.Collecting} {
		f(worker.Event{At: now, State: s})
		r.Stages = append(r.Stages, task.StageTime{Stage: s})
	}
	return worker.Outcome{Result: r}, nil
}

// nothing opens no packages: there is one image, which is always the same.
type nothing struct{}

var errNothing = errors.New("there are no packages here")

func (nothing) Open(context.Context, string, string, string) (durable.Opened, error) {
	return durable.Opened{}, errNothing
}

func (nothing) Fetch(context.Context, string, func(string, string) error) error { return errNothing }

func (nothing) ImageDigest(_ context.Context, name string) (string, error) { return name, nil }
