package sandbox

import (
	"fmt"

	"longshore/internal/engine"
)

func unsupported(err error) error { return &engine.StartError{Kind: "unsupported", Err: err} }

func startError(kind, format string, args ...any) error {
	return &engine.StartError{Kind: kind, Err: fmt.Errorf("sandbox: "+format, args...)}
}
