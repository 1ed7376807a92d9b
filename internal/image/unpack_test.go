package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"longshore/internal/image"
)

func sum(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func gz(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func zst(b []byte) []byte {
	var buf bytes.Buffer
	w, _ := zstd.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func configOf(arch string, layers ...[]byte) []byte {
	ids := []string{}
	for _, l := range layers {
		ids = append(ids, sum(l))
	}
	b, _ := json.Marshal(map[string]any{"architecture": arch, "os": "linux", "config": map[string]any{"Cmd": []string{"x"}, "Env": []string{"A=b"}}, "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
	return b
}

// dockerArchive is what docker save writes, in the order of the classic versions.
func dockerArchive(t testing.TB, name string, layers ...[]byte) []byte {
	t.Helper()
	config := configOf("amd64", layers...)
	var es []entry
	var names []string
	for i, l := range layers {
		n := fmt.Sprintf("layer%d/layer.tar", i)
		names = append(names, n)
		es = append(es, entry{name: fmt.Sprintf("layer%d/", i), kind: tar.TypeDir}, entry{name: fmt.Sprintf("layer%d/VERSION", i), body: "1.0"}, entry{name: n, body: string(l)})
	}
	m, _ := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": names}})
	es = append(es, entry{name: "config.json", body: string(config)}, entry{name: "manifest.json", body: string(m)})
	return tarOf(t, es...)
}

// stream hides that a reader can seek.
func stream(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(io.MultiReader(bytes.NewReader(b))), nil }
}

func loadBytes(t testing.TB, s *image.Store, b []byte) ([]*image.Image, error) {
	t.Helper()
	return s.LoadArchive(context.Background(), stream(b), image.LoadOptions{})
}

// both loads an archive as a file and as a stream, each into a store of its own, and wants the same of them.
func both(t *testing.T, b []byte, check func(t *testing.T, s *image.Store, imgs []*image.Image, err error)) {
	t.Helper()
	t.Run("file", func(t *testing.T) {
		p := filepath.Join(t.TempDir(), "image.tar")
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		s := openStore(t)
		imgs, err := s.Load(context.Background(), p, image.LoadOptions{})
		check(t, s, imgs, err)
	})
	t.Run("stream", func(t *testing.T) {
		s := openStore(t)
		imgs, err := loadBytes(t, s, b)
		check(t, s, imgs, err)
	})
}

func TestUnpackRefusesHostileEntries(t *testing.T) {
	needRoot(t)
	long := strings.Repeat("x/", 3000) + "x"
	tests := map[string]struct {
		entries []entry
		kind    image.Kind
		part    string
	}{
		"upwards":              {[]entry{{name: "../evil", body: "x"}}, image.KindHostile, "upwards"},
		"upwards inside":       {[]entry{{name: "a/../../evil", body: "x"}}, image.KindHostile, "upwards"},
		"hard link out":        {[]entry{{name: "l", kind: tar.TypeLink, link: "../../etc/passwd"}}, image.KindHostile, "hard link"},
		"hard link absolute":   {[]entry{{name: "l", kind: tar.TypeLink, link: "/etc/passwd"}}, image.KindHostile, "not in this layer"},
		"hard link by link":    {[]entry{{name: "s", kind: tar.TypeSymlink, link: "/etc"}, {name: "l", kind: tar.TypeLink, link: "s/passwd"}}, image.KindHostile, "not in this layer"},
		"hard link to folder":  {[]entry{{name: "d/", kind: tar.TypeDir}, {name: "l", kind: tar.TypeLink, link: "d"}}, image.KindHostile, "folder"},
		"block device":         {[]entry{{name: "sda", kind: tar.TypeBlock, major: 8}}, image.KindHostile, "device node (8:0)"},
		"device in dev":        {[]entry{{name: "dev/kmsg", kind: tar.TypeChar, major: 1, minor: 11}}, image.KindHostile, "dev/kmsg"},
		"wrong numbers":        {[]entry{{name: "dev/null", kind: tar.TypeChar, major: 1, minor: 1}}, image.KindHostile, "wrong numbers"},
		"forged whiteout":      {[]entry{{name: "x", kind: tar.TypeChar}}, image.KindHostile, "device node (0:0)"},
		"null outside dev":     {[]entry{{name: "null", kind: tar.TypeChar, major: 1, minor: 3}}, image.KindHostile, "device"},
		"overlay attribute":    {[]entry{{name: "x", pax: map[string]string{"SCHILY.xattr.user.overlay.redirect": "/etc"}}}, image.KindHostile, "overlayfs"},
		"whiteout of nothing":  {[]entry{{name: ".wh."}}, image.KindHostile, "whiteout of nothing"},
		"whiteout of parent":   {[]entry{{name: "a/.wh..."}}, image.KindHostile, "whiteout of nothing"},
		"below a whiteout":     {[]entry{{name: ".wh.a/b", body: "x"}}, image.KindHostile, "below a whiteout"},
		"file as folder":       {[]entry{{name: "f", body: "x"}, {name: "f/g", body: "x"}}, image.KindHostile, "file of that name"},
		"link loop":            {[]entry{{name: "a", kind: tar.TypeSymlink, link: "b"}, {name: "b", kind: tar.TypeSymlink, link: "a"}, {name: "a/x", body: "x"}}, image.KindHostile, "impossible"},
		"path too long":        {[]entry{{name: long, body: "x"}}, image.KindHostile, "impossible"},
		"name too long":        {[]entry{{name: strings.Repeat("n", 300), body: "x"}}, image.KindHostile, "impossible"},
		"root is a file":       {[]entry{{name: ".", body: "x"}}, image.KindHostile, "root of a layer"},
		"negative owner":       {[]entry{{name: "x", uid: -1}}, image.KindHostile, "owner"},
		"hard link to a white": {[]entry{{name: ".wh.a"}, {name: "l", kind: tar.TypeLink, link: "a"}}, image.KindHostile, "whiteout"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := dockerArchive(t, "x:1", tarOf(t, tt.entries...))
			both(t, b, func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
				if image.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.part) {
					t.Errorf("got %s %v", image.KindOf(err), err)
				}
				if all, _ := s.List(); len(all) > 0 {
					t.Error("an image became visible")
				}
			})
		})
	}
}

func TestUnpackNeverLeavesThroughLinks(t *testing.T) {
	needRoot(t)
	outside := t.TempDir()
	layer := tarOf(t,
		entry{name: "abs", kind: tar.TypeSymlink, link: outside},
		entry{name: "abs/one", body: "x"},
		entry{name: "up", kind: tar.TypeSymlink, link: strings.Repeat("../", 40) + outside[1:]},
		entry{name: "up/two", body: "x"},
		entry{name: "usr/lib/", kind: tar.TypeDir},
		entry{name: "lib", kind: tar.TypeSymlink, link: "usr/lib"},
		entry{name: "lib/three", body: "3"},
		entry{name: "/absolute/four", body: "4"},
		entry{name: "file", kind: tar.TypeSymlink, link: outside + "/five"},
		entry{name: "file", body: "replaced"},
	)
	both(t, dockerArchive(t, "x:1", layer), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if l := listing(t, outside); l != "" {
			t.Fatalf("written outside: %s", l)
		}
		for p, want := range map[string]string{"/usr/lib/three": "3", "/lib/three": "3", "/absolute/four": "4", "/file": "replaced", outside + "/one": "x"} {
			if got := readIn(t, imgs[0], p); got != want {
				t.Errorf("%s: got %q", p, got)
			}
		}
		// Replaced entries must not cost the archive its digest.
		again := saved(t, s, image.DockerArchive, imgs[0])
		back, err := loadBytes(t, openStore(t), again)
		if err != nil || back[0].DiffIDs()[0] != imgs[0].DiffIDs()[0] {
			t.Errorf("the layer was not written again as it came: %v", err)
		}
	})
}

