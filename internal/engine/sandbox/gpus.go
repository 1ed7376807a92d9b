package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
	"longshore/internal/engine/sandbox/cdi"
)

// gpuLocks is a folder of Config.Dir with one file for each GPU that was ever given away. Whoever holds a lock on the file has
// the GPU; the kernel lets go of it when the process dies, as its containers do.
const gpuLocks = "_gpus"

// GPUs implements engine.GPUProvider. Where there are several kinds of them, those of the kind of which there are most count, as
// a container gets GPUs of one kind.
func (e *Engine) GPUs() ([]string, error) {
	list, _, err := cdi.GPUs(e.cdiDirs)
	if err != nil {
		return nil, err
	}
	var most []string
	for _, kind := range byKind(list) {
		if len(kind) <= len(most) {
			continue
		}
		most = nil
		for _, g := range kind {
			most = append(most, g.Name)
		}
	}
	return most, nil
}

func byKind(list []cdi.GPU) [][]cdi.GPU {
	var kinds [][]cdi.GPU
	for i, g := range list {
		if i == 0 || g.Kind() != list[i-1].Kind() {
			kinds = append(kinds, nil)
		}
		kinds[len(kinds)-1] = append(kinds[len(kinds)-1], g)
	}
	return kinds
}

// heldGPUs are the GPUs of one container. The zero value is none.
type heldGPUs struct {
	locks []*os.File
	grant cdi.Grant
}

// release lets others have them. It can be called twice.
func (h *heldGPUs) release() {
	for _, l := range h.locks {
		l.Close()
	}
	h.locks = nil
}

// takeGPUs takes as many GPUs as the container is to have, and works out what comes with them.
func (s *starter) takeGPUs() error {
	want := s.spec.GPUs
	if want <= 0 {
		return nil
	}
	list, _, err := cdi.GPUs(s.e.cdiDirs)
	if err != nil {
		return startError("limit", "not enough GPU available: %w", err)
	}
	var busy []string
	for _, kind := range byKind(list) {
		mine, taken, err := s.lockGPUs(kind, want)
		if err != nil {
			return err
		}
		if len(mine) == want {
			s.gpus.grant = cdi.Merge(mine)
			return s.checkNodes()
		}
		s.gpus.release()
		busy = append(busy, taken...)
	}
	if len(busy) == 0 {
		return startError("limit", "not enough GPU available: asked for %d, and this machine has %d", want, len(list))
	}
	return startError("limit", "not enough GPU available: asked for %d, and of the %d of this machine other containers have %s", want, len(list), strings.Join(busy, ", "))
}

// lockGPUs takes up to want of a list; taken are those that others have.
func (s *starter) lockGPUs(list []cdi.GPU, want int) (mine []cdi.GPU, taken []string, err error) {
	dir := filepath.Join(s.e.dir, gpuLocks)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("sandbox: making the folder of GPU locks: %w", err)
	}
	for _, g := range list {
		if len(mine) == want {
			break
		}
		f, err := os.OpenFile(filepath.Join(dir, strings.ReplaceAll(g.Name, "/", "_")), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("sandbox: locking the GPU %s: %w", g.Name, err)
		}
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			s.gpus.locks = append(s.gpus.locks, f)
			mine = append(mine, g)
		case errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			taken = append(taken, g.Name)
		default:
			f.Close()
			return nil, nil, fmt.Errorf("sandbox: locking the GPU %s: %w", g.Name, err)
		}
	}
	return mine, taken, nil
}

// checkNodes sees that the device files are there and that the container's users, who are nobody on this machine, can open them.
func (s *starter) checkNodes() error {
	for _, n := range s.gpus.grant.Nodes {
		st, err := os.Stat(n.Host())
		switch {
		case err != nil:
			return startError("mount", "the GPU's device file: %w", err)
		case st.Mode()&os.ModeDevice == 0:
			return startError("mount", "the GPU's device file %s is no device", n.Host())
		case st.Mode().Perm()&0o006 != 0o006:
			return startError("mount", "the GPU's device file %s (mode %#o) is closed to the users of containers; open it (chmod a+rw, or a udev rule)", n.Host(), st.Mode().Perm())
		}
		if n.Permissions != "" && !(strings.Contains(n.Permissions, "r") && strings.Contains(n.Permissions, "w")) {
			s.gpus.grant.Notes = append(s.gpus.grant.Notes, fmt.Sprintf("the device %s is given for reading and writing; its CDI spec says %q", n.Path, n.Permissions))
		}
	}
	return nil
}

// mounts are what is mounted for them. User numbers are not mapped: what belongs to this machine's root stays out of reach of
// the container's root, also where a spec does not ask for read-only.
func (h *heldGPUs) mounts() []mount {
	var list []mount
	for _, n := range h.grant.Nodes {
		list = append(list, mount{kind: "bind", source: n.Host(), target: n.Path, attr: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC})
	}
	for _, b := range h.grant.Mounts {
		attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if slices.Contains(b.Options, "ro") {
			attr |= readOnly
		}
		if slices.Contains(b.Options, "noexec") {
			attr |= unix.MOUNT_ATTR_NOEXEC
		}
		list = append(list, mount{kind: "bind", source: b.HostPath, target: b.ContainerPath, attr: attr, flags: recursive})
	}
	return list
}

// environment adds their variables, which win over the image's. The loader looks for libraries in their folders too, after those
// that the image names.
func (h *heldGPUs) environment(env []string) []string {
	const libraryPath = "LD_LIBRARY_PATH="
	for _, v := range h.grant.Env {
		env = setVariable(env, v)
	}
	if len(h.grant.LibraryFolders) == 0 {
		return env
	}
	path := strings.Join(h.grant.LibraryFolders, ":")
	if i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, libraryPath) }); i >= 0 && len(env[i]) > len(libraryPath) {
		path = env[i][len(libraryPath):] + ":" + path
	}
	return setVariable(env, libraryPath+path)
}

func setVariable(env []string, v string) []string {
	name, _, _ := strings.Cut(v, "=")
	env = slices.DeleteFunc(slices.Clone(env), func(o string) bool { return strings.HasPrefix(o, name+"=") })
	return append(env, v)
}

func (e *Engine) gpuCheck() engine.Check {
	c := engine.Check{Name: "GPUs", Optional: true}
	list, problems, err := cdi.GPUs(e.cdiDirs)
	if err != nil {
		c.Detail, c.Mend = err.Error(), "only tasks that ask for GPUs need it: have the vendor's tool write a CDI spec, such as `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
		return c
	}
	var names []string
	for _, g := range list {
		names = append(names, g.Name)
	}
	c.OK, c.Detail = true, strings.Join(names, ", ")
	if len(problems) > 0 {
		c.Detail += "; unusable: " + strings.Join(problems, "; ")
	}
	return c
}
