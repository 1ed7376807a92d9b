package rmtree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// chain makes folders in each other, so deep that no path leads to the last one, which has a file.
func chain(t *testing.T, top, name string, levels int) {
	t.Helper()
	at, err := unix.Open(top, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(at, name, 0o700)
		}
		below := -1
		if err == nil {
			below, err = unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		unix.Close(at)
		at = below
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(at)
	if err := unix.Mknodat(at, "pipe", unix.S_IFIFO|0o600, 0); err != nil {
		t.Fatal(err)
	}
}

func TestAll(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("stays"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, fill := range map[string]func(top string) error{
		"empty": func(top string) error { return os.Mkdir(top, 0o755) },
		"none":  func(top string) error { return nil },
		"file":  func(top string) error { return os.WriteFile(top, nil, 0o600) },
		"link":  func(top string) error { return os.Symlink(filepath.Dir(outside), top) },
		"deep": func(top string) error {
			err := os.Mkdir(top, 0o755)
			chain(t, top, "d", 5000)
			chain(t, top, strings.Repeat("n", 255), 50)
			return err
		},
		"broad": func(top string) error {
			err := os.Mkdir(top, 0o755)
			for i := range 3 * removeBatch {
				err = errors.Join(err, os.WriteFile(filepath.Join(top, fmt.Sprint("f", i)), nil, 0o600), os.Mkdir(filepath.Join(top, fmt.Sprint(i)), 0o700))
			}
			return err
		},
		"odd names and links": func(top string) error { // some that a folder on its way to the top would have
			err := os.Mkdir(top, 0o755)
			for _, name := range []string{"1", "2/1/2/1", "\n", "\xff\x1b[31m", strings.Repeat("x", 255), "3/4/5/6/7"} {
				dir := filepath.Join(top, name, "below")
				err = errors.Join(err, os.MkdirAll(dir, 0o755), os.Symlink(filepath.Dir(outside), filepath.Join(dir, "folder")), os.Symlink(outside, filepath.Join(dir, "file")))
			}
			return err
		},
		"read-only": func(top string) error {
			err := os.MkdirAll(filepath.Join(top, "a", "b"), 0o755)
			return errors.Join(err, os.WriteFile(filepath.Join(top, "a", "file"), nil, 0o400), os.Chmod(filepath.Join(top, "a"), 0o500), os.Chmod(top, 0o500))
		},
		"locked": func(top string) error {
			below := filepath.Join(top, "a", "b", "c", "d")
			err := os.MkdirAll(below, 0o755)
			for _, dir := range []string{below, filepath.Join(top, "a", "b", "c"), filepath.Join(top, "a", "b"), filepath.Join(top, "a"), top} {
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, "file"), nil, 0), os.Chmod(dir, 0))
			}
			return err
		},
	} {
		top := filepath.Join(t.TempDir(), "top")
		if err := fill(top); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := All(top); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(top); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: afterwards: %v", what, err)
		}
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "stays" {
		t.Errorf("what links led to: %q, %v", b, err)
	}
}
