package durable

import (
	"context"

	"longshore/internal/store"
)

// Past answers what has happened to a run so far, without waiting. Of a run that is under way on another server nothing
// of the present attempt is known.
func (s *Service) Past(ctx context.Context, run store.Run) []Event {
	if _, events, _ := s.hub.look(run.ID, 0); len(events) > 0 {
		return events
	}
	return s.keptEvents(ctx, run)
}
