// Package kaapana is the contract of Kaapana's processing-containers: images that carry /processing-container.json, a list
// of task templates with environment variables, input and output channels, a command and resources.
//
// Sources of the rules: Kaapana's developer guide on processing-containers (called the seed here) and the behaviour of its
// Task API library from the first draft to release 0.6.1. The format changed several times; every dialect is read, element
// by element, and the output says which was met. Kaapana itself is AGPL: nothing of it is copied here.
package kaapana

import (
	"encoding/json"
	"fmt"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Name is the word users know the contract by.
const Name = "kaapana"

const (
	// fileName is the document's name, and inImage its place in an image ("COPY files/processing-container.json
	// /processing-container.json", seed).
	fileName = "processing-container.json"
	inImage  = "/" + fileName
	// fileLimit bounds the document: 1 MiB.
	fileLimit = 1 << 20
	// flatIdentifier names the only template of a document without templates.
	flatIdentifier = "default"
)

// Contract is the adapter. The zero value is ready and safe for concurrent use.
type Contract struct{}

var (
	_ contract.Contract     = Contract{}
	_ contract.ImageChecker = Contract{}
	_ contract.Exampler     = Contract{}
	_ contract.Bundler      = Contract{}
	_ contract.Scaffolder   = Contract{}
	_ contract.CompatModes  = Contract{}

	_ contract.LegacyRecogniser = Contract{}
	_ contract.TemplateReader   = Contract{}
	_ contract.ImageDescribed   = Contract{}
)

// New returns the contract.
func New() contract.Contract { return Contract{} }

// Name returns "kaapana".
func (Contract) Name() string { return Name }

// detail is what Prepare needs of a loaded package, kept as JSON in Task.Detail.
type detail struct {
	// Template is the use that runs; nil while none is chosen, or while it is still inside the image.
	Template *template `json:"template,omitempty"`
	// File is the document's path in the package, for comparing it with the image's copy; empty for images and task files.
	File string `json:"file,omitempty"`
	// Task is the task file that the package is, if it is one.
	Task *taskFile `json:"task,omitempty"`
	// Legacy tells that the image is run in the layout of older operators.
	Legacy bool `json:"legacy,omitempty"`
	// Compat is the runner of Kaapana's whose reading is taken; empty for Longshore's own.
	Compat string `json:"compat,omitempty"`
}

func detailOf(t *task.Task) (detail, error) {
	var d detail
	if len(t.Detail) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(t.Detail, &d); err != nil {
		return d, fmt.Errorf("the stored task %s cannot be read: %w", t.Name, err)
	}
	return d, nil
}

func (d detail) encode() json.RawMessage {
	data, err := json.Marshal(d)
	if err != nil {
		return nil // plain strings, numbers and lists always encode
	}
	return data
}
