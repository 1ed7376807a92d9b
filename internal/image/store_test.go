package image_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"archive/tar"

	"golang.org/x/sys/unix"

	"longshore/internal/image"
)

func TestParseReference(t *testing.T) {
	d := "sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string]string{
		"python:3.9-slim":                "docker.io/library/python:3.9-slim",
		"python":                         "docker.io/library/python:latest",
		"docker.io/python":               "docker.io/library/python:latest",
		"index.docker.io/library/python": "docker.io/library/python:latest",
		"registry.hub.docker.com/library/python:3": "docker.io/library/python:3",
		"registry.hub.docker.com/me/app":           "docker.io/me/app:latest",
		"registry.hub.docker.com/python":           "docker.io/library/python:latest",
		"me/app":                                   "docker.io/me/app:latest",
		"localhost:5000/x":                         "localhost:5000/x:latest",
		"localhost/x:1":                            "localhost/x:1",
		"example.org/a/b/c:tag":                    "example.org/a/b/c:tag",
		"example.org:443/a@" + d:                   "example.org:443/a@" + d,
		"python:3@" + d:                            "docker.io/library/python@" + d,
		"":                                         "",
		"Python":                                   "",
		"a b":                                      "",
		"x:":                                       "",
		"x@sha256:12":                              "",
		"https://example.org/x":                    "",
		strings.Repeat("a", 64):                    "",
		"x@sha512:" + strings.Repeat("a", 128):     "",
		"example.org/" + strings.Repeat("a/", 200) + "x": "",
	} {
		r, err := image.ParseReference(in)
		if want == "" {
			if err == nil {
				t.Errorf("%q was taken for %s", in, r)
			}
			continue
		}
		if err != nil || r.String() != want {
			t.Errorf("%q: got %s, want %s (%v)", in, r, want, err)
		}
	}
	r, _ := image.ParseReference("docker.io/library/x:1")
	if r.Familiar() != "x:1" {
		t.Error(r.Familiar())
	}
}

