// Package cytomine is the contract of the Cytomine App Engine: a task is an image and a descriptor.yml of typed parameters,
// shipped as a zip bundle or lying in a folder with its Dockerfile. Its container finds one file per input below /inputs,
// writes one file per output below /outputs, and says with its exit code whether it succeeded. The package knows neither how
// images are built nor how containers are run.
package cytomine

import (
	"encoding/json"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Contract is the Cytomine contract. The zero value is ready to use.
type Contract struct{}

// New returns the contract.
func New() Contract { return Contract{} }

var (
	_ contract.Contract     = Contract{}
	_ contract.ImageChecker = Contract{}
	_ contract.Exampler     = Contract{}
	_ contract.Scaffolder   = Contract{}
	_ contract.Bundler      = Contract{}
)

// Name is "cytomine".
func (Contract) Name() string { return "cytomine" }

// What a container finds when the descriptor says nothing else (Cytomine seed, "Task implementation"; the amounts are the
// App Engine's own).
const (
	defaultInputFolder  = "/inputs"
	defaultOutputFolder = "/outputs"
	defaultMemory       = 4 << 30
	// freeForDefault is what must be free for a task that does not say how much it needs: the default is a limit, not a need.
	freeForDefault = 128 << 20
)

// The names of an execution's two mounts.
const (
	inputMount  = "inputs"
	outputMount = "outputs"
)

// arrayFile holds the size of an array, beside its items.
const arrayFile = "array.yml"

// detail is what Prepare and Collect need to know of a task beyond its description.
type detail struct {
	InputFolder  string `json:"inputFolder"`
	OutputFolder string `json:"outputFolder"`
	// Compat is the reading that was asked for, see Options.Compat.
	Compat string `json:"compat,omitempty"`
	// Extras are what task.Type cannot say, by parameter ("inputs/a").
	Extras map[string]*extra `json:"extras,omitempty"`
}

// extra is what task.Type cannot say about a type. Nil says nothing.
type extra struct {
	// AnyFormat tells that an image declares no formats, so that its signature is not looked at.
	AnyFormat bool `json:"anyFormat,omitempty"`
	// MaxBytes bounds an image whose value may be a folder or a zip: it counts for the largest file in it.
	MaxBytes *task.Bytes `json:"maxBytes,omitempty"`
	// AllowMissing permits gaps between the items of an array.
	AllowMissing bool   `json:"allowMissing,omitempty"`
	Item         *extra `json:"item,omitempty"`
}

func (e *extra) anyFormat() bool    { return e != nil && e.AnyFormat }
func (e *extra) allowMissing() bool { return e != nil && e.AllowMissing }

func (e *extra) item() *extra {
	if e == nil {
		return nil
	}
	return e.Item
}

// maxBytes is the type's size limit, nil when there is none.
func (e *extra) maxBytes(t task.Type) *task.Bytes {
	if e != nil && e.MaxBytes != nil {
		return e.MaxBytes
	}
	return t.MaxBytes
}

// key names a parameter the way descriptors do in their references.
func key(p task.Parameter) string { return string(p.Direction) + "s/" + p.Name }

func detailOf(t *task.Task) (detail, error) {
	d := detail{InputFolder: defaultInputFolder, OutputFolder: defaultOutputFolder}
	if len(t.Detail) > 0 {
		if err := json.Unmarshal(t.Detail, &d); err != nil {
			return d, task.Errorf(task.ReasonEngine, "the stored task cannot be read: %w", err)
		}
	}
	return d, nil
}
