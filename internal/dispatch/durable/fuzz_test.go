package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzUnpack holds that no archive of a package writes outside its folder.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, archive []byte) {
		parent := t.TempDir()
		dir, name := filepath.Join(parent, "package"), filepath.Join(parent, "archive")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		err := unpack(t.Context(), name, dir)
		if list, lerr := os.ReadDir(parent); lerr != nil || len(list) != 2 {
			t.Errorf("something was written outside: %v, %v (%v)", list, lerr, err)
		}
	})
}
