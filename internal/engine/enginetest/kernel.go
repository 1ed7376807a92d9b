package enginetest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"longshore/internal/engine"
)

// isolation tests what keeps a container in, and what it is given, on a Linux kernel.
func isolation(t *testing.T, f Factory) {
	if !f(t).Kernel {
		t.Skip("the engine's containers are no Linux processes")
	}
	for name, test := range map[string]func(*suite){
		"Process":         process,
		"Root":            rootless,
		"Users":           users,
		"Capabilities":    capabilities,
		"Commands":        commands,
		"Directory":       directory,
		"Namespaces":      namespaces,
		"NoNetwork":       noNetwork,
		"HostNetwork":     hostNetwork,
		"Masked":          masked,
		"Devices":         devices,
		"Files":           files,
		"NoDescriptors":   noDescriptors,
		"Inputs":          inputs,
		"Outputs":         outputs,
		"MountFile":       mountFile,
		"MountMissing":    mountMissing,
		"MountNested":     mountNested,
		"Tmpfs":           tmpfs,
		"HostileTargets":  hostileTargets,
		"SelfExe":         selfExe,
		"Layers":          layers,
		"ManyLayers":      manyLayers,
		"NoLayers":        noLayers,
		"LayersUntouched": layersUntouched,
		"WritableLayer":   writableLayer,
		"OOM":             oom,
		"Killed":          killed,
		"Pids":            pids,
		"CPU":             cpu,
		"DiskFile":        diskFile,
		"DiskFiles":       diskFiles,
		"Daemon":          daemon,
		"BigLog":          bigLog,
		"Stats":           stats,
		"Baseline":        baseline,
	} {
		t.Run(name, func(t *testing.T) { test(newSuite(t, f)) })
	}
}

