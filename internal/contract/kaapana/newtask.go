package kaapana

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.TaskWriter = Contract{}

// newTask is a task.json of today's dialect (Kaapana reference, 2.7).
type newTask struct {
	Name       string      `json:"name"`
	APIVersion int         `json:"api_version"`
	Image      string      `json:"image"`
	Template   string      `json:"taskTemplate"`
	Inputs     []newVolume `json:"inputs"`
	Outputs    []newVolume `json:"outputs"`
	Env        []setting   `json:"env"`
	// Resources repeat the template's, both sides: Kaapana's own runners fail on a task without them.
	Resources newResources `json:"resources"`
}

type newVolume struct {
	Name   string `json:"name"`
	Source struct {
		HostPath string `json:"host_path"`
	} `json:"volume_source"`
}

type newResources struct {
	Limits   json.RawMessage `json:"limits"`
	Requests json.RawMessage `json:"requests"`
}

// NewTask writes a task for the chosen template: folders for every channel, the adjustable variables with their defaults, and
// the template's resources.
func (Contract) NewTask(t *task.Task) ([]byte, []string, error) {
	d, err := detailOf(t)
	switch {
	case err != nil:
		return nil, nil, err
	case d.Task != nil:
		return nil, nil, &task.Error{Code: task.CodeUsage, Message: t.Name + " is a task already", Hint: "name an image, or the folder of a container"}
	case d.Legacy:
		return nil, nil, &task.Error{Code: task.CodeUsage, Message: "containers of the legacy contract have no templates to make a task of", Hint: "run them with --legacy"}
	case d.Template == nil:
		e := &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s has no template", t.Name), Hint: "add one to " + fileName}
		if len(t.Variants) > 0 {
			e.Message = fmt.Sprintf("%s offers several templates", t.Name)
			e.Hint = "name one: " + strings.Join(variantNames(t), ", ")
		}
		return nil, nil, e
	}
	u := d.Template
	doc := newTask{
		Name: shortName(t.Image.Name) + "-" + u.Identifier, APIVersion: 1, Image: t.Image.Name, Template: u.Identifier,
		Inputs: newVolumes("./in/", u.Inputs), Outputs: newVolumes("./out/", u.Outputs), Env: []setting{},
		Resources: newResources{json.RawMessage("{}"), json.RawMessage("{}")},
	}
	var notes []string
	for _, v := range doc.Inputs {
		notes = append(notes, fmt.Sprintf("put the data of input %s into %s, or name another folder there", v.Name, v.Source.HostPath))
	}
	for _, v := range u.Env {
		switch {
		case v.Fixed:
		case v.accept(v.Value) != nil:
			notes = append(notes, fmt.Sprintf("add a value of %s to env: %s", v.Name, v.wanted()))
		default:
			doc.Env = append(doc.Env, setting{Name: v.Name, Value: v.Value})
		}
	}
	if err := doc.Resources.repeat(u.Declared); err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(doc)
	return b.Bytes(), notes, err
}

func newVolumes(below string, channels []channel) []newVolume {
	volumes := []newVolume{}
	for _, c := range channels {
		v := newVolume{Name: c.Name}
		v.Source.HostPath = below + c.Name
		volumes = append(volumes, v)
	}
	return volumes
}

// repeat takes over the sides that are declared.
func (r *newResources) repeat(declared json.RawMessage) error {
	if len(declared) == 0 {
		return nil
	}
	n, err := contract.ParseJSON(declared)
	if err != nil {
		return fmt.Errorf("the stored resources cannot be read: %w", err)
	}
	for side, to := range map[string]*json.RawMessage{"limits": &r.Limits, "requests": &r.Requests} {
		if v := n.Get(side); v.Is(contract.NodeObject) {
			*to = v.JSON()
		}
	}
	return nil
}

// shortName is an image's name without registry, folders, tag and digest.
func shortName(image string) string {
	name, _, _ := strings.Cut(path.Base(image), "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

func variantNames(t *task.Task) []string {
	var names []string
	for _, v := range t.Variants {
		names = append(names, v.Name)
	}
	return names
}

// wanted says what a variable takes.
func (v variable) wanted() string {
	if len(v.Choices) > 0 {
		return "one of " + strings.Join(v.Choices, ", ")
	}
	return v.typeWords()
}
