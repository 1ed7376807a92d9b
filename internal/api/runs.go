package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"longshore/internal/access"
	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

type RunFilter struct {
	SpanQuery
	State   []string `query:"state" nullable:"false" enum:"queued,preparing,starting,running,collecting,succeeded,failed,cancelled" doc:"Several with commas"`
	Task    string   `query:"task" doc:"A task's name, name:version or ID"`
	Account string   `query:"account" doc:"Whose; only operators see others"`
	Reason  string   `query:"reason" enum:"exit,oom,timeout,not-ready,bad-response,input,output,image,policy,engine" doc:"Why it failed"`
	Label   []string `query:"label,explode" nullable:"false" doc:"name=value; may be repeated, and all must be there"`
	Search  string   `query:"search" maxLength:"200" doc:"The beginning of an ID, or a part of the task's name"`
}

// filter is what somebody who may see that much chooses.
func (a *API) filter(ctx context.Context, in RunFilter) (store.RunFilter, error) {
	f := store.RunFilter{Account: in.Account, Reason: task.Code(in.Reason), Search: in.Search, Since: in.Since.Time, Until: in.Until.Time}
	for _, s := range in.State {
		f.States = append(f.States, task.State(s))
	}
	for _, l := range in.Label {
		name, value, ok := strings.Cut(l, "=")
		if !ok {
			return f, task.Errorf(task.CodeUsage, "label %q is not name=value", l)
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[name] = value
	}
	p := who(ctx)
	if f.Account == "" && !p.SeesAll() {
		f.Account = p.Account
	}
	if f.Account != "" && !p.Sees(f.Account) {
		return f, notYours()
	}
	if in.Task == "" {
		return f, nil
	}
	if v, err := a.svc.Version(ctx, in.Task); err == nil && in.Task != v.Name {
		f.Task = v.ID
	} else {
		f.Name = in.Task // also of tasks that were hidden
	}
	return f, nil
}

type listRunsInput struct {
	PageQuery
	RunFilter
	Oldest bool `query:"oldest" doc:"The oldest first"`
}

func (a *API) listRuns(ctx context.Context, in *listRunsInput) (*answer[v1.Page[v1.Run]], error) {
	f, err := a.filter(ctx, in.RunFilter)
	if err != nil {
		return nil, err
	}
	f.Limit, f.After, f.Oldest = in.Limit, in.Cursor, in.Oldest
	list, next, err := a.svc.Runs(ctx, f)
	if err != nil {
		return nil, err
	}
	page := v1.Page[v1.Run]{Items: []v1.Run{}, Next: next}
	for _, r := range list {
		page.Items = append(page.Items, runOf(r))
	}
	return &answer[v1.Page[v1.Run]]{Body: page}, nil
}

func (a *API) countRuns(ctx context.Context, in *RunFilter) (*answer[v1.Counts], error) {
	f, err := a.filter(ctx, *in)
	if err != nil {
		return nil, err
	}
	states, err := a.cfg.Store.Count(ctx, f)
	if err != nil {
		return nil, access.DatabaseError(err)
	}
	c := v1.Counts{States: states}
	for _, n := range states {
		c.Total += n
	}
	return &answer[v1.Counts]{Body: c}, nil
}

type RunInput struct {
	ID string `path:"id" maxLength:"64"`
}

// run finds a run that the caller may see. Of others' it is not even told that they are there.
func (a *API) run(ctx context.Context, id string) (store.Run, error) {
	run, err := a.svc.Run(ctx, id)
	if err == nil && !who(ctx).Sees(run.Account) {
		err = (&task.Error{Code: task.CodeMissing, Message: "there is no run " + id}).WithHint("`longshore runs` lists them; runs are removed when they are old")
	}
	return run, err
}

type getRunInput struct {
	RunInput
	Wait wait `query:"wait" doc:"Answer when it has ended, or after this time, such as 30s; at most 5m"`
}

func (a *API) getRun(ctx context.Context, in *getRunInput) (*answer[v1.Run], error) {
	run, err := a.run(ctx, in.ID)
	if err == nil && in.Wait.Duration > 0 && !run.State.Terminal() {
		run, err = a.wait(ctx, run.ID, in.Wait)
	}
	return &answer[v1.Run]{Body: runOf(run)}, err
}

func (a *API) cancelRun(ctx context.Context, in *RunInput) (*answer[v1.Run], error) {
	run, err := a.run(ctx, in.ID)
	if err == nil {
		run, err = a.svc.Cancel(ctx, run.ID, who(ctx).Account)
	}
	return &answer[v1.Run]{Body: runOf(run)}, err
}

type retryInput struct {
	RunInput
	SubmitInput
}

func (a *API) retryRun(ctx context.Context, in *retryInput) (*answer[v1.Run], error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if run.Pruned && len(run.Inputs) == 0 {
		return nil, task.Errorf(task.CodeMissing, "the files of run %s were removed because of their age", run.ID).WithHint("submit it anew")
	}
	var sub durable.Submission
	if err := json.Unmarshal(run.Request, &sub); err != nil {
		return nil, err
	}
	sub.Task, sub.Key = run.Task, in.Key
	if !who(ctx).SeesAll() {
		sub.Priority = min(sub.Priority, 0)
	}
	return a.submit(ctx, sub, in.Wait)
}

func (a *API) runRequest(ctx context.Context, in *RunInput) (*answer[v1.RunRequest], error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	req, err := requestOf(run)
	return &answer[v1.RunRequest]{Body: req}, err
}

func (a *API) whyRun(ctx context.Context, in *RunInput) (*answer[v1.Why], error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	why, err := a.why(ctx, run)
	return &answer[v1.Why]{Body: why}, err
}

// why says in words what the run's record says.
func (a *API) why(ctx context.Context, run store.Run) (v1.Why, error) {
	w := v1.Why{ID: run.ID, State: run.State, CacheKey: run.CacheKey, CachedFrom: run.CachedFrom}
	switch {
	case run.CachedFrom != "":
		w.Because = "its result is that of run " + run.CachedFrom + ", which was of the same package, inputs and parameters; nothing was run"
		w.Hint = "submit it without cache to have it run"
		w.Same = []string{"package", "variant", "inputs", "files, by their digests", "environment", "arguments", "limits", "network"}
	case run.State == task.Failed:
		w.Because, w.Hint = "it failed", ""
		if res := resultOf(run); res != nil && res.Failure != nil {
			w.Because, w.Hint = res.Failure.Message, res.Failure.Hint
		}
	case run.State == task.Cancelled:
		w.Because = "it was cancelled by " + run.CancelledBy
	case run.State == task.Succeeded:
		w.Because = "it ran to its end"
	case run.State == task.Queued && !run.NotBefore.IsZero() && run.NotBefore.After(a.cfg.Now()):
		w.Because = fmt.Sprintf("attempt %d ended by a failure of the server's; it is tried again at %s", run.Attempt, run.NotBefore.Format("15:04:05 MST"))
	case run.State == task.Queued:
		ahead, err := a.cfg.Store.Count(ctx, store.RunFilter{States: []task.State{task.Queued}, Until: run.CreatedAt})
		if err != nil {
			return w, access.DatabaseError(err)
		}
		w.Because = fmt.Sprintf("it waits for %s CPUs, %s and %d GPUs; %d runs came before it and wait too", run.Needs.CPU, run.Needs.Memory, run.Needs.GPUs, ahead[task.Queued])
	default:
		w.Because = fmt.Sprintf("attempt %d is %s on server %s", run.Attempt, run.State, run.Owner)
	}
	return w, nil
}

func resultOf(run store.Run) *task.Result {
	if run.Result == nil {
		return nil
	}
	var r task.Result
	if json.Unmarshal(run.Result, &r) != nil {
		return nil
	}
	return &r
}

func runOf(r store.Run) v1.Run {
	return v1.Run{
		ID: r.ID, Task: r.Task, TaskName: r.TaskName, TaskVersion: r.TaskVersion, Contract: r.Contract, Variant: r.Variant, Account: r.Account, State: r.State,
		Reason: r.Reason, Priority: r.Priority, Labels: r.Labels, Attempt: r.Attempt, Server: r.Owner, Cancelling: r.Cancel && !r.State.Terminal(), CancelledBy: r.CancelledBy,
		CachedFrom: r.CachedFrom, Needs: r.Needs, CreatedAt: r.CreatedAt, NotBefore: r.NotBefore, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
		CPUSeconds: r.CPUSeconds, PeakMemory: r.PeakMemory, Pruned: r.Pruned, Result: resultOf(r), Inputs: filesOf(r.Inputs), Files: filesOf(durable.Outputs(r)),
	}
}

// filesOf are files as they go over the wire; nil stays nil.
func filesOf(list []store.File) []v1.File {
	if list == nil {
		return nil
	}
	files := []v1.File{}
	for _, f := range list {
		files = append(files, v1.File{Path: f.Path, Digest: f.Digest, Size: f.Size, Mode: f.Mode, Target: f.Target})
	}
	return files
}

func notYours() error {
	return &refusal{status: http.StatusForbidden, err: task.Errorf(task.CodeAccess, "only operators see what belongs to other accounts")}
}
