package app

import (
	"context"

	"longshore/internal/engine"
)

// leftovers lists what crashed runs left on this machine, in words.
func (a *App) leftovers(ctx context.Context) ([]string, error) {
	folders, err := a.Dispatcher().Leftovers()
	if err != nil {
		return nil, err
	}
	s, ok := a.engine.(engine.Sweeper)
	if !ok {
		return folders, nil
	}
	found, err := s.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range found {
		folders = append(folders, l.Kind+" "+l.Name)
	}
	return folders, nil
}
