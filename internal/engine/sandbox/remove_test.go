package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// deepTree makes folders in each other, so deep that no path leads to the last one, which has a file of size bytes.
func deepTree(t *testing.T, top, name string, levels, size int) {
	t.Helper()
	at, err := unix.Open(top, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range levels {
		if err := unix.Mkdirat(at, name, 0o700); err != nil {
			t.Fatal(err)
		}
		below, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(at)
		if err != nil {
			t.Fatal(err)
		}
		at = below
	}
	defer unix.Close(at)
	fd, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
}

// TestDeepTrees: what lies deeper than any path leads is measured and removed.
func TestDeepTrees(t *testing.T) {
	for _, c := range []struct {
		name   string
		levels int
		hidden bool
	}{
		{"d", 3000, false},
		{strings.Repeat("n", 255), 300, false},
		{strings.Repeat("n", 255), 1200, true},
	} {
		top := filepath.Join(t.TempDir(), "top")
		if err := os.Mkdir(top, 0o755); err != nil {
			t.Fatal(err)
		}
		deepTree(t, top, c.name, c.levels, 1<<20)
		for _, f := range []string{"0", "1", "2\n", "\xff\x1b"} { // names that removal may choose, and odd ones
			if err := os.MkdirAll(filepath.Join(top, f, "below", "more"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("/", filepath.Join(top, "0", "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(top, "1", "below"), 0); err != nil { // then an ordinary user needs the launcher's help
			t.Fatal(err)
		}
		d := diskUsage([]string{top})
		if least := int64(c.levels*leastInode + 1<<20); d.hidden != c.hidden || !d.hidden && d.sum < least {
			t.Errorf("%d levels of %d bytes: measured %d, hidden %v; want %d at least, hidden %v", c.levels, len(c.name), d.sum, d.hidden, least, c.hidden)
		}
		if err := removeAll(top); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(top); !missing(err) {
			t.Errorf("after removal: %v", err)
		}
	}
	if err := removeAll(filepath.Join(t.TempDir(), "missing")); err != nil {
		t.Error(err)
	}
}
