package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestStopSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{"": unix.SIGTERM, "SIGINT": unix.SIGINT, "int": unix.SIGINT, "15": unix.SIGTERM, "64": 64} {
		if got, err := stopSignal(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"SIGNOTHING", "0", "65", "-1", "9x", "1.5"} {
		if got, err := stopSignal(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestShareRoot(t *testing.T) {
	dir := t.TempDir()
	var layers []string
	for _, name := range []string{"a/1/diff", "a/2/diff", "b/diff"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, path)
	}
	for n, want := range map[int]struct {
		root string
		rel  []string
	}{
		1: {dir + "/a/1", []string{"diff"}},
		2: {dir + "/a", []string{"1/diff", "2/diff"}},
		3: {dir, []string{"a/1/diff", "a/2/diff", "b/diff"}},
	} {
		root, rel, err := shareRoot(layers[:n])
		if err != nil || root != want.root || !cmp.Equal(rel, want.rel) {
			t.Errorf("%d layers: %s %v %v", n, root, rel, err)
		}
	}
	// /proc is another mount than any folder of files.
	if root, rel, err := shareRoot([]string{layers[0], "/proc/self"}); err != nil || root != "" || !cmp.Equal(rel, []string{layers[0], "/proc/self"}) {
		t.Errorf("layers on two mounts: %q %v %v", root, rel, err)
	}
}

// TestTidyUpper: a hostile layer cannot lead the removal of mount points out of itself.
func TestTidyUpper(t *testing.T) {
	upper, outside := t.TempDir(), t.TempDir()
	for _, path := range []string{outside + "/empty", upper + "/mnt", upper + "/mnt/point", upper + "/kept"} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(upper+"/kept/file", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, upper+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := tidyUpper(upper, []string{"/mnt", "/mnt/point", "/kept", "/kept/file", "/link/empty", "/missing"}); err != nil {
		t.Error(err)
	}
	for path, there := range map[string]bool{outside + "/empty": true, upper + "/kept/file": true, upper + "/mnt": false, upper + "/link": true} {
		if _, err := os.Lstat(path); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestMapped(t *testing.T) {
	for text, want := range map[string]int{
		"0 0 4294967295\n":               idCount,
		"0 1000 1\n1 100000 65536\n":     idCount + 1,
		"0 1000 1\n":                     1,
		"0 1000 1\n 5 9 10\n":            1,
		"         0     100000     4096": 4096,
		"":                               0,
	} {
		if got := mapped([]byte(text)); got != want {
			t.Errorf("%q maps %d, want %d", text, got, want)
		}
	}
}

func TestSubIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(path, []byte("other:1:9\n777777:100000:65536\nbad line\n777777:500000:70000\n777777:x:99999\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := subIDs(path, 777777); err != nil || got != (idRange{1, 500000, 70000}) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := subIDs(path+"-missing", 777777); err != nil || got != (idRange{}) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	if _, err := readState(dir); !missing(err) {
		t.Errorf("no state: %v", err)
	}
	want := state{ID: "x", Labels: map[string]string{"k": "v"}, Owner: self(), Cgroups: []string{"/a"}}
	if err := writeState(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := readState(dir); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if err := writePID(dir, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	want.Main = self()
	if got, err := readState(dir); err != nil || !cmp.Equal(got, want) || !got.Main.alive() {
		t.Errorf("%+v %v", got, err)
	}
	if (process{PID: os.Getpid(), Start: 1}).alive() {
		t.Error("another start time is another process")
	}
}

// Another process may read a state at any moment: it sees all of it, or none.
func TestStateAppearsWhole(t *testing.T) {
	dir := t.TempDir()
	want := state{ID: "x", Owner: self()}
	done := make(chan error, 1)
	go func() {
		var err error
		for range 500 {
			err = errors.Join(err, writeState(dir, want))
		}
		done <- err
	}()
	for {
		if _, err := readState(dir); err != nil && !missing(err) {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}
