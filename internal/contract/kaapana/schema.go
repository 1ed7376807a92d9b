package kaapana

import (
	_ "embed"

	"longshore/internal/contract"
)

var (
	//go:embed schema.json
	containerSchema string
	//go:embed schema_task.json
	taskSchema string
)

var _ contract.SchemaProvider = Contract{}

// Schemas implements contract.SchemaProvider.
func (Contract) Schemas() []contract.Schema {
	return []contract.Schema{
		{Document: "container", Files: []string{"processing-container.json"}, JSON: containerSchema},
		{Document: "task", Files: []string{"task.json", "tasks/*.json"}, JSON: taskSchema},
	}
}
