package enginetest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

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
		"Folders":         folders,
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
		"DiskUnnamed":     diskUnnamed,
		"DiskEmpty":       diskEmpty,
		"HiddenSocket":    hiddenSocket,
		"Watches":         watches,
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
	// Without a pipeline: while it makes one, the shell has the pipe's ends open itself.
	s.lines(s.spec("sh", "-c", "ls /proc/$$/fd; :"), "0", "1", "2")
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
