package kaapana

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.Fronter = Contract{}

// Where the example of a converted package lies.
const (
	exampleData = "data"
	exampleFile = tasksFolder + "/example.json"
	exampleOut  = "out"
)

// Front gives every file and folder a channel and every written-down value a variable. Outputs are channels of their own: what
// is no folder is the only file in it.
func (Contract) Front(t *task.Task, dir string) (contract.Front, []task.Finding) {
	f := contract.Front{Contract: Name, Dir: dir, InImage: fileName, Example: contract.FrontPlaces{Inputs: exampleData}}
	f.Labels = map[string]string{"IMAGE": frontImage(t), "VERSION": frontVersion(t)} // Kaapana's build names images by them
	f.Inputs, f.Outputs = contract.SlotsOf(t)
	found := contract.NameSlots(f.Inputs, "_", inputName)
	found = append(found, contract.NameSlots(f.Outputs, "-", func(s contract.Slot) string {
		name := channelName(s.Name)
		if slices.ContainsFunc(f.Inputs, func(in contract.Slot) bool { return in.Name == name && inFolder(in.Type) }) {
			name += "-out" // of an input and an output with one name, which one is meant cannot be seen everywhere
		}
		return name
	})...)
	in, out := contract.FrontFolders(dir)
	for i := range f.Inputs {
		s := &f.Inputs[i]
		s.Place = task.Place{Kind: task.PlaceEnv, Name: s.Name}
		if inFolder(s.Type) {
			s.Place = task.Place{Kind: task.PlaceFolder, Path: path.Join(in, s.Name)}
		}
	}
	for i := range f.Outputs {
		f.Outputs[i].Place = task.Place{Kind: task.PlaceFolder, Path: path.Join(out, f.Outputs[i].Name)}
	}
	for _, s := range slices.Concat(f.Inputs, f.Outputs) {
		found = append(found, lostTypes(s, in)...)
	}
	return f, append(found, lost(t)...)
}

// inFolder tells what goes through a channel.
func inFolder(t task.Type) bool {
	return t.Kind.OnDisk() || t.Kind == task.Array && inFolder(*t.Item)
}

func inputName(s contract.Slot) string {
	if inFolder(s.Type) {
		return channelName(s.Name)
	}
	return variableName(s.Name)
}

// longestChannel leaves room in the name of a Kubernetes volume, which has 63 characters, for the platform's prefix, and for a
// suffix of ours.
const longestChannel = 50

// channelName is a name for a channel that is one for a Kubernetes volume too.
func channelName(s string) string {
	s = strings.ReplaceAll(strings.ToLower(contract.WordName(s)), "_", "-")
	return strings.Trim(s[:min(len(s), longestChannel)], "-")
}

// variableName is a name for a variable that the platform does not set itself.
func variableName(s string) string {
	if s = contract.WordName(s); reserved(s) || s != "" && s[0] >= '0' && s[0] <= '9' {
		return "in_" + s
	}
	return s
}

// lostTypes tells what of a parameter's type the file cannot say; in is the folder of inputs.
func lostTypes(s contract.Slot, in string) []task.Finding {
	var found []task.Finding
	note := func(rule, what string) {
		found = append(found, contract.Lost(task.SeverityNote, rule, "", "parameter %s: %s", s.Name, what))
	}
	t := s.Type
	switch {
	case inFolder(t) && t.Kind == task.Array:
		note("type", "its items are the files of the channel, numbers before other names; lists in it are folders")
	case t.Kind == task.Image || t.Kind == task.FileKind:
		note("type", "it is the only file of the channel")
	case s.Place.Kind == task.PlaceFolder && t.Kind != task.Directory:
		note("type", "its text is the only file of the channel")
	case t.Kind == task.Array || t.Kind == task.JSON:
		note("type", "it is written as JSON")
	}
	if t.GT+t.GE+t.LT+t.LE != "" || t.MinLength != nil || t.MaxLength != nil || t.Before != nil || t.After != nil || t.MinItems != nil ||
		t.MaxItems != nil || len(t.Matching) > 0 || len(t.Formats) > 0 || t.MaxBytes != nil || t.MaxWidth != nil || t.MaxHeight != nil {
		note("constraint", "its constraints are not in the file; the task itself refuses wrong values")
	}
	if s.Optional && s.Place.Kind == task.PlaceFolder && strings.HasPrefix(s.Place.Path, in+"/") {
		note("optional", "the channel must be bound; an empty folder stands for no value")
	}
	return found
}

// lost lists what else the file cannot say.
func lost(t *task.Task) []task.Finding {
	var found []task.Finding
	if t.Network {
		found = append(found, contract.Lost(task.SeverityWarning, "network", "see that the platform's network policy allows it", "the task needs the network, which the file cannot say"))
	}
	if t.Resources.Shm > 0 {
		found = append(found, contract.Lost(task.SeverityNote, "resources", "", "the size of shared memory is left out"))
	}
	return found
}

