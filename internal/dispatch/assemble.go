package dispatch

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"longshore/internal/task"
)

// assemble moves the members of outputs that lie apart into folders of their own.
func (r *run) assemble(outputs map[string]task.Value) error {
	for i, name := range slices.Sorted(maps.Keys(outputs)) {
		v := outputs[name]
		if v.Members == nil {
			continue
		}
		dir, err := r.private(filepath.Join("assembled", fmt.Sprint(i)), 0o755)
		if err != nil {
			return err
		}
		for _, member := range slices.Sorted(maps.Keys(v.Members)) {
			if !filepath.IsLocal(member) || filepath.Base(member) != member {
				return task.Errorf(task.ReasonEngine, "the output %s cannot hold a member named %q", name, member)
			}
			if err := os.Rename(v.Members[member], filepath.Join(dir, member)); err != nil {
				return task.Errorf(task.ReasonEngine, "cannot put the output %s together: %w", name, err)
			}
		}
		outputs[name] = task.Value{Path: dir}
	}
	for name, v := range outputs {
		if err := r.keepInside(name, v.Path); err != nil {
			return task.Errorf(task.ReasonEngine, "cannot look through the output %s: %w", name, err)
		}
	}
	return nil
}

// keepInside drops links that stayed inside their mount and leave the output, which is a part of it: they would lead
// somewhere else on the caller's machine.
func (r *run) keepInside(name, dir string) error {
	if !slices.ContainsFunc(r.exec.Mounts, func(m task.Mount) bool { return m.Links == task.LinksKeptInside }) {
		return nil // there are no links
	}
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink == 0 {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if _, err := root.Stat(rel); err == nil {
			return nil
		}
		r.warn("%s in the output %s is a symbolic link that does not stay inside it; it was dropped", rel, name)
		return root.Remove(rel)
	})
}
