package dispatch

import (
	"os"
	"path/filepath"

	"longshore/internal/task"
)

// PublishFolder makes an output folder appear with everything that fill puts into it, or not at all, by the rules of a run's own
// (CheckOutDir): for outputs that come from elsewhere.
func PublishFolder(dir string, fill func(tmp string) error) error {
	out, err := resolveOut(dir)
	if err == nil {
		err = CheckOutDir(out)
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return task.Errorf(task.CodeUsage, "cannot make the output folder: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".longshore-")
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot make the output folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	return replace(tmp, out)
}
