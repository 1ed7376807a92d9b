// Package adapter is the program inside converted images. It runs the image's own program the way its own platform would:
// through dispatch, as every run, with an engine that starts the program right here, in the container the adapter is in. On the
// other side it is what the new platform expects (contract.Front). It needs no rights, no shell and no library of the image; its
// folders come with the layer that it is in. It knows no contract: the list is handed to it.
package adapter

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Plan is what the adapter does in one image. It lies beside the adapter.
type Plan struct {
	// Front is how the task looks from outside, Task what it is.
	Front contract.Front  `json:"front"`
	Task  *task.Task      `json:"task"`
	Image task.ImageFacts `json:"image"`
}

// What the image has in the front's folder (contract.FrontDir).
const (
	PlanFile = "plan.json"
	// RunsFolder holds what runs need while they last; every user may write there.
	RunsFolder = "runs"
)

// readPlan reads the plan beside the running program.
func readPlan() (*Plan, string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	dir := filepath.Dir(program)
	data, err := os.ReadFile(filepath.Join(dir, PlanFile))
	if err != nil {
		return nil, "", err
	}
	p := &Plan{}
	if err := json.Unmarshal(data, p); err != nil || p.Task == nil {
		return nil, "", fmt.Errorf("%s is no plan: %w", PlanFile, err)
	}
	return p, dir, nil
}

// empty removes what is in a folder.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
