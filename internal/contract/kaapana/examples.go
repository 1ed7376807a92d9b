package kaapana

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// tasksFolder holds the ready task files of a container folder: an in-tree habit, and the package's only examples.
const tasksFolder = "tasks"

// Examples are the tasks/*.json of the folder, in name order, a task that reads another's output folder after that one. The
// image is the one just built, and paths are looked up in the package, never elsewhere on the machine.
func (Contract) Examples(src contract.Source, t *task.Task) ([]contract.Example, error) {
	d, err := detailOf(t)
	if err != nil || d.Legacy || src.FS == nil || src.Dir == "" {
		return nil, err
	}
	names, err := fs.Glob(src.FS, tasksFolder+"/*.json")
	if err != nil {
		return nil, err
	}
	var tasks []exampleTask
	for _, name := range names {
		tf, err := readExample(src, name)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, exampleTask{name: strings.TrimSuffix(path.Base(name), ".json"), taskFile: tf})
	}
	var out []contract.Example
	for _, e := range inOrder(tasks) {
		ex, err := e.example(src, tasks)
		if err != nil {
			return nil, err
		}
		out = append(out, ex)
	}
	return out, nil
}

// exampleTask is one task file of the folder.
type exampleTask struct {
	name string
	*taskFile
}

func readExample(src contract.Source, name string) (*taskFile, error) {
	data, err := contract.ReadText(src.FS, name)
	if err != nil {
		return nil, err
	}
	r := &reader{Report: contract.Report{File: name}}
	// A stranger's file: no variable of this machine is read.
	n := r.parse(r.render(data, environmentOf(fileName, contract.Options{})))
	var tf *taskFile
	if n != nil {
		tf = r.taskFile(n)
	}
	if task.HasErrors(r.Findings) {
		return nil, &task.Error{Code: task.CodePackage, Message: "the example " + name + " cannot be used", Findings: r.Findings, Hint: firstError(r.Findings)}
	}
	return tf, nil
}

func firstError(fs []task.Finding) string {
	for _, f := range fs {
		if f.Severity == task.SeverityError {
			return f.String()
		}
	}
	return ""
}

// inOrder puts producers before consumers and keeps the name order otherwise. A circle is left in name order.
func inOrder(tasks []exampleTask) []exampleTask {
	var out []exampleTask
	placed := map[string]bool{}
	for len(out) < len(tasks) {
		i := slices.IndexFunc(tasks, func(e exampleTask) bool { return !placed[e.name] && e.ready(tasks, placed) })
		if i < 0 {
			i = slices.IndexFunc(tasks, func(e exampleTask) bool { return !placed[e.name] })
		}
		placed[tasks[i].name] = true
		out = append(out, tasks[i])
	}
	return out
}

func (e exampleTask) ready(tasks []exampleTask, placed map[string]bool) bool {
	for _, v := range e.Inputs {
		if p := producer(tasks, v.Path, e.name); p != nil && !placed[p.Example] {
			return false
		}
	}
	return true
}

// producer finds the task, other than self, that writes to a folder.
func producer(tasks []exampleTask, folder, self string) *contract.ExampleOutput {
	for _, t := range tasks {
		for _, v := range t.Outputs {
			if t.name != self && v.Path != "" && path.Clean(v.Path) == path.Clean(folder) {
				return &contract.ExampleOutput{Example: t.name, Output: v.Name}
			}
		}
	}
	return nil
}

func (e exampleTask) example(src contract.Source, tasks []exampleTask) (contract.Example, error) {
	ex := contract.Example{Name: e.name, Variant: e.Template, Request: task.Request{Inputs: map[string]task.Given{}, Words: e.Command}}
	for _, v := range e.Inputs {
		if p := producer(tasks, v.Path, e.name); p != nil {
			if ex.From == nil {
				ex.From = map[string]contract.ExampleOutput{}
			}
			ex.From[v.Name] = *p
			continue
		}
		at, err := exampleInput(src, v.Path)
		if err != nil {
			return ex, task.Errorf(task.CodePackage, "the example %s: input %s: %w", e.name, v.Name, err)
		}
		ex.Request.Inputs[v.Name] = task.Given{Path: at}
	}
	seen := map[string]bool{}
	for _, s := range e.Env {
		if !seen[s.Name] {
			ex.Request.Env = append(ex.Request.Env, task.EnvVar{Name: s.Name, Value: s.Value})
		}
		seen[s.Name] = true
	}
	if e.Resources != nil {
		ex.Request.Resources = task.Resources{CPU: e.Resources.CPU, Memory: e.Resources.Memory, GPUs: e.Resources.GPUs, Disk: e.Resources.Disk}
	}
	return ex, nil
}

// exampleInput finds an input's folder in the package: relative to its root, else beside the task files.
func exampleInput(src contract.Source, given string) (string, error) {
	for _, base := range []string{".", tasksFolder} {
		p := path.Join(base, filepath.ToSlash(given))
		if path.IsAbs(given) || !fs.ValidPath(p) {
			continue
		}
		if _, err := fs.Stat(src.FS, p); err == nil {
			return filepath.Join(src.Dir, filepath.FromSlash(p)), nil
		}
	}
	return "", fmt.Errorf("%s is not in the package", given)
}
