// Package front reads and writes the values of a converted task in the forms of the platform it was converted for: files and
// folders at fixed places, environment variables, or an HTTP body. The program inside converted images uses it to take inputs
// and give outputs, and the conversion itself to write the example. It knows no contract: contract.Front says what lies where.
package front

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// request collects what the slots of a front give.
type request struct {
	task.Request
	// dir is a folder for files that have to be made.
	dir string
}

func newRequest(dir string) *request {
	return &request{task.Request{Inputs: map[string]task.Given{}}, dir}
}

// give takes the value of a slot.
func (r *request) give(s contract.Slot, g task.Given) {
	if !s.Body {
		r.Inputs[s.Source] = g
		return
	}
	r.Body = &task.Body{Path: g.Path}
	if g.Text != nil {
		r.Body.Text = *g.Text
	}
}

// fresh makes an empty folder for one value.
func (r *request) fresh() (string, error) { return os.MkdirTemp(r.dir, "value-") }

// output is one output of a run: Path is its file or folder, and plain the typed value of what is written down.
type output struct {
	task.Value
	plain any
}

// outputOf finds the output of a slot among the results, which lie in dir; ok is false when the run gave none.
func outputOf(s contract.Slot, res *task.Result, dir string) (out output, ok bool) {
	for _, o := range res.Outputs {
		if o.Name == s.Source {
			return output{task.Value{Path: filepath.Join(dir, o.Path)}, o.Value}, true
		}
	}
	return output{}, false
}

// written is a value that is written down, as one text; arrays are JSON.
func written(t task.Type, v task.Value) (string, error) {
	if t.Kind != task.Array {
		return v.Text, nil
	}
	data, err := json.Marshal(v.Plain(t))
	return string(data), err
}

// missing is the error for an output that the run did not give.
func missing(s contract.Slot) error {
	return task.Errorf(task.ReasonOutput, "the task left no output %s", s.Source)
}

// inputError names the slot that an error is about.
func inputError(s contract.Slot, err error) error {
	return fmt.Errorf("input %s: %w", s.Name, err)
}
