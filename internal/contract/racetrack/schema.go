package racetrack

import (
	_ "embed"

	"longshore/internal/contract"
)

//go:embed schema.json
var schemaText string

var _ contract.SchemaProvider = Contract{}

// Schemas implements contract.SchemaProvider.
func (Contract) Schemas() []contract.Schema {
	return []contract.Schema{{Document: "manifest", Files: []string{"job.yaml", "fatman.yaml"}, JSON: schemaText}}
}
