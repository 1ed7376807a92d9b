package api

import (
	"context"
	"net/http"
	"time"

	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

type usageInput struct {
	SpanQuery
	Account string `query:"account" doc:"Whose; only operators see others"`
	Task    string `query:"task" doc:"A task's name"`
}

func (a *API) usage(ctx context.Context, in *usageInput) (*answer[v1.Page[v1.UsageRow]], error) {
	p := who(ctx)
	if in.Account == "" && !p.SeesAll() {
		in.Account = p.Account
	}
	if in.Account != "" && !p.Sees(in.Account) {
		return nil, notYours()
	}
	list, err := a.svc.Usage(ctx, store.UsageFilter{Account: in.Account, Name: in.Task, Since: in.Since.Time, Until: in.Until.Time})
	if err != nil {
		return nil, err
	}
	page := v1.Page[v1.UsageRow]{Items: []v1.UsageRow{}}
	for _, u := range list {
		page.Items = append(page.Items, v1.UsageRow{
			Account: u.Account, TaskName: u.TaskName, Contract: u.Contract, Runs: u.Runs, Succeeded: u.Succeeded, Failed: u.Failed, Cancelled: u.Cancelled,
			CPUSeconds: u.CPUSeconds, Seconds: u.WallTime, PeakMemory: u.PeakMemory,
		})
	}
	return &answer[v1.Page[v1.UsageRow]]{Body: page}, nil
}

func (a *API) system(ctx context.Context, _ *empty) (*answer[v1.System], error) {
	y, err := a.svc.System(ctx)
	if err != nil {
		return nil, err
	}
	out := v1.System{
		Name: y.Name, Version: y.Version, Capacity: y.Capacity, Free: y.Free, Slots: y.Slots, Busy: y.Busy, Draining: y.Draining, Runs: y.Runs,
		Servers: []v1.Server{}, BlobBytes: y.BlobBytes, FreeBytes: y.FreeBytes,
	}
	for _, s := range y.Servers {
		out.Servers = append(out.Servers, v1.Server(s))
	}
	return &answer[v1.System]{Body: out}, nil
}

type pruneInput struct{ Body v1.PruneRequest }

func (a *API) prune(ctx context.Context, in *pruneInput) (*answer[v1.Pruned], error) {
	var r durable.Retention
	err := durations(
		map[string]string{"files": in.Body.Files, "runs": in.Body.Runs, "audit": in.Body.Audit},
		map[string]*time.Duration{"files": &r.Files, "runs": &r.Runs, "audit": &r.Audit},
	)
	if err != nil {
		return nil, err
	}
	if r.Disk, err = quantity("disk", in.Body.Disk); err != nil {
		return nil, err
	}
	p, err := a.svc.Prune(ctx, r)
	return &answer[v1.Pruned]{Body: v1.Pruned(p)}, err
}

func (a *API) metrics(ctx context.Context, _ *empty) (*stream, error) {
	if a.cfg.Metrics == nil {
		return nil, task.Errorf(task.CodeMissing, "this server has no metrics")
	}
	return streamed(ctx, a.cfg.Metrics.ServeHTTP), nil
}

func (a *API) openAPI(ctx context.Context, _ *empty) (*stream, error) {
	return streamed(ctx, func(w http.ResponseWriter, r *http.Request) {
		doc, err := a.Document()
		if err != nil {
			a.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(doc) // a client that has gone
	}), nil
}

func (a *API) health(context.Context, *empty) (*answer[v1.Health], error) {
	return &answer[v1.Health]{Body: v1.Health{Ready: true, Checks: map[string]string{}}}, nil
}

// patience is how long a check may take before what it asks counts as gone.
const patience = 5 * time.Second

func (a *API) ready(ctx context.Context, _ *empty) (*answer[v1.Health], error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out := &answer[v1.Health]{Status: http.StatusOK, Body: v1.Health{Ready: true, Checks: map[string]string{}}}
	checks := append([]Check{{"database", a.cfg.Store.Ping}, {"draining", a.draining}}, a.cfg.Checks...)
	for _, c := range checks {
		out.Body.Checks[c.Name] = "ok"
		if err := c.Ask(ctx); err != nil {
			a.cfg.Log.Warn("the server is not ready", "check", c.Name, "error", err)
			out.Status, out.Body.Ready, out.Body.Checks[c.Name] = http.StatusServiceUnavailable, false, problemOf(err).Detail
		}
	}
	return out, nil
}

func (a *API) draining(context.Context) error {
	if a.svc.Draining() {
		return durable.ErrDraining
	}
	return nil
}
