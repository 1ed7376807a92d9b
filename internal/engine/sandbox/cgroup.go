package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
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

// cgroup is one container's cgroups.
type cgroup struct {
	dirs       []string
	by         map[string]*hierarchy // controller to tree
	name       string
	unenforced []string
}

// newCgroup makes the cgroups of a container and sets its limits. What cannot be limited is noted, not an error.
func newCgroup(name string, l engine.Limits) (*cgroup, error) {
	all := findCgroups()
	c := &cgroup{name: name, by: map[string]*hierarchy{}}
	for _, h := range all.trees {
		dir := filepath.Join(h.parent, name)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, os.ErrExist) { // Left by a crash: the container's folder reserves the name.
			err = removeCgroup(dir)
			if err == nil {
				err = os.Mkdir(dir, 0o755)
			}
		}
		if missing(err) { // Someone removed the empty parent.
			if err = makeCgroup(h.parent); err == nil {
				err = os.Mkdir(dir, 0o755)
			}
		}
		if err != nil {
			return c, errors.Join(fmt.Errorf("sandbox: making a cgroup: %w", err), c.remove())
		}
		c.dirs = append(c.dirs, dir)
		for w := range h.controllers {
			c.by[w] = h
		}
	}
	pids := pidsLimit(l)
	if pids == 1 { // The launcher's two stages are two processes.
		c.unenforced = append(c.unenforced, "pids: 2 is the least that can be enforced")
		pids = 2
	}
	c.limit("pids", pids, func(h *hierarchy) error { return c.set("pids", "pids.max", pids) })
	c.limit("memory", l.Memory, func(h *hierarchy) error { return c.setMemory(h, l.Memory) })
	c.limit("cpu", l.MilliCPU, func(h *hierarchy) error { return c.setCPU(h, l.MilliCPU) })
	return c, nil
}

func pidsLimit(l engine.Limits) int64 {
	if l.Pids == 0 {
		return engine.DefaultPids
	}
	return l.Pids
}

// limit applies one limit, or notes that it does not hold.
func (c *cgroup) limit(controller string, value int64, set func(*hierarchy) error) {
	if value <= 0 {
		return
	}
	h := c.by[controller]
	if h == nil {
		why := findCgroups().missing[controller]
		if controller == "pids" {
			why = "holds for each user in the container by itself: " + why
		}
		c.unenforced = append(c.unenforced, controller+": "+why)
		return
	}
	if err := set(h); err != nil {
		c.unenforced = append(c.unenforced, controller+": "+err.Error())
	}
}

func (c *cgroup) setMemory(h *hierarchy, bytes int64) error {
	if h.version == 2 {
		if err := c.set("memory", "memory.max", bytes); err != nil {
			return err
		}
		if err := c.set("memory", "memory.swap.max", 0); err != nil && !missing(err) {
			return err
		}
		return nil
	}
	if err := c.set("memory", "memory.limit_in_bytes", bytes); err != nil {
		return err
	}
	err := c.set("memory", "memory.memsw.limit_in_bytes", bytes)
	if missing(err) || errors.Is(err, unix.EOPNOTSUPP) { // Swap is not accounted.
		err = c.set("memory", "memory.swappiness", 0)
	}
	return err
}

// setCPU grants a share of each tenth of a second.
func (c *cgroup) setCPU(h *hierarchy, milli int64) error {
	const period = 100_000
	quota := max(milli*period/1000, 1000)
	if h.version == 2 {
		return c.write("cpu", "cpu.max", fmt.Sprintf("%d %d", quota, period))
	}
	if err := c.set("cpu", "cpu.cfs_period_us", period); err != nil {
		return err
	}
	return c.set("cpu", "cpu.cfs_quota_us", quota)
}

func (c *cgroup) set(controller, file string, n int64) error {
	return c.write(controller, file, strconv.FormatInt(n, 10))
}

func (c *cgroup) write(controller, file, value string) error {
	f, err := os.OpenFile(c.path(controller, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

func (c *cgroup) path(controller, file string) string {
	return filepath.Join(c.by[controller].parent, c.name, file)
}

// open returns what a new process needs to join: the descriptors of version 1 tasks files, and that of a version 2 folder
// (nil without one). The caller closes them.
func (c *cgroup) open() (tasks []*os.File, unified *os.File, err error) {
	for i, h := range findCgroups().trees {
		if h.version == 2 {
			unified, err = os.Open(c.dirs[i])
		} else {
			var f *os.File
			if f, err = os.OpenFile(filepath.Join(c.dirs[i], "tasks"), os.O_WRONLY, 0); err == nil {
				tasks = append(tasks, f)
			}
		}
		if err != nil {
			return tasks, unified, fmt.Errorf("sandbox: opening a cgroup: %w", err)
		}
	}
	return tasks, unified, nil
}

// events reads a counter of a file of "name value" lines.
func (c *cgroup) event(controller, file, name string) int64 {
	if c.by[controller] == nil {
		return 0
	}
	b, err := os.ReadFile(c.path(controller, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

func (c *cgroup) value(controller, file string) int64 {
	if c.by[controller] == nil {
		return 0
	}
	b, err := os.ReadFile(c.path(controller, file))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// oomKilled tells whether the kernel killed something here for want of memory.
func (c *cgroup) oomKilled() bool {
	if h := c.by["memory"]; h != nil && h.version == 2 {
		return c.event("memory", "memory.events", "oom_kill") > 0
	}
	return c.event("memory", "memory.oom_control", "oom_kill") > 0
}

// pidsHit tells whether the process limit stopped a fork.
func (c *cgroup) pidsHit() bool { return c.event("pids", "pids.events", "max") > 0 }

// usage reads what the container has used; zero where the machine does not tell.
func (c *cgroup) usage() engine.Usage {
	var u engine.Usage
	if h := c.by["memory"]; h != nil && h.version == 2 {
		u.PeakMemory = c.value("memory", "memory.peak")
	} else {
		u.PeakMemory = c.value("memory", "memory.max_usage_in_bytes")
	}
	if h := c.by["cpuacct"]; h != nil && h.version == 2 {
		u.CPU = time.Duration(c.event("cpuacct", "cpu.stat", "usage_usec")) * time.Microsecond
	} else {
		u.CPU = time.Duration(c.value("cpuacct", "cpuacct.usage"))
	}
	return u
}

// remove removes the container's cgroups, which must be without processes.
func (c *cgroup) remove() error {
	var errs []error
	for _, dir := range c.dirs {
		errs = append(errs, removeCgroup(dir))
	}
	return errors.Join(errs...)
}

// removeCgroup removes one folder. A process that was reaped may keep its cgroup busy for a moment longer, and the kernel
// offers nothing to wait for.
func removeCgroup(dir string) error {
	var err error
	for wait := time.Millisecond; wait < time.Second; wait *= 2 {
		err = unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY {
			break
		}
		time.Sleep(wait)
	}
	return &os.PathError{Op: "rmdir", Path: dir, Err: err}
}
