package durable

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// history is a run's events as they are kept, JSON lines; nil when its result tells as much.
func history(events []Event) []byte {
	told := true
	for _, e := range events {
		told = told && e.State != ""
	}
	if told {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		_ = enc.Encode(e) // an Event always has a JSON form
	}
	return b.Bytes()
}

// keptEvents are those of an ended run, but for its end.
func (s *Service) keptEvents(ctx context.Context, run store.Run) []Event {
	for _, f := range run.Files {
		if f.Path != store.EventsPath {
			continue
		}
		r, _, err := s.cfg.Blobs.Open(ctx, f.Digest)
		if err != nil {
			return nil // they went with their age; the run's end is told all the same
		}
		defer r.Close()
		var events []Event
		for d := json.NewDecoder(r); ; {
			var e Event
			if d.Decode(&e) != nil {
				return events
			}
			events = append(events, e)
		}
	}
	return fromResult(run)
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
