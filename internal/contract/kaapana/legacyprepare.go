package kaapana

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// legacyLeft is what Collect needs of a run in the legacy layout.
type legacyLeft struct {
	// Out is the operator's output folder, relative to an item's or the run's.
	Out string `json:"out"`
}

// workflowMount and tensorboardMount name the writable mounts of the layout.
const (
	workflowMount    = "workflow"
	tensorboardMount = "tensorboard"
)

// maxLegacyItems bounds the items of one batch: each is a mount of its own.
const maxLegacyItems = 10_000

// legacyRun is one Prepare in the legacy layout.
type legacyRun struct {
	t *task.Task
	v task.Values
	x *task.Execution
	// dir is WORKFLOW_DIR; in and out are the operator's folders.
	dir, in, out string
	// tree is the writable mount at dir.
	tree task.Mount
	// conf is the run's configuration, and form its workflow_form.
	conf, form *contract.Node
}

// prepareLegacy makes the workflow folder with the inputs read-only in it, and all variables that older operators set, so
// that merely reading one does not fail: those of the platform's services are empty.
func prepareLegacy(t *task.Task, v task.Values) (*task.Execution, error) {
	l := &legacyRun{t: t, v: v, x: &task.Execution{Resources: contract.ResourcesOf(t, v)}}
	for _, step := range []func() error{l.names, l.configuration, l.items, l.folders, l.environment} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if v.Words != nil {
		l.x.Process.Args = slices.Clone(v.Words)
	}
	if l.x.Resources.Shm == 0 {
		l.x.Resources.Shm = task.HalfOfMemory
	}
	var err error
	l.x.Detail, err = json.Marshal(left{Legacy: &legacyLeft{Out: l.out}, Limit: limitSource(v)})
	return l.x, err
}

func limitSource(v task.Values) string {
	if v.Resources.Memory > 0 {
		return limitByCaller
	}
	return ""
}

func (l *legacyRun) variable(name string) string { return l.v.Inputs[name].Text }

func (l *legacyRun) names() error {
	id := l.variable(varRunID)
	l.in, l.out = l.variable(varInDir), l.variable(varOutDir)
	for _, name := range []string{varInDir, varOutDir, varRunID} {
		if err := localName(name, l.variable(name)); err != nil {
			return err
		}
	}
	if within(l.in, l.out) || within(l.out, l.in) {
		return &task.Error{Code: task.ReasonInput, Message: fmt.Sprintf("%s %q and %s %q are not apart", varInDir, l.in, varOutDir, l.out), Hint: "give them different names"}
	}
	l.dir = path.Join(workflowRoot, id)
	top, _, _ := strings.Cut(l.out, "/")
	l.tree = task.Mount{Name: workflowMount, Target: l.dir, Links: task.LinksKeptInside, Only: []string{batchName, top}}
	return nil
}

// within tells whether the clean path p is dir or lies below it.
func within(p, dir string) bool { return p == dir || inside(p, dir) }

// configuration reads the conf and puts the caller's values into its workflow_form.
func (l *legacyRun) configuration() error {
	wrong := func(what string) error {
		return &task.Error{Code: task.ReasonInput, Message: what, Hint: `give an object, such as -i conf='{"workflow_form": {}}'`}
	}
	n, err := contract.ParseJSON([]byte(l.variable(legacyConf)))
	if err != nil || !n.Is(contract.NodeObject) {
		return wrong("the conf is not a JSON object")
	}
	l.conf, l.form = n, n.Get(formKey)
	switch {
	case l.form.IsNull():
		l.form = &contract.Node{Kind: contract.NodeObject}
		n.Members = slices.DeleteFunc(n.Members, func(m contract.Member) bool { return m.Key == formKey })
		n.Members = append(n.Members, contract.Member{Key: formKey, Value: l.form})
	case !l.form.Is(contract.NodeObject):
		return wrong("the conf's " + formKey + " is not a JSON object")
	}
	for _, f := range l.v.Free {
		value, err := contract.ParseJSON(f.JSON)
		if err != nil {
			return task.Errorf(task.ReasonInput, "the input %s: %w", f.Name, err)
		}
		l.form.Members = slices.DeleteFunc(l.form.Members, func(m contract.Member) bool { return m.Key == f.Name })
		l.form.Members = append(l.form.Members, contract.Member{Key: f.Name, Value: value})
	}
	return nil
}

// items mounts each item's data, and makes the places for it in the tree.
func (l *legacyRun) items() error {
	l.tree.Files = []task.File{{Path: batchName, Dir: true}, {Path: confName, Dir: true}}
	l.x.Mounts = []task.Mount{{}} // the tree, which the others lie in
	given, ok := l.v.Inputs[legacyInput]
	if !ok {
		return nil
	}
	items, err := l.itemsOf(given.Path)
	if err != nil {
		return err
	}
	if len(items) > maxLegacyItems {
		return task.Errorf(task.ReasonInput, "%s has %d items, more than %d", given.Path, len(items), maxLegacyItems).WithHint("run it on parts of them")
	}
	for i, name := range slices.Sorted(maps.Keys(items)) {
		rel := path.Join(batchName, name, l.in)
		m := items[name]
		m.Name, m.Target, m.ReadOnly = fmt.Sprintf("item-%d", i+1), path.Join(l.dir, rel), true
		l.tree.Files = append(l.tree.Files, task.File{Path: rel, Dir: true})
		l.x.Mounts = append(l.x.Mounts, m)
	}
	l.x.Notes = append(l.x.Notes, fmt.Sprintf("legacy layout: %d items in %s/%s", len(items), l.dir, batchName))
	return nil
}

