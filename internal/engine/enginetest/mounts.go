package enginetest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"longshore/internal/engine"
)

func inputs(s *suite) {
	in := s.T.TempDir()
	if err := os.WriteFile(filepath.Join(in, "secret"), []byte("data"), 0o600); err != nil {
		s.Fatal(err)
	}
	spec := s.shell(`cat /in/deep/secret; for c in 'echo x >/in/deep/secret' 'touch /in/deep/new' 'rm /in/deep/secret' 'chmod 777 /in/deep/secret'; do (eval "$c") 2>/dev/null && echo "did $c"; done; true`)
	spec.Mounts = []engine.Mount{{Source: in, Target: "/in/deep", ReadOnly: true}}
	s.lines(spec, "data")
}

func outputs(s *suite) {
	out := s.T.TempDir()
	if r, ok := s.Engine.(engine.FolderRemover); ok {
		s.Cleanup(func() {
			if err := r.RemoveFolder(context.Background(), out); err != nil {
				s.Error(err)
			}
		})
	}
	if err := os.Chmod(out, 0o777); err != nil {
		s.Fatal(err)
	}
	spec := s.shell(`echo result >/out/file; mkdir /out/dir; echo more >/out/dir/file`)
	spec.Process.User = s.someone()
	spec.Mounts = []engine.Mount{{Source: out, Target: "/out"}}
	s.output(spec)
	for name, want := range map[string]string{"file": "result\n", "dir/file": "more\n"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			s.Errorf("%s is %q, %v", name, got, err)
		}
	}
}

func mountFile(s *suite) {
	in := filepath.Join(s.T.TempDir(), "config")
	if err := os.WriteFile(in, []byte("one file"), 0o644); err != nil {
		s.Fatal(err)
	}
	spec := s.shell(`cat /a/b/config /etc/passwd`)
	spec.Mounts = []engine.Mount{{Source: in, Target: "/a/b/config", ReadOnly: true}, {Source: in, Target: "/etc/passwd", ReadOnly: true}}
	s.lines(spec, "one fileone file")
	spec.ID += "-b"
	spec.Mounts[0].Target = "/bin"
	s.refused(spec, "mount")
}

func mountMissing(s *suite) {
	for _, m := range []engine.Mount{
		{Source: filepath.Join(s.T.TempDir(), "missing"), Target: "/in"},
		{Source: "relative", Target: "/in"},
		{Source: "/tmp", Target: "relative"},
		{Source: "/tmp", Target: "/a/../b"},
		{Source: "/tmp", Target: "/"},
	} {
		spec := s.shell("true")
		spec.Mounts = []engine.Mount{m}
		s.refused(spec, "mount")
	}
}

func mountNested(s *suite) {
	outer, inner := s.T.TempDir(), s.T.TempDir()
	if err := os.WriteFile(filepath.Join(inner, "f"), []byte("inner"), 0o644); err != nil {
		s.Fatal(err)
	}
	spec := s.shell(`cat /data/sub/f; echo x >/data/o`)
	spec.Mounts = []engine.Mount{{Source: outer, Target: "/data"}, {Source: inner, Target: "/data/sub", ReadOnly: true}}
	s.lines(spec, "inner")
	if _, err := os.Stat(filepath.Join(outer, "o")); err != nil {
		s.Error(err)
	}
}

func tmpfs(s *suite) {
	spec := s.shell(`echo x >/scratch/f; dd if=/dev/zero of=/scratch/big bs=1024 count=2048 2>/dev/null || echo full`)
	spec.Process.User = s.someone()
	spec.Mounts = []engine.Mount{{Target: "/scratch", Tmpfs: true, Size: 1 << 20}}
	s.lines(spec, "full")
}

// layer makes an image layer out of links (name to target) and files.
func (s *suite) layer(links, content map[string]string) string {
	s.Helper()
	dir := s.T.TempDir()
	for name, target := range links {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			s.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			s.Fatal(err)
		}
	}
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			s.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			s.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		s.Fatal(err)
	}
	return dir
}

// with adds a layer to an image.
func with(i engine.Image, layers ...string) engine.Image {
	i.Layers = append(append([]string(nil), i.Layers...), layers...)
	return i
}

// hostileTargets: symbolic links of an image where things are mounted lead nowhere but into the container.
func hostileTargets(s *suite) {
	outside := s.T.TempDir()
	host := s.T.TempDir()
	if err := os.WriteFile(filepath.Join(host, "f"), []byte("mounted"), 0o644); err != nil {
		s.Fatal(err)
	}
	for name, target := range map[string]string{
		"absolute": outside,
		"dotdot":   "../../../../../../../.." + outside,
		"missing":  outside + "/not/there",
		"relative": "a/b/c",
	} {
		spec := s.shell("cat /inputs/here/f")
		spec.Image = with(s.Image, s.layer(map[string]string{"inputs": target}, nil))
		spec.Mounts = []engine.Mount{{Source: host, Target: "/inputs/here", ReadOnly: true}}
		s.lines(spec, "mounted")
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			s.Errorf("%s: the machine's folder now holds %v %v", name, left, err)
		}
	}
	// Links that lead through /proc to what the engine itself has open, in circles, or over the files that the engine provides.
	for name, links := range map[string]map[string]string{
		"magic":  {"inputs": "/proc/self/fd/4"},
		"root":   {"inputs": "/proc/1/root"},
		"circle": {"inputs": "/inputs"},
	} {
		spec := s.shell("true")
		spec.Image = with(s.Image, s.layer(links, nil))
		spec.Mounts = []engine.Mount{{Source: host, Target: "/inputs/here", ReadOnly: true}}
		if err := s.refused(spec, "mount"); !strings.Contains(err.Error(), "/inputs") {
			s.Errorf("%s: the error does not name the target: %v", name, err)
		}
	}
	for _, links := range []map[string]string{
		{"etc/hosts": outside + "/hosts", "etc/resolv.conf": "../../.." + outside + "/resolv", "etc/hostname": "/nowhere"},
		{"etc/hosts": "/proc/self/environ"},
	} {
		spec := s.shell("cat /etc/hostname")
		spec.Hostname = "held"
		spec.Image = with(s.Image, s.layer(links, nil))
		h, err := s.Engine.Start(s.ctx, spec)
		if err == nil {
			s.wait(h)
			s.Engine.Remove(s.ctx, h)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			s.Errorf("the machine's folder now holds %v %v", left, err)
		}
	}
	for _, dir := range []string{"proc", "dev", "sys"} {
		spec := s.shell("true")
		spec.Image = with(s.Image, s.layer(map[string]string{dir: outside}, nil))
		if h, err := s.Engine.Start(s.ctx, spec); err == nil {
			s.wait(h)
			s.Engine.Remove(s.ctx, h)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			s.Errorf("/%s: the machine's folder now holds %v %v", dir, left, err)
		}
	}
}

