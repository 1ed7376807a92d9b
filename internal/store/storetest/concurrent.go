package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

func testClaimersRace(t *testing.T, s suite) {
	const runs, claimers = 300, 6
	var list []store.Run
	for i := range runs {
		list = append(list, newRun(start.Add(time.Duration(i)*time.Millisecond)))
	}
	_, err := s.Submit(s.ctx, list)
	s.ok(err)
	var mu sync.Mutex
	got := map[string]string{}
	var all sync.WaitGroup
	for i := range claimers {
		owner := fmt.Sprint("server ", i)
		all.Go(func() {
			for {
				mine, err := s.Claim(s.ctx, store.Claim{Owner: owner, Now: start.Add(time.Second), Until: start.Add(time.Minute), Max: 3})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, r := range mine {
					if other := got[r.ID]; other != "" {
						t.Errorf("run %s was given to %s and %s", r.ID, other, owner)
					}
					got[r.ID] = owner
				}
				done := len(got) == runs
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	all.Wait()
	for id, owner := range got {
		if r := s.get(id); r.Owner != owner || r.Attempt != 1 {
			t.Fatalf("%+v, want it to be %s's", r, owner)
		}
	}
}

// testSubmittersShare has a hundred callers, whose runs are all there, and take much less than a hundred commits would.
func testSubmittersShare(t *testing.T, s suite) {
	const callers, each = 100, 10
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				r := newRun(start)
				got, err := s.Submit(s.ctx, []store.Run{r})
				if err != nil || got[0].ID != r.ID {
					t.Errorf("%v", err)
					return
				}
				if _, err := s.Run(s.ctx, r.ID); err != nil {
					t.Errorf("it is not there after it was accepted: %v", err)
				}
			}
		})
	}
	all.Wait()
	counts, err := s.Count(s.ctx, store.RunFilter{})
	s.ok(err)
	s.same(counts, map[task.State]int64{task.Queued: callers * each})
}

func testSameKey(t *testing.T, s suite) {
	const callers = 40
	ids := make([]string, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			r := newRun(start)
			r.Key = "key"
			got, err := s.Submit(s.ctx, []store.Run{r})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = got[0].ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one key made the runs %s and %s", ids[0], id)
		}
	}
}

// testFinishRaces ends each run from two sides while it is cancelled: exactly one end counts.
func testFinishRaces(t *testing.T, s suite) {
	const runs = 60
	for range runs {
		s.add(start)
	}
	claimed := s.claim("one", start, func(c *store.Claim) { c.Max = runs })
	if len(claimed) != runs {
		t.Fatalf("%d claimed", len(claimed))
	}
	var all sync.WaitGroup
	for _, id := range claimed {
		counts := make(chan bool, 2)
		for _, state := range []task.State{task.Succeeded, task.Failed} {
			all.Go(func() {
				ok, err := s.Finish(s.ctx, []store.End{{ID: id, Attempt: 1, State: state, EndedAt: start}})
				if err != nil {
					t.Error(err)
					counts <- false
					return
				}
				counts <- ok[0]
			})
		}
		all.Go(func() {
			if _, err := s.RequestCancel(s.ctx, id, "ann", start); err != nil {
				t.Error(err)
			}
			if a, b := <-counts, <-counts; a == b {
				t.Errorf("run %s: ends counted %v and %v", id, a, b)
			}
		})
	}
	all.Wait()
	counts, err := s.Count(s.ctx, store.RunFilter{})
	s.ok(err)
	if counts[task.Succeeded]+counts[task.Failed] != runs {
		t.Errorf("%v", counts)
	}
}

// testBadWrite has writes that fail among others that come at the same time.
func testBadWrite(t *testing.T, s suite) {
	one := s.add(start)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			r := newRun(start)
			if i%3 == 0 {
				r.ID = one.ID // conflicts
			}
			_, err := s.Submit(s.ctx, []store.Run{r})
			if bad := i%3 == 0; bad != (err != nil) {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	all.Wait()
	counts, err := s.Count(s.ctx, store.RunFilter{})
	s.ok(err)
	s.same(counts, map[task.State]int64{task.Queued: 41})
}

// testClose closes while writes wait: each was either done or refused.
func testClose(t *testing.T, s suite) {
	begun := make(chan struct{}, 50)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			begun <- struct{}{}
			_, err := s.Submit(s.ctx, []store.Run{newRun(start)})
			_ = err // either is right; what counts is that it returns
		})
	}
	<-begun
	s.ok(s.Close())
	all.Wait()
	if _, err := s.Submit(s.ctx, []store.Run{newRun(start)}); err == nil {
		t.Error("a closed store took a run")
	}
}
