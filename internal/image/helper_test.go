package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/image"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it makes device nodes, owners and overlay mounts")
	}
}

func openStore(t testing.TB) *image.Store {
	t.Helper()
	s, err := image.Open(image.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// entry is one entry of a tar archive under test.
type entry struct {
	name  string
	kind  byte // TypeReg unless set
	body  string
	link  string
	mode  int64
	uid   int
	gid   int
	major int64
	minor int64
	pax   map[string]string
	time  time.Time
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Uid: e.uid, Gid: e.gid, Devmajor: e.major, Devminor: e.minor, PAXRecords: e.pax, ModTime: e.time, Size: int64(len(e.body))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1_600_000_000, 0)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// mounted mounts layers as an overlay and returns the merged folder.
func mounted(t testing.TB, layers []string) string {
	t.Helper()
	base := t.TempDir()
	for _, d := range []string{"u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(base, "m")
	if err := mountOverlay(layers, filepath.Join(base, "u"), filepath.Join(base, "w"), merged); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(merged, unix.MNT_DETACH) })
	return merged
}

func mountOverlay(layers []string, upper, work, merged string) error {
	var lower []string
	for i := len(layers) - 1; i >= 0; i-- {
		lower = append(lower, layers[i])
	}
	if len(lower) == 0 {
		lower = []string{work + "-empty"}
		os.Mkdir(lower[0], 0o755)
	}
	opts := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off,metacopy=off,index=off", strings.Join(lower, ":"), upper, work)
	return unix.Mount("overlay", merged, "overlay", 0, opts)
}

// listing describes a folder: one line for each path, sorted.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if rel == "." {
			return nil
		}
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %o %d:%d", rel, st.Mode, st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", b)
		case info.Mode()&os.ModeSymlink != 0:
			l, _ := os.Readlink(p)
			line += " -> " + l
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// write makes files below a folder: names ending in "/" are folders.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		p := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(p, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func layersOf(t testing.TB, img *image.Image) []string {
	t.Helper()
	l, err := img.Layers(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func readIn(t testing.TB, img *image.Image, path string) string {
	t.Helper()
	b, err := img.ReadFile(context.Background(), path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// chroot is a Runner for tests: an overlay mount and a changed root, no isolation.
type chroot struct {
	mu    sync.Mutex
	specs []image.RunSpec
}

func (c *chroot) Run(ctx context.Context, spec image.RunSpec) (image.RunResult, error) {
	c.mu.Lock()
	c.specs = append(c.specs, spec)
	c.mu.Unlock()
	side := filepath.Dir(spec.Upper)
	work, merged := filepath.Join(side, "work"), filepath.Join(side, "merged")
	for _, d := range []string{work, merged} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return image.RunResult{}, err
		}
	}
	if err := mountOverlay(spec.Layers, spec.Upper, work, merged); err != nil {
		return image.RunResult{}, fmt.Errorf("mounting: %w", err)
	}
	defer unix.Unmount(merged, unix.MNT_DETACH)
	// As container runtimes do, make the mount points inside.
	for _, d := range []string{"dev", "proc", "sys", "etc"} {
		os.MkdirAll(filepath.Join(merged, d), 0o755)
	}
	for _, f := range []string{"etc/resolv.conf", "etc/hosts"} {
		if _, err := os.Stat(filepath.Join(merged, f)); err != nil {
			os.WriteFile(filepath.Join(merged, f), nil, 0o644)
		}
	}
	for _, m := range spec.Mounts {
		undo, err := bind(merged, m)
		if err != nil {
			return image.RunResult{}, err
		}
		defer undo()
	}
	cmd := exec.CommandContext(ctx, spec.Args[0], spec.Args[1:]...)
	if !filepath.IsAbs(spec.Args[0]) {
		cmd.Path, cmd.Err = "/bin/"+spec.Args[0], nil
	}
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Env, spec.Dir, spec.Output, spec.Output
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: merged}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return image.RunResult{ExitCode: exit.ExitCode()}, nil
	}
	return image.RunResult{}, err
}

func bind(merged string, m image.RunMount) (func(), error) {
	target := filepath.Join(merged, m.Target)
	if m.Tmpfs {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return nil, err
		}
		return func() { unix.Unmount(target, unix.MNT_DETACH) }, unix.Mount("tmpfs", target, "tmpfs", 0, "")
	}
	info, err := os.Stat(m.Source)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else {
		if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
			err = os.WriteFile(target, nil, 0o644)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND, ""); err != nil {
		return nil, err
	}
	if m.ReadOnly {
		unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	return func() { unix.Unmount(target, unix.MNT_DETACH) }, nil
}

// busybox builds an image called busybox with a shell in it.
func busybox(t testing.TB, s *image.Store) *image.Image {
	t.Helper()
	needRoot(t)
	bin, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("this test needs a static busybox at /bin/busybox: %v", err)
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n",
		"etc/group":  "root:x:0:\napp:x:1001:\nstaff:x:50:\n",
		"tmp/":       "",
		"Dockerfile": "FROM scratch\nCOPY etc /etc/\nCOPY bin /bin/\nCOPY --chmod=1777 tmp /tmp\nENV PATH=/bin\nCMD [\"sh\"]\n",
	})
	os.Mkdir(filepath.Join(dir, "bin"), 0o755)
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"sh", "ls", "cat", "echo", "mkdir", "rm", "touch", "ln", "mv", "chmod", "chown", "stat", "id", "env", "test", "mkfifo", "sleep", "cp"} {
		os.Symlink("busybox", filepath.Join(dir, "bin", a))
	}
	img, err := s.Build(context.Background(), image.BuildOptions{Context: dir, Tags: []string{"busybox"}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// steps collects what a build says about its steps.
type steps struct {
	mu    sync.Mutex
	lines []string
	out   []string
}

func (s *steps) progress(e image.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Kind {
	case image.EventStep:
		what, _, _ := strings.Cut(e.Text, " ")
		if e.Cached {
			s.lines = append(s.lines, what+" CACHED")
		} else {
			s.lines = append(s.lines, what+": "+e.Why)
		}
	case image.EventOutput:
		s.out = append(s.out, e.Text)
	}
}
