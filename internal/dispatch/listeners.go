package dispatch

import (
	"context"

	"longshore/internal/engine"
	"longshore/internal/task"
)

// reachable warns of a server that only its own container can reach, where the platform connects from another one. What the
// engine cannot tell is left open.
func (x *exchange) reachable(ctx context.Context, p task.Port) {
	lister, ok := x.d.Engine.(engine.Listener)
	if !x.exec.HTTP.Outside || !ok {
		return
	}
	list, err := lister.Listeners(ctx, *x.handle)
	if err != nil {
		return
	}
	shown := ""
	for _, l := range list {
		switch {
		case int(l.Port()) != p.Number:
		case !l.Addr().IsLoopback():
			return
		default:
			shown = l.String()
		}
	}
	if shown != "" {
		x.warn("the server listens on %s only; it must listen on 0.0.0.0, or the platform cannot reach it", shown)
	}
}
