package app

import (
	"os"

	"longshore/internal/task"
)

// TempDir makes a folder for a while, as os.MkdirTemp does. The error, a *task.Error, says what to do.
func TempDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	if err != nil {
		return "", task.Errorf(task.ReasonEngine, "no place for temporary files: %w", err).WithHint("set TMPDIR to a folder that this user may write")
	}
	return dir, nil
}
