package kaapana

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"longshore/internal/task"
)

const (
	// skipCode is the exit code that Kaapana's operator reads as "skipped"; shells use it for "found, not executable".
	skipCode = 126
	// maxItemsTold bounds how many item folders a note names.
	maxItemsTold = 10
)

// Collect returns every output channel as a folder. An empty one is a warning: nothing in the format forbids it.
func (Contract) Collect(t *task.Task, x *task.Execution, l task.Leftovers) (task.Collected, error) {
	var was left
	if len(x.Detail) > 0 {
		if err := json.Unmarshal(x.Detail, &was); err != nil {
			return task.Collected{}, fmt.Errorf("the stored execution of %s cannot be read: %w", t.Name, err)
		}
	}
	var c task.Collected
	var err error
	if was.Legacy != nil {
		c, err = collectLegacy(l, was.Legacy)
	} else {
		c, err = collectChannels(t, x, l, was)
	}
	if err != nil {
		return c, err
	}
	compareMemory(&c, was, x, l)
	switch {
	case l.Exit.OOM && x.Resources.Memory > 0:
		c.Failure = &task.Failure{Reason: task.ReasonOOM, Message: outOfMemory(x.Resources.Memory, l.Usage.PeakMemory, was.Limit)}
	case skipped(l.Exit):
		c.Notes = append(c.Notes, "skipped: true (Kaapana reads 126 as skipped)")
		c.Failure = &task.Failure{Reason: task.ReasonExit, Message: "the container exited with code 126, which Kaapana reads as skipped"}
	}
	return c, nil
}

func collectChannels(t *task.Task, x *task.Execution, l task.Leftovers, was left) (task.Collected, error) {
	c := task.Collected{Outputs: map[string]task.Value{}}
	inner := mountPoints(x)
	for _, p := range t.Outputs() {
		mount := was.Outputs[p.Name]
		dir, ok := l.Mounts[mount]
		if !ok {
			continue
		}
		c.Outputs[p.Name] = task.Value{Path: dir}
		s, err := survey(dir, inner[mount])
		if err != nil {
			return c, fmt.Errorf("the output %s cannot be read: %w", p.Name, err)
		}
		switch {
		case s.files > 0 || s.links > 0:
			c.Notes = append(c.Notes, fmt.Sprintf("output %s: %s", p.Name, s))
		case l.Exit.Code == 0:
			c.Warnings = append(c.Warnings, fmt.Sprintf("the output %s is empty", p.Name))
		}
	}
	return c, nil
}

// mountPoints are the folders that were made in fresh mounts for mounts inside them, by mount.
func mountPoints(x *task.Execution) map[string][]string {
	points := map[string][]string{}
	for _, m := range x.Mounts {
		for _, f := range m.Files {
			if f.Dir && !m.ReadOnly {
				points[m.Name] = append(points[m.Name], f.Path)
			}
		}
	}
	return points
}

func skipped(e task.Exit) bool { return e.Code == skipCode && e.Signal == 0 && !e.OOM }

// found is what lies in an output channel. Data is laid out as one sub-folder per item, by convention.
type found struct {
	items        []string
	files, links int
}

func (f found) String() string {
	s := fmt.Sprintf("%d files", f.files)
	if f.files == 1 {
		s = "1 file"
	}
	if len(f.items) == 0 {
		return s
	}
	names := f.items[:min(len(f.items), maxItemsTold)]
	more := ""
	if n := len(f.items) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s in the items %s%s", s, strings.Join(names, ", "), more)
}

// survey counts what is in a channel, without the mount points of others.
func survey(dir string, points []string) (found, error) {
	var f found
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		switch {
		case e.Type().IsRegular():
			f.files++
		case e.Type()&os.ModeSymlink != 0:
			f.links++
		case e.IsDir() && rel != "." && !strings.Contains(rel, "/") && !isPoint(rel, points):
			f.items = append(f.items, rel)
		}
		return nil
	})
	return f, err
}

// isPoint tells whether a folder in the root of a channel is, or leads to, the mount point of another channel.
func isPoint(rel string, points []string) bool {
	for _, p := range points {
		if p == rel || inside(p, rel) {
			return true
		}
	}
	return false
}