// Documents writes the container's file, the example's task file, and nothing else.
func (Contract) Documents(t *task.Task, f contract.Front, example *contract.FrontExample) map[string]string {
	u := frontTemplate{Identifier: "run", Description: t.Description, Inputs: []frontChannel{}, Outputs: []frontChannel{}, Env: []frontVariable{}, Resources: frontResources(t.Resources)}
	for _, s := range f.Inputs {
		if s.Place.Kind == task.PlaceEnv {
			u.Env = append(u.Env, frontVariableOf(s))
		} else {
			u.Inputs = append(u.Inputs, frontChannel{s.Name, s.Place.Path, s.Description})
		}
	}
	for _, s := range f.Outputs {
		u.Outputs = append(u.Outputs, frontChannel{s.Name, s.Place.Path, s.Description})
	}
	name := frontImage(t)
	files := map[string]string{fileName: indented(map[string]any{
		"name": name, "description": t.Description, "api_version": 1, "templates": []frontTemplate{u},
	})}
	if example != nil {
		files[exampleFile] = indented(frontTask(name+":"+frontVersion(t), name, u, example))
	}
	return files
}

// frontImage is the name of the container and its image.
func frontImage(t *task.Task) string {
	return cmp.Or(strings.Trim(notInName.ReplaceAllString(strings.ToLower(t.Name), "-"), "._/-"), "task")
}

// frontVersion is the tag of the image.
func frontVersion(t *task.Task) string {
	if validReference("x:" + t.Version) {
		return t.Version
	}
	return "0.1.0"
}

// frontTask is the example: every channel bound to a folder of the package.
func frontTask(image, name string, u frontTemplate, example *contract.FrontExample) map[string]any {
	type bound struct {
		Name   string            `json:"name"`
		Source map[string]string `json:"volume_source"`
	}
	bind := func(channels []frontChannel, folder string) []bound {
		list := []bound{}
		for _, c := range channels {
			list = append(list, bound{c.Name, map[string]string{"host_path": path.Join(folder, c.Name)}})
		}
		return list
	}
	env := []map[string]string{}
	for _, v := range u.Env {
		if text, ok := example.Env[v.Name]; ok {
			env = append(env, map[string]string{"name": v.Name, "value": text})
		}
	}
	return map[string]any{
		"name": name + "-example", "api_version": 1, "image": image, "taskTemplate": u.Identifier,
		"inputs": bind(u.Inputs, exampleData), "outputs": bind(u.Outputs, exampleOut), "env": env, "resources": u.Resources,
	}
}

// The parts of the file, in the order of Kaapana's own.
type (
	frontTemplate struct {
		Identifier  string          `json:"identifier"`
		Description string          `json:"description"`
		Inputs      []frontChannel  `json:"inputs"`
		Outputs     []frontChannel  `json:"outputs"`
		Env         []frontVariable `json:"env"`
		Resources   map[string]any  `json:"resources,omitempty"`
	}
	frontChannel struct {
		Name        string `json:"name"`
		Path        string `json:"mounted_path"`
		Description string `json:"description"`
	}
	frontVariable struct {
		Name        string   `json:"name"`
		Value       string   `json:"value"`
		Type        string   `json:"type,omitempty"`
		Choices     []string `json:"choices,omitempty"`
		Description string   `json:"description"`
	}
)

// frontVariableOf is a written-down value as a variable; "" stands for no value.
func frontVariableOf(s contract.Slot) frontVariable {
	v := frontVariable{Name: s.Name, Description: s.Description, Choices: s.Type.Choices}
	if s.Default != nil && s.Default.Items == nil {
		v.Value = s.Default.Text
	}
	switch {
	case len(v.Choices) > 0 && v.Value == "" && !slices.Contains(v.Choices, ""): // the file's own value must be a choice
		v.Choices = append([]string{""}, v.Choices...)
	case s.Type.Kind == task.Boolean:
		v.Type = typeBoolean
	case s.Type.Kind == task.Integer:
		v.Type = typeInt
	}
	return v
}

// frontResources gives limits and requests, as Kaapana's Kubernetes runner wants both; what the task says of one side only
// holds for the other.
func frontResources(r task.Resources) map[string]any {
	limits, requests := map[string]string{}, map[string]string{}
	set := func(key string, limit, request int64, unit string) {
		if limit > 0 {
			limits[key], requests[key] = fmt.Sprintf("%d%s", limit, unit), fmt.Sprintf("%d%s", cmp.Or(min(request, limit), limit), unit)
		}
	}
	mebi := func(b task.Bytes) int64 {
		if b == 0 {
			return 0
		}
		return int64(b+contract.FrontMemory+1<<20-1) >> 20
	}
	set(keyMemory, mebi(r.Memory), mebi(r.MinMemory), "Mi")
	set(keyCPU, int64(r.CPU), int64(r.MinCPU), "m")
	set("nvidia.com/gpu", int64(r.GPUs), 0, "")
	set(keyDisk, int64(r.Disk), 0, "")
	if len(limits) == 0 {
		return nil
	}
	return map[string]any{"limits": limits, "requests": requests}
}

func indented(v any) string {
	text, _ := json.MarshalIndent(v, "", "  ") // plain data always encodes
	return string(text) + "\n"
}
