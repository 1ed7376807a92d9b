package api

import (
	"context"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"

	"longshore/internal/access"
	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

type listTasksInput struct {
	PageQuery
	Search   string `query:"search" doc:"A part of the name or description"`
	Contract string `query:"contract"`
	Name     string `query:"name"`
	All      bool   `query:"all" doc:"All versions, also hidden ones"`
}

func (a *API) listTasks(ctx context.Context, in *listTasksInput) (*answer[v1.Page[v1.TaskSummary]], error) {
	return a.versions(ctx, store.VersionFilter{Name: in.Name, Contract: in.Contract, Search: in.Search, All: in.All, Limit: in.Limit, After: in.Cursor})
}

func (a *API) versions(ctx context.Context, f store.VersionFilter) (*answer[v1.Page[v1.TaskSummary]], error) {
	list, next, err := a.cfg.Store.Versions(ctx, f)
	if err != nil {
		return nil, access.DatabaseError(err)
	}
	page := v1.Page[v1.TaskSummary]{Items: []v1.TaskSummary{}, Next: next}
	for _, v := range list {
		page.Items = append(page.Items, summaryOf(v))
	}
	return &answer[v1.Page[v1.TaskSummary]]{Body: page}, nil
}

type TaskInput struct {
	Task string `path:"task" maxLength:"300" doc:"A name, name:version or ID"`
}

func (a *API) taskVersions(ctx context.Context, in *TaskInput) (*answer[v1.Page[v1.TaskSummary]], error) {
	v, err := a.svc.Version(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	return a.versions(ctx, store.VersionFilter{Name: v.Name, All: true, Limit: 1000})
}

type getTaskInput struct {
	TaskInput
	Variant string `query:"variant" doc:"The use of a package that offers several"`
}

func (a *API) getTask(ctx context.Context, in *getTaskInput) (*answer[v1.Task], error) {
	v, err := a.svc.Version(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	if in.Variant != "" {
		t, err := a.svc.Variant(ctx, v, in.Variant)
		if err != nil {
			return nil, err
		}
		v.Task = *t
	}
	return &answer[v1.Task]{Body: taskOf(v)}, nil
}

func (a *API) hideTask(ctx context.Context, in *TaskInput) (*empty, error) {
	v, err := a.svc.Version(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	callOf(ctx).subject, callOf(ctx).detail = v.ID, v.Name+":"+v.Version
	if p := who(ctx); !p.Has(access.Operator) && p.Account != v.Account {
		return nil, access.Denied("task %s was imported by the account %s", in.Task, v.Account).WithHint("an operator can hide it")
	}
	if err := a.cfg.Store.HideVersion(ctx, v.ID); err != nil {
		return nil, access.DatabaseError(err)
	}
	return nil, nil
}

type importInput struct {
	v1.ImportOptions
	FileName string `query:"filename" doc:"What the body is called, where the body is the package"`
}

// importTask takes a package in any of its forms.
func (a *API) importTask(ctx context.Context, in *importInput) (*answer[v1.Task], error) {
	c := callOf(ctx)
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return nil, noMediaType(c.r.Header.Get("Content-Type"), "application/json, multipart/form-data, or that of the file, such as application/octet-stream")
	}
	req := v1.ImportRequest{FileName: in.FileName, ImportOptions: in.ImportOptions}
	switch kind {
	case "application/json":
		var body v1.ImportRequest
		if err = a.readJSON(c.r.Body, schemaOf[v1.ImportRequest](a), &body); err == nil {
			req, err = a.merged(ctx, req, body)
		}
	case "multipart/form-data":
		err = a.importForm(ctx, &req)
	default:
		var up v1.Upload
		up, err = a.keep(ctx, c.r.Body, a.cfg.MaxUpload)
		req.Upload = up.Digest
	}
	if err != nil {
		return nil, err
	}
	c.subject, c.detail = req.Name, strings.TrimSpace(req.FileName+req.Image+req.Git)
	got, err := a.svc.Import(ctx, who(ctx).Account, durable.Import{
		Upload: req.Upload, FileName: req.FileName, Image: req.Image, Git: req.Git,
		Document: req.Document, Contract: req.Contract, Name: req.Name, Version: req.Version, Variant: req.Variant, DryRun: req.DryRun,
		AnyName: who(ctx).Has(access.Admin),
	})
	if err != nil {
		return nil, err
	}
	out := &answer[v1.Task]{Status: http.StatusCreated, Body: taskOf(got.Version)}
	out.Body.Evidence = got.Evidence
	c.subject = got.Version.ID
	if req.DryRun {
		out.Status, c.subject = http.StatusOK, "dry run"
	}
	return out, nil
}

// merged is a request in JSON, with the options of the query for what it leaves out. It may name what the account has.
func (a *API) merged(ctx context.Context, query, body v1.ImportRequest) (v1.ImportRequest, error) {
	o, q := &body.ImportOptions, query.ImportOptions
	setDefault(&o.Document, q.Document)
	setDefault(&o.Contract, q.Contract)
	setDefault(&o.Name, q.Name)
	setDefault(&o.Version, q.Version)
	setDefault(&o.Variant, q.Variant)
	setDefault(&o.DryRun, q.DryRun)
	setDefault(&body.FileName, query.FileName)
	if body.Upload == "" {
		return body, nil
	}
	return body, a.mayName(ctx, []string{body.Upload})
}

// importForm takes the part "file" of a form; its other parts are options.
func (a *API) importForm(ctx context.Context, req *v1.ImportRequest) error {
	parts, err := a.form(callOf(ctx).r)
	if err != nil {
		return err
	}
	options := map[string]*string{"document": &req.Document, "contract": &req.Contract, "name": &req.Name, "version": &req.Version, "variant": &req.Variant, "image": &req.Image, "git": &req.Git}
	for {
		p, err := parts.next()
		switch {
		case err != nil:
			return err
		case p == nil && req.Upload+req.Image+req.Git == "":
			return task.Errorf(task.CodeUsage, "the form has no part \"file\"").WithHint("send the package as the part \"file\": curl -F file=@package.zip")
		case p == nil:
			return nil
		case p.FormName() == "file" && req.Upload == "":
			up, err := a.keep(ctx, p, parts.left)
			if err != nil {
				return err
			}
			parts.left -= up.Size
			req.Upload = up.Digest
			setDefault(&req.FileName, path.Base(p.FileName()))
		case p.FormName() == "dryRun":
			var yes string
			if err := p.text(&yes); err != nil {
				return err
			}
			req.DryRun = yes == "true" || yes == "on" || yes == "1"
		case options[p.FormName()] != nil:
			if err := p.text(options[p.FormName()]); err != nil {
				return err
			}
		default:
			return task.Errorf(task.CodeUsage, "the form has a part %q, which nobody knows", p.FormName()).WithHint("there are: file, dryRun, %s", strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		}
	}
}

// noMediaType refuses a body that is called what cannot be read.
func noMediaType(got, want string) error {
	e := task.Errorf(task.CodeUsage, "the header Content-Type is %q, which cannot be read here", got)
	if got == "" {
		e = task.Errorf(task.CodeUsage, "the header Content-Type is missing")
	}
	return &refusal{status: http.StatusUnsupportedMediaType, err: e.WithHint("it takes: %s", want)}
}

func summaryOf(v store.Version) v1.TaskSummary {
	return v1.TaskSummary{
		ID: v.ID, Name: v.Name, Version: v.Version, Contract: v.Contract, Description: v.Task.Description, Form: v.Form, Origin: v.Origin, Package: v.Package,
		Account: v.Account, CreatedAt: v.CreatedAt, Hidden: v.Hidden,
	}
}

func taskOf(v store.Version) v1.Task {
	t := v.Task
	parameters := t.Parameters
	if parameters == nil {
		parameters = []task.Parameter{}
	}
	return v1.Task{
		TaskSummary: summaryOf(v), Dialect: t.Dialect, Variant: t.Variant, Variants: t.Variants, Image: t.Image.Name, Parameters: parameters, Resources: t.Resources,
		Exchange: t.Exchange, Network: t.Network, FreeEnv: t.FreeEnv, FreeInputs: t.FreeInputs, Labels: t.Labels, Notes: t.Notes, Findings: v.Findings,
	}
}
