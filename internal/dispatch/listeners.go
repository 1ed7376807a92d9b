package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"

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

// elsewhere warns, while the wait goes on, of a server that listens on other ports only: it may still open one of those it is
// asked on, but more often nobody will, and the wait is long.
func (x *exchange) elsewhere(ctx context.Context, ports []task.Port) {
	if on := x.listensOn(ctx); on != "" {
		x.warn("nothing listens on %s yet; %sthe run goes on waiting for one of these ports", portNames(ports), on)
	}
}

// maxListeners bounds how many addresses are named.
const maxListeners = 8

// portHint says what to do when none of the ports opens: where the server listens instead, if the engine can tell.
func (x *exchange) portHint(ctx context.Context) string {
	const hint = "the server must listen on one of these ports"
	if on := x.listensOn(ctx); on != "" {
		return on + hint + ", or the package must name that one"
	}
	return hint
}

// listensOn begins a hint with where the server listens, "" if it listens nowhere or the engine cannot tell.
func (x *exchange) listensOn(ctx context.Context) string {
	lister, ok := x.d.Engine.(engine.Listener)
	if !ok {
		return ""
	}
	list, err := lister.Listeners(ctx, *x.handle)
	if err != nil || len(list) == 0 {
		return ""
	}
	var shown []string
	for _, l := range list {
		if s := l.String(); !slices.Contains(shown, s) {
			shown = append(shown, s)
		}
	}
	slices.Sort(shown)
	if len(shown) > maxListeners {
		shown = append(shown[:maxListeners], "…")
	}
	return fmt.Sprintf("it listens on %s; ", strings.Join(shown, ", "))
}
