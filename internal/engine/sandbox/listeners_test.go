package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestListening reads a table as the kernel writes it.
func TestListening(t *testing.T) {
	table := filepath.Join(t.TempDir(), "tcp")
	text := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1B5C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:1B5C 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 00000000000000000000000001000000:1B5C 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 4
   4: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 5
   5: nonsense 0 0A
`
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := listening(table)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range list {
		got = append(got, a.String())
	}
	if diff := cmp.Diff([]string{"127.0.0.1:7004", "0.0.0.0:80", "[::1]:7004", "127.0.0.1:22"}, got); diff != "" {
		t.Error(diff)
	}
}
