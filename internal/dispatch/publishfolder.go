package dispatch

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"

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
	tmp, err := unpublished(out)
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot make the output folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return err
	}
	return replace(tmp, out)
}

// unpublished makes the folder beside out that becomes it. Its mode is what the caller's umask leaves: outputs are as private as
// all else that the caller writes, whatever the modes of the files in them.
func unpublished(out string) (string, error) {
	tmp := filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".longshore-"+strings.ToLower(rand.Text()))
	return tmp, os.Mkdir(tmp, 0o755)
}
