package storetest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// start is when the suite's time begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// id is a run's ID as dispatch makes them: the time in milliseconds, and chance.
func id(at time.Time) string { return fmt.Sprintf("%012x%08x", at.UnixMilli(), rand.Uint32()) }

// newRun is a queued run of the task "t-sum" (named "sum") by "ann".
func newRun(at time.Time) store.Run {
	return store.Run{
		ID: id(at), Task: "t-sum", TaskName: "sum", TaskVersion: "1.0", Contract: "cytomine", Account: "ann", State: task.Queued, CreatedAt: at,
		Request: json.RawMessage(`{"task":"sum","inputs":{"a":3,"b":4}}`), Needs: task.Resources{CPU: 1000, Memory: 100 << 20},
	}
}

// ended is the run as it is after a success that took a second.
func ended(r store.Run) store.Run {
	r.State, r.Attempt = task.Succeeded, 1
	r.StartedAt = r.CreatedAt
	r.EndedAt = r.CreatedAt.Add(time.Second)
	r.CPUSeconds, r.PeakMemory = 0.5, 10<<20
	r.Result = json.RawMessage(`{"state":"succeeded","outputs":[{"name":"sum","text":"7"}]}`)
	return r
}
