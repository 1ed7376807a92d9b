package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// SubmitOptions say how a run is submitted.
type SubmitOptions struct {
	// Key is the idempotency key; empty makes one, so that a lost connection submits nothing twice.
	Key string
	// Wait answers when the run has ended, or after so long.
	Wait time.Duration
}

// Submit submits a run. Its files are uploaded before; see UploadPath.
func (c *Client) Submit(ctx context.Context, r v1.RunRequest, o SubmitOptions) (run v1.Run, err error) {
	return c.submit(ctx, "/v1/runs", r, o)
}

// Retry submits a run again, with the same request and files.
func (c *Client) Retry(ctx context.Context, id string, o SubmitOptions) (run v1.Run, err error) {
	return c.submit(ctx, "/v1/runs/"+id+"/retry", nil, o)
}

func (c *Client) submit(ctx context.Context, path string, body any, o SubmitOptions) (run v1.Run, err error) {
	r := request{method: http.MethodPost, path: path, header: http.Header{}}
	if body != nil {
		if r, err = jsonRequest(http.MethodPost, path, body); err != nil {
			return run, err
		}
	}
	if o.Key == "" {
		o.Key = rand.Text()
	}
	r.header.Set("Idempotency-Key", o.Key)
	if o.Wait > 0 {
		r.query = url.Values{"wait": {o.Wait.String()}}
	}
	err = c.call(ctx, r, &run)
	return run, err
}

// RunQuery chooses runs. Zero fields choose everything that the token may see.
type RunQuery struct {
	States       []task.State
	Task         string
	Account      string
	Reason       task.Code
	Labels       map[string]string
	Since, Until time.Time
	Search       string
	Oldest       bool
	Limit        int
	Cursor       string
}

func (q RunQuery) values() url.Values {
	var states []string
	for _, s := range q.States {
		states = append(states, string(s))
	}
	v := values(map[string]string{
		"state": strings.Join(states, ","), "task": q.Task, "account": q.Account, "reason": string(q.Reason), "search": q.Search,
		"since": moment(q.Since), "until": moment(q.Until),
	})
	for name, value := range q.Labels {
		v.Add("label", name+"="+value)
	}
	return v
}

// Runs lists runs, latest first.
func (c *Client) Runs(ctx context.Context, q RunQuery) (page v1.Page[v1.Run], err error) {
	v := q.values()
	for name, value := range values(map[string]string{"oldest": yes(q.Oldest), "limit": number(q.Limit), "cursor": q.Cursor}) {
		v[name] = value
	}
	err = c.get(ctx, "/v1/runs", v, &page)
	return page, err
}

// Count counts runs by state.
func (c *Client) Count(ctx context.Context, q RunQuery) (n v1.Counts, err error) {
	err = c.get(ctx, "/v1/runs/count", q.values(), &n)
	return n, err
}

// Run answers a run as it is.
func (c *Client) Run(ctx context.Context, id string) (run v1.Run, err error) {
	err = c.get(ctx, "/v1/runs/"+id, nil, &run)
	return run, err
}

// poll is how long the server is asked to wait at once.
const poll = "55s"

// Wait answers a run when it has ended, however long that takes.
func (c *Client) Wait(ctx context.Context, id string) (run v1.Run, err error) {
	for {
		err = c.get(ctx, "/v1/runs/"+id, url.Values{"wait": {poll}}, &run)
		if err != nil || run.State.Terminal() {
			return run, err
		}
		if err := pause(ctx); err != nil { // a server that is about to end does not wait
			return run, err
		}
	}
}

// Cancel asks for a run's end, and answers the run as it is then.
func (c *Client) Cancel(ctx context.Context, id string) (run v1.Run, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: "/v1/runs/" + id + "/cancel"}, &run)
	return run, err
}

// Request answers what was asked for, as Submit takes it.
func (c *Client) Request(ctx context.Context, id string) (r v1.RunRequest, err error) {
	err = c.get(ctx, "/v1/runs/"+id+"/request", nil, &r)
	return r, err
}

// Why explains a run's state.
func (c *Client) Why(ctx context.Context, id string) (w v1.Why, err error) {
	err = c.get(ctx, "/v1/runs/"+id+"/why", nil, &w)
	return w, err
}
