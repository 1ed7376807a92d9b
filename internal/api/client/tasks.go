package client

import (
	"context"
	"net/http"

	v1 "longshore/internal/api/v1"
)

// TaskQuery chooses tasks. Zero fields choose everything.
type TaskQuery struct {
	Search, Contract, Name string
	All                    bool // every version, also hidden ones
	Limit                  int
	Cursor                 string
}

// Tasks lists tasks.
func (c *Client) Tasks(ctx context.Context, q TaskQuery) (page v1.Page[v1.TaskSummary], err error) {
	err = c.get(ctx, "/v1/tasks", values(map[string]string{
		"search": q.Search, "contract": q.Contract, "name": q.Name, "all": yes(q.All), "limit": number(q.Limit), "cursor": q.Cursor,
	}), &page)
	return page, err
}

// Task answers a task by name, name:version or ID; variant may be empty.
func (c *Client) Task(ctx context.Context, ref, variant string) (t v1.Task, err error) {
	err = c.get(ctx, "/v1/tasks/"+ref, values(map[string]string{"variant": variant}), &t)
	return t, err
}

// Versions lists every import of a task's name, latest first.
func (c *Client) Versions(ctx context.Context, ref string) (page v1.Page[v1.TaskSummary], err error) {
	err = c.get(ctx, "/v1/tasks/"+ref+"/versions", nil, &page)
	return page, err
}

// HideTask has a task run no more.
func (c *Client) HideTask(ctx context.Context, ref string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: "/v1/tasks/" + ref}, nil)
}

// Import imports an upload, an image or a git source. A package that cannot be used is an error with all findings.
func (c *Client) Import(ctx context.Context, r v1.ImportRequest) (t v1.Task, err error) {
	err = c.sendJSON(ctx, http.MethodPost, "/v1/tasks", false, r, &t)
	return t, err
}
