package cli

import (
	"archive/tar"
	"io"
	"testing"

	"longshore/internal/task"
)

// TestPackOneShrinks packs a file that has less than its size says, as one does that is being written to: that is nobody's lost
// connection.
func TestPackOneShrinks(t *testing.T) {
	err := packOne(tar.NewWriter(io.Discard), "/sys/kernel/uevent_seqnum", "x")
	if task.CodeOf(err) != task.CodePackage {
		t.Error(err)
	}
}
