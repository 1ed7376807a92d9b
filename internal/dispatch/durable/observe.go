package durable

import "longshore/internal/store"

// Observer looks at a service from outside: metrics and traces. It is called on the way of every run, so it must not block.
type Observer interface {
	// Ended tells of an end that counted. End.State is queued when the run is tried again.
	Ended(run store.Run, e store.End)
}

// tell tells the observer, if there is one.
func (s *Service) tell(run store.Run, e store.End) {
	if s.cfg.Observe != nil {
		s.cfg.Observe.Ended(run, e)
	}
}
