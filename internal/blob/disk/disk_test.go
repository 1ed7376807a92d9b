package disk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/blob"
	"longshore/internal/blob/blobtest"
	"longshore/internal/blob/disk"
)

func open(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDisk(t *testing.T) {
	blobtest.Run(t, blobtest.Suite{Clock: 10 * time.Millisecond, Open: func(t *testing.T) (blob.Store, func() blob.Store) {
		dir := t.TempDir()
		return open(t, dir), func() blob.Store { return open(t, dir) }
	}})
}

// TestTakeLinks tells that taking a file costs no second copy of it.
func TestTakeLinks(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "blobs"))
	file := filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte("large"), 0o644); err != nil {
		t.Fatal(err)
	}
	i, err := s.Take(t.Context(), file, "")
	if err != nil {
		t.Fatal(err)
	}
	path, release, err := s.Local(t.Context(), i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	a, errA := os.Stat(file)
	b, errB := os.Stat(path)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Errorf("the blob is another file than the one that was taken (%v, %v)", errA, errB)
	}
}

// The tests below need a process or a file system of their own: this program runs itself again, with one of these names in the
// environment.
const (
	roleVar = "LONGSHORE_BLOB_TEST"
	dirVar  = "LONGSHORE_BLOB_TEST_DIR"
)

func TestMain(m *testing.M) {
	roles := map[string]func(dir string) error{"die": dieWhileWriting, "full": fillUp}
	role, ok := roles[os.Getenv(roleVar)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(os.Getenv(dirVar)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func self(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVar+"="+role, dirVar+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func dieWhileWriting(dir string) error {
	s, err := disk.New(dir)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, strings.Repeat("half", 1<<16))
		io.WriteString(w, "of a blob")
		fmt.Println("written")
	}()
	_, err = s.Put(context.Background(), r, 0)
	return err
}

func TestWriterDies(t *testing.T) {
	dir := t.TempDir()
	cmd := self(t, "die", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("written"))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	s := open(t, dir)
	walk := func() {
		if err := s.Walk(t.Context(), func(i blob.Info) error { return fmt.Errorf("half a blob is there: %+v", i) }); err != nil {
			t.Error(err)
		}
	}
	walk()
	left, err := filepath.Glob(filepath.Join(dir, "tmp", "*"))
	if err != nil || len(left) != 1 {
		t.Fatalf("left over: %v, %v; want the upload that was cut off", left, err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(left[0], old, old); err != nil {
		t.Fatal(err)
	}
	walk()
	if _, err := os.Stat(left[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was cut off two days ago is still there: %v", err)
	}
}

// fillUp runs in a mount namespace of its own.
func fillUp(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mounting a small tmpfs: %w", err)
	}
	s, err := disk.New(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	kept, err := s.Put(ctx, strings.NewReader(strings.Repeat("k", 300<<10)), 0)
	if err != nil {
		return err
	}
	if _, err := s.Put(ctx, strings.NewReader(strings.Repeat("x", 2<<20)), 0); !errors.Is(err, blob.ErrFull) {
		return fmt.Errorf("Put: %w, want ErrFull", err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) != 0 {
		return fmt.Errorf("left over: %v, %w", left, err)
	}
	if used, free, err := s.Used(ctx); err != nil || used != kept.Size || free < 500<<10 {
		return fmt.Errorf("%d used, %d free, %w; want room again", used, free, err)
	}
	_, err = s.Put(ctx, strings.NewReader(strings.Repeat("y", 300<<10)), 0)
	return err
}

func TestFullDisk(t *testing.T) {
	cmd := self(t, "full", t.TempDir())
	cmd.SysProcAttr = ownMounts()
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

// ownMounts are a user and a mount namespace, so that a file system can be mounted without root.
func ownMounts() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// BenchmarkUsed shows that Used does not look at every blob.
func BenchmarkUsed(b *testing.B) {
	s := open(b, b.TempDir())
	for n := range 2000 {
		if _, err := s.Put(b.Context(), strings.NewReader(fmt.Sprint(n)), 0); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, _, err := s.Used(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// Whoever knows a digest could open the blob otherwise: its own mode lets containers read it.
func TestNobodyElseReachesBlobs(t *testing.T) {
	dir := t.TempDir()
	for _, made := range []string{"", "blobs", "tmp"} {
		at := filepath.Join(dir, made)
		if err := errors.Join(os.MkdirAll(at, 0o755), os.Chmod(at, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := disk.New(dir); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{"blobs", "tmp"} {
		if st, err := os.Stat(filepath.Join(dir, own)); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", own, st.Mode(), err)
		}
	}
}
