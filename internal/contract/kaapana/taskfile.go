package kaapana

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// taskFile is a task.json: a template of an image, bound to folders and values.
type taskFile struct {
	// File is the document itself, for findings that come up later.
	File  string `json:"file,omitempty"`
	Name  string `json:"name"`
	Image string `json:"image"`
	// Template names the template; Inline is given instead of a name.
	Template string    `json:"template,omitempty"`
	Inline   *template `json:"inline,omitempty"`
	Inputs   []volume  `json:"inputs,omitempty"`
	Outputs  []volume  `json:"outputs,omitempty"`
	Env      []setting `json:"env,omitempty"`
	// Command replaces the template's when not nil; without words it resets it to the image's own process.
	Command []string `json:"command"`
	// Resources replace the template's as a whole when not nil.
	Resources *task.Resources   `json:"resources,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// Unused are settings that mean something on a cluster only.
	Unused []string `json:"unused,omitempty"`
}

// volume binds a channel.
type volume struct {
	Name string `json:"name"`
	// Path is a folder on this machine: as written, and made absolute once resolved.
	Path string `json:"path,omitempty"`
	// Rule replaces the template's whole rule.
	Rule *scaleRule  `json:"rule,omitempty"`
	At   contract.At `json:"at,omitzero"`
}

// setting is one environment variable of a task.
type setting struct {
	Name  string      `json:"name"`
	Value string      `json:"value"`
	At    contract.At `json:"at,omitzero"`
}

var (
	// earlyConfig are the keys that stood at the top level before there was config.
	earlyConfig = []string{"namespace", "registryUrl", "registryUsername", "registryPassword", "imagePullSecrets"}
	taskFields  = append([]string{"name", "image", "taskTemplate", "api_version", "inputs", "outputs", "env", "command", "resources", "config"}, earlyConfig...)
)

// taskFile reads a task document of any dialect.
func (r *reader) taskFile(n *contract.Node) *taskFile {
	r.fields(n, "a task", taskFields)
	t := &taskFile{File: r.File, Name: r.text(n, "", "name"), Image: r.text(n, "", "image")}
	r.apiVersion(n)
	switch tt := n.Get("taskTemplate"); {
	case tt == nil:
		r.dialect(n.Pos(), "no taskTemplate", "flat", "2025-08-15 to 2025-09-03", "refuses it")
	case tt.Is(contract.NodeString):
		t.Template = tt.Text
	case r.isObject(tt, "taskTemplate"):
		u := r.template(tt, "taskTemplate", false)
		t.Inline = &u
	}
	t.Inputs = r.volumes(n, "inputs")
	t.Outputs = r.volumes(n, "outputs")
	t.Env = r.settings(n)
	if c := n.Get("command"); !c.IsNull() {
		t.Command = append([]string{}, r.command(n, "")...)
	}
	if res := n.Get("resources"); !res.IsNull() {
		v := r.resources(res, "resources")
		t.Resources = &v
	}
	r.config(n, t)
	return t
}

func (r *reader) volumes(n *contract.Node, key string) []volume {
	if !n.Has(key) {
		return nil
	}
	items, _ := r.list(n, "", key)
	var out []volume
	seen := map[string]bool{}
	for i, it := range items {
		at := fmt.Sprintf("%s[%d]", key, i)
		if !r.isObject(it, at) {
			continue
		}
		r.fields(it, "a volume", []string{"name", "volume_source", "input", "sub_path", "scale_rule"})
		v := volume{Name: r.text(it, at, "name"), At: it.Pos()}
		v.Path = r.volumeSource(it, at, v.Name)
		if rule := it.Get("scale_rule"); !rule.IsNull() && r.isObject(rule, member(at, "scale_rule")) {
			if key == "outputs" {
				r.Warn(ruleOutputRule, rule.Pos(), "move it to an input, or remove it", "Scale rules work on inputs only; this one is ignored.")
			} else {
				v.Rule = r.scaleRule(rule, member(at, "scale_rule"))
			}
		}
		if seen[v.Name] || !it.Get("name").Is(contract.NodeString) {
			continue // the first wins, and what has no name was told
		}
		seen[v.Name] = true
		out = append(out, v)
	}
	return out
}

// volumeSource reads where the data is, in every form: volume_source.host_path, input.host_path, input.local_path.
func (r *reader) volumeSource(n *contract.Node, at, name string) string {
	src, key := n.Get("volume_source"), "volume_source"
	if src.IsNull() {
		if src, key = n.Get("input"), "input"; !src.IsNull() {
			r.dialect(src.Pos(), "input", "middle", "2025-09-11 to 10-20", "refuses it")
		}
	}
	if !src.IsNull() && !r.isObject(src, member(at, key)) {
		return ""
	}
	for _, k := range []string{"host_path", "local_path"} {
		p := src.Get(k)
		if p.IsNull() {
			continue
		}
		if k == "local_path" {
			r.dialect(p.Pos(), "local_path", "early", "2025-09-03 to 2025-10-31", "refuses it")
		}
		if p.Is(contract.NodeString) && p.Text == "" {
			break
		}
		return r.str(p, member(member(at, key), k))
	}
	what := at
	if name != "" {
		what = "Channel `" + name + "`"
	}
	pos, mend := n.Pos(), "write \"volume_source\": {\"host_path\": \"…\"}"
	if src.Has("claim_name") || src.Has("persistent_volume_claim") {
		mend = "claims exist on Kubernetes only; give a folder with -i " + name + "=@FOLDER"
	}
	r.Error(ruleVolumeSource, pos, mend, "%s needs volume_source.host_path.", what)
	return ""
}

// settings reads env: for a variable set twice the first counts where the template declares it, the last otherwise, so both
// are kept in order.
func (r *reader) settings(n *contract.Node) []setting {
	l := n.Get("env")
	if l.IsNull() {
		return nil
	}
	items, _ := r.list(n, "", "env")
	var out []setting
	seen := map[string]bool{}
	for i, it := range items {
		at := fmt.Sprintf("env[%d]", i)
		if !r.isObject(it, at) {
			continue
		}
		v := variable{Name: r.checkedText(it, at, "name")}
		r.fields(it, "an environment variable", variableFields)
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") {
			r.checkVariableName(v.Name, it.Get("name"))
			continue
		}
		r.variableValue(it, at, &v)
		if seen[v.Name] {
			r.Warn(ruleEnvTwice, it.Pos(), "set it once", "`%s` is set twice; the first counts where the template declares it, the last value otherwise.", v.Name)
		}
		seen[v.Name] = true
		out = append(out, setting{v.Name, v.Value, it.Pos()})
	}
	return out
}

var configFields = append([]string{"labels", "type", "imagePullPolicy", "annotations"}, earlyConfig...)

// config reads what concerns every engine; the type is a hint and never chooses one.
func (r *reader) config(n *contract.Node, t *taskFile) {
	c := n.Get("config")
	for _, o := range []*contract.Node{n, c} {
		if p := o.Get("registryPassword"); p.Is(contract.NodeString) && p.Text != "" {
			r.Warn(ruleTaskConfig, p.Pos(), "log in to the registry instead", "The file holds a password.")
		}
	}
	if c.IsNull() || !r.isObject(c, "config") {
		return
	}
	if kind := c.Get("type"); !kind.IsNull() && kind.Str() != "docker" && kind.Str() != "k8s" {
		r.Warn(ruleTaskConfig, kind.Pos(), "write docker or k8s", "`config.type` %s is unknown; it is ignored.", quoted(kind))
	}
	r.configTypes(c)
	for _, m := range c.Members {
		if near := contract.Nearest(m.Key, configFields); near != "" && near != m.Key {
			r.Warn(ruleUnknownField, m.Pos(), "write `"+near+"`", "`%s` is not a field of config; Kaapana ignores it. Did you mean `%s`?", m.Key, near)
		}
	}
	for _, key := range []string{"namespace", "imagePullSecrets", "imagePullPolicy"} {
		if !c.Get(key).IsNull() {
			t.Unused = append(t.Unused, key)
		}
	}
	for _, key := range []string{"annotations", "labels"} {
		for _, m := range members(c.Get(key)) {
			if t.Labels == nil {
				t.Labels = map[string]string{}
			}
			t.Labels[m.Key] = nodeText(m.Value)
		}
	}
}

// configTypes refuses what Kaapana's model for clusters refuses.
func (r *reader) configTypes(c *contract.Node) {
	for _, key := range []string{"labels", "annotations"} {
		if v := c.Get(key); !v.IsNull() {
			r.isObject(v, member("config", key))
		}
	}
	for _, key := range []string{"namespace", "registryUrl", "registryUsername", "registryPassword", "imagePullPolicy"} {
		if v := c.Get(key); !v.IsNull() && !v.Is(contract.NodeString) {
			r.wrongType(v, member("config", key), "a string")
		}
	}
	if v := c.Get("imagePullSecrets"); !v.IsNull() {
		r.strings(v, member("config", "imagePullSecrets"))
	}
}

// loadTask makes a task of a task file. The template is usually inside the image: then CheckImage completes it, and until
// then any value is let through.
func loadTask(r *reader, n *contract.Node, src contract.Source, opts contract.Options) (*task.Task, []task.Finding) {
	tf := r.taskFile(n)
	if opts.Variant != "" && tf.Inline == nil {
		tf.Template = opts.Variant
	}
	t := &task.Task{
		Contract: Name, Name: tf.Name, Exchange: task.Files, Variant: tf.Template, Labels: tf.Labels,
		Image: task.ImageSource{Kind: task.ImageReference, Name: tf.Image}, FreeInputs: true, FreeEnv: true, Parameters: []task.Parameter{},
	}
	if image := n.Get("image"); image.Is(contract.NodeString) && !validReference(tf.Image) {
		r.Error(ruleFieldType, image.Pos(), "write it like registry.example/name:tag", "`image` must be an image reference, found `%s`", tf.Image)
	}
	if opts.Own {
		tf.override(opts.Given)
		r.resolve(tf, src)
		t.Notes = append(t.Notes, outputNotes(tf)...)
	} else if len(tf.Inputs) > 0 {
		t.Notes = append(t.Notes, "the task's host paths are not used: give the inputs with -i")
		for i := range tf.Inputs {
			tf.Inputs[i].Path = ""
		}
	}
	if len(tf.Unused) > 0 {
		t.Notes = append(t.Notes, "config: "+strings.Join(tf.Unused, ", ")+" mean something on a cluster only, and are not used")
	}
	r.describe(t, detail{Task: tf, Compat: compatOf(opts)})
	return t, r.Findings
}

// describe fills in what the task file says by itself: everything for a template of its own, else the volumes.
func (r *reader) describe(t *task.Task, d detail) {
	t.Dialect = r.dialectWords()
	r.compat = d.Compat
	if d.Task.Inline != nil {
		merged := r.merge(*d.Task.Inline, d.Task)
		d.Template = &merged
		merged.fill(t, d.Compat)
	}
	d.Task.bind(t)
	t.Detail = d.encode()
}

func outputNotes(tf *taskFile) []string {
	var notes []string
	for _, v := range tf.Outputs {
		notes = append(notes, fmt.Sprintf("output %s goes to the run's output folder, not to %s", v.Name, v.Path))
	}
	return notes
}

// override drops the folders of inputs that the caller gives others for.
func (tf *taskFile) override(given []string) {
	for i := range tf.Inputs {
		v := &tf.Inputs[i]
		if slices.Contains(given, v.Name) || slices.Contains(given, inputAlias(v.Name)) {
			v.Path = ""
		}
	}
}

// resolve makes the volumes' paths absolute: from the current directory, else from beside the task file.
func (r *reader) resolve(tf *taskFile, src contract.Source) {
	for i := range tf.Inputs {
		v := &tf.Inputs[i]
		if v.Path == "" {
			continue
		}
		path, err := hostPath(v.Path, src)
		if err != nil {
			r.Error(ruleVolumeMissing, v.At, "create it, or give another with -i "+v.Name+"=@FOLDER", "%v", err)
		}
		v.Path = path
	}
	var taken folders
	for _, v := range tf.Inputs {
		taken.take(v)
	}
	for i := range tf.Outputs {
		v := &tf.Outputs[i]
		if v.Path == "" {
			continue
		}
		if abs, err := filepath.Abs(v.Path); err == nil {
			v.Path = abs
		}
		if other, ok := taken.overlap(v.Path); ok {
			r.Error(ruleVolumeOverlap, v.At, "use folders beside each other", "`%s` and `%s` would write into each other.", other, v.Name)
		}
		taken.take(*v)
	}
}

// folders are those of volumes: at are the folders themselves, and above what they lie in, each with the volume's name.
type folders struct{ at, above map[string]string }

func (f *folders) take(v volume) {
	if v.Path == "" {
		return
	}
	if f.at == nil {
		f.at, f.above = map[string]string{}, map[string]string{}
	}
	f.at[v.Path] = v.Name
	for dir := filepath.Dir(v.Path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, known := f.above[dir]; known {
			return
		}
		f.above[dir] = v.Name
	}
}

// overlap names a volume whose folder is path, or lies in it, or holds it.
func (f *folders) overlap(path string) (name string, ok bool) {
	for _, where := range []map[string]string{f.at, f.above} {
		if name, ok = where[path]; ok {
			return name, true
		}
	}
	name, ok = f.at[outerOf(path, f.at)]
	return name, ok
}

// hostPath finds an input's folder.
func hostPath(given string, src contract.Source) (string, error) {
	here, err := filepath.Abs(given)
	if err != nil {
		return given, err
	}
	if filepath.IsAbs(given) || src.Dir == "" {
		return here, exists(here, given)
	}
	beside := filepath.Join(src.Dir, filepath.Dir(src.File), given)
	switch hereErr, besideErr := exists(here, given), exists(beside, given); {
	case hereErr == nil && besideErr == nil && !sameFile(here, beside):
		return here, fmt.Errorf("`%s` exists in the current directory and beside the task file; write it in full", given)
	case hereErr != nil && besideErr == nil:
		return beside, nil
	default:
		return here, hereErr
	}
}

func exists(path, given string) error {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("`%s` does not exist", given)
		}
		return err
	}
	return nil
}

func sameFile(a, b string) bool {
	sa, errA := os.Stat(a)
	sb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(sa, sb)
}

// bind gives the input parameters the folders of the task's volumes as defaults.
func (tf *taskFile) bind(t *task.Task) {
	at := map[string]int{}
	for i, p := range t.Parameters {
		if p.Direction == task.Input && p.Place.Kind == task.PlaceFolder {
			at[p.Name] = i
			for _, a := range p.Aliases {
				at[a] = i
			}
		}
	}
	for _, v := range tf.Inputs {
		i, ok := at[inputAlias(v.Name)]
		if !ok && t.FreeInputs {
			i, ok = len(t.Parameters), true
			t.Parameters = append(t.Parameters, task.Parameter{
				Name: v.Name, Direction: task.Input, Aliases: []string{inputAlias(v.Name)}, Type: task.Type{Kind: task.Directory},
				Place: task.Place{Kind: task.PlaceFolder},
			})
		}
		if ok && v.Path != "" {
			t.Parameters[i].Default = &task.Value{Path: v.Path}
		}
	}
}

// merge puts a task over a template, as Kaapana does: env value by value, channels by name, command and resources whole.
func (r *reader) merge(u template, tf *taskFile) template {
	defer func(file string) { r.File = file }(r.File)
	r.File = tf.File
	u.Env = r.mergeEnv(u, tf.Env)
	u.Inputs = slices.Clone(u.Inputs)
	unknown := func(v volume) {
		r.Error(ruleInputUnknown, v.At, "remove it, or correct the name", "Template `%s` has no channel `%s`.", u.Identifier, v.Name)
	}
	inputs, outputs := channelPlaces(u.Inputs), channelPlaces(u.Outputs)
	for _, v := range tf.Inputs {
		switch i, ok := inputs[v.Name]; {
		case !ok:
			unknown(v)
		case v.Rule != nil:
			u.Inputs[i].Rule = v.Rule
		}
	}
	for _, v := range tf.Outputs {
		if _, ok := outputs[v.Name]; !ok {
			unknown(v)
		}
	}
	if tf.Command != nil {
		u.Command = tf.Command
	}
	if tf.Resources != nil {
		if lost := lostResources(u.Resources, *tf.Resources); len(lost) > 0 {
			r.Warn(ruleReplaced, contract.At{}, "repeat them in the task", "The task's resources replace the template's as a whole, which loses %s.", strings.Join(lost, ", "))
		}
		u.Resources = *tf.Resources
	}
	return u
}

// channelPlaces finds channels by their names; of twins the first counts.
func channelPlaces(channels []channel) map[string]int {
	places := map[string]int{}
	for i, c := range channels {
		if _, twin := places[c.Name]; !twin {
			places[c.Name] = i
		}
	}
	return places
}

// maxSlips bounds the variables whose names are compared with all of the template's: thousands of them are no slips.
const maxSlips = 20

func (r *reader) mergeEnv(u template, set []setting) []variable {
	env := slices.Clone(u.Env)
	declared, names := len(env), variableNames(u.Env)
	at := map[string]int{}
	for i, name := range names {
		at[name] = i
	}
	done := map[string]bool{}
	for _, s := range set {
		i, found := at[s.Name]
		switch {
		case found && i < declared && done[s.Name]: // the first wins
		case found && i < declared:
			done[s.Name] = true
			if f := env[i].accept(s.Value); f != nil {
				sev := f.Severity
				if r.compat != "" {
					sev = task.SeverityWarning
				}
				r.Add(sev, f.Rule, s.At, "%s", f.What).Mend = f.Mend
			}
			env[i].Value = s.Value
		case found: // the last wins
			env[i].Value = s.Value
		default:
			v := variable{Name: s.Name, Value: s.Value, Unset: true, Description: "set by the task only", Undeclared: true}
			f := r.Add(task.SeverityNote, ruleEnvUnknown, s.At, "Template `%s` has no `%s`; it reaches the container all the same.", u.Identifier, s.Name)
			if len(env)-declared < maxSlips {
				v.Near = contract.Nearest(s.Name, names)
			}
			if v.Near != "" {
				f.Mend = "did you mean `" + v.Near + "`?"
			}
			at[s.Name] = len(env)
			env = append(env, v)
		}
	}
	return env
}

func lostResources(had, has task.Resources) []string {
	var lost []string
	for _, x := range []struct {
		name string
		gone bool
	}{
		{"limits.memory", had.Memory != 0 && has.Memory == 0}, {"requests.memory", had.MinMemory != 0 && has.MinMemory == 0},
		{"limits.cpu", had.CPU != 0 && has.CPU == 0}, {"requests.cpu", had.MinCPU != 0 && has.MinCPU == 0},
		{"GPUs", had.GPUs != 0 && has.GPUs == 0}, {"ephemeral-storage", had.Disk != 0 && has.Disk == 0},
	} {
		if x.gone {
			lost = append(lost, x.name)
		}
	}
	return lost
}

// NeedsImage implements contract.ImageDescribed: a task file usually names a template that its image carries.
func (Contract) NeedsImage(t *task.Task) bool {
	d, err := detailOf(t)
	return err == nil && d.Task != nil && d.Template == nil
}

// checkTask completes a task file's task with the template that the image carries.
func checkTask(t *task.Task, d detail, img contract.ImageFiles) (*task.Task, []task.Finding) {
	r := &reader{Report: contract.Report{File: inImage}, compat: d.Compat}
	if d.Template != nil && d.Task.Inline == nil {
		return t, nil // it came from the image
	}
	if d.Template != nil {
		r.checkTemplate(t, img)
		return t, r.Findings
	}
	if d.File != "" { // one of a package's own tasks
		if _, err := img.ReadFile(inImage, fileLimit); err != nil {
			return t, r.notInImage(d.File, err)
		}
	}
	n := r.fromImage(img)
	if n == nil {
		return t, r.Findings
	}
	doc := r.container(n)
	if d.File != "" && !task.HasErrors(r.Findings) {
		r.Report = contract.Report{File: r.File} // the package was told so already
	}
	u := r.choose(doc, d.Task.Template, n)
	if u == nil {
		if !task.HasErrors(r.Findings) {
			r.Error(ruleTemplateRequired, contract.At{}, "write it as taskTemplate", "The image offers several templates, and the task names none.")
		}
		return t, r.Findings
	}
	merged := r.merge(*u, d.Task)
	d.Template = &merged
	fresh := *t
	merged.fill(&fresh, d.Compat)
	d.Task.bind(&fresh)
	fresh.Detail = d.encode()
	r.checkTemplate(&fresh, img)
	return &fresh, r.Findings
}

// members are those of an object; anything else has none.
func members(n *contract.Node) []contract.Member {
	if !n.Is(contract.NodeObject) {
		return nil
	}
	return n.Members
}
