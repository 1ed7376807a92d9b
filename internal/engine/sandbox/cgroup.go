package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// cgroup is one container's cgroups.
type cgroup struct {
	dirs       []string
	by         map[string]*hierarchy // controller to tree
	name       string
	limits     engine.Limits
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
	c.apply(l)
	return c, nil
}

// apply sets the limits, and notes those that cannot be set.
func (c *cgroup) apply(l engine.Limits) {
	c.limits = l
	pids := pidsLimit(l)
	if pids == 1 { // The launcher's two stages are two processes.
		c.unenforced = append(c.unenforced, "pids: 2 is the least that can be enforced")
		pids = 2
	}
	c.limit("pids", pids, func(h *hierarchy) error { return c.set("pids", "pids.max", pids) })
	c.limit("memory", l.Memory, func(h *hierarchy) error { return c.setMemory(h, l.Memory) })
	c.limit("cpu", l.MilliCPU, func(h *hierarchy) error { return c.setCPU(h, l.MilliCPU) })
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

// abandon notes that no version 2 limit holds after all.
func (c *cgroup) abandon(why string) {
	values := map[string]int64{"pids": pidsLimit(c.limits), "memory": c.limits.Memory, "cpu": c.limits.MilliCPU}
	for _, w := range wanted {
		if h := c.by[w]; h == nil || h.version != 2 {
			continue
		}
		delete(c.by, w)
		if values[w] > 0 {
			c.unenforced = append(c.unenforced, w+": "+why)
		}
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

// letDie lifts what keeps processes that were killed from ending. Each needs some processor time for that, and the thousands of a
// fork bomb, who share the container's, would take minutes; and no new ones may come meanwhile. What a tree lacks is passed over:
// the processes end without it, only later.
func letDie(dirs []string) {
	for _, dir := range dirs {
		for _, w := range [][2]string{{"pids.max", "0"}, {"cgroup.kill", "1"}, {"cpu.max", "max"}, {"cpu.cfs_quota_us", "-1"}} {
			if f, err := os.OpenFile(filepath.Join(dir, w[0]), os.O_WRONLY, 0); err == nil {
				_, _ = f.WriteString(w[1])
				f.Close()
			}
		}
	}
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

// memory reads what the container has now, in bytes; zero where the machine does not tell.
func (c *cgroup) memory() int64 {
	if h := c.by["memory"]; h != nil && h.version == 2 {
		return c.value("memory", "memory.current")
	}
	return c.value("memory", "memory.usage_in_bytes")
}

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
