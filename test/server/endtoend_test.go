package server_test

import (
	"encoding/json"
	"testing"

	"longshore/internal/dispatch/durable"
	"longshore/internal/task"
)

// TestFiles imports a package, runs it with a log that is followed from before the container exists, and reads what is left.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := start(t, home(t), nil)
	v := importFolder(t, s, "../../examples/cytomine/integer-addition", nil)
	run := submit(t, s, durable.Submission{Task: "integer-addition", Inputs: map[string]json.RawMessage{"a": json.RawMessage("5"), "b": json.RawMessage("37")}})
	if run.Task != v.ID {
		t.Errorf("the run is of %s, want %s", run.Task, v.ID)
	}
	followed := make(chan string)
	log, err := s.Log(t.Context(), run.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	go func() { followed <- logText(t, log) }()
	run = wait(t, s, run.ID, task.Succeeded, "")
	if got := output(t, s, run.ID, "sum"); got != "42\n" && got != "42" {
		t.Errorf("sum = %q", got)
	}
	if got := <-followed; got != "5 + 37\n" {
		t.Errorf("the followed log is %q", got)
	}
	again, err := s.Log(t.Context(), run.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := logText(t, again); got != "5 + 37\n" {
		t.Errorf("the kept log is %q", got)
	}
	var states []task.State
	for e, err := range s.Events(t.Context(), run.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State != "" {
			states = append(states, e.State)
		}
	}
	if len(states) != 6 || states[0] != task.Queued || states[5] != task.Succeeded {
		t.Errorf("the states were %v", states)
	}
	if jobs, err := s.Worker.Jobs(t.Context()); err != nil || len(jobs) > 0 {
		t.Errorf("jobs left: %v, %v", jobs, err)
	}
}
