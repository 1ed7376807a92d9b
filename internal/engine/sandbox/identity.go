package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// defaultPath is the PATH of a process whose environment has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// idCount is the number of user and group numbers a container has.
const idCount = 65536

// maxUserFile bounds /etc/passwd and /etc/group of an image.
const maxUserFile = 8 << 20

// identity is a user as the container knows it.
type identity struct {
	uid, gid int
	groups   []int
	home     string
}

// lookUp finds the user of a process in the files of a container's root folder.
func lookUp(root *os.File, spec string, all *ids) (identity, error) {
	passwd, err := readInRoot(root, "etc/passwd")
	if err != nil {
		return identity{}, startError("user", "looking up user %q: %w", spec, err)
	}
	group, err := readInRoot(root, "etc/group")
	if err != nil {
		return identity{}, startError("user", "looking up user %q: %w", spec, err)
	}
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return identity{}, startError("user", "user %q is not in the image's /etc/passwd or /etc/group: %w", spec, err)
	}
	for _, id := range append([]int{u.Uid, u.Gid}, u.Sgids...) {
		if id > 0 && id < idCount && id >= all.count {
			return identity{}, startError("user", "user %q has the number %d, but only root's is to be had: %s", spec, id, all.why)
		}
		if id < 0 || id >= idCount {
			return identity{}, startError("user", "user %q has the number %d; a container has the numbers 0 to %d", spec, id, idCount-1)
		}
	}
	return identity{uid: u.Uid, gid: u.Gid, groups: u.Sgids, home: u.Home}, nil
}

// readInRoot reads a file of a container, whose symbolic links lead nowhere but inside it. A missing one is empty.
func readInRoot(root *os.File, name string) ([]byte, error) {
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening /%s in the image: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > maxUserFile {
		return nil, fmt.Errorf("/%s in the image is not a regular file of at most %d MiB", name, maxUserFile>>20)
	}
	return io.ReadAll(io.LimitReader(f, maxUserFile))
}

// environment completes a process's environment and returns it with its PATH.
func environment(p engine.Process, hostname, home string) (env []string, path string) {
	env = slices.Clone(p.Env)
	for _, kv := range []string{"PATH=" + defaultPath, "HOSTNAME=" + hostname, "HOME=" + home} {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			env = append(env, kv)
		}
	}
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	return env, path
}

// stopSignal parses Process.StopSignal.
func stopSignal(s string) (unix.Signal, error) {
	if s == "" {
		return unix.SIGTERM, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	return 0, startError("unsupported", "no signal %q; use a name such as SIGINT or a number from 1 to 64", s)
}
