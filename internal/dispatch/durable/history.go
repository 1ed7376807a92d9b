package durable

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// maxInRow is up to how many bytes of events are kept in the run's row: a file of their own would cost two flushes of the disk.
const maxInRow = 4 << 10

// told tells whether an ended run's result tells as much as its events.
func told(events []Event) bool {
	return !slices.ContainsFunc(events, func(e Event) bool { return e.State == "" })
}

// history is a run's events as they are kept, JSON lines.
func history(events []Event) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		_ = enc.Encode(e) // an Event always has a JSON form
	}
	return b.Bytes()
}

// keepEvents keeps a run's events.
func (s *Service) keepEvents(ctx context.Context, events []Event) (store.File, error) {
	data := history(events)
	f := store.File{Path: store.EventsPath, Size: int64(len(data))}
	if len(data) <= maxInRow {
		f.Text = string(data)
		return f, nil
	}
	i, err := s.cfg.Blobs.Put(ctx, bytes.NewReader(data), 0)
	f.Digest = i.Digest
	return f, err
}

// keptEvents are those of an ended run, but for its end, or those of the attempts before of one that is tried again.
func (s *Service) keptEvents(ctx context.Context, run store.Run) []Event {
	for _, f := range run.Files {
		switch {
		case f.Path != store.EventsPath:
		case f.Digest == "":
			return readEvents(strings.NewReader(f.Text))
		default:
			r, _, err := s.cfg.Blobs.Open(ctx, f.Digest)
			if err != nil {
				return nil // they went with their age; the run's end is told all the same
			}
			defer r.Close()
			return readEvents(r)
		}
	}
	if !run.State.Terminal() {
		return nil
	}
	return fromResult(run)
}

func readEvents(r io.Reader) (events []Event) {
	for d := json.NewDecoder(r); ; {
		var e Event
		if d.Decode(&e) != nil {
			return events
		}
		events = append(events, e)
	}
}

// fromResult makes the events of a run to which nothing happened but its stages.
func fromResult(run store.Run) []Event {
	events := []Event{{N: 1, At: run.CreatedAt, Attempt: run.Attempt, State: task.Queued}}
	var r task.Result
	if len(run.Result) == 0 || run.CachedFrom != "" || json.Unmarshal(run.Result, &r) != nil {
		return events
	}
	at := r.StartedAt
	for _, stage := range r.Stages {
		events = append(events, Event{N: len(events) + 1, At: at, Attempt: run.Attempt, State: stage.Stage})
		at = at.Add(time.Duration(stage.Seconds * float64(time.Second)))
	}
	return events
}