// itemsOf finds the items in the folder given. Links are no items: they could lead anywhere on this machine.
func (l *legacyRun) itemsOf(given string) (map[string]task.Mount, error) {
	dir, err := filepath.Abs(given)
	if err != nil {
		return nil, err
	}
	if whole := content(dir); whole.Source == "" {
		return map[string]task.Mount{"item-1": whole}, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, task.Errorf(task.ReasonInput, "cannot read the input %s: %w", given, err)
	}
	items, beside := map[string]task.Mount{}, 0
	for _, e := range entries {
		if !e.IsDir() {
			beside++
			continue
		}
		items[e.Name()] = task.Mount{Source: filepath.Join(dir, e.Name())}
	}
	if len(items) == 0 {
		return map[string]task.Mount{"item-1": {Source: dir}}, nil
	}
	if beside > 0 {
		l.x.Warnings = append(l.x.Warnings, fmt.Sprintf("%s has items and %d files or links beside them; those belong to no item and are not shown", given, beside))
	}
	return items, nil
}

// content is a mount of what was given: the folder itself, or a fresh one with the file.
func content(given string) task.Mount {
	if st, err := os.Stat(given); err == nil && st.Mode().IsRegular() {
		return task.Mount{Files: []task.File{{Path: filepath.Base(given), Source: given}}}
	}
	return task.Mount{Source: given}
}

// folders adds conf.json, read-only, and the two folders that older pods always had, when they are given.
func (l *legacyRun) folders() error {
	l.x.Mounts[0] = l.tree
	l.x.Mounts = append(l.x.Mounts, task.Mount{
		Name: confName, Target: path.Join(l.dir, confName), ReadOnly: true, Files: []task.File{{Path: confFile, Text: string(l.conf.JSON()) + "\n"}},
	})
	if v, ok := l.v.Inputs[legacyModels]; ok {
		m := content(v.Path)
		m.Name, m.Target, m.ReadOnly = legacyModels, "/models", true
		l.x.Mounts = append(l.x.Mounts, m)
	}
	if v, ok := l.v.Inputs[legacyTensorboard]; ok {
		m := content(v.Path)
		if m.Source != "" {
			m = task.Mount{Files: []task.File{{Source: m.Source}}} // a copy, as the program may write to it
		}
		m.Name, m.Target, m.Links = tensorboardMount, "/tensorboard", task.LinksKeptInside
		l.x.Mounts = append(l.x.Mounts, m)
	}
	return nil
}

// legacySecrets and legacyAddresses are variables of the platform, which stay empty: a container may read them, and finds
// nothing behind them. Both spellings of the namespaces are set, as templates of today use the other.
var (
	legacySecrets   = []string{"KAAPANA_PROJECT_USER_NAME", "KAAPANA_PROJECT_USER_PASSWORD", "KAAPANA_CLIENT_SECRET"}
	legacyAddresses = []string{
		"CUDA_VISIBLE_DEVICES", "SERVICES_NAMESPACE", "ADMIN_NAMESPACE", "KAAPANA_SERVICES_NAMESPACE", "KAAPANA_ADMIN_NAMESPACE",
		"KEYCLOAK_URL", "KUBE_HELM_URL", "OPENSEARCH_URL", "DICOM_WEB_FILTER_URL", "NOTIFICATION_URL", "AII_URL", "KAAPANA_BACKEND_URL", "MINIO_URL",
	}
)

func (l *legacyRun) environment() error {
	set := func(name, value string) {
		l.x.Process.Env = append(l.x.Process.Env, task.EnvVar{Name: name, Value: value})
	}
	for _, name := range slices.Concat(legacySecrets, legacyAddresses) {
		set(name, "")
	}
	for _, m := range l.form.Members {
		name, value := strings.ToUpper(m.Key), pythonStr(m.Value)
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return task.Errorf(task.ReasonInput, "the value of %q cannot become an environment variable", m.Key).WithHint("use letters, digits and _ in names, and no NUL in values")
		}
		set(name, value)
	}
	set("WORKFLOW_DIR", l.dir)
	set("BATCH_NAME", batchName)
	set("BATCHES_INPUT_DIR", path.Join(l.dir, batchName))
	if _, ok := l.v.Inputs[legacyInput]; ok || l.v.Given[varInDir] {
		set(varInDir, l.in) // a first operator has none before it
	}
	set(varOutDir, l.out)
	for _, name := range []string{varRunID, varDAGID, varTaskID} {
		set(name, l.variable(name))
	}
	l.x.Process.Env = append(l.x.Process.Env, l.v.Env...)
	return nil
}