// layers: upper layers win, and whiteouts hide.
func layers(s *suite) {
	low := s.layer(nil, map[string]string{"x/one": "low", "x/two": "low", "opaque/gone": "low"})
	high := s.layer(nil, map[string]string{"x/two": "high", "opaque/new": "high"})
	if err := syscall.Mknod(filepath.Join(high, "x/one"), syscall.S_IFCHR, 0); err != nil {
		s.Fatal(err)
	}
	// Only root may set the first, and only others' overlays heed the second.
	err := syscall.Setxattr(filepath.Join(high, "opaque"), "trusted.overlay.opaque", []byte("y"), 0)
	if err != nil {
		err = syscall.Setxattr(filepath.Join(high, "opaque"), "user.overlay.opaque", []byte("y"), 0)
	}
	if err != nil {
		s.Fatal(err)
	}
	spec := s.shell("ls /x /opaque; cat /x/two")
	spec.Image = with(s.Image, low, high)
	s.lines(spec, "/opaque:", "new", "", "/x:", "two", "high")
}

// folders: volumes are there although the image lacks them, empty and root's; what the image has stays as it is.
func folders(s *suite) {
	spec := s.shell("stat -c '%a %u:%g' /data/deep; ls /data/deep; touch /data/deep/new && ls /data/deep; cat /has/file; cat /link/file; test -e /etc/hosts && echo hosts")
	spec.Image = with(s.Image, s.layer(map[string]string{"link": "has"}, map[string]string{"has/file": "kept "}))
	spec.Folders = []string{"/data/deep", "/has", "/link", "/has/file", "/../../data"}
	spec.Process.Capabilities = engine.CapDefault
	s.lines(spec, "755 0:0", "new", "kept kept hosts")
	bad := s.shell("true")
	bad.Folders = []string{"/etc/hosts/x"}
	s.refused(bad, "unsupported")
}

func manyLayers(s *suite) {
	image := s.Image
	for i := range 200 {
		image = with(image, s.layer(nil, map[string]string{"n": itoa(i), "d/f" + itoa(i): "x"}))
	}
	spec := s.shell("cat /n; echo; ls /d | wc -l")
	spec.Image = image
	s.lines(spec, "199", "200")
}

func noLayers(s *suite) {
	spec := s.spec("/anything")
	spec.Image.Layers = nil
	s.refused(spec, "command")
	spec.Image.Layers = []string{filepath.Join(s.T.TempDir(), "missing")}
	if h, err := s.Engine.Start(s.ctx, spec); err == nil {
		s.Engine.Remove(s.ctx, h)
		s.Error("a missing layer was taken")
	}
}

func layersUntouched(s *suite) {
	layer := s.layer(nil, map[string]string{"data/file": "before"})
	spec := s.shell("echo after >/data/file; echo new >/data/new; rm /bin/script; cat /data/file")
	spec.Image = with(s.Image, layer)
	s.lines(spec, "after")
	again := s.shell("cat /data/file; ls /data; test -e /bin/script && echo there")
	again.Image = spec.Image
	s.lines(again, "beforefile", "there")
}

// writableLayer: what a container changes, and nothing else, is kept in the caller's folder with the container's own users.
func writableLayer(s *suite) {
	upper := filepath.Join(s.T.TempDir(), "upper")
	if err := os.Mkdir(upper, 0o755); err != nil {
		s.Fatal(err)
	}
	in := s.T.TempDir()
	spec := s.shell("mkdir /made; echo x >/made/file; chown 1001:1002 /made/file 2>/dev/null; rm /bin/script; echo y >/mnt/used/f")
	spec.Process.Capabilities = engine.CapDefault
	spec.WritableLayer = upper
	spec.Mounts = []engine.Mount{{Source: in, Target: "/mnt/used"}}
	s.output(spec)
	st, err := os.Stat(filepath.Join(upper, "made/file"))
	if err != nil {
		s.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (sys.Uid != 1001 || sys.Gid != 1002) {
		s.Errorf("the file is %d:%d's", sys.Uid, sys.Gid)
	}
	if st, err := os.Lstat(filepath.Join(upper, "bin/script")); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		s.Errorf("the removed file is %v, %v", st, err)
	}
	entries, err := os.ReadDir(upper)
	if err != nil {
		s.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "bin made" {
		s.Errorf("the layer holds %q", got)
	}
	if beside, _ := os.ReadDir(filepath.Dir(upper)); len(beside) != 1 {
		s.Errorf("beside the layer: %v", beside)
	}
	next := s.shell("cat /made/file; test -e /bin/script || echo gone")
	next.Image = with(s.Image, upper)
	s.lines(next, "x", "gone")
}
