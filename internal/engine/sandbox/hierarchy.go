package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// cgroupName is the folder below which all cgroups of this engine are made.
const cgroupName = "longshore"

// cgroupSuffix tells the cgroups of one Config.Dir from those of others on the machine.
func cgroupSuffix(dir string) string {
	h := fnv.New32a()
	h.Write([]byte(dir))
	return fmt.Sprintf(".%08x", h.Sum32())
}

// hierarchy is one mounted cgroup tree and the controllers used from it.
type hierarchy struct {
	parent      string // folder that containers' cgroups are made in
	version     int    // 1 or 2
	controllers map[string]bool
}

// cgroups is what this machine offers to limit containers with. Version 1 has a tree per controller, version 2 one for all;
// hybrid machines have both, and what counts is where a controller is.
type cgroups struct {
	trees   []*hierarchy
	missing map[string]string // controller to reason
}

var wanted = []string{"memory", "pids", "cpu", "cpuacct"}

// findCgroups looks at the machine once, on first use.
var findCgroups = sync.OnceValue(func() *cgroups {
	c := &cgroups{missing: map[string]string{}}
	mounts, err := cgroupMounts()
	if err != nil {
		for _, w := range wanted {
			c.missing[w] = err.Error()
		}
		return c
	}
	own, err := ownCgroups()
	if err != nil {
		for _, w := range wanted {
			c.missing[w] = err.Error()
		}
		return c
	}
	found := map[string]bool{}
	for _, m := range mounts {
		var h *hierarchy
		if m.version == 1 {
			h, err = openV1(m, own)
		} else {
			h, err = openV2(m, own[""])
		}
		if h == nil && err == nil {
			continue
		}
		for _, w := range wanted {
			switch {
			case err == nil && h.controllers[w] && !found[w]:
				found[w] = true
			case h != nil:
				delete(h.controllers, w)
			}
			if err != nil && (m.version == 2 || m.options[w]) {
				c.missing[w] = err.Error()
			}
		}
		if err == nil && len(h.controllers) > 0 {
			c.trees = append(c.trees, h)
		}
	}
	for _, w := range wanted {
		if found[w] {
			delete(c.missing, w)
		} else if c.missing[w] == "" {
			c.missing[w] = "this machine has no " + w + " cgroup controller, or did not delegate it"
		}
	}
	return c
})

type cgroupMount struct {
	path, root string
	version    int
	options    map[string]bool
}

// cgroupMounts reads where cgroup trees are mounted.
func cgroupMounts() ([]cgroupMount, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []cgroupMount
	seen := map[string]bool{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 || g[0] != "cgroup" && g[0] != "cgroup2" {
			continue
		}
		m := cgroupMount{root: f[3], path: f[4], version: 1, options: map[string]bool{}}
		if g[0] == "cgroup2" {
			m.version = 2
		}
		for o := range strings.SplitSeq(g[2], ",") {
			m.options[o] = true
		}
		key := g[0] + g[2]
		if m.version == 2 {
			key = "2"
		}
		if !seen[key] {
			seen[key] = true
			list = append(list, m)
		}
	}
	return list, nil
}

// ownCgroups reads which cgroup this process is in, per version 1 controller; version 2 has the empty name.
func ownCgroups() (map[string]string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			own[c] = f[2]
		}
	}
	return own, nil
}

// openV1 makes the engine's folder below the cgroup this process is in, so that limits set on us bound our containers too. It
// returns nil if the tree has no controller of interest.
func openV1(m cgroupMount, own map[string]string) (*hierarchy, error) {
	h := &hierarchy{version: 1, controllers: map[string]bool{}}
	at := ""
	for _, w := range wanted {
		if m.options[w] {
			h.controllers[w] = true
			at = own[w]
		}
	}
	if len(h.controllers) == 0 {
		return nil, nil
	}
	h.parent = filepath.Join(below(m, at), cgroupName)
	return h, makeCgroup(h.parent)
}

// openV2 makes the engine's folder in the highest cgroup above us that can hand the controllers on: a cgroup with processes in
// it cannot, so our own will not do unless it is the machine's root.
func openV2(m cgroupMount, own string) (*hierarchy, error) {
	h := &hierarchy{version: 2, controllers: map[string]bool{}}
	var tried error
	top := filepath.Clean(m.path)
	candidates := []string{below(m, own)}
	for candidates[0] != top && strings.HasPrefix(candidates[0], top) {
		candidates = append([]string{filepath.Dir(candidates[0])}, candidates...)
	}
	for _, dir := range candidates {
		offered, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err != nil {
			tried = err
			continue
		}
		have := map[string]bool{}
		for _, c := range strings.Fields(string(offered)) {
			if c == "memory" || c == "pids" || c == "cpu" {
				have[c] = true
			}
		}
		if len(have) == 0 {
			return nil, nil // A hybrid machine: the controllers are in version 1 trees.
		}
		parent := filepath.Join(dir, cgroupName)
		if err := enable(dir, have); err != nil {
			tried = err
			continue
		}
		if err := makeCgroup(parent); err != nil {
			tried = err
			continue
		}
		if err := enable(parent, have); err != nil {
			tried = err
			continue
		}
		h.parent, h.controllers = parent, have
		h.controllers["cpuacct"] = true // cpu.stat is always there.
		return h, nil
	}
	return nil, tried
}

// enable hands controllers on to a cgroup's children.
func enable(dir string, controllers map[string]bool) error {
	path := filepath.Join(dir, "cgroup.subtree_control")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	on := strings.Fields(string(b))
	var add []string
next:
	for c := range controllers {
		for _, o := range on {
			if o == c {
				continue next
			}
		}
		add = append(add, "+"+c)
	}
	if len(add) == 0 {
		return nil
	}
	return os.WriteFile(path, []byte(strings.Join(add, " ")), 0)
}

// makeCgroup makes a folder that we can make cgroups in.
func makeCgroup(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); err != nil {
		return &os.PathError{Op: "writing to", Path: path, Err: err}
	}
	return nil
}

// below is where a cgroup is found in a mount whose root is itself some cgroup.
func below(m cgroupMount, path string) string {
	rel, err := filepath.Rel(m.root, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		rel = path
	}
	return filepath.Join(m.path, rel)
}
