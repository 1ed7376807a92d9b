package dispatch

import (
	"fmt"
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
	return nil
}
