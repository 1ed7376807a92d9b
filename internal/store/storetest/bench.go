package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// BenchmarkQueue measures the queue and the state machine alone: callers submit runs one by one, servers claim what waits and end
// each by itself. One operation is one run from its submission to its recorded end.
func BenchmarkQueue(b *testing.B, s store.Store, callers int) {
	ctx := b.Context()
	var next, ends atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if _, err := s.Submit(ctx, []store.Run{newRun(time.Now())}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	ending := make(chan store.Run, 512)
	for range callers {
		go func() {
			for r := range ending {
				end := store.End{ID: r.ID, Attempt: r.Attempt, State: task.Succeeded, EndedAt: time.Now(), Result: ended(r).Result}
				if ok, err := s.Finish(ctx, []store.End{end}); err != nil || !ok[0] {
					b.Errorf("end of %s: %v %v", r.ID, ok, err)
				}
				if ends.Add(1) == int64(b.N) {
					close(done)
				}
			}
		}()
	}
	all.Go(func() {
		defer close(ending)
		for claimed := 0; claimed < b.N; {
			runs, err := s.Claim(ctx, store.Claim{Owner: "bench", Now: time.Now(), Until: time.Now().Add(time.Minute), Max: 256})
			if err != nil {
				b.Error(err)
				return
			}
			claimed += len(runs)
			for _, r := range runs {
				ending <- r
			}
		}
	})
	all.Wait()
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

// BenchmarkOwned is the same for runs that are submitted as claimed, as a server with room does.
func BenchmarkOwned(b *testing.B, s store.Store, callers int) {
	b.ResetTimer()
	if err := Drive(b.Context(), s, callers, b.N); err != nil {
		b.Error(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

// Drive has callers submit so many runs together, as claimed, and end each.
func Drive(ctx context.Context, s store.Store, callers, runs int) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		all.Go(func() {
			for errs[i] == nil && next.Add(1) <= int64(runs) {
				errs[i] = drive(ctx, s)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func drive(ctx context.Context, s store.Store) error {
	r := newRun(time.Now())
	r.State, r.Attempt, r.Owner, r.LeaseUntil = task.Preparing, 1, "bench", time.Now().Add(time.Minute)
	if _, err := s.Submit(ctx, []store.Run{r}); err != nil {
		return err
	}
	counted, err := s.Finish(ctx, []store.End{{ID: r.ID, Attempt: 1, State: task.Succeeded, EndedAt: time.Now(), Result: ended(r).Result}})
	if err == nil && !counted[0] {
		err = fmt.Errorf("the end of %s did not count", r.ID)
	}
	return err
}

// Question is something that is asked of a large store.
type Question struct {
	Name string
	Ask  func(ctx context.Context, s store.Store) error
}

// Questions are lists, counts and sums with each filter, alone and combined.
func Questions(now time.Time) []Question {
	filters := []struct {
		name string
		f    store.RunFilter
	}{
		{"all", store.RunFilter{}},
		{"oldest", store.RunFilter{Oldest: true}},
		{"queued", store.RunFilter{States: []task.State{task.Queued}}},
		{"failed", store.RunFilter{States: []task.State{task.Failed}}},
		{"running", store.RunFilter{States: []task.State{task.Running}}},
		{"two states", store.RunFilter{States: []task.State{task.Failed, task.Cancelled}}},
		{"task", store.RunFilter{Task: fmt.Sprintf("t%019d", 7)}},
		{"name", store.RunFilter{Name: "task-07"}},
		{"account", store.RunFilter{Account: "account-07"}},
		{"nobody's", store.RunFilter{Account: "nobody"}},
		{"reason", store.RunFilter{Reason: task.ReasonExit}},
		{"another reason", store.RunFilter{Reason: task.ReasonOOM}},
		{"label", store.RunFilter{Labels: map[string]string{"batch": "3"}}},
		{"since", store.RunFilter{Since: now.Add(-10 * 24 * time.Hour)}},
		{"until", store.RunFilter{Until: now.Add(-10 * 24 * time.Hour)}},
		{"a day", store.RunFilter{Since: now.Add(-11*24*time.Hour - 17*time.Minute), Until: now.Add(-10*24*time.Hour - 17*time.Minute)}},
		{"search name", store.RunFilter{Search: "SK-07"}},
		{"search all names", store.RunFilter{Search: "task"}},
		{"search nothing", store.RunFilter{Search: "nothing"}},
		{"search id", store.RunFilter{Search: fmt.Sprintf("%012x", now.Add(-5*24*time.Hour).UnixMilli())[:9]}},
		{"account and failed", store.RunFilter{Account: "account-07", States: []task.State{task.Failed}}},
		{"account and name", store.RunFilter{Account: "account-07", Name: "task-07"}},
		{"account and other name", store.RunFilter{Account: "account-07", Name: "task-08", States: []task.State{task.Cancelled}}},
		{"account, name and a day", store.RunFilter{Account: "account-07", Name: "task-07", Since: now.Add(-11 * 24 * time.Hour), Until: now.Add(-10 * 24 * time.Hour)}},
		{"account and seldom task", store.RunFilter{Account: "account-07", Task: fmt.Sprintf("t%019d", 39)}},
		{"account and seldom name", store.RunFilter{Account: "account-07", Name: "task-39"}},
		{"account and seldom search", store.RunFilter{Account: "account-07", Search: "task-39"}},
		{"kept", store.RunFilter{Kept: true, Oldest: true}},
	}
	var list []Question
	for _, f := range filters {
		list = append(list, Question{"list " + f.name, func(ctx context.Context, s store.Store) error {
			_, _, err := s.List(ctx, f.f)
			return err
		}}, Question{"count " + f.name, func(ctx context.Context, s store.Store) error {
			_, err := s.Count(ctx, f.f)
			return err
		}})
	}
	for name, f := range map[string]store.UsageFilter{
		"all": {}, "account": {Account: "account-07"}, "a day": {Since: now.Add(-11*24*time.Hour - 17*time.Minute), Until: now.Add(-10*24*time.Hour - 17*time.Minute)},
	} {
		list = append(list, Question{"usage " + name, func(ctx context.Context, s store.Store) error {
			_, err := s.Usage(ctx, f)
			return err
		}})
	}
	slices.SortFunc(list, func(a, b Question) int { return len(a.Name) - len(b.Name) })
	return list
}
