package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// silence is how long a stream may say nothing, not even that it is still there, before its connection counts as lost.
const silence = time.Minute

// stream asks for a stream, and hands its lines to take until take has had enough or the stream ends. A connection that breaks is
// made again with the request that next makes, as long as there is progress within the client's patience.
func (c *Client) stream(ctx context.Context, next func() request, take func(line []byte) (more bool, err error)) error {
	for {
		progress := false
		done := false
		err := c.retry(ctx, false, func() error {
			return c.lines(ctx, next(), func(line []byte) (bool, error) {
				progress = true
				more, err := take(line)
				done = !more
				return more, err
			})
		})
		if err == nil || done || ctx.Err() != nil || !progress {
			return err
		}
		if _, away := errors.AsType[*cut](err); !away {
			return err
		}
		// It said something before it broke: that is a new start.
	}
}

// cut is the error of a stream that broke after it had begun.
type cut struct{ err error }

func (e *cut) Error() string { return e.err.Error() }
func (e *cut) Unwrap() error { return e.err }

// lines asks once, and hands on the lines of the answer.
func (c *Client) lines(ctx context.Context, r request, take func([]byte) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	res, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	in := bufio.NewReader(res.Body)
	for begun := false; ; begun = true {
		line, err := in.ReadBytes('\n')
		quiet.Reset(silence)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			if begun {
				return &cut{err}
			}
			return &lost{err}
		}
		if more, err := take(bytes.TrimRight(line, "\r\n")); err != nil || !more {
			return err
		}
	}
}

// Events tells what happens to a run, after its n-th event, until it has ended. The last event has a terminal state. A lost
// connection goes on where it broke.
func (c *Client) Events(ctx context.Context, id string, n int) iter.Seq2[v1.Event, error] {
	return func(yield func(v1.Event, error) bool) {
		d := &decoder{n: n, yield: yield}
		var err error
		for err == nil && !d.over { // a server that is about to end says nothing of the run's
			err = c.stream(ctx, func() request {
				d.kind, d.data = "", nil
				return request{method: http.MethodGet, path: "/v1/runs/" + id + "/events", accept: "text/event-stream", header: http.Header{"Last-Event-Id": {strconv.Itoa(d.n)}}}
			}, d.line)
			if err == nil && !d.over {
				err = pause(ctx)
			}
		}
		if err != nil && !d.stopped {
			yield(v1.Event{}, err)
		}
	}
}

// decoder reads server-sent events.
type decoder struct {
	n       int
	kind    string
	data    []byte
	yield   func(v1.Event, error) bool
	stopped bool
	over    bool // the last event was there, or nobody wants more
}

// pause waits before the next try.
func pause(ctx context.Context) error {
	select {
	case <-time.After(firstPause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *decoder) line(line []byte) (more bool, err error) {
	field, value, _ := strings.Cut(string(line), ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case len(line) > 0 && field == "event":
		d.kind = value
	case len(line) > 0 && field == "data":
		d.data = append(d.data, value...)
	case len(line) == 0 && d.kind != "":
		kind, data := d.kind, d.data
		d.kind, d.data = "", nil
		more, err = d.event(kind, data)
		d.over = !more
		return more, err
	}
	return true, nil
}

func (d *decoder) event(kind string, data []byte) (more bool, err error) {
	switch kind {
	case v1.EventEnd:
		return false, nil
	case v1.EventError:
		var p v1.Problem
		if err := json.Unmarshal(data, &p); err != nil {
			return false, err
		}
		return false, p.Err()
	}
	var e v1.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return false, task.Errorf(task.ReasonEngine, "the server sent an event that cannot be read: %w", err)
	}
	d.n = e.N
	if !d.yield(e, nil) {
		d.stopped = true
		return false, nil
	}
	return true, nil
}

// LogQuery chooses of a run's log. Zero fields choose everything that there is now.
type LogQuery struct {
	Follow bool   // until the run has ended
	Stream string // "stdout" or "stderr"
	Offset int64  // of what is chosen, in bytes
	// Attempt is whose bytes were read last, when Offset is where an earlier reading ended.
	Attempt int
}

// Log tells a run's log, piece by piece. A lost connection goes on where it broke.
func (c *Client) Log(ctx context.Context, id string, q LogQuery) iter.Seq2[v1.LogLine, error] {
	return func(yield func(v1.LogLine, error) bool) {
		stopped := false
		err := c.stream(ctx, func() request {
			v := values(map[string]string{"format": "ndjson", "follow": yes(q.Follow), "stream": q.Stream})
			if q.Offset > 0 {
				v.Set("offset", strconv.FormatInt(q.Offset, 10))
			}
			if q.Attempt > 0 {
				v.Set("attempt", strconv.Itoa(q.Attempt))
			}
			return request{method: http.MethodGet, path: "/v1/runs/" + id + "/logs", accept: "application/x-ndjson", query: v}
		}, func(line []byte) (bool, error) {
			if len(line) == 0 {
				return true, nil // it is still there
			}
			var l v1.LogLine
			if err := json.Unmarshal(line, &l); err != nil {
				return false, task.Errorf(task.ReasonEngine, "the server sent a piece of log that cannot be read: %w", err)
			}
			q.Offset, q.Attempt = l.Offset+int64(len(l.Content())), l.Attempt
			stopped = !yield(l, nil)
			return !stopped, nil
		})
		if err != nil && !stopped {
			yield(v1.LogLine{}, err)
		}
	}
}

// CopyLog writes a run's log to where each stream belongs.
func (c *Client) CopyLog(ctx context.Context, id string, q LogQuery, stdout, stderr io.Writer) error {
	for l, err := range c.Log(ctx, id, q) {
		if err != nil {
			return err
		}
		w := stdout
		if l.Stream == "stderr" {
			w = stderr
		}
		if _, err := w.Write(l.Content()); err != nil {
			return err
		}
	}
	return nil
}
