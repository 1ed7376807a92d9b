package kaapana

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"longshore/internal/task"
)

// maxOthersTold bounds how many files outside of the output folders a note names.
const maxOthersTold = 20

// collectLegacy finds the operator's output folders: one per item, and one of the whole batch.
func collectLegacy(l task.Leftovers, was *legacyLeft) (task.Collected, error) {
	c := task.Collected{Outputs: map[string]task.Value{}, Notes: []string{"the legacy contract was used"}}
	tree, ok := l.Mounts[workflowMount]
	if !ok {
		return c, nil
	}
	out := filepath.FromSlash(was.Out)
	members, err := itemOutputs(filepath.Join(tree, batchName), out)
	if err != nil {
		return c, fmt.Errorf("the outputs cannot be read: %w", err)
	}
	c.Outputs[legacyOutput] = task.Value{Members: members}
	whole := filepath.Join(tree, out)
	isWhole := isFolder(whole)
	if isWhole {
		c.Outputs[legacyBatchOutput] = task.Value{Path: whole}
	}
	if dir, ok := l.Mounts[tensorboardMount]; ok {
		c.Outputs[legacyTensorboard] = task.Value{Path: dir}
	}
	if len(members) == 0 && !isWhole && l.Exit.Code == 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("nothing was written to %s of an item or of the batch", was.Out))
	}
	others, more, err := otherFiles(tree, out)
	if err != nil {
		return c, fmt.Errorf("what was written cannot be read: %w", err)
	}
	for _, name := range others {
		c.Notes = append(c.Notes, "written outside of the output folders, and not kept: "+name)
	}
	if more > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("and %d more", more))
	}
	return c, nil
}

// itemOutputs maps the items that have an output folder to it.
func itemOutputs(batch, out string) (map[string]string, error) {
	members := map[string]string{}
	items, err := os.ReadDir(batch)
	if errors.Is(err, fs.ErrNotExist) {
		return members, nil // the program removed it
	}
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if dir := filepath.Join(batch, item.Name(), out); item.IsDir() && isFolder(dir) {
			members[item.Name()] = dir
		}
	}
	return members, nil
}

// isFolder tells whether path is a folder, and no link to one.
func isFolder(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.IsDir()
}

// otherFiles lists what is no folder and lies in no output folder.
func otherFiles(tree, out string) (names []string, more int, err error) {
	err = filepath.WalkDir(tree, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(tree, p)
		switch {
		case err != nil:
			return err
		case e.IsDir() && isOutput(rel, out):
			return fs.SkipDir
		case e.IsDir():
		case len(names) < maxOthersTold:
			names = append(names, rel)
		default:
			more++
		}
		return nil
	})
	return names, more, err
}

// isOutput tells whether a folder of the tree is an output folder: OUT, or batch/ITEM/OUT.
func isOutput(rel, out string) bool {
	if rel == out {
		return true
	}
	below, ok := strings.CutPrefix(rel, batchName+"/")
	_, below, inItem := strings.Cut(below, "/")
	return ok && inItem && below == out
}
