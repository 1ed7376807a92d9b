// Package storeload makes runs in large numbers, for measuring what works with a store that is full of them. It knows the store's
// interfaces only.
package storeload

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// ID is a run's ID as dispatch makes them: the time in milliseconds, and chance.
func ID(at time.Time) string { return fmt.Sprintf("%012x%08x", at.UnixMilli(), rand.Uint32()) }

// Run is a queued run of the task "t-sum" (named "sum") by "ann".
func Run(at time.Time) store.Run {
	return store.Run{
		ID: ID(at), Task: "t-sum", TaskName: "sum", TaskVersion: "1.0", Contract: "cytomine", Account: "ann", State: task.Queued, CreatedAt: at,
		Request: json.RawMessage(`{"task":"sum","inputs":{"a":3,"b":4}}`), Needs: task.Resources{CPU: 1000, Memory: 100 << 20},
	}
}

// Ended is the run as it is after a success that took a second.
func Ended(r store.Run) store.Run {
	r.State, r.Attempt = task.Succeeded, 1
	r.StartedAt = r.CreatedAt
	r.EndedAt = r.CreatedAt.Add(time.Second)
	r.CPUSeconds, r.PeakMemory = 0.5, 10<<20
	r.Result = json.RawMessage(`{"state":"succeeded","outputs":[{"name":"sum","text":"7"}]}`)
	return r
}

// Fill adds ended runs, of the last thirty days before now, and queued ones: of 40 tasks, by 20 accounts, one in fifty failed, one
// in a thousand with a label of its own. The last task is one account's, but for its first runs. change, when not nil, changes the queued ones.
func Fill(ctx context.Context, s store.Store, now time.Time, finished, queued int, change func(*store.Run)) error {
	for i := range 40 {
		if err := s.AddVersion(ctx, store.Version{ID: fmt.Sprintf("t%019d", i), Name: fmt.Sprintf("task-%02d", i), Version: "1", Contract: "meca", CreatedAt: now}, ""); err != nil {
			return err
		}
	}
	const batch = 2000
	// Each has a time of its own, as their IDs begin with it: the queued ones came within the last minute.
	step, pause := 30*24*time.Hour/time.Duration(max(finished, 1)), time.Minute/time.Duration(max(queued, 1))
	for from := 0; from < finished+queued; from += batch {
		var runs []store.Run
		for i := from; i < min(from+batch, finished+queued); i++ {
			ago := time.Minute + time.Duration(finished-i)*step
			if i >= finished {
				ago = time.Duration(finished+queued-i) * pause
			}
			at := now.Add(-ago).Truncate(time.Microsecond)
			r := Run(at)
			r.Task, r.TaskName, r.Account = fmt.Sprintf("t%019d", i%40), fmt.Sprintf("task-%02d", i%40), fmt.Sprintf("account-%02d", i/40%20)
			if i%40 == 39 && i >= 40*20 {
				r.Account = "account-19"
			}
			if i%1000 == 0 {
				r.Labels = map[string]string{"batch": fmt.Sprint(i / 100_000)}
			}
			switch {
			case i >= finished && change != nil:
				change(&r)
			case i < finished:
				r = Ended(r)
				if i%50 == 0 {
					r.State, r.Reason = task.Failed, task.ReasonExit
				}
			}
			runs = append(runs, r)
		}
		if _, err := s.Submit(ctx, runs); err != nil {
			return err
		}
	}
	return nil
}
