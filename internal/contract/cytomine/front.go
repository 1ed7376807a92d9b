package cytomine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.Fronter = Contract{}

// Front gives every parameter a file below the input or the output folder. The folders are the App Engine's own, or others
// where the source has its own files there.
func (Contract) Front(t *task.Task, dir string) (contract.Front, []task.Finding) {
	f := contract.Front{Contract: Contract{}.Name(), Dir: dir, Example: contract.FrontPlaces{Inputs: exampleInputs, Outputs: exampleOutputs}}
	f.Inputs, f.Outputs = contract.SlotsOf(t)
	found := append(contract.NameSlots(f.Inputs, "_", slotName), contract.NameSlots(f.Outputs, "_", slotName)...)
	in, out := frontFolders(t, dir)
	for i := range f.Inputs {
		f.Inputs[i].Place = task.Place{Kind: task.PlaceFile, Path: path.Join(in, f.Inputs[i].Name)}
	}
	for i := range f.Outputs {
		f.Outputs[i].Place = task.Place{Kind: task.PlaceFile, Path: path.Join(out, f.Outputs[i].Name)}
	}
	for _, s := range slices.Concat(f.Inputs, f.Outputs) {
		found = append(found, lostTypes(s)...)
	}
	return f, append(found, lost(t, f)...)
}

func slotName(s contract.Slot) string { return contract.WordName(s.Name) }

// frontFolders are the input and output folders of a converted task. Where another front works in the image, it may have the
// App Engine's own.
func frontFolders(t *task.Task, dir string) (in, out string) {
	if dir != contract.FrontDir {
		return contract.FrontFolders(dir)
	}
	for _, p := range t.Parameters {
		for _, taken := range []string{defaultInputFolder, defaultOutputFolder} {
			if p.Place.Path == taken || strings.HasPrefix(p.Place.Path, taken+"/") || strings.HasPrefix(taken, p.Place.Path+"/") {
				return contract.FrontFolders(dir)
			}
		}
	}
	return defaultInputFolder, defaultOutputFolder
}

// lostTypes tells what of a parameter's type a descriptor cannot say.
func lostTypes(s contract.Slot) []task.Finding {
	var found []task.Finding
	note := func(rule, what string, args ...any) {
		found = append(found, contract.Lost(task.SeverityNote, rule, "", "parameter "+s.Name+": "+what, args...))
	}
	switch t := s.Type; {
	case t.Kind == task.Directory:
		note("type", "a folder is a file here, a zip archive of it")
	case t.Kind == task.JSON:
		note("type", "JSON is a string here; the task itself refuses what is not JSON")
	case t.Kind == task.Array && t.Item.Kind == task.FileKind:
		note("type", "the files of the list lose their names: they are called 0, 1, …")
	}
	if s.Type.AllowEmpty && s.Default != nil && s.Default.Text == "" {
		note("default", "the empty default becomes an optional parameter")
	}
	return found
}

// lost lists what else a descriptor cannot say.
func lost(t *task.Task, f contract.Front) []task.Finding {
	var found []task.Finding
	add := func(sev task.Severity, rule, mend, what string, args ...any) {
		found = append(found, contract.Lost(sev, rule, mend, what, args...))
	}
	add(task.SeverityWarning, "author", "name the authors in descriptor.yml", "a descriptor names authors: descriptor.yml has a placeholder")
	if !versionForm.MatchString(t.Version) {
		add(task.SeverityNote, "version", "mend it in descriptor.yml", "the version %q is not of the form 1.2.3: descriptor.yml says %s", t.Version, frontVersion(t))
	}
	if t.Resources.CPU%1000 != 0 {
		add(task.SeverityNote, "resources", "", "%s CPUs are rounded up to a whole number", t.Resources.CPU)
	}
	if t.Resources.Disk > 0 || t.Resources.Shm > 0 {
		add(task.SeverityNote, "resources", "", "limits of disk and shared memory are left out")
	}
	if len(f.Inputs) == 0 {
		add(task.SeverityWarning, "inputs", "", "today's App Engine cannot run a task without inputs, and this one has none")
	}
	for _, s := range f.Inputs {
		if s.EmptyForNone() {
			add(task.SeverityNote, "optional", "", "the array %s must be given; an empty one stands for no value", s.Name)
		}
	}
	for _, s := range f.Outputs {
		if s.Optional {
			add(task.SeverityWarning, "optional", "", "the output %s may be missing; today's App Engine takes every output for mandatory", s.Name)
		}
	}
	return found
}

func frontVersion(t *task.Task) string {
	if versionForm.MatchString(t.Version) {
		return t.Version
	}
	return "1.0.0"
}