func saved(t testing.TB, s *image.Store, f image.ArchiveFormat, imgs ...*image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := s.Save(context.Background(), &buf, image.SaveOptions{Format: f}, imgs...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestUnpackKeepsWhatMatters(t *testing.T) {
	needRoot(t)
	when := time.Unix(1_234_567_890, 0)
	longName := strings.Repeat("long-name/", 25) + "end"
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	layer := tarOf(t,
		entry{name: "./", kind: tar.TypeDir, mode: 0o711},
		entry{name: "dir/", kind: tar.TypeDir, mode: 0o1777, uid: 12, gid: 34, time: when},
		entry{name: "dir/suid", body: "s", mode: 0o4755, uid: 1000, gid: 1000, time: when},
		entry{name: "dir/hard", kind: tar.TypeLink, link: "dir/suid"},
		entry{name: "sym", kind: tar.TypeSymlink, link: "/nowhere", uid: 5, gid: 5},
		entry{name: "fifo", kind: tar.TypeFifo, mode: 0o600},
		entry{name: "cap", body: "c", pax: map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": "hi", "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "x"}},
		entry{name: "dev/null", kind: tar.TypeChar, major: 1, minor: 3},
		entry{name: "dev/console", kind: tar.TypeChar, major: 5, minor: 1},
		entry{name: "dev/initctl", kind: tar.TypeFifo},
		entry{name: "big-id", uid: 2_000_000_000, gid: 3_000_000_000},
		entry{name: longName, body: "long"},
		entry{name: ".wh..wh.plnk/", kind: tar.TypeDir},
		entry{name: ".wh..wh.aufs", body: ""},
		entry{name: "dup", body: "first"},
		entry{name: "dup", body: "second!"},
	)
	both(t, dockerArchive(t, "x:1", layer), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
		if err != nil {
			t.Fatal(err)
		}
		dir := layersOf(t, imgs[0])[0]
		stat := func(name string) *syscall.Stat_t {
			info, err := os.Lstat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return info.Sys().(*syscall.Stat_t)
		}
		if st := stat("."); st.Mode != 0o40711 {
			t.Errorf("root mode %o", st.Mode)
		}
		if st := stat("dir"); st.Mode != 0o41777 || st.Uid != 12 || st.Gid != 34 || st.Mtim.Sec != when.Unix() {
			t.Errorf("dir %+v", st)
		}
		if st := stat("dir/suid"); st.Mode != 0o104755 || st.Uid != 1000 || st.Nlink != 2 || st.Mtim.Sec != when.Unix() {
			t.Errorf("suid %+v", st)
		}
		if st := stat("sym"); st.Uid != 5 {
			t.Errorf("sym %+v", st)
		}
		if st := stat("fifo"); st.Mode != 0o10600 {
			t.Errorf("fifo %+v", st)
		}
		if st := stat("big-id"); st.Uid != 2_000_000_000 || st.Gid != 3_000_000_000 {
			t.Errorf("big-id %+v", st)
		}
		buf := make([]byte, 100)
		if n, err := unix.Lgetxattr(filepath.Join(dir, "cap"), "security.capability", buf); err != nil || string(buf[:n]) != capability {
			t.Errorf("capability: %v", err)
		}
		if _, err := unix.Lgetxattr(filepath.Join(dir, "cap"), "trusted.overlay.opaque", buf); err == nil {
			t.Error("a trusted attribute came through")
		}
		for _, gone := range []string{"dev/null", "dev/console", "dev/initctl", ".wh..wh.plnk", ".wh..wh.aufs"} {
			if _, err := os.Lstat(filepath.Join(dir, gone)); err == nil {
				t.Errorf("%s was made", gone)
			}
		}
		if readIn(t, imgs[0], "/"+longName) != "long" || readIn(t, imgs[0], "/dup") != "second!" {
			t.Error("contents")
		}
	})
}

