package dispatch

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PartialDir is the folder of a failed run's output folder that holds what the container left behind, under the paths by which
// the container knew it, and the answer of an HTTP task that was refused. None of it is an output: result.json lists none.
const PartialDir = "partial"

// responseFile is a refused answer in PartialDir.
const responseFile = "response"

// salvage notes what a failed run left behind, for inspection. What cannot be handed over safely is left out, with a warning.
func (r *run) salvage(ctx context.Context) {
	if r.exec == nil {
		return
	}
	if r.left.Response != nil {
		r.partial = append(r.partial, published{responseFile, r.left.Response.BodyPath})
	}
	if r.seat != nil {
		return // the server goes on, and its folders are in use
	}
	for _, m := range r.exec.Mounts {
		dir, ok := r.staged[m.Name]
		if entries, err := os.ReadDir(dir); !ok || err != nil || len(entries) == 0 {
			continue
		}
		m.Only = []string{""} // nothing in it is an output, so links, pipes and devices are dropped
		dropped, err := makeSafe(ctx, dir, m, r.exec.Resources.Disk)
		for _, w := range dropped {
			r.warn("%s", w)
		}
		if err != nil {
			r.warn("what the container left in %s is not kept: %v", m.Target, err)
			continue
		}
		r.partial = append(r.partial, published{strings.TrimPrefix(m.Target, "/"), dir})
	}
	// Outer folders come before those that were mounted in them.
	slices.SortStableFunc(r.partial, func(a, b published) int { return strings.Compare(a.name, b.name) })
}

// placePartial moves what salvage found to the output folder dir. It is a help, so a problem is a warning.
func (r *run) placePartial(dir string) {
	for i := range r.partial {
		to := filepath.Join(dir, PartialDir, filepath.FromSlash(r.partial[i].name))
		if err := movePartial(r.partial[i].source, to); err != nil {
			r.warn("what the container left in /%s is not kept: %v", r.partial[i].name, err)
			continue
		}
		r.partial[i].source, r.result.Partial = to, PartialDir
	}
}

func movePartial(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if st, err := os.Lstat(to); err == nil && st.IsDir() {
		if err := os.Remove(to); err != nil { // the empty place of a mount inside a mount
			return err
		}
	}
	return moveTree(from, to)
}
