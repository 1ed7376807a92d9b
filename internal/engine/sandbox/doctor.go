package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// Inspect implements engine.Inspector. The last check starts a container without an image, which proves the others.
func (e *Engine) Inspect(ctx context.Context) []engine.Check {
	checks := []engine.Check{kernel(), rights(), userNamespaces(), overlay(), filtering()}
	checks = append(checks, limits()...)
	return append(checks, e.gpuCheck(), e.probe(ctx))
}

func kernel() engine.Check {
	c := engine.Check{Name: "kernel", Mend: "use Linux 6.1 or newer"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		c.Detail = err.Error()
		return c
	}
	c.Detail = unix.ByteSliceToString(u.Release[:])
	var major, minor int
	_, _ = fmt.Sscanf(c.Detail, "%d.%d", &major, &minor)
	c.OK = major > 6 || major == 6 && minor >= 1
	return c
}

func rights() engine.Check {
	c := engine.Check{Name: "user"}
	i, err := findIDs()
	switch {
	case err != nil:
		c.Detail, c.Mend = err.Error(), "mount /proc"
	case i.privileged:
		c.OK, c.Detail = true, "root: each container has 65536 user numbers of its own"
	case i.count == idCount:
		c.OK, c.Detail = true, fmt.Sprintf("user number %d, without root: containers share 65536 user numbers", os.Geteuid())
	default:
		c.Optional, c.Detail = true, fmt.Sprintf("user number %d, without root: containers run as root of their own only", os.Geteuid())
		c.Mend = i.why
	}
	return c
}

func userNamespaces() engine.Check {
	c := engine.Check{Name: "user namespaces", Mend: "set the sysctl user.max_user_namespaces to 10000 or more"}
	b, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil {
		c.Detail = err.Error()
		c.Mend = "use a kernel with CONFIG_USER_NS"
		return c
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	c.OK, c.Detail = n > 0, fmt.Sprintf("at most %d", n)
	return c
}

func overlay() engine.Check {
	c := engine.Check{Name: "overlayfs", Mend: "load it: modprobe overlay"}
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	c.OK = slices.Contains(strings.Fields(string(b)), "overlay")
	c.Detail = map[bool]string{true: "present", false: "not loaded"}[c.OK]
	return c
}

func filtering() engine.Check {
	c := engine.Check{Name: "seccomp", Mend: "use a kernel with CONFIG_SECCOMP_FILTER"}
	b, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	c.OK = slices.Contains(strings.Fields(string(b)), "errno")
	c.Detail = "moby's default profile"
	return c
}

// limits tells which limits can be enforced, and where.
func limits() []engine.Check {
	all := findCgroups()
	var list []engine.Check
	for _, w := range []string{"memory", "pids", "cpu"} {
		c := engine.Check{Name: w + " limit", Optional: true}
		for _, h := range all.trees {
			if h.controllers[w] {
				c.OK = true
				c.Detail = fmt.Sprintf("cgroup version %d, %s", h.version, h.parent)
			}
		}
		if !c.OK {
			c.Detail = all.missing[w]
			c.Mend = "run as root, or have systemd delegate the " + w + " controller to your user (Delegate=yes)"
		}
		list = append(list, c)
	}
	return list
}

// probe starts a container of nothing: that its command is missing is the last thing that can go wrong.
func (e *Engine) probe(ctx context.Context) engine.Check {
	c := engine.Check{Name: "container", Detail: "namespaces, id-mapped overlay, filters and limits work in " + e.dir}
	h, err := e.Start(ctx, engine.Spec{
		ID:      fmt.Sprintf("probe-%d-%d", os.Getpid(), rand.Uint32()),
		Process: engine.Process{Args: []string{"/probe"}},
	})
	var start *engine.StartError
	switch {
	case err == nil:
		err = errors.Join(errors.New("an empty container ran a command"), e.Remove(ctx, h))
	case errors.As(err, &start) && start.Kind == "command":
		c.OK = true
		return c
	}
	c.Detail = err.Error()
	c.Mend = "mend the failed checks above; the home folder must be on a local file system such as ext4, xfs or btrfs"
	return c
}