// Documents writes the descriptor.
func (Contract) Documents(t *task.Task, f contract.Front, _ *contract.FrontExample) map[string]string {
	title := scaffoldTitle(t.Name)
	if len(title) < 3 {
		title = strings.TrimSpace(title + " task")
	}
	short := cmp.Or(slug(title), "task")
	in, out := frontFolders(t, f.Dir)
	w := &descriptorWriter{}
	w.line(0, "$schema: https://cytomine.com/schema-store/tasks/task.v0.json")
	w.value(0, "name", title)
	w.value(0, "name_short", short)
	w.value(0, "namespace", "org.converted."+cmp.Or(strings.Trim(contract.WordName(short), "_"), "task"))
	w.value(0, "version", frontVersion(t))
	if d := []rune(strings.TrimSpace(t.Description)); len(d) > 0 {
		w.value(0, "description", string(d[:min(len(d), maxDescription)]))
	}
	w.line(0, "authors:")
	w.line(1, `- {first_name: Unknown, last_name: Author, organization: Unknown, email: author@example.org, is_contact: true}`)
	w.line(0, "configuration:")
	w.value(1, "input_folder", in)
	w.value(1, "output_folder", out)
	w.resources(t)
	w.side("inputs", f.Inputs)
	w.side("outputs", f.Outputs)
	return map[string]string{"descriptor.yml": w.String(), ".dockerignore": exampleInputs + "\n" + exampleOutputs + "\n*.tar\n*.zip\n"}
}

// descriptorWriter writes YAML. Texts and lists are written as JSON, which YAML includes.
type descriptorWriter struct{ strings.Builder }

func (w *descriptorWriter) line(depth int, format string, args ...any) {
	fmt.Fprintf(w, strings.Repeat("  ", depth)+format+"\n", args...)
}

func (w *descriptorWriter) value(depth int, key string, v any) {
	text, _ := json.Marshal(v) // texts, numbers and lists of them always encode
	w.line(depth, "%s: %s", key, text)
}

func (w *descriptorWriter) resources(t *task.Task) {
	r := t.Resources
	w.line(1, "resources:")
	if r.Memory > 0 {
		w.line(2, "ram: %dMi", int64(r.Memory+contract.FrontMemory+1<<20-1)>>20)
	}
	w.line(2, "cpus: %d", max(1, (r.CPU+999)/1000))
	if r.GPUs > 0 {
		w.line(2, "gpus: %d", r.GPUs)
	}
	w.line(2, "internet: %t", t.Network)
}

func (w *descriptorWriter) side(name string, slots []contract.Slot) {
	if len(slots) == 0 {
		w.line(0, name+": {}")
		return
	}
	w.line(0, name+":")
	for _, s := range slots {
		w.line(1, s.Name+":")
		title := cmp.Or(s.Title, s.Name)
		w.value(2, "display_name", title)
		w.value(2, "description", cmp.Or(s.Description, title))
		w.value(2, "type", frontType(s.Type))
		switch def, ok := frontDefault(s); {
		case name == "outputs":
			if s.Optional {
				w.line(2, "optional: true")
			}
		case ok:
			w.value(2, "default", def)
		case s.EmptyForNone(): // today's App Engine fails runs that leave an array out (LS)
		case s.Optional || s.Default != nil:
			w.line(2, "optional: true")
		}
	}
}

// frontDefault is a default as a descriptor has it. Files and arrays have none there, and the empty text of a kind other than a
// string stands for no value.
func frontDefault(s contract.Slot) (any, bool) {
	if s.Default == nil || s.Type.Kind.OnDisk() || s.Type.Kind == task.Array {
		return nil, false
	}
	switch text := s.Default.Text; s.Type.Kind {
	case task.String, task.JSON, task.Enumeration:
		return text, text != "" || s.Type.Kind == task.String
	case task.Boolean:
		l := strings.ToLower(text)
		return l == "true" || l == "1", l != ""
	case task.Integer, task.Number:
		n := json.Number(strings.TrimPrefix(text, "+"))
		return n, json.Valid([]byte(n))
	default:
		return text, text != ""
	}
}

// frontType is the descriptor's type for a parameter of another contract.
func frontType(t task.Type) map[string]any {
	out := map[string]any{"id": string(t.Kind)}
	set := func(key string, v any, when bool) {
		if when {
			out[key] = v
		}
	}
	switch t.Kind {
	case task.Directory:
		out["id"] = string(task.FileKind)
	case task.JSON:
		out["id"] = string(task.String)
	case task.Enumeration:
		out["values"] = t.Choices
	case task.String:
		set("min_length", t.MinLength, t.MinLength != nil)
		set("max_length", t.MaxLength, t.MaxLength != nil)
	case task.Integer, task.Number:
		for key, bound := range map[string]task.Decimal{"gt": t.GT, "geq": t.GE, "lt": t.LT, "leq": t.LE} {
			set(key, json.Number(bound), bound != "")
		}
		set("infinity_allowed", true, t.AllowInfinity)
		set("nan_allowed", true, t.AllowNaN)
	case task.Datetime:
		if t.Before != nil {
			out["before"] = t.Before.Format(time.RFC3339)
		}
		if t.After != nil {
			out["after"] = t.After.Format(time.RFC3339)
		}
	case task.Image:
		set("formats", t.Formats, len(t.Formats) > 0)
	case task.Array:
		out["subtype"] = frontType(*t.Item)
		// Today's App Engine needs both (D43).
		out["min_size"], out["max_size"] = 0, math.MaxInt32
		set("min_size", t.MinItems, t.MinItems != nil)
		set("max_size", t.MaxItems, t.MaxItems != nil)
	}
	return out
}
