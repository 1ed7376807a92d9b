package dispatch

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"longshore/internal/task"
)

// capability is what setcap cap_setuid=ep writes; list is an access list that lets user 1234 write.
var (
	capability = attribute(0x02000001, 1<<7, 0, 0, 0)
	list       = attribute(2, 7<<16|1, 1<<32-1, 7<<16|2, 1234, 7<<16|4, 1<<32-1, 7<<16|16, 1<<32-1, 5<<16|32, 1<<32-1)
)

func attribute(words ...uint32) []byte {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// TestMakeSafeAttributes: nothing that a container wrote beside the content of files and folders survives, above all no right.
func TestMakeSafeAttributes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	odd := "odd\n\xff\x1b[31m"
	for _, name := range []string{"tool", "sub/tool", odd} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	attributes := map[string][]byte{"user.note": []byte("kept nowhere"), "system.posix_acl_access": list}
	if os.Geteuid() == 0 {
		attributes["security.capability"], attributes["trusted.overlay.opaque"] = capability, []byte("y")
	}
	for _, name := range []string{"tool", "sub", "sub/tool", odd} {
		for a, value := range attributes {
			if err := unix.Setxattr(filepath.Join(dir, name), a, value, 0); errors.Is(err, unix.ENOTSUP) {
				t.Skipf("the file system has no attributes: %s: %v", a, err)
			} else if err != nil && !(a == "security.capability" && name == "sub") { // folders have no capabilities
				t.Fatalf("%s of %q: %v", a, name, err)
			}
		}
	}
	if _, err := makeSafe(t.Context(), dir, task.Mount{Target: "/out"}, 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tool", "sub", "sub/tool", odd} {
		var names [maxAttributes]byte
		n, err := unix.Llistxattr(filepath.Join(dir, name), names[:])
		if err != nil {
			t.Fatal(err)
		}
		for a := range attributes {
			if strings.Contains(string(names[:n]), a+"\x00") {
				t.Errorf("%q still has %s", name, a)
			}
		}
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%q: %v, %v", name, st.Mode(), err)
		}
	}
}

// TestMakeSafeUnwritten: sizes that cost a container nothing are bounded like what it writes.
func TestMakeSafeUnwritten(t *testing.T) {
	const most = 1 << 20
	for name, c := range map[string]struct {
		make func(dir string) error
		ok   bool
	}{
		"small hole":    {func(dir string) error { return hole(dir, "a", most/2) }, true},
		"one huge hole": {func(dir string) error { return hole(dir, "a", 1<<40) }, false},
		"many holes": {func(dir string) error {
			return errors.Join(hole(dir, "a", most/2), hole(dir, "b", most/2), hole(dir, "c", most/2))
		}, false},
		"written": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), make([]byte, 2*most), 0o644) }, true},
		"many names": {func(dir string) error {
			a := filepath.Join(dir, "a")
			return errors.Join(os.WriteFile(a, make([]byte, most*3/4), 0o644), os.Link(a, a+"1"), os.Link(a, a+"2"))
		}, false},
		"two names": {func(dir string) error {
			a := filepath.Join(dir, "a")
			return errors.Join(os.WriteFile(a, make([]byte, most*3/4), 0o644), os.Link(a, a+"1"))
		}, true},
	} {
		dir := t.TempDir()
		if err := c.make(dir); err != nil {
			t.Fatal(err)
		}
		_, err := makeSafe(t.Context(), dir, task.Mount{Target: "/out"}, most)
		if e, ok := errors.AsType[*task.Error](err); c.ok && err != nil || !c.ok && (!ok || e.Code != task.ReasonOutput) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := makeSafe(t.Context(), dir, task.Mount{Target: "/out"}, 0); err != nil {
			t.Errorf("%s without a limit: %v", name, err)
		}
	}
}

func hole(dir, name string, size int64) error {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}