func TestUnpackWhiteouts(t *testing.T) {
	needRoot(t)
	base := tarOf(t,
		entry{name: "gone", body: "x"}, entry{name: "d/one", body: "1"}, entry{name: "d/two", body: "2"},
		entry{name: "o/old", body: "old"}, entry{name: "r/old", body: "old"}, entry{name: "late/old", body: "old"}, entry{name: "f/old", body: "old"})
	top := tarOf(t,
		entry{name: ".wh.gone"}, entry{name: "d/.wh.one"}, entry{name: "d/three", body: "3"},
		entry{name: "o/new", body: "new"}, entry{name: "o/.wh..wh..opq"}, // opaque after its entries
		entry{name: ".wh.r"}, entry{name: "r/", kind: tar.TypeDir}, entry{name: "r/new", body: "new"}, // deleted and made again
		entry{name: "late/", kind: tar.TypeDir}, entry{name: "late/new", body: "new"}, entry{name: ".wh.late"}, // made, then deleted below
		entry{name: ".wh.f"}, entry{name: "f/new", body: "new"}, // deleted, and used as a folder without naming it
	)
	for name, pack := range map[string]func([]byte) []byte{"plain": func(b []byte) []byte { return b }} {
		t.Run(name, func(t *testing.T) {
			both(t, pack(dockerArchive(t, "x:1", base, top)), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
				if err != nil {
					t.Fatal(err)
				}
				want := "d 40755 0:0\nd/three 100644 0:0 \"3\"\nd/two 100644 0:0 \"2\"\nf 40755 0:0\nf/new 100644 0:0 \"new\"\nlate 40755 0:0\nlate/new 100644 0:0 \"new\"\no 40755 0:0\no/new 100644 0:0 \"new\"\nr 40755 0:0\nr/new 100644 0:0 \"new\""
				if d := cmp.Diff(want, listing(t, mounted(t, layersOf(t, imgs[0])))); d != "" {
					t.Error(d)
				}
				if _, err := imgs[0].ReadFile(context.Background(), "/gone", 10); image.KindOf(err) != image.KindNotFound {
					t.Errorf("the view: %v", err)
				}
				if readIn(t, imgs[0], "/r/new") != "new" {
					t.Error("the view")
				}
			})
		})
	}
}

