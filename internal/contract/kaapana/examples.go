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
func (c Contract) Examples(src contract.Source, t *task.Task) ([]contract.Example, error) {
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
		e, err := readExample(src, name, t, d)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, e)
	}
	var out []contract.Example
	for _, e := range inOrder(tasks) {
		ex := e.example(src, tasks, c.declared(src, e.variant()))
		for input, from := range ex.From {
			if p := exampleNamed(out, from.Example); ex.Skip == "" && p != nil && p.Skip != "" {
				ex.Skip = fmt.Sprintf("its input %s is an output of the example %s, which cannot be run", input, p.Name)
			}
		}
		out = append(out, ex)
	}
	return out, nil
}

func exampleNamed(examples []contract.Example, name string) *contract.Example {
	i := slices.IndexFunc(examples, func(e contract.Example) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return &examples[i]
}

// exampleTask is one task file of the folder.
type exampleTask struct {
	name string
	*taskFile
	// task is what the file makes of the package: as when the file itself is run, but with the package's image.
	task *task.Task
	// skip says why it can be run nowhere but on a cluster.
	skip string
}

// variant is the template that the task is of.
func (e exampleTask) variant() string {
	if e.Inline != nil {
		return e.Inline.Identifier
	}
	return e.Template
}

func readExample(src contract.Source, name string, t *task.Task, d detail) (exampleTask, error) {
	e := exampleTask{name: strings.TrimSuffix(path.Base(name), ".json"), taskFile: &taskFile{}}
	data, err := contract.ReadText(src.FS, name)
	if err != nil {
		return e, err
	}
	r := &reader{Report: contract.Report{File: name}}
	// A stranger's file: no variable of this machine is read.
	if n := r.parse(r.render(data, environmentOf(fileName, contract.Options{}))); n != nil {
		e.taskFile = r.taskFile(n)
		e.task = &task.Task{
			Contract: Name, Name: e.Name, Version: t.Version, Exchange: task.Files, Variant: e.variant(), Labels: e.Labels, Image: t.Image,
			FreeInputs: true, FreeEnv: true, Parameters: []task.Parameter{},
		}
		r.describe(e.task, detail{Task: e.withoutPaths(), File: d.File, Compat: d.Compat})
	}
	for _, f := range r.Findings {
		switch {
		case f.Severity != task.SeverityError:
		case f.Rule == ruleVolumeSource: // a claim, which exists on a cluster only
			e.skip = f.What
		default:
			return e, &task.Error{Code: task.CodePackage, Message: "the example " + name + " cannot be used", Findings: r.Findings, Hint: f.String()}
		}
	}
	return e, nil
}

// withoutPaths is the task without the folders that it names on some other machine.
func (tf *taskFile) withoutPaths() *taskFile {
	out := *tf
	out.Inputs = slices.Clone(tf.Inputs)
	for i := range out.Inputs {
		out.Inputs[i].Path = ""
	}
	return &out
}

// declared are the variables of a template of the package.
func (c Contract) declared(src contract.Source, variant string) []string {
	var names []string
	if t, _ := c.Load(src, contract.Options{Variant: variant}); t != nil {
		for _, p := range t.Inputs() {
			if p.Place.Kind == task.PlaceEnv {
				names = append(names, p.Place.Name)
			}
		}
	}
	return names
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

// example is the run that the task file promises. Its request is what the package itself can be given, for those who run that;
// variables that only the task has, and all else that it changes, are in its task.
func (e exampleTask) example(src contract.Source, tasks []exampleTask, declared []string) contract.Example {
	ex := contract.Example{Name: e.name, Variant: e.variant(), Task: e.task, Skip: e.skip, Request: task.Request{Inputs: map[string]task.Given{}, Words: e.Command}}
	for _, v := range e.Inputs {
		if p := producer(tasks, v.Path, e.name); p != nil {
			if ex.From == nil {
				ex.From = map[string]contract.ExampleOutput{}
			}
			ex.From[v.Name] = *p
			continue
		}
		at, err := exampleInput(src, v.Path)
		if err != nil && ex.Skip == "" {
			ex.Skip = fmt.Sprintf("its input %s: %v; give it with --template %s -i %s=@FOLDER", v.Name, err, ex.Variant, v.Name)
		}
		ex.Request.Inputs[v.Name] = task.Given{Path: at}
	}
	seen := map[string]bool{}
	for _, s := range e.Env {
		if !seen[s.Name] && slices.Contains(declared, s.Name) {
			ex.Request.Env = append(ex.Request.Env, task.EnvVar{Name: s.Name, Value: s.Value})
		}
		seen[s.Name] = true
	}
	if e.Resources != nil {
		ex.Request.Resources = task.Resources{CPU: e.Resources.CPU, Memory: e.Resources.Memory, GPUs: e.Resources.GPUs, Disk: e.Resources.Disk}
	}
	return ex
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
