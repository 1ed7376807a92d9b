package racetrack

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"longshore/internal/task"
)

// maxInline bounds an output that is also given as text.
const maxInline = 1 << 20

// Collect returns the answer's body as the output "output", whatever its status: by convention any JSON value (seed, "Job
// standards"), but a job may answer with anything. Statuses are the caller's to judge.
func (Contract) Collect(_ *task.Task, _ *task.Execution, left task.Leftovers) (task.Collected, error) {
	c := task.Collected{Outputs: map[string]task.Value{}}
	r := left.Response
	if r == nil || r.BodyPath == "" {
		return c, nil
	}
	f, err := os.Open(r.BodyPath)
	if err != nil {
		return c, fmt.Errorf("reading the answer: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxInline+1))
	if err != nil {
		return c, fmt.Errorf("reading the answer: %w", err)
	}
	v := task.Value{Path: r.BodyPath}
	switch {
	case len(data) > maxInline:
	case !utf8.Valid(data):
		c.Notes = append(c.Notes, "the answer is neither JSON nor text; it is kept as it is")
	default:
		v.Text = string(data)
		if !json.Valid(data) {
			c.Notes = append(c.Notes, "the answer is not JSON; it is kept as text")
		}
	}
	c.Outputs[outputName] = v
	return c, nil
}