// A layer that uses a folder without naming it must not change what the layers below say about it.
func TestUnpackImpliedFolders(t *testing.T) {
	needRoot(t)
	base := tarOf(t, entry{name: "tmp/", kind: tar.TypeDir, mode: 0o1777}, entry{name: "home/", kind: tar.TypeDir}, entry{name: "home/app/", kind: tar.TypeDir, mode: 0o700, uid: 1000, gid: 1000})
	top := tarOf(t, entry{name: "tmp/x", body: "x"}, entry{name: "home/app/y", body: "y"}, entry{name: "new/z", body: "z"})
	both(t, dockerArchive(t, "x:1", base, top), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
		if err != nil {
			t.Fatal(err)
		}
		want := "home 40755 0:0\nhome/app 40700 1000:1000\nhome/app/y 100644 0:0 \"y\"\nnew 40755 0:0\nnew/z 100644 0:0 \"z\"\ntmp 41777 0:0\ntmp/x 100644 0:0 \"x\""
		if d := cmp.Diff(want, listing(t, mounted(t, layersOf(t, imgs[0])))); d != "" {
			t.Error(d)
		}
	})
}

func TestUnpackSparse(t *testing.T) {
	needRoot(t)
	// An old GNU sparse entry: 1 MiB with four bytes at its end.
	const size = 1 << 20
	head := make([]byte, 512)
	copy(head, "sparse")
	copy(head[100:], "0000644\x000000000\x000000000\x00")
	copy(head[124:], fmt.Sprintf("%011o\x00", 512))
	copy(head[136:], fmt.Sprintf("%011o\x00", 1_600_000_000))
	head[156] = 'S'
	copy(head[257:], "ustar  \x00")
	copy(head[386:], fmt.Sprintf("%011o\x00%011o\x00", size-512, 512))
	copy(head[483:], fmt.Sprintf("%011o\x00", size))
	copy(head[148:], "        ")
	n := 0
	for _, c := range head {
		n += int(c)
	}
	copy(head[148:], fmt.Sprintf("%06o\x00 ", n))
	data := make([]byte, 512)
	copy(data[508:], "tail")
	layer := append(append(head, data...), make([]byte, 1024)...)
	both(t, dockerArchive(t, "x:1", layer), func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
		if err != nil {
			t.Fatal(err)
		}
		got := readIn(t, imgs[0], "/sparse")
		if len(got) != size || got[size-4:] != "tail" || strings.Trim(got[:size-4], "\x00") != "" {
			t.Errorf("%d bytes", len(got))
		}
		saved(t, s, image.DockerArchive, imgs[0]) // proves the digest
	})
}

func TestUnpackLimits(t *testing.T) {
	needRoot(t)
	many := []entry{}
	for i := range 20 {
		many = append(many, entry{name: fmt.Sprintf("f%d", i), body: "0123456789"})
	}
	b := dockerArchive(t, "x:1", tarOf(t, many...))
	for name, l := range map[string]image.Limits{"entries": {Entries: 10}, "bytes": {Bytes: 100}} {
		t.Run(name, func(t *testing.T) {
			s, err := image.Open(image.Config{Dir: t.TempDir(), Limits: l})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := loadBytes(t, s, b); image.KindOf(err) != image.KindLimit {
				t.Error(err)
			}
		})
	}
	t.Run("bomb", func(t *testing.T) {
		if testing.Short() {
			t.Skip("a gigabyte of zeros takes seconds")
		}
		var bomb bytes.Buffer
		w, _ := zstd.NewWriter(&bomb)
		tw := tar.NewWriter(w)
		const size = 3 << 30
		tw.WriteHeader(&tar.Header{Name: "zeros", Size: size, Mode: 0o644})
		io.CopyN(tw, zeros{}, size)
		tw.Close()
		w.Close()
		config, _ := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": []string{sum(nil)}}})
		m, _ := json.Marshal([]map[string]any{{"Config": "c.json", "Layers": []string{"l.tar"}}})
		b := tarOf(t, entry{name: "l.tar", body: bomb.String()}, entry{name: "c.json", body: string(config)}, entry{name: "manifest.json", body: string(m)})
		if _, err := loadBytes(t, openStore(t), b); image.KindOf(err) != image.KindLimit || !strings.Contains(err.Error(), "bomb") {
			t.Error(err)
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestUnpackTruncated(t *testing.T) {
	needRoot(t)
	layer := tarOf(t, entry{name: "a", body: strings.Repeat("x", 5000)}, entry{name: "b", body: strings.Repeat("y", 5000)})
	for _, cut := range []int{100, 600, 4000, 6000, 7000} {
		b := dockerArchive(t, "x:1", layer[:cut])
		both(t, b, func(t *testing.T, s *image.Store, imgs []*image.Image, err error) {
			if err == nil {
				t.Errorf("an archive cut at %d was loaded", cut)
			}
		})
	}
}
