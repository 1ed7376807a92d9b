package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"longshore/internal/image"
)

// built builds a Dockerfile with some files beside it over a busybox image.
func built(t testing.TB, s *image.Store, files map[string]string, change func(*image.BuildOptions)) (*image.Image, *steps, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	return buildIn(t, s, dir, change)
}

func buildIn(t testing.TB, s *image.Store, dir string, change func(*image.BuildOptions)) (*image.Image, *steps, error) {
	t.Helper()
	st := &steps{}
	opts := image.BuildOptions{Context: dir, Runner: &chroot{}, Progress: st.progress}
	if change != nil {
		change(&opts)
	}
	img, err := s.Build(context.Background(), opts)
	return img, st, err
}

func mustBuild(t testing.TB, s *image.Store, files map[string]string, change func(*image.BuildOptions)) *image.Image {
	t.Helper()
	img, _, err := built(t, s, files, change)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestBuildConfiguration(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	tests := map[string]struct {
		dockerfile string
		args       map[string]string
		want       func(f image.Facts) any
		is         any
	}{
		"ENV both forms":       {"FROM busybox\nENV A=1 B=\"two words\"\nENV C three words\n", nil, func(f image.Facts) any { return f.Env }, []string{"PATH=/bin", "A=1", "B=two words", "C=three words"}},
		"ENV sees the old":     {"FROM busybox\nENV A=1\nENV A=2 B=$A\n", nil, func(f image.Facts) any { return f.Env[2] }, "B=1"},
		"default values":       {"FROM busybox\nENV A=${X:-dflt} B=${PATH:+set}\n", nil, func(f image.Facts) any { return f.Env[1:] }, []string{"A=dflt", "B=set"}},
		"PATH of scratch":      {"FROM scratch\nENV A=1\n", nil, func(f image.Facts) any { return f.Env }, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=1"}},
		"PATH emptied":         {"FROM busybox\nENV PATH=\nFROM scratch\nENV PATH=/x\n", nil, func(f image.Facts) any { return f.Env }, []string{"PATH=/x"}},
		"ARG default":          {"FROM busybox\nARG V=1\nLABEL v=$V\n", nil, func(f image.Facts) any { return f.Labels["v"] }, "1"},
		"ARG given":            {"FROM busybox\nARG V=1\nLABEL v=$V\n", map[string]string{"V": "2"}, func(f image.Facts) any { return f.Labels["v"] }, "2"},
		"ARG not in image env": {"FROM busybox\nARG V=1\n", nil, func(f image.Facts) any { return f.Env }, []string{"PATH=/bin"}},
		"ARG global in FROM":   {"ARG BASE=busybox\nFROM ${BASE}\nARG BASE\nLABEL b=$BASE\n", nil, func(f image.Facts) any { return f.Labels["b"] }, "busybox"},
		"ARG global not seen":  {"ARG G=1\nFROM busybox\nLABEL g=x$G\n", nil, func(f image.Facts) any { return f.Labels["g"] }, "x"},
		"ARG platform":         {"FROM --platform=$BUILDPLATFORM busybox\nARG TARGETOS\nLABEL o=$TARGETOS\n", nil, func(f image.Facts) any { return f.Labels["o"] }, "linux"},
		"CMD shell":            {"FROM busybox\nCMD echo $HOME\n", nil, func(f image.Facts) any { return f.Cmd }, []string{"/bin/sh", "-c", "echo $HOME"}},
		"CMD exec":             {"FROM busybox\nCMD [\"a\", \"b c\"]\n", nil, func(f image.Facts) any { return f.Cmd }, []string{"a", "b c"}},
		"SHELL":                {"FROM busybox\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nCMD x\n", nil, func(f image.Facts) any { return f.Cmd }, []string{"/bin/sh", "-e", "-c", "x"}},
		"ENTRYPOINT drops CMD": {"FROM busybox\nENTRYPOINT [\"e\"]\n", nil, func(f image.Facts) any { return fmt.Sprint(f.Entrypoint, f.Cmd) }, "[e] []"},
		"own CMD stays":        {"FROM busybox\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n", nil, func(f image.Facts) any { return fmt.Sprint(f.Entrypoint, f.Cmd) }, "[e] [c]"},
		"EXPOSE":               {"FROM busybox\nARG P=90\nEXPOSE 80 53/UDP 7000-7001 $P\n", nil, func(f image.Facts) any { return f.ExposedPorts }, []string{"53/udp", "7000/tcp", "7001/tcp", "80/tcp", "90/tcp"}},
		"VOLUME":               {"FROM busybox\nVOLUME /a\nVOLUME [\"/b\", \"/c\"]\n", nil, func(f image.Facts) any { return f.Volumes }, []string{"/a", "/b", "/c"}},
		"WORKDIR relative":     {"FROM busybox\nWORKDIR /a\nWORKDIR b/../c\n", nil, func(f image.Facts) any { return f.WorkingDir }, "/a/c"},
		"USER":                 {"FROM busybox\nARG U=app\nUSER $U:staff\n", nil, func(f image.Facts) any { return f.User }, "app:staff"},
		"STOPSIGNAL":           {"FROM busybox\nSTOPSIGNAL SIGINT\n", nil, func(f image.Facts) any { return f.StopSignal }, "SIGINT"},
		"MAINTAINER":           {"FROM busybox\nMAINTAINER me\n", nil, func(f image.Facts) any { return f.Author }, "me"},
		"HEALTHCHECK": {"FROM busybox\nHEALTHCHECK --interval=5s --start-interval=1s CMD true\n", nil, func(f image.Facts) any { return *f.Healthcheck },
			image.Healthcheck{Test: []string{"CMD-SHELL", "true"}, Interval: 5 * time.Second, StartInterval: time.Second}},
		"escape directive": {"# escape=`\nFROM busybox\nLABEL a=x`\n b=y\n", nil, func(f image.Facts) any { return f.Labels["a"] + f.Labels["b"] }, "xy"},
		"syntax and check": {"# syntax=docker/dockerfile:1\n# check=skip=all\nFROM busybox\nLABEL a=1\n", nil, func(f image.Facts) any { return f.Labels["a"] }, "1"},
		"ONBUILD recorded": {"FROM busybox\nONBUILD RUN echo hi\n", nil, func(f image.Facts) any { return f.OnBuild }, []string{"RUN echo hi"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			img := mustBuild(t, s, map[string]string{"Dockerfile": tt.dockerfile}, func(o *image.BuildOptions) { o.Args = tt.args })
			if d := cmp.Diff(tt.is, tt.want(img.Facts())); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBuildCopy(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	files := map[string]string{
		"a.txt": "a", "b.txt": "b", "src/one.py": "1", "src/deep/two.py": "2", "src/deep/skip.log": "log", "we[i]rd": "w", "empty/": "",
	}
	tests := map[string]struct{ dockerfile, path, want string }{
		"file to file":       {"COPY a.txt /x/y", "/x/y", "a"},
		"file to folder":     {"COPY a.txt /x/", "/x/a.txt", "a"},
		"file to existing":   {"COPY a.txt /etc", "/etc/a.txt", "a"},
		"to workdir":         {"WORKDIR /w\nCOPY a.txt .", "/w/a.txt", "a"},
		"relative":           {"WORKDIR /w\nCOPY a.txt b/c", "/w/b/c", "a"},
		"several":            {"COPY a.txt b.txt /x/", "/x/b.txt", "b"},
		"glob":               {"COPY *.txt /x/", "/x/b.txt", "b"},
		"glob without match": {"COPY a.txt lock* /x/\nCOPY *.nope /x/a.txt", "/x/a.txt", "a"},
		"above the root":     {"COPY ../a.txt ./src/../../b.txt /x/", "/x/a.txt", "a"},
		"several, no slash":  {"RUN mkdir /x\nCOPY a.txt b.txt /x", "/x/b.txt", "b"},
		"several folders":    {"COPY src empty /x", "/x/one.py", "1"},
		"glob in folder":     {"COPY src/*/two.py /x/", "/x/two.py", "2"},
		"quoted glob":        {"COPY [\"we[[]i]rd\", \"/x/\"]", "/x/we[i]rd", "w"},
		"folder contents":    {"COPY src /x", "/x/deep/two.py", "2"},
		"dot":                {"COPY . /x", "/x/src/one.py", "1"},
		"through image link": {"RUN mkdir -p /usr/lib && ln -s usr/lib /lib\nCOPY a.txt /lib/z", "/usr/lib/z", "a"},
		"folder over link":   {"RUN mkdir -p /usr/deep && mkdir /t && ln -s ../usr/deep /t/deep\nCOPY src /t", "/usr/deep/two.py", "2"},
		"parents":            {"COPY --parents src/deep/two.py /x/", "/x/src/deep/two.py", "2"},
		"parents pivot":      {"COPY --parents src/./deep/two.py /x/", "/x/deep/two.py", "2"},
		"parents deep glob":  {"COPY --parents **/*.py /x/", "/x/src/deep/two.py", "2"},
		"heredoc":            {"COPY <<EOF /x\nhello ${PATH}\nEOF", "/x", "hello /bin\n"},
		"heredoc quoted":     {"COPY <<'EOF' /x\nhello ${PATH}\nEOF", "/x", "hello ${PATH}\n"},
		"two heredocs":       {"COPY <<one <<two /x/\n1\none\n2\ntwo", "/x/two", "2\n"},
		"link":               {"COPY --link a.txt /x/", "/x/a.txt", "a"},
		"replaces":           {"COPY a.txt /f\nCOPY b.txt /f", "/f", "b"},
		"after removal":      {"COPY src /f\nRUN rm -r /f\nCOPY a.txt /f", "/f", "a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			with := map[string]string{"Dockerfile": "FROM busybox\n" + tt.dockerfile + "\n"}
			for k, v := range files {
				with[k] = v
			}
			if got := readIn(t, mustBuild(t, s, with, nil), tt.path); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBuildCopyAttributes(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"x.sh": "x", "d/f": "f", "d/skip.log": "l", "Dockerfile": `FROM scratch AS made
COPY --chown=7:8 --chmod=640 x.sh /own
FROM busybox
COPY x.sh /plain
COPY --chown=app x.sh /app
COPY --chown=app:staff x.sh /appstaff
COPY --chmod=u=rwX,go=rX d /modes
COPY --exclude=*.log d /some
COPY --from=made /own /kept
COPY --from=0 --chown=1:1 /own /given
`})
	os.Chmod(filepath.Join(dir, "x.sh"), 0o755)
	os.Chmod(filepath.Join(dir, "d/f"), 0o600)
	os.Lchown(filepath.Join(dir, "x.sh"), 1234, 1234)
	old := time.Unix(1_500_000_000, 0)
	os.Chtimes(filepath.Join(dir, "x.sh"), old, old)
	img, _, err := buildIn(t, s, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := mounted(t, layersOf(t, img))
	for path, want := range map[string]string{"plain": "100755 0:0", "app": "100755 1000:1001", "appstaff": "100755 1000:50", "modes/f": "100644 0:0", "modes": "40755 0:0", "kept": "100640 7:8", "given": "100640 1:1"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(m, path), &st); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(m, "plain")); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("the time was not kept: %v %v", info.ModTime(), err)
	}
	if _, err := os.Stat(filepath.Join(m, "some/skip.log")); !os.IsNotExist(err) {
		t.Error("--exclude had no effect")
	}
}

// Sources that are links are followed, by name or by pattern, and what they lead to goes by the link's name; links
// further down are copied as links. This is how BuildKit and the builder before it do.
func TestBuildCopyFollowsSources(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"real.txt": "r", "d/f": "f", "in/x": "x"})
	for link, to := range map[string]string{"link": "real.txt", "linkdir": "d", "in/l": "x", "gone": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct{ dockerfile, path, want string }{
		"named into a folder":   {"COPY link /x/", "/x/link", "r"},
		"pattern":               {"COPY li*k /x/", "/x/link", "r"},
		"pattern on a folder":   {"COPY linkd* /x/", "/x/f", "f"},
		"pattern in a folder":   {"COPY in/* /x/", "/x/l", "x"},
		"from a stage":          {"COPY link /s/real\nRUN ln -s real /s/l\nFROM busybox\nCOPY --from=0 /s/l* /x/", "/x/l", "r"},
		"name is part of cache": {"COPY link /y/\nCOPY real.txt /y/", "/y/link", "r"},
		"leads nowhere":         {"COPY go* /x/", "", "gone: a symbolic link to nowhere"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			write(t, dir, map[string]string{"Dockerfile": "FROM busybox\n" + tt.dockerfile + "\n"})
			img, _, err := buildIn(t, s, dir, nil)
			if tt.path == "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := readIn(t, img, tt.path); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			m := mounted(t, layersOf(t, img))
			if info, err := os.Lstat(filepath.Join(m, tt.path)); err != nil || !info.Mode().IsRegular() {
				t.Errorf("not a file: %v %v", info, err)
			}
		})
	}
}

// A folder that COPY makes has nothing of its source's mode and owner: the context may lie in a private folder.
func TestBuildCopyFromPrivateFolder(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"sub/inner/f": "f", "Dockerfile": `FROM scratch AS made
COPY --chown=7:8 sub /kept
FROM busybox
COPY . /app
COPY sub /plain
COPY --chown=1:2 sub /owned
COPY --from=made /kept /other
`})
	for _, d := range []string{"", "sub", "sub/inner"} {
		if err := os.Chmod(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	img, _, err := buildIn(t, s, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := mounted(t, layersOf(t, img))
	for path, want := range map[string]string{"app": "40755 0:0", "app/sub": "40700 0:0", "plain": "40755 0:0", "plain/inner": "40700 0:0", "owned": "40755 1:2", "other": "40755 0:0", "other/inner": "40700 7:8"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(m, path), &st); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// WORKDIR makes folders for the user that USER names, but changes none that are there.
func TestBuildWorkdirOwner(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	img := mustBuild(t, s, map[string]string{"Dockerfile": `FROM busybox
RUN mkdir /there
WORKDIR /root
USER app
WORKDIR /named/deep
WORKDIR /there
USER 5:6
WORKDIR /numbers
USER nosuch
WORKDIR /unknown
`}, nil)
	m := mounted(t, layersOf(t, img))
	for path, want := range map[string]string{"root": "0:0", "named": "1000:1001", "named/deep": "1000:1001", "there": "0:0", "numbers": "5:6", "unknown": "0:0"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(m, path), &st); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d:%d", st.Uid, st.Gid); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// Names of one file stay one in a copy out of a stage, and the copy takes no more room.
func TestBuildCopyKeepsHardLinks(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	img := mustBuild(t, s, map[string]string{"Dockerfile": `FROM busybox AS made
RUN mkdir -p /d/sub /e && echo one > /d/a && ln /d/a /d/sub/b && ln /d/a /e/c && echo two > /d/z
FROM busybox
COPY --from=made /d /d
COPY --from=made /e /d/a /f/
COPY --from=made --chown=3:4 /d /g
`}, nil)
	m := mounted(t, layersOf(t, img))
	stat := func(path string) (st unix.Stat_t) {
		t.Helper()
		if err := unix.Lstat(filepath.Join(m, path), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for _, dir := range []string{"d", "g"} {
		a, b, z := stat(dir+"/a"), stat(dir+"/sub/b"), stat(dir+"/z")
		if a.Nlink != 2 || a.Ino != b.Ino || z.Nlink != 1 {
			t.Errorf("%s: %d names of %d, %d", dir, a.Nlink, a.Ino, b.Ino)
		}
	}
	if st := stat("g/sub/b"); st.Uid != 3 || st.Gid != 4 {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
	for path, want := range map[string]string{"/d/sub/b": "one\n", "/f/a": "one\n", "/f/c": "one\n", "/g/z": "two\n"} {
		if got := readIn(t, img, path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// Equal layers are one folder in the store, which an overlay takes once only. What was removed in between is back.
func TestBuildEqualLayers(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"d/a": "1", "Dockerfile": "FROM busybox\nCOPY d /x\nRUN rm -r /x && echo y > /y\nCOPY d /x\nRUN cat /x/a > /seen\n"})
	img, _, err := buildIn(t, s, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := img.DiffIDs(); d[len(d)-4] != d[len(d)-2] {
		t.Fatal("this test needs two equal layers")
	}
	m := mounted(t, layersOf(t, img))
	for path, want := range map[string]string{"x/a": "1", "seen": "1", "y": "y\n"} {
		if b, err := os.ReadFile(filepath.Join(m, path)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", path, b, err)
		}
	}
}

func TestBuildLinksStayInside(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	secret := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(secret, []byte("outside"), 0o600)
	dir := t.TempDir()
	write(t, dir, map[string]string{"d/x": "x", "Dockerfile": "FROM busybox\nCOPY d /d/\n"})
	os.Symlink(secret, filepath.Join(dir, "d/abs"))
	os.Symlink("../../../../../.."+secret, filepath.Join(dir, "d/up"))
	os.Symlink("x", filepath.Join(dir, "d/in"))
	os.Symlink("d/x", filepath.Join(dir, "top"))
	os.Symlink(secret, filepath.Join(dir, "leak"))
	img, _, err := buildIn(t, s, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	top := layersOf(t, img)[3]
	if l, _ := os.Readlink(filepath.Join(top, "d/abs")); l != secret {
		t.Errorf("a link was not copied as a link: %q", l)
	}
	if got := readIn(t, img, "/d/in"); got != "x" {
		t.Errorf("got %q", got)
	}
	write(t, dir, map[string]string{"Dockerfile": "FROM busybox\nCOPY top /file\n"})
	if img, _, err = buildIn(t, s, dir, nil); err != nil || readIn(t, img, "/file") != "x" {
		t.Errorf("a link inside the context is followed when it is named: %v", err)
	}
	for _, src := range []string{"leak", "d/up", "../secret", "d/../../x"} {
		write(t, dir, map[string]string{"Dockerfile": "FROM busybox\nCOPY " + src + " /file\n"})
		if _, _, err := buildIn(t, s, dir, nil); err == nil {
			t.Errorf("COPY %s left the context", src)
		} else {
			t.Log(err)
		}
	}
}

func TestBuildCopiesSpecialFiles(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"d/file": "f", "Dockerfile": `FROM busybox AS a
RUN mkfifo -m 600 /pipe && mkdir /from && mv /pipe /from
FROM busybox
COPY d /x/d
COPY --from=a --chown=5:6 /from /x/from
COPY d/pipe /x/one
`})
	if err := unix.Mkfifo(filepath.Join(dir, "d/pipe"), 0o640); err != nil {
		t.Fatal(err)
	}
	// A long path is no name for a socket, so it is made in a short one.
	short, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	l, err := net.Listen("unix", filepath.Join(short, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(filepath.Join(short, "s"), filepath.Join(dir, "d/socket")); err != nil {
		t.Fatal(err)
	}
	img, _, err := buildIn(t, s, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := mounted(t, layersOf(t, img))
	want := "d 40755 0:0\nd/file 100644 0:0 \"f\"\nd/pipe 10640 0:0\nfrom 40755 5:6\nfrom/pipe 10600 5:6\none 10640 0:0"
	if d := cmp.Diff(want, listing(t, filepath.Join(m, "x"))); d != "" {
		t.Error(d)
	}
}

// Compared with BuildKit v0.33, path by path.
func TestBuildAsBuildKitDoes(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"d/a.txt": "a", "d/b.md": "b", "d/sub/c.txt": "c", "Dockerfile": `FROM busybox
ARG A=1 B="${A}2" C=${NEVER:?unset}
COPY <<EOF /x/args
$A $B $C
EOF
COPY --chmod=700 d/a.txt /x/made/way/
COPY --chmod=u=rw,g=u d/a.txt /x/copied
COPY --parents --exclude=d/sub --exclude=b.md d /x/parents/
COPY absolute /x/linked
`})
	if err := os.Symlink("/d/a.txt", filepath.Join(dir, "absolute")); err != nil {
		t.Fatal(err)
	}
	img, _, err := buildIn(t, s, dir, func(o *image.BuildOptions) { o.Args = map[string]string{"C": "given"} })
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		`args 100644 0:0 "1 12 given\n"`, `copied 100664 0:0 "a"`, `linked 100644 0:0 "a"`,
		"made 40700 0:0", "made/way 40700 0:0", `made/way/a.txt 100700 0:0 "a"`,
		"parents 40755 0:0", "parents/d 40755 0:0", `parents/d/a.txt 100644 0:0 "a"`, `parents/d/b.md 100644 0:0 "b"`,
	}, "\n")
	if d := cmp.Diff(want, listing(t, filepath.Join(mounted(t, layersOf(t, img)), "x"))); d != "" {
		t.Error(d)
	}
	img = mustBuild(t, s, map[string]string{"Dockerfile": "FROM scratch\nCMD [\"/x\"]\n"}, nil)
	config, err := img.RawConfig()
	if err != nil || img.Facts().WorkingDir != "/" || !strings.Contains(string(config), `"ArgsEscaped":true`) {
		t.Errorf("%s %v", config, err)
	}
}

func TestBuildErrors(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	files := map[string]string{"src/foo": "f", "main.py": "m", ".dockerignore": "hidden\n", "hidden": "h"}
	tests := map[string]struct {
		dockerfile string
		line       int
		parts      []string
	}{
		"unknown instruction": {"FROM busybox\n\nCOPPY a b\n", 3, []string{"COPPY", "did you mean COPY?"}},
		"missing source":      {"FROM busybox\nRUN true\nCOPY foo /x\n", 3, []string{"COPY foo", "not in the build context", "did you mean src/foo?"}},
		"misspelt source":     {"FROM busybox\nCOPY man.py /x\n", 2, []string{"did you mean main.py?"}},
		"ignored source":      {"FROM busybox\nCOPY hidden /x\n", 2, []string{"excluded by .dockerignore", "!hidden"}},
		"source far above":    {"FROM busybox\nCOPY ../../nope /x/\n", 2, []string{"not in the build context"}},
		"many to a file":      {"FROM busybox\nCOPY main.py src /x\n", 2, []string{"must be a folder", "/x/"}},
		"file over folder":    {"FROM busybox\nCOPY main.py /x/etc\nCOPY src /x/etc\n", 3, []string{"a folder cannot replace"}},
		"failing RUN":         {"FROM busybox\nRUN echo one && \\\n  echo two && exit 3\n", 2, []string{"exit code 3"}},
		"not found":           {"FROM busybox\nRUN nosuch\n", 2, []string{"exit code 127", "was not found"}},
		"no stage":            {"FROM busybox AS a\nCOPY --from=1 /x /y\n", 2, []string{"not a stage before this one"}},
		"later stage":         {"FROM busybox\nCOPY --from=b /x /y\nFROM busybox AS b\nCOPY --from=0 /bin /x\n", 2, []string{"stage b comes later, at line 3"}},
		"circular stages":     {"FROM b AS a\nFROM a AS b\n", 1, []string{"stage b comes later, at line 2"}},
		"its own base":        {"FROM aa AS aa\n", 1, []string{"stage aa cannot begin with itself"}},
		"misspelt stage":      {"FROM busybox AS build\nFROM busybox\nCOPY --from=biuld /x /y\n", 3, []string{"did you mean stage build?"}},
		"unknown user":        {"FROM busybox\nCOPY --chown=nobody main.py /x\n", 2, []string{`user "nobody"`, "/etc/passwd"}},
		"bad mode":            {"FROM busybox\nCOPY --chmod=rwx main.py /x\n", 2, []string{"--chmod=rwx"}},
		"required ssh":        {"FROM busybox\nRUN --mount=type=ssh true\nRUN --mount=type=ssh,required true\n", 3, []string{"ssh"}},
		"git":                 {"FROM busybox\nADD https://example.org/x.git /x\n", 2, []string{"git repository is not supported"}},
		"URL offline":         {"FROM busybox\nADD https://example.org/x /x\n", 2, []string{"may not use the network"}},
		"required secret":     {"FROM busybox\nRUN --mount=type=secret,id=tok,required=true true\n", 2, []string{`secret "tok"`}},
		"other platform":      {"FROM --platform=linux/s390x busybox\n", 1, []string{"linux/s390x"}},
		"empty base":          {"ARG B\nFROM $B\n", 2, []string{"empty"}},
		"no FROM":             {"RUN true\n", 1, nil},
		"bad port":            {"FROM busybox\nEXPOSE 99999\n", 2, []string{"99999"}},
		"bad flag":            {"FROM busybox\nCOPY --form=x a b\n", 2, []string{"form"}},
		"host network":        {"FROM busybox\nRUN --network=host true\n", 2, []string{"may not use the network"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			with := map[string]string{"Dockerfile": tt.dockerfile}
			for k, v := range files {
				with[k] = v
			}
			_, _, err := built(t, s, with, func(o *image.BuildOptions) { o.LocalBases = []string{""} })
			var be *image.BuildError
			if !errors.As(err, &be) {
				t.Fatalf("not a BuildError: %v", err)
			}
			if be.Line != tt.line {
				t.Errorf("line %d, want %d: %v", be.Line, tt.line, err)
			}
			for _, p := range tt.parts {
				if !strings.Contains(err.Error(), p) {
					t.Errorf("%q is not in: %v", p, err)
				}
			}
		})
	}
	t.Run("log and code", func(t *testing.T) {
		_, _, err := built(t, s, map[string]string{"Dockerfile": "FROM busybox\nRUN echo one; echo two; exit 7\n"}, nil)
		var be *image.BuildError
		if !errors.As(err, &be) || be.ExitCode != 7 || cmp.Diff([]string{"one", "two"}, be.Log) != "" {
			t.Errorf("%#v", be)
		}
	})
	t.Run("target", func(t *testing.T) {
		_, _, err := built(t, s, map[string]string{"Dockerfile": "FROM busybox AS builder\n"}, func(o *image.BuildOptions) { o.Target = "bilder" })
		if err == nil || !strings.Contains(err.Error(), "did you mean builder?") {
			t.Error(err)
		}
	})
	t.Run("no Dockerfile", func(t *testing.T) {
		_, _, err := built(t, s, map[string]string{"x": ""}, nil)
		if image.KindOf(err) != image.KindNotFound {
			t.Error(err)
		}
	})
}

func TestBuildStages(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	files := map[string]string{"Dockerfile": `FROM busybox AS base
RUN echo base > /base
FROM base AS unused
RUN exit 1
FROM base AS tool
RUN echo tool > /tool
FROM scratch AS final
COPY --from=tool /tool /t
COPY --from=0 /base /b
COPY --from=busybox /etc/passwd /p
`}
	img := mustBuild(t, s, files, nil)
	if readIn(t, img, "/t") != "tool\n" || readIn(t, img, "/b") != "base\n" || !strings.HasPrefix(readIn(t, img, "/p"), "root:") {
		t.Error("stages were not copied from")
	}
	img = mustBuild(t, s, files, func(o *image.BuildOptions) { o.Target = "BASE" })
	if readIn(t, img, "/base") != "base\n" {
		t.Error("--target had no effect")
	}
}

func TestBuildOnbuild(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	mustBuild(t, s, map[string]string{"Dockerfile": "FROM busybox\nONBUILD COPY app /app\nONBUILD RUN cat /app > /ran\n"}, func(o *image.BuildOptions) { o.Tags = []string{"on:1"} })
	img := mustBuild(t, s, map[string]string{"app": "mine", "Dockerfile": "FROM on:1\nLABEL x=y\n"}, nil)
	if readIn(t, img, "/ran") != "mine" || len(img.Facts().OnBuild) != 0 {
		t.Error("triggers were not executed once")
	}
}

func TestBuildRun(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	tests := map[string]struct{ dockerfile, path, want string }{
		"shell":          {"RUN echo $((1+1)) > /x", "/x", "2\n"},
		"exec":           {`RUN ["sh", "-c", "echo $0 > /x", "arg"]`, "/x", "arg\n"},
		"heredoc":        {"RUN <<EOF\necho a > /x\necho b >> /x\nEOF", "/x", "a\nb\n"},
		"shebang":        {"RUN <<EOF\n#!/bin/sh -e\necho $0 > /x\nEOF", "/x", "/dev/pipes/EOF\n"},
		"heredoc stdin":  {"RUN cat <<EOF > /x\nin\nEOF", "/x", "in\n"},
		"arg in env":     {"ARG V=9\nRUN echo $V > /x", "/x", "9\n"},
		"env over arg":   {"ARG V=9\nENV V=8\nRUN echo $V > /x", "/x", "8\n"},
		"bind context":   {"RUN --mount=target=/ctx cat /ctx/f > /x", "/x", "file"},
		"bind file":      {"RUN --mount=type=bind,source=f,target=/g cat /g > /x", "/x", "file"},
		"bind stage":     {"RUN --mount=from=0,source=/etc,target=/e cat /e/passwd > /x", "/x", ""},
		"tmpfs":          {"RUN --mount=type=tmpfs,target=/big echo x > /big/f; ls /big > /x", "/x", "f\n"},
		"removes":        {"RUN echo a > /x\nRUN rm /x; mkdir /x; echo b > /x/y", "/x/y", "b\n"},
		"moves a folder": {"RUN mkdir /d && echo a > /d/f\nRUN mv /d /e", "/e/f", "a\n"},
		"hard links":     {"RUN echo a > /one; ln /one /two", "/two", "a\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			img := mustBuild(t, s, map[string]string{"f": "file", "Dockerfile": "FROM busybox AS zero\nFROM busybox\n" + tt.dockerfile + "\n"}, nil)
			got := readIn(t, img, tt.path)
			if tt.want != "" && got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, gone := range []string{"/dev", "/proc", "/etc/resolv.conf", "/ctx", "/g", "/e/passwd", "/big"} {
				if _, err := img.ReadFile(context.Background(), gone, 10); image.KindOf(err) != image.KindNotFound {
					t.Errorf("%s was left in the image: %v", gone, err)
				}
			}
		})
	}
}

func TestBuildSecrets(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	const token = "s3cr3t-t0ken"
	img, st, err := built(t, s, map[string]string{"Dockerfile": `FROM busybox
RUN --mount=type=secret,id=tok cat /run/secrets/tok; stat -c %a /run/secrets/tok
RUN --mount=type=secret,id=tok,env=TOKEN echo "is $TOKEN"; test "$TOKEN" = s3cr3t-t0ke"n"
RUN --mount=type=secret,id=tok,target=/etc/tok,mode=0444 test -s /etc/tok
`}, func(o *image.BuildOptions) { o.Secrets = map[string][]byte{"tok": []byte(token)} })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"***400", "is ***"}, st.out); d != "" {
		t.Error(d)
	}
	if img.Facts().LayerCount != 3 {
		t.Errorf("%d layers: a secret's mount point became one", img.Facts().LayerCount)
	}
	err = filepath.WalkDir(s.Dir(), func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if bytes.Contains(b, []byte(token)) {
			t.Errorf("the secret is in %s", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBuildLeaks holds that a value which must be stored nowhere fails the build, wherever it would be stored.
func TestBuildLeaks(t *testing.T) {
	const token = "s3cr3t-t0ken"
	for name, c := range map[string]struct{ dockerfile, where string }{
		"copied":        {"FROM busybox\nCOPY . /src\n", "the file /src/env"},
		"written":       {"FROM busybox\nRUN --mount=type=secret,id=tok cat /run/secrets/tok >/kept\n", "the file /kept"},
		"large":         {"FROM busybox\nRUN --mount=type=secret,id=tok head -c 300000 /dev/zero >/kept; cat /run/secrets/tok >>/kept\n", "the file /kept"},
		"link":          {"FROM busybox\nRUN --mount=type=secret,id=tok ln -s $(cat /run/secrets/tok) /kept\n", "the file /kept"},
		"configuration": {"FROM busybox\nENV TOKEN=" + token + "\n", "the image's configuration"},
	} {
		s := openStore(t)
		busybox(t, s)
		for _, sensitive := range []map[string]string{nil, {"TOKEN": token}} {
			_, _, err := built(t, s, map[string]string{"Dockerfile": c.dockerfile, "env": "TOKEN=" + token}, func(o *image.BuildOptions) {
				o.Secrets, o.Sensitive = map[string][]byte{"tok": []byte(token)}, sensitive
			})
			switch {
			case sensitive == nil && err != nil:
				t.Errorf("%s: %v", name, err)
			case sensitive != nil && (err == nil || !strings.Contains(err.Error(), "secret TOKEN would be stored in the image") || !strings.Contains(err.Error(), c.where)):
				t.Errorf("%s: got %v, want %s", name, err, c.where)
			}
		}
	}
}

func TestBuildCacheMount(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	for i, sharing := range []string{"shared", "locked", "private"} {
		for n := range 2 {
			img := mustBuild(t, s, map[string]string{"Dockerfile": fmt.Sprintf("FROM busybox\nRUN --mount=type=cache,id=c%d,target=/cache,sharing=%s,uid=1000,mode=0750 echo x >> /cache/f; cat /cache/f > /x; stat -c %%u-%%a /cache > /y\n", i, sharing)}, func(o *image.BuildOptions) { o.NoCache = true })
			if got := readIn(t, img, "/x"); got != strings.Repeat("x\n", n+1) {
				t.Errorf("%s: got %q", sharing, got)
			}
			if got := readIn(t, img, "/y"); got != "1000-750\n" {
				t.Errorf("%s: got %q", sharing, got)
			}
		}
	}
}

// Of many files, too, exactly those that changed are told.
func TestBuildCacheReasonOfManyFiles(t *testing.T) {
	s := openStore(t)
	dir := t.TempDir()
	files := map[string]string{"Dockerfile": "FROM scratch\nCOPY d /d\n"}
	for n := range 6000 {
		files[fmt.Sprintf("d/f%04d", n)] = ""
	}
	write(t, dir, files)
	for _, want := range []string{"first build", "d/f5500 changed"} {
		_, st, err := buildIn(t, s, dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"COPY: " + want}, st.lines); d != "" {
			t.Error(d)
		}
		write(t, dir, map[string]string{"d/f5500": "x"})
	}
}

func TestBuildCacheReasons(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	dockerfile := "FROM busybox\nARG VERSION=1\nENV MODE=a\nWORKDIR /app\nCOPY main.py lib ./\nRUN echo $VERSION > v\n"
	write(t, dir, map[string]string{"main.py": "1", "lib/a": "a", "lib/b": "b", "Dockerfile": dockerfile})
	check := func(what string, change func(*image.BuildOptions), want ...string) *image.Image {
		t.Helper()
		img, st, err := buildIn(t, s, dir, change)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, st.lines); d != "" {
			t.Errorf("%s: %s", what, d)
		}
		return img
	}
	first := check("first", nil, "FROM CACHED", "WORKDIR: first build", "COPY: first build", "RUN: first build")
	again := check("again", nil, "FROM CACHED", "WORKDIR CACHED", "COPY CACHED", "RUN CACHED")
	if first.Digest() != again.Digest() {
		t.Error("an unchanged build has another digest")
	}
	os.Chtimes(filepath.Join(dir, "main.py"), time.Now(), time.Now())
	check("touched", nil, "FROM CACHED", "WORKDIR CACHED", "COPY CACHED", "RUN CACHED")
	write(t, dir, map[string]string{"main.py": "2"})
	check("file", nil, "FROM CACHED", "WORKDIR CACHED", "COPY: main.py changed", "RUN: the step before changed")
	write(t, dir, map[string]string{"lib/a": "x", "lib/c": "x"})
	os.Remove(filepath.Join(dir, "lib/b"))
	check("files", nil, "FROM CACHED", "WORKDIR CACHED", "COPY: lib/a changed, and 2 files more", "RUN: the step before changed")
	check("argument", func(o *image.BuildOptions) { o.Args = map[string]string{"VERSION": "2"} }, "FROM CACHED", "WORKDIR CACHED", "COPY CACHED", "RUN: ARG VERSION changed from 1 to 2")
	check("no cache", func(o *image.BuildOptions) { o.NoCache = true }, "FROM CACHED", "WORKDIR: --no-cache", "COPY: --no-cache", "RUN: --no-cache")
	write(t, dir, map[string]string{"Dockerfile": strings.Replace(dockerfile, "MODE=a", "MODE=b", 1)})
	check("variable", nil, "FROM CACHED", "WORKDIR CACHED", "COPY CACHED", "RUN: ENV MODE changed from a to b")
	write(t, dir, map[string]string{"Dockerfile": strings.Replace(dockerfile, "echo", "echo -n", 1)})
	check("instruction", nil, "FROM CACHED", "WORKDIR CACHED", "COPY CACHED", "RUN: the instruction changed")
	write(t, dir, map[string]string{"Dockerfile": "FROM busybox\nLABEL new=1\n" + strings.TrimPrefix(dockerfile, "FROM busybox\n")})
	check("label", nil, "FROM CACHED", "WORKDIR CACHED", "COPY CACHED", "RUN CACHED")
	os.Chmod(filepath.Join(dir, "main.py"), 0o755)
	check("mode", nil, "FROM CACHED", "WORKDIR CACHED", "COPY: main.py changed", "RUN: the step before changed")
}

func TestBuildIsReproducible(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.py": "1", "lib/a": "a", "Dockerfile": "FROM busybox\nWORKDIR /a/b\nCOPY . ./deep/er/\nCOPY main.py /etc/\nRUN mkdir /made; echo x > /made/y\n"})
	epoch := time.Unix(1_000_000_000, 0)
	var digests []image.Digest
	var plain []image.Digest
	for range 2 {
		s := openStore(t)
		// The base must be equal, so that it is copied rather than built twice.
		busyboxAt(t, s, epoch)
		img, _, err := buildIn(t, s, dir, func(o *image.BuildOptions) { o.SourceDateEpoch = &epoch })
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, img.Digest())
		if _, _, err := buildIn(t, s, dir, func(o *image.BuildOptions) { o.Target = "" }); err != nil {
			t.Fatal(err)
		}
		a, _, err := buildIn(t, s, dir, func(o *image.BuildOptions) { o.DockerfileContent = []byte("FROM busybox\nCOPY . /x/y/\n") })
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := buildIn(t, s, dir, func(o *image.BuildOptions) {
			o.DockerfileContent, o.NoCache = []byte("FROM busybox\nCOPY . /x/y/\n"), true
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.Digest() != b.Digest() {
			t.Error("building the same without the cache gives another digest")
		}
		ids := a.DiffIDs()
		plain = append(plain, ids[len(ids)-1])
	}
	if digests[0] != digests[1] {
		t.Errorf("with SOURCE_DATE_EPOCH two stores build different images: %v", digests)
	}
	if plain[0] != plain[1] {
		t.Errorf("two stores copy different layers: %v", plain)
	}
}

// busyboxAt is busybox with fixed times.
func busyboxAt(t testing.TB, s *image.Store, at time.Time) {
	t.Helper()
	bin, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	es := []entry{{name: "bin/", kind: tar.TypeDir, time: at}, {name: "bin/busybox", body: string(bin), mode: 0o755, time: at}, {name: "etc/", kind: tar.TypeDir, time: at}}
	for _, a := range []string{"sh", "mkdir"} {
		es = append(es, entry{name: "bin/" + a, kind: tar.TypeSymlink, link: "busybox", time: at})
	}
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "root.tar"), tarOf(t, es...), 0o644)
	write(t, dir, map[string]string{"Dockerfile": "FROM scratch\nADD root.tar /\nENV PATH=/bin\n"})
	if _, _, err := buildIn(t, s, dir, func(o *image.BuildOptions) { o.SourceDateEpoch, o.Tags = &at, []string{"busybox"} }); err != nil {
		t.Fatal(err)
	}
}

func TestBuildUnchanged(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.py": "1", "junk/x": "x", ".dockerignore": "junk\n", "Dockerfile": "FROM busybox\nCOPY . /app\n"})
	opts := image.BuildOptions{Context: dir, Tags: []string{"app:1"}}
	waitSettled(t, dir)
	img, err := s.Build(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	same := func() *image.Image {
		t.Helper()
		got, err := s.Unchanged(context.Background(), opts)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := same(); got == nil || got.Digest() != img.Digest() {
		t.Fatal("an unchanged context was not recognised")
	}
	write(t, dir, map[string]string{"junk/y": "y"})
	if same() == nil {
		t.Error("an ignored file counts")
	}
	write(t, dir, map[string]string{"main.py": "2"})
	if same() != nil {
		t.Error("a change was overlooked")
	}
	waitSettled(t, dir)
	if _, err = s.Build(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	if same() == nil {
		t.Error("not recognised after a build")
	}
	if err := s.Remove("app:1"); err != nil {
		t.Fatal(err)
	}
	if same() != nil {
		t.Error("a removed image was returned")
	}
}

// An image that files are only copied from counts as much as the one a stage begins with.
func TestBuildUnchangedWatchesCopiedImages(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	parts := func(text string) {
		mustBuild(t, s, map[string]string{"f": text, "Dockerfile": "FROM scratch\nCOPY f /f\n"}, func(o *image.BuildOptions) { o.Tags = []string{"parts:1"} })
	}
	for name, dockerfile := range map[string]string{
		"COPY": "FROM busybox\nCOPY --from=parts:1 /f /f\n",
		"RUN":  "FROM busybox\nRUN --mount=type=bind,from=parts:1,target=/m cp /m/f /f\n",
	} {
		t.Run(name, func(t *testing.T) {
			parts("one")
			dir := t.TempDir()
			write(t, dir, map[string]string{"Dockerfile": dockerfile})
			opts := image.BuildOptions{Context: dir, Tags: []string{"app:1"}, Runner: &chroot{}}
			waitSettled(t, dir)
			if _, err := s.Build(context.Background(), opts); err != nil {
				t.Fatal(err)
			}
			if img, err := s.Unchanged(context.Background(), opts); img == nil || err != nil {
				t.Fatalf("not recognised: %v", err)
			}
			parts("two")
			if img, _ := s.Unchanged(context.Background(), opts); img != nil {
				t.Error("a new image of the name was overlooked")
			}
		})
	}
}

// waitSettled waits until the newest change in a folder is old enough to be told from the next.
func waitSettled(t testing.TB, dir string) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for probe := filepath.Join(t.TempDir(), "probe"); time.Now().Before(deadline); {
		os.WriteFile(probe, nil, 0o644)
		now, _ := os.Stat(probe)
		newest := time.Time{}
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if info, err := os.Lstat(p); err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
			return nil
		})
		if now.ModTime().Sub(newest) > 60*time.Millisecond {
			return
		}
	}
	t.Fatal("the clock does not go on")
}

func TestBuildIgnore(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	files := map[string]string{"a/keep.py": "k", "a/drop.pyc": "d", "b/x": "x", "c/d/only": "o", "c/other": "o", ".dockerignore": "**/*.pyc\nb\nc\n!c/d/only\n", "Dockerfile": "FROM scratch\nCOPY . /\n"}
	img := mustBuild(t, s, files, nil)
	want := map[string]bool{"/a/keep.py": true, "/a/drop.pyc": false, "/b/x": false, "/c/d/only": true, "/c/other": false}
	for p, there := range want {
		_, err := img.ReadFile(context.Background(), p, 100)
		if (err == nil) != there {
			t.Errorf("%s: %v", p, err)
		}
	}
	files["Dockerfile.dockerignore"] = "a\n"
	img = mustBuild(t, s, files, nil)
	if _, err := img.ReadFile(context.Background(), "/a/keep.py", 100); err == nil {
		t.Error("Dockerfile.dockerignore does not go first")
	}
}

func TestBuildAdd(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	inner := tarOf(t, entry{name: "in/", kind: tar.TypeDir, mode: 0o700}, entry{name: "in/f", body: "packed", uid: 5, gid: 6}, entry{name: "lib/x", body: "through"})
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(inner)
	w.Close()
	pack := exec.Command("xz", "-c")
	pack.Stdin = bytes.NewReader(inner)
	xz, err := pack.Output()
	if err != nil {
		t.Fatalf("this test needs the program xz (Debian: xz-utils): %v", err)
	}
	broken := append(bytes.Clone(xz[:len(xz)-20]), make([]byte, 20)...)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Write([]byte("fetched"))
	}))
	defer srv.Close()
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("fetched")))
	files := map[string]string{"a.tar": string(inner), "a.tgz": gz.String(), "a.tar.xz": string(xz), "broken.tar.xz": string(broken), "bad.tar": string(tarOf(t, entry{name: ".wh.etc"})), "up.tar": string(tarOf(t, entry{name: "../evil", body: "x"})), "plain.gz": "\x1f\x8bno"}
	tests := map[string]struct{ dockerfile, path, want string }{
		"tar":            {"ADD a.tar /x", "/x/in/f", "packed"},
		"tar.gz":         {"ADD a.tgz /x/", "/x/in/f", "packed"},
		"tar.xz":         {"ADD a.tar.xz /x/", "/x/in/f", "packed"},
		"damaged tar.xz": {"ADD broken.tar.xz /x/", "", "broken.tar.xz"},
		"not unpacked":   {"ADD --unpack=false a.tar /x", "/x", string(inner)},
		"into link":      {"RUN mkdir -p /usr/lib && ln -s usr/lib /lib\nADD a.tar /", "/usr/lib/x", "through"},
		"not an archive": {"ADD plain.gz /x/", "/x/plain.gz", "\x1f\x8bno"},
		"URL to folder":  {"ADD " + srv.URL + "/some/file.bin /x/", "/x/file.bin", "fetched"},
		"URL to file":    {"ADD " + srv.URL + "/some/file.bin /y", "/y", "fetched"},
		"checksum":       {"ADD --checksum=" + sum + " " + srv.URL + "/f /y", "/y", "fetched"},
		"whiteout":       {"ADD bad.tar /", "", ".wh."},
		"upwards":        {"ADD up.tar /", "", "upwards"},
		"wrong checksum": {"ADD --checksum=sha256:" + strings.Repeat("0", 64) + " " + srv.URL + "/f /y", "", "digest"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			with := map[string]string{"Dockerfile": "FROM busybox\n" + tt.dockerfile + "\n"}
			for k, v := range files {
				with[k] = v
			}
			img, _, err := built(t, s, with, func(o *image.BuildOptions) { o.Network = true })
			if tt.path == "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := readIn(t, img, tt.path); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// What --chown is given for an archive's files takes no set-user-ID bit away, and --chmod is not for them.
func TestBuildAddOwner(t *testing.T) {
	s := openStore(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.tar": string(tarOf(t, entry{name: "suid", body: "x", mode: 0o4711, uid: 5, gid: 6})), "Dockerfile": "FROM scratch\nADD a.tar /own/\nADD --chown=7:8 a.tar /given/\nADD --chown=7 --chmod=2755 a.tar /both/\nADD --chown=0:0 a.tar /root/\n"})
	needRoot(t)
	img, _, err := buildIn(t, s, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := mounted(t, layersOf(t, img))
	for path, want := range map[string]string{"own/suid": "104711 5:6", "given/suid": "104711 7:8", "both/suid": "104711 7:7", "root/suid": "104711 0:0"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(m, path), &st); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// A command may leave a link where a mount point's folder was. What lies behind it on this machine must stay.
func TestBuildCleansUpInsideOnly(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	victim := t.TempDir()
	os.WriteFile(filepath.Join(victim, "tok"), nil, 0o600)
	os.Mkdir(filepath.Join(victim, "hosts"), 0o700)
	mustBuild(t, s, map[string]string{"Dockerfile": "FROM busybox\nRUN rm -r /etc && ln -s " + victim + " /etc && rm -rf /proc && ln -s " + victim + " /proc\n"}, nil)
	if l := listing(t, victim); l != "hosts 40700 0:0\ntok 100600 0:0 \"\"" {
		t.Errorf("cleaning up went out of the build: %s", l)
	}
}

func TestBuildTimeout(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	_, _, err := built(t, s, map[string]string{"Dockerfile": "FROM busybox\nRUN exec sleep 60\n"}, func(o *image.BuildOptions) { o.Limits.Timeout = 50 * time.Millisecond })
	if image.KindOf(err) != image.KindLimit {
		t.Error(err)
	}
}

func TestBuildOverlayMatchesView(t *testing.T) {
	s := openStore(t)
	busybox(t, s)
	img := mustBuild(t, s, map[string]string{"d/a": "a", "d/b": "b", "Dockerfile": `FROM busybox
COPY d /d
RUN rm /d/a && mkdir /d/a && echo x > /d/a/x && chown 5:6 /d
RUN rm -r /d/a && mkdir /d/a && echo y > /d/a/y && ln -s a /d/l && mkfifo /d/p
`}, nil)
	m := mounted(t, layersOf(t, img))
	want := "a 40755 0:0\na/y 100644 0:0 \"y\\n\"\nb 100644 0:0 \"b\"\nl 120777 0:0 -> a\np 10644 0:0"
	if d := cmp.Diff(want, listing(t, filepath.Join(m, "d"))); d != "" {
		t.Error(d)
	}
	if readIn(t, img, "/d/l/y") != "y\n" {
		t.Error("the view differs")
	}
	if _, err := img.ReadFile(context.Background(), "/d/a/x", 10); image.KindOf(err) != image.KindNotFound {
		t.Errorf("an opaque folder shows what is below: %v", err)
	}
}