// lines checks that a container's output is as wanted, line by line.
func (s *suite) lines(spec engine.Spec, want ...string) {
	s.Helper()
	got := strings.TrimSpace(s.output(spec))
	if got != strings.Join(want, "\n") {
		s.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func process(s *suite) {
	spec := s.shell(`echo $$; hostname; grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd|CapPrm|CapInh|CapAmb):' /proc/self/status | tr '\t' ' '`)
	spec.Hostname = "quay"
	const none = "0000000000000000"
	s.lines(spec, "1", "quay", "CapInh: "+none, "CapPrm: "+none, "CapEff: "+none, "CapBnd: "+none, "CapAmb: "+none, "NoNewPrivs: 1", "Seccomp: 2")
}

// rootless: root inside is not root outside, and what it writes is root's on disk all the same.
func rootless(s *suite) {
	out := s.T.TempDir()
	spec := s.shell(`id -u; cat /proc/self/uid_map; echo x >/out/file; stat -c %u:%g /out/file /tmp /bin/busybox`)
	spec.Mounts = []engine.Mount{{Source: out, Target: "/out"}}
	text := strings.Fields(s.output(spec))
	if len(text) < 7 || text[0] != "0" || text[1] != "0" || strings.Join(text[len(text)-3:], " ") != "0:0 0:0 0:0" {
		s.Fatalf("the container sees %q", text)
	}
	outside, err := strconv.Atoi(text[2])
	if err != nil || outside == 0 {
		s.Errorf("root of the container is %q outside", text[2])
	}
	st, err := os.Stat(filepath.Join(out, "file"))
	if err != nil {
		s.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); int(sys.Uid) != os.Geteuid() || int(sys.Gid) != os.Getegid() {
		s.Errorf("the file is %d:%d's outside", sys.Uid, sys.Gid)
	}
}

// otherUsers skips a test that needs more than root.
func (s *suite) otherUsers() {
	s.Helper()
	if s.OnlyRoot {
		s.Skip("containers have no user but root here")
	}
}

// someone is a user other than root, if there is one.
func (s *suite) someone() string {
	if s.OnlyRoot {
		return "root"
	}
	return "app"
}

func users(s *suite) {
	s.otherUsers()
	for user, want := range map[string]string{
		"":            "uid=0 gid=0 /root",
		"app":         "uid=1001 gid=1002 1003 /home/app",
		"1001":        "uid=1001 gid=1002 1003 /home/app",
		"app:root":    "uid=1001 gid=0 /home/app",
		"4000:5000":   "uid=4000 gid=5000 /",
		"65535:65535": "uid=65535 gid=65535 /",
	} {
		spec := s.shell(`echo uid=$(id -u) gid=$(id -g) $(id -G | tr ' ' '\n' | grep -v "^$(id -g)$") $HOME`)
		spec.Process.User = user
		if got := strings.TrimSpace(s.output(spec)); got != want {
			s.Errorf("user %q is %q, want %q", user, got, want)
		}
	}
	for _, user := range []string{"nobody-here", "app:nogroup", "70000"} {
		spec := s.shell("true")
		spec.Process.User = user
		if err := s.refused(spec, "user"); !strings.Contains(err.Error(), user) {
			s.Errorf("the error does not name user %s: %v", user, err)
		}
	}
}

func capabilities(s *suite) {
	s.lines(s.shell(`touch /tmp/f; chown 5:5 /tmp/f 2>/dev/null || echo refused`), "refused")
	s.otherUsers()
	spec := s.shell(`touch /tmp/f && chown 5:6 /tmp/f && stat -c %u:%g /tmp/f; mount -t tmpfs none /tmp 2>/dev/null || echo refused; grep CapEff /proc/self/status | tr '\t' ' '`)
	spec.Process.Capabilities = engine.CapDefault
	s.lines(spec, "5:6", "refused", "CapEff: 00000000800405fb")
	spec.Process.Args = []string{"sh", "-c", "grep -E 'Cap(Eff|Prm)' /proc/self/status | tr '\t' ' '"}
	spec.ID += "-b"
	spec.Process.User = "app"
	s.lines(spec, "CapPrm: 0000000000000000", "CapEff: 0000000000000000")
	spec.Process.Capabilities = "everything"
	s.refused(spec, "unsupported")
}

func commands(s *suite) {
	s.lines(s.spec("script", "a b"), "script a b")
	s.lines(s.spec("/bin/script", "c"), "script c")
	spec := s.spec("./script")
	spec.Process.Dir = "/bin"
	s.lines(spec, "script")
	for _, bad := range []string{"notexec", "/bin/notexec", "/bin", "/bin/badscript", "badscript", "/etc/passwd/x"} {
		if err := s.refused(s.spec(bad), "command"); !strings.Contains(err.Error(), filepath.Base(bad)) {
			s.Errorf("the error does not name %s: %v", bad, err)
		}
	}
}

func directory(s *suite) {
	spec := s.shell("pwd")
	spec.Process.Dir = "/made/on/demand"
	s.lines(spec, "/made/on/demand")
	spec = s.shell("pwd")
	spec.Process.Dir = "relative"
	s.refused(spec, "command")
	spec.Process.Dir = "/bin/busybox"
	s.refused(spec, "command")
}

// namespaces: nothing but the container's own is seen, and no new user namespace, the door to most kernel holes, can be made.
func namespaces(s *suite) {
	spec := s.shell(`for n in user pid ipc uts mnt cgroup net; do readlink /proc/self/ns/$n; done; ls /proc | grep -c '^[0-9]'; unshare -U true 2>/dev/null || echo refused`)
	text := strings.Fields(s.output(spec))
	if len(text) != 9 || text[8] != "refused" {
		s.Fatalf("the container sees %q", text)
	}
	for i, n := range []string{"user", "pid", "ipc", "uts", "mnt", "cgroup", "net"} {
		ours, err := os.Readlink("/proc/self/ns/" + n)
		if err != nil {
			s.Fatal(err)
		}
		if text[i] == ours {
			s.Errorf("the %s namespace is the machine's", n)
		}
	}
	if n, _ := strconv.Atoi(text[7]); n > 4 {
		s.Errorf("the container sees %d processes", n)
	}
}

func noNetwork(s *suite) {
	s.lines(s.shell(`tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep -v -E '^(sit0|tunl0|ip6tnl0|gre0|gretap0|erspan0|ip_vti0|ip6_vti0|ip6gre0)$'
		nc -w 2 192.0.2.1 80 </dev/null 2>/dev/null || echo unreachable
		nc -w 2 127.0.0.1 81 </dev/null 2>/dev/null || echo refused`), "lo", "unreachable", "refused")
}

func hostNetwork(s *suite) {
	spec := s.shell(`readlink /proc/self/ns/net; cat /etc/resolv.conf; grep -c localhost /etc/hosts`)
	spec.Network = engine.NetworkHost
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		s.Fatal(err)
	}
	resolv, _ := os.ReadFile("/etc/resolv.conf")
	got := s.output(spec)
	if !strings.HasPrefix(got, ours+"\n"+string(resolv)) {
		s.Errorf("the container sees %q", got)
	}
	spec.Network = "everything"
	s.refused(spec, "unsupported")
}

func masked(s *suite) {
	s.lines(s.shell(`cat /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | wc -c
		for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/drop_caches /sys/kernel/mm/ksm/run; do (echo 1 >$f) 2>/dev/null && echo "wrote $f"; done
		ls /sys/firmware | wc -l
		touch /sys/x 2>/dev/null || echo refused`), "0", "0", "refused")
}

func devices(s *suite) {
	s.lines(s.shell(`echo gone >/dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo out >/dev/stdout; echo x >/dev/shm/x && cat /dev/shm/x
		ls /dev | tr '\n' ' '`), "3", "3", "out", "x", "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero")
	spec := s.shell(`echo out >/dev/stdout; echo err >/dev/stderr`)
	spec.Process.User = s.someone()
	s.lines(spec, "out")
	spec = s.shell(`dd if=/dev/zero of=/dev/shm/x bs=1024 count=2048 2>/dev/null || echo full`)
	spec.Limits.Shm = 1 << 20
	s.lines(spec, "full")
}

func files(s *suite) {
	spec := s.shell(`cat /etc/hostname; grep -c buoy /etc/hosts; wc -c </etc/resolv.conf; (echo x >/etc/hosts) 2>/dev/null || echo refused; stat -c %a / /etc/hosts`)
	spec.Hostname = "buoy"
	s.lines(spec, "buoy", "1", "0", "refused", "755", "644")
}

func noDescriptors(s *suite) {
	s.lines(s.spec("sh", "-c", "ls /proc/$$/fd | tr '\\n' ' '"), "0 1 2")
}

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

// selfExe: an image cannot make the engine's own program its command (CVE-2019-5736).
func selfExe(s *suite) {
	image := with(s.Image, s.layer(map[string]string{"bin/tool": "/proc/self/exe"}, map[string]string{
		"bin/tool2": "#!/proc/self/exe\n", "bin/tool3": "#!/bin/tool\n", "bin/tool4": "#! /bin/tool2 x\n"}))
	for _, cmd := range []string{"/proc/self/exe", "tool", "/bin/tool", "tool2", "/bin/tool2", "tool3", "tool4", "/proc/1/exe"} {
		spec := s.spec(cmd)
		spec.Image = image
		s.refused(spec, "command")
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

// enforced skips a test of a limit that does not hold here, which a container that does nothing tells.
func (s *suite) enforced(limit string) {
	s.Helper()
	spec := s.shell("true")
	spec.Limits = engine.Limits{Memory: 64 << 20, MilliCPU: 1000, Pids: 100}
	exit, _, _ := s.run(spec)
	for _, u := range exit.Unenforced {
		if strings.HasPrefix(u, limit) {
			s.Skipf("this machine does not enforce the %s limit for this user: %s", limit, u)
		}
	}
}

func oom(s *suite) {
	spec := s.shell("tail /dev/zero")
	spec.Limits.Memory = 32 << 20
	s.enforced("memory")
	exit, _, _ := s.run(spec)
	if !exit.OOM || exit.Code != 137 {
		s.Errorf("a program that eats its memory: %+v", exit)
	}
	if exit.Usage.PeakMemory < 16<<20 || exit.Usage.PeakMemory > 33<<20 {
		s.Errorf("peak memory is %d", exit.Usage.PeakMemory)
	}
	tiny := s.shell("true")
	tiny.Limits.Memory = 4096
	s.refused(tiny, "limit")
	// A child is killed, the main process goes on.
	spec = s.shell("tail /dev/zero & wait; exit 3")
	spec.Limits.Memory = 32 << 20
	if exit, _, _ := s.run(spec); !exit.OOM || exit.Code != 3 {
		s.Errorf("a child that eats the memory: %+v", exit)
	}
}

// killed: a kill from outside is no want of memory.
func killed(s *suite) {
	spec := s.program(Program{Until: "killed"})
	spec.Limits.Memory = 64 << 20
	h := s.start(spec)
	s.ready(h)
	if err := syscall.Kill(h.PID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	if exit := s.wait(h); exit.Code != 137 || exit.Signal != 9 || exit.OOM || exit.Stopped {
		s.Errorf("a killed program: %+v", exit)
	}
}

func pids(s *suite) {
	spec := s.shell("bomb() { bomb | bomb & }; bomb; i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; exit 0")
	spec.Limits.Pids = 20
	exit, _, _ := s.run(spec)
	if exit.Code == 0 {
		s.Errorf("a fork bomb: %+v", exit)
	}
	s.enforced("pids")
	if !exit.PidsExceeded || exit.Code == 0 {
		s.Errorf("a fork bomb: %+v", exit)
	}
	if exit, _, _ := s.run(s.shell("exit 0")); exit.PidsExceeded {
		s.Errorf("one process: %+v", exit)
	}
}

func cpu(s *suite) {
	spec := s.shell("timeout 1 sh -c 'while :; do :; done'; true")
	spec.Limits.MilliCPU = 200
	s.enforced("cpu")
	began := time.Now()
	exit, _, _ := s.run(spec)
	share := exit.Usage.CPU.Seconds() / time.Since(began).Seconds()
	if share > 0.4 || exit.Usage.CPU <= 0 {
		s.Errorf("a busy loop with a fifth of a core used %s (%.2f of a core)", exit.Usage.CPU, share)
	}
}

// diskFile: one file cannot grow beyond the limit.
func diskFile(s *suite) {
	spec := s.shell("dd if=/dev/zero of=/tmp/big bs=65536 count=1024 2>/dev/null; stat -c %s /tmp/big")
	spec.Limits.Disk = 1 << 20
	_, stdout, _ := s.run(spec)
	if got := strings.TrimSpace(stdout); got != "1048576" {
		s.Errorf("the file has %s bytes", got)
	}
}

// diskFiles: many files are noticed, in the writable layer as in writable mounts.
func diskFiles(s *suite) {
	for _, dir := range []string{"/tmp", "/out"} {
		spec := s.shell("i=0; while :; do dd if=/dev/zero of=" + dir + "/f$i bs=65536 count=8 2>/dev/null; i=$((i+1)); [ $i = 40 ] && sleep 1000; done")
		spec.Mounts = []engine.Mount{{Source: s.T.TempDir(), Target: "/out"}}
		spec.Limits.Disk = 4 << 20
		exit, _, _ := s.run(spec)
		if !exit.DiskExceeded || exit.Code != 137 || exit.Usage.Disk < 4<<20 {
			s.Errorf("many files in %s: %+v", dir, exit)
		}
	}
}

// daemon: nothing outlives the main process.
func daemon(s *suite) {
	s.unchanged(func() {
		spec := s.shell("setsid sh -c 'sleep 1000 & sleep 1000' & echo started; exit 0")
		h, err := s.Engine.Start(s.ctx, spec)
		if err != nil {
			s.Fatal(err)
		}
		s.wait(h)
		if err := s.Engine.Remove(s.ctx, h); err != nil {
			s.Error(err)
		}
	})
}

// bigLog: a gigabyte of output takes no memory, and what is not kept is counted.
func bigLog(s *suite) {
	total := int64(1 << 30)
	if testing.Short() {
		total = 256 << 20
	}
	spec := s.shell("yes 0123456789abcdef | head -c " + strconv.FormatInt(total, 10))
	spec.LogLimit = 1 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	exit, stdout, _ := s.run(spec)
	runtime.ReadMemStats(&after)
	if exit.Code != 0 || exit.LogDropped != total-1<<20 || len(stdout) != 1<<20 {
		s.Errorf("kept %d of %d bytes, dropped %d, %+v", len(stdout), total, exit.LogDropped, exit)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		s.Errorf("the heap grew by %d bytes", grown)
	}
}

func stats(s *suite) {
	stater, ok := s.Engine.(engine.Stater)
	if !ok {
		s.Skip("the engine is no Stater")
	}
	h := s.start(s.shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready; sleep 1000"))
	s.ready(h)
	u, err := stater.Stats(s.ctx, h)
	if err != nil {
		s.Fatal(err)
	}
	if os.Geteuid() == 0 && (u.CPU <= 0 || u.PeakMemory <= 0) {
		s.Errorf("%+v", u)
	}
}

// baseline: after many endings of all kinds, some at the same time, the machine is as before.
func baseline(s *suite) {
	s.output(s.shell("true")) // What is made once and kept.
	runs := 1000
	if testing.Short() {
		runs = 60
	}
	endings := []func(engine.Spec) engine.Spec{
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"true"}; return e },
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"sh", "-c", "echo x; exit 3"}; return e },
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"missing"}; return e },
		func(e engine.Spec) engine.Spec { e.Process.User = "missing"; return e },
		func(e engine.Spec) engine.Spec { e.Process.Args = []string{"sleep", "1000"}; return e },
		func(e engine.Spec) engine.Spec {
			e.Process.Args = []string{"sh", "-c", "setsid sleep 1000 & mkdir -p /a/b/c; touch /a/b/c/d; chmod 0 /a; exit 0"}
			return e
		},
	}
	fds := openFiles(s)
	s.unchanged(func() {
		work := make(chan int)
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for i := range work {
					h, err := s.Engine.Start(s.ctx, endings[i%len(endings)](s.shell("true")))
					if err != nil {
						continue
					}
					if i%len(endings) != 4 {
						if _, err := s.Engine.Wait(s.ctx, h); err != nil {
							s.Error(err)
						}
					}
					if err := s.Engine.Remove(s.ctx, h); err != nil {
						s.Error(err)
					}
				}
			})
		}
		for i := range runs {
			work <- i
		}
		close(work)
		workers.Wait()
	})
	if now := openFiles(s); now > fds {
		s.Errorf("%d descriptors were open before and %d after", fds, now)
	}
}
