package cli

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"longshore/internal/task"
)

// maxDocument bounds a file of inputs or variables: 64 MiB. Larger values are files of their own, given as "@path".
const maxDocument = 64 << 20

// readDocument reads a small file that the caller named. It may be a pipe, as the shell's <(…) makes them; one that nobody
// writes to is empty, where waiting for its writer could not be interrupted.
func readDocument(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s has more than %s", name, task.Bytes(maxDocument))
	}
	return data, err
}