func TestStoreNames(t *testing.T) {
	needRoot(t)
	s := openStore(t)
	if _, err := s.Resolve("nothing"); image.KindOf(err) != image.KindNotFound {
		t.Error(err)
	}
	if l, err := s.List(); err != nil || len(l) != 0 {
		t.Error(l, err)
	}
	imgs, err := loadBytes(t, s, dockerArchive(t, "python:3.9-slim", tarOf(t, entry{name: "f", body: "x"})))
	if err != nil {
		t.Fatal(err)
	}
	img := imgs[0]
	for _, ref := range []string{"python:3.9-slim", "docker.io/library/python:3.9-slim", "registry.hub.docker.com/library/python:3.9-slim", string(img.Digest()), string(img.ID()), img.ID().Hex()[:6], "sha256:" + img.Digest().Hex()[:8], "python@" + string(img.Digest())} {
		if got, err := s.Resolve(ref); err != nil || got.Digest() != img.Digest() {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{"python", "python:3.9", "ffffffffff", "@", "../../etc"} {
		if _, err := s.Resolve(ref); image.KindOf(err) != image.KindNotFound {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if err := s.Tag(img, "localhost:5000/mine"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("python:3.9-slim"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve("localhost:5000/mine:latest"); err != nil {
		t.Error(err)
	}
	if l, _ := s.List(); len(l) != 1 || l[0].Name() != "localhost:5000/mine:latest" {
		t.Error(l)
	}
	if err := s.Remove(img.ID().Hex()[:12]); err != nil {
		t.Fatal(err)
	}
	if l, _ := s.List(); len(l) != 0 {
		t.Error(l)
	}
	if err := s.Remove("python:3.9-slim"); image.KindOf(err) != image.KindNotFound {
		t.Error(err)
	}
}

func TestReadFile(t *testing.T) {
	needRoot(t)
	base := tarOf(t, entry{name: "a/f", body: "base"}, entry{name: "a/l", kind: tar.TypeSymlink, link: "/b/target"}, entry{name: "out", kind: tar.TypeSymlink, link: "../../../../etc/hostname"},
		entry{name: "loop", kind: tar.TypeSymlink, link: "loop"}, entry{name: "p", kind: tar.TypeFifo}, entry{name: "dirlink", kind: tar.TypeSymlink, link: "a"})
	top := tarOf(t, entry{name: "b/target", body: "linked"}, entry{name: "a/.wh.f"}, entry{name: "etc/hostname", body: "inside"})
	imgs, err := loadBytes(t, openStore(t), dockerArchive(t, "x:1", base, top))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{"/a/l": "linked", "a/l": "linked", "/out": "inside", "/dirlink/l": "linked", "/a/../b/target": "linked", "/../../b/./target": "linked"} {
		if got := readIn(t, imgs[0], p); got != want {
			t.Errorf("%s: %q", p, got)
		}
	}
	for p, kind := range map[string]image.Kind{"/a/f": image.KindNotFound, "/none": image.KindNotFound, "/b/target/x": image.KindNotFound, "/loop": image.KindInvalid, "/p": image.KindInvalid, "/a": image.KindInvalid, "/": image.KindInvalid, "/b\x00": image.KindNotFound} {
		if _, err := imgs[0].ReadFile(context.Background(), p, 100); image.KindOf(err) != kind {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := imgs[0].ReadFile(context.Background(), "/b/target", 3); image.KindOf(err) != image.KindLimit {
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	needRoot(t)
	s := openStore(t)
	ctx := context.Background()
	keep, err := loadBytes(t, s, dockerArchive(t, "keep:1", tarOf(t, entry{name: "k", body: "k"})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loadBytes(t, s, dockerArchive(t, "drop:1", tarOf(t, entry{name: "d", body: "d"}))); err != nil {
		t.Fatal(err)
	}
	// What a crash leaves: a folder whose owner is gone.
	left := filepath.Join(s.Dir(), "tmp", "layer-crashed")
	os.MkdirAll(filepath.Join(left, "sub"), 0o700)
	if err := s.Remove("drop:1"); err != nil {
		t.Fatal(err)
	}
	got, err := s.Prune(ctx, image.PruneOptions{})
	if err != nil || got.Layers != 1 || got.Leftovers == 0 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("the leftover is still there")
	}
	if readIn(t, keep[0], "/k") != "k" {
		t.Error("too much was removed")
	}
	if got, err := s.Prune(ctx, image.PruneOptions{}); err != nil || got.Layers+got.Blobs+got.Images != 0 {
		t.Errorf("%+v %v", got, err)
	}
	untagged, err := loadBytes(t, s, dockerArchive(t, "not/A/Name", tarOf(t, entry{name: "u", body: "u"})))
	if err != nil {
		t.Fatal(err)
	}
	release, err := untagged[0].Hold()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Prune(ctx, image.PruneOptions{Untagged: true}); err != nil || got.Images != 0 {
		t.Errorf("%+v %v", got, err)
	}
	if readIn(t, untagged[0], "/u") != "u" {
		t.Error("an image in use was removed")
	}
	release()
	if _, err := s.Prune(ctx, image.PruneOptions{Untagged: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := untagged[0].Layers(ctx); image.KindOf(err) != image.KindCorrupt {
		t.Errorf("an unnamed image is still there: %v", err)
	}
}

func TestRemoveLeavesAHeldImage(t *testing.T) {
	needRoot(t)
	s := openStore(t)
	other, err := image.Open(image.Config{Dir: s.Dir()}) // as another process has it
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := loadBytes(t, s, dockerArchive(t, "used:1", tarOf(t, entry{name: "u", body: "u"})))
	if err != nil {
		t.Fatal(err)
	}
	release, err := loaded[0].Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := other.Remove("used:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Resolve("used:1"); image.KindOf(err) != image.KindNotFound {
		t.Errorf("the name is still there: %v", err)
	}
	if _, err := other.Prune(context.Background(), image.PruneOptions{Untagged: true, BuildCache: true}); err != nil {
		t.Fatal(err)
	}
	if readIn(t, loaded[0], "/u") != "u" {
		t.Error("the layers of a held image were removed")
	}
	release()
	if got, err := other.Prune(context.Background(), image.PruneOptions{Untagged: true}); err != nil || got.Images != 1 || got.Layers != 1 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := loaded[0].Hold(); image.KindOf(err) != image.KindNotFound {
		t.Errorf("an image that is gone was held: %v", err)
	}
	if err := s.Tag(loaded[0], "again:1"); image.KindOf(err) != image.KindNotFound {
		t.Errorf("an image that is gone was named: %v", err)
	}
}

func TestPruneKeepsTheBuildCache(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	ctx := context.Background()
	files := map[string]string{"Dockerfile": "FROM busybox\nRUN echo x > /x\n"}
	dir := t.TempDir()
	write(t, dir, files)
	if _, _, err := buildIn(t, s, dir, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(ctx, image.PruneOptions{Untagged: true}); err != nil {
		t.Fatal(err)
	}
	_, st, err := buildIn(t, s, dir, nil)
	if err != nil || st.lines[1] != "RUN CACHED" {
		t.Error(st.lines, err)
	}
	if _, err := s.Prune(ctx, image.PruneOptions{Untagged: true, BuildCache: true}); err != nil {
		t.Fatal(err)
	}
	_, st, err = buildIn(t, s, dir, nil)
	if err != nil || st.lines[1] != "RUN: first build" {
		t.Error(st.lines, err)
	}
}

func TestPruneWaitsForUsers(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	started, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	dir := t.TempDir()
	write(t, dir, map[string]string{"Dockerfile": "FROM busybox\nRUN true\n"})
	go func() {
		_, err := s.Build(context.Background(), image.BuildOptions{Context: dir, Runner: runnerFunc(func() { close(started); <-goOn })})
		done <- err
	}()
	<-started
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Prune(ctx, image.PruneOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Prune did not wait for a build: %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPruneOldCache(t *testing.T) {
	now := time.Now()
	s, err := image.Open(image.Config{Dir: t.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	busybox(t, s)
	dirs := []string{t.TempDir(), t.TempDir()}
	for i, d := range dirs {
		write(t, d, map[string]string{"Dockerfile": "FROM busybox\nRUN echo " + strings.Repeat("x", i+1) + " > /x\n"})
		if _, _, err := buildIn(t, s, d, nil); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(48 * time.Hour)
	if _, _, err := buildIn(t, s, dirs[0], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(context.Background(), image.PruneOptions{CacheUnused: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"RUN CACHED", "RUN: first build"} {
		if _, st, err := buildIn(t, s, dirs[i], nil); err != nil || st.lines[1] != want {
			t.Error(st.lines, err)
		}
	}
}

type runnerFunc func()

func (f runnerFunc) Run(context.Context, image.RunSpec) (image.RunResult, error) {
	f()
	return image.RunResult{}, nil
}

func TestOpenIsLazy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	s, err := image.Open(image.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("opening made the folder")
	}
	if _, err := s.Resolve("x"); image.KindOf(err) != image.KindNotFound {
		t.Error(err)
	}
}

// What a killed process left in the store goes with the next build; what a living one works in stays.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := image.Open(image.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := s.Leftovers(); err != nil || len(left) != 0 {
		t.Errorf("a store that was never used: %v %v", left, err)
	}
	dead, alive := filepath.Join(dir, "tmp/step-1"), filepath.Join(dir, "tmp/step-2")
	again := func() {
		t.Helper()
		for _, d := range []string{dead, alive} {
			if err := os.MkdirAll(filepath.Join(d, "layer"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	again()
	lock, err := os.Open(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	gone := func(what string) {
		t.Helper()
		if _, err := os.Stat(dead); !os.IsNotExist(err) {
			t.Errorf("%s left the dead folder: %v", what, err)
		}
		if _, err := os.Stat(alive); err != nil {
			t.Errorf("%s took a folder in use: %v", what, err)
		}
	}
	if left, err := s.Leftovers(); err != nil || len(left) != 1 || left[0] != dead {
		t.Errorf("got %v %v", left, err)
	}
	if left, err := s.Sweep(); err != nil || len(left) != 1 {
		t.Errorf("got %v %v", left, err)
	}
	gone("Sweep")
	again()
	if _, err := s.Build(context.Background(), image.BuildOptions{DockerfileContent: []byte("FROM scratch\n")}); err != nil {
		t.Fatal(err)
	}
	gone("Build")
}

func TestBuildOnAFullDisk(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	s, err := image.Open(image.Config{Dir: filepath.Join(disk, "images")})
	if err != nil {
		t.Fatal(err)
	}
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"big": "", "Dockerfile": "FROM busybox\nCOPY big /big\n"})
	if err := os.Truncate(filepath.Join(dir, "big"), 32<<20); err != nil {
		t.Fatal(err)
	}
	_, _, err = buildIn(t, s, dir, nil)
	if image.KindOf(err) != image.KindStore || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("COPY: %v", err)
	}
	write(t, dir, map[string]string{"Dockerfile": "FROM busybox\nRUN while echo 0123456789012345678901234567890123456789; do :; done > /big; exit 1\n"})
	if _, _, err = buildIn(t, s, dir, nil); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("RUN: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
