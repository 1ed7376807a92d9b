package storetest

import (
	"testing"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

func testClaimOrder(t *testing.T, s suite) {
	second := s.add(start.Add(time.Second))
	first := s.add(start)
	high := s.add(start.Add(time.Minute), func(r *store.Run) { r.Priority = 5 })
	low := s.add(start.Add(-time.Minute), func(r *store.Run) { r.Priority = -5 })
	one := func(c *store.Claim) { c.Max = 1 }
	var got []string
	for range 5 {
		got = append(got, s.claim("one", start.Add(time.Hour), one)...)
	}
	s.same(got, []string{high.ID, first.ID, second.ID, low.ID})
	if r := s.get(first.ID); r.Attempt != 1 || !r.StartedAt.Equal(start.Add(time.Hour)) {
		t.Errorf("%+v", r)
	}
}

func testClaimFits(t *testing.T, s suite) {
	now := start.Add(time.Second)
	large := s.add(start, needs(8000, 1<<30, 0))
	gpu := s.add(start.Add(time.Millisecond), needs(100, 1<<20, 1))
	a := s.add(start.Add(2*time.Millisecond), needs(1000, 1<<30, 0))
	b := s.add(start.Add(3*time.Millisecond), needs(1500, 1<<30, 0))
	c := s.add(start.Add(4*time.Millisecond), needs(500, 1<<20, 0))
	free := func(cpu task.MilliCPU, memory task.Bytes, gpus int) func(*store.Claim) {
		return func(c *store.Claim) { c.Free = task.Resources{CPU: cpu, Memory: memory, GPUs: gpus} }
	}
	s.same(s.claim("one", now, free(-1, -1, 0)), []string(nil))
	// What does not fit now is passed, and what fits alone and not together waits.
	s.same(s.claim("one", now, free(2000, 4<<30, 0)), []string{a.ID, c.ID})
	s.same(s.claim("one", now, free(2000, 1<<20, 1)), []string{gpu.ID})
	s.same(s.claim("one", now, free(2000, 0, 0)), []string{b.ID}) // memory is not counted
	s.same(s.claim("one", now), []string{large.ID})               // nothing is counted
	// Many that do not fit together do not hide one that does.
	for i := range 100 {
		s.add(start.Add(time.Duration(i)*time.Millisecond), needs(900, 0, 0))
	}
	small := s.add(start.Add(time.Second), needs(100, 0, 0))
	if got := s.claim("one", now, free(1000, 0, 0), func(c *store.Claim) { c.Max = 10 }); len(got) != 2 || got[1] != small.ID {
		t.Errorf("got %v, want the first and %s", got, small.ID)
	}
	// What is to be cancelled is handed out whatever it needs.
	r := s.add(start.Add(-time.Hour), needs(100_000, 0, 0), func(r *store.Run) { r.Cancel = true })
	s.same(s.claim("one", now, free(1, 1, 0)), []string{r.ID})
}

func testPatience(t *testing.T, s suite) {
	large := s.add(start, needs(8000, 0, 0))
	var small []string
	for i := range 6 {
		small = append(small, s.add(start.Add(time.Duration(i+1)*time.Second), needs(1000, 0, 0)).ID)
	}
	cancelled := s.add(start.Add(time.Minute), func(r *store.Run) { r.Cancel = true })
	room := func(cpu task.MilliCPU, patience time.Duration) func(*store.Claim) {
		return func(c *store.Claim) {
			c.Free, c.Capacity, c.Patience, c.Max = task.Resources{CPU: cpu}, task.Resources{CPU: 8000}, patience, 1
		}
	}
	s.same(s.claim("one", start.Add(30*time.Second), room(4000, 0)), small[:1]) // a minute is meant
	s.same(s.claim("one", start.Add(2*time.Minute), room(4000, 10*time.Minute)), small[1:2])
	s.same(s.claim("one", start.Add(2*time.Minute), room(4000, 0)), []string{cancelled.ID})
	s.same(s.claim("one", start.Add(2*time.Minute), room(4000, 0)), []string(nil))
	// A server that can never run it is not held back.
	s.same(s.claim("two", start.Add(2*time.Minute), func(c *store.Claim) {
		c.Free, c.Capacity, c.Max = task.Resources{CPU: 4000}, task.Resources{CPU: 4000}, 1
	}), small[2:3])
	s.same(s.claim("one", start.Add(2*time.Minute), room(8000, 0)), []string{large.ID})
	s.same(s.claim("one", start.Add(2*time.Minute), room(4000, 0)), small[3:4])
}

func testNotBefore(t *testing.T, s suite) {
	waiting := func(now time.Time, want bool) {
		t.Helper()
		got, err := s.Waiting(s.ctx, now)
		s.ok(err)
		if got != want {
			t.Errorf("waiting at %s: %v", now, got)
		}
	}
	waiting(start, false)
	r := s.add(start, func(r *store.Run) { r.NotBefore = start.Add(10 * time.Minute) })
	waiting(start, false)
	s.same(s.claim("one", start), []string(nil))
	waiting(start.Add(10*time.Minute), true)
	// The clock was set back by two hours: nobody waits that long.
	waiting(start.Add(-2*time.Hour), true)
	s.same(s.claim("one", start.Add(-2*time.Hour)), []string{r.ID})
	waiting(start.Add(time.Hour), false)
	// A cancelled one is ended at once.
	c := s.add(start, func(r *store.Run) { r.NotBefore, r.Cancel = start.Add(10*time.Minute), true })
	waiting(start, true)
	s.same(s.claim("one", start), []string{c.ID})
}

func testFinish(t *testing.T, s suite) {
	r := s.add(start)
	s.claim("one", start)
	s.ok(s.Progress(s.ctx, []store.Step{{ID: r.ID, Attempt: 1, State: task.Running, StartedAt: start.Add(time.Second)}, {ID: "nothing", Attempt: 1, State: task.Running}}))
	if got := s.get(r.ID); got.State != task.Running || !got.StartedAt.Equal(start.Add(time.Second)) {
		t.Errorf("after progress: %+v", got)
	}
	s.ok(s.Progress(s.ctx, []store.Step{{ID: r.ID, Attempt: 1, State: task.Collecting}, {ID: r.ID, Attempt: 2, State: task.Starting}}))
	if got := s.get(r.ID); got.State != task.Collecting || !got.StartedAt.Equal(start.Add(time.Second)) {
		t.Errorf("after more progress: %+v", got)
	}
	// Our own failure: back into the queue, held back, with the log so far.
	if !s.finish(store.End{ID: r.ID, Attempt: 1, State: task.Queued, NotBefore: start.Add(time.Minute), Reason: task.ReasonEngine, Files: []store.File{{Path: store.LogPath, Digest: "so far", Size: 7}}}) {
		t.Error("giving it back did not count")
	}
	got := s.get(r.ID)
	if got.State != task.Queued || got.Owner != "" || !got.EndedAt.IsZero() || got.Reason != "" || len(got.Files) != 1 || got.Files[0].Digest != "so far" || !got.NotBefore.Equal(start.Add(time.Minute)) {
		t.Errorf("given back: %+v", got)
	}
	s.same(s.claim("two", start.Add(time.Minute)), []string{r.ID})
	// The first one is late.
	s.ok(s.Progress(s.ctx, []store.Step{{ID: r.ID, Attempt: 1, State: task.Running}}))
	if s.finish(store.End{ID: r.ID, Attempt: 1, State: task.Failed, EndedAt: start, Files: []store.File{{Path: "x", Digest: "late"}}}) {
		t.Error("a late end counted")
	}
	if got := s.get(r.ID); got.State != task.Preparing || got.Attempt != 2 {
		t.Errorf("after the late one: %+v", got)
	}
	end := store.End{
		ID: r.ID, Attempt: 2, State: task.Succeeded, StartedAt: start.Add(2 * time.Minute), EndedAt: start.Add(3 * time.Minute), Result: []byte(`{"a":1}`),
		Files: []store.File{{Path: "out", Digest: "kept", Size: 4}}, Usage: task.Usage{CPUSeconds: 1.5, PeakMemory: 99}, CachedFrom: "other",
	}
	counted, err := s.Finish(s.ctx, []store.End{{ID: r.ID, Attempt: 1, State: task.Failed, EndedAt: start}, end, {ID: "nothing", Attempt: 1, State: task.Failed, EndedAt: start}})
	s.ok(err)
	s.same(counted, []bool{false, true, false})
	if s.finish(end) {
		t.Error("it ended twice")
	}
	want := r
	want.State, want.Attempt, want.StartedAt, want.EndedAt, want.Result, want.Files, want.CPUSeconds, want.PeakMemory, want.CachedFrom = end.State, 2, end.StartedAt, end.EndedAt, end.Result, end.Files, 1.5, 99, "other"
	s.same(s.get(r.ID), want)
	unused, err := s.Unreferenced(s.ctx, []string{"kept", "late", "so far"}, start)
	s.ok(err)
	s.set(unused, "late")
	s.ok(s.Progress(s.ctx, []store.Step{{ID: r.ID, Attempt: 2, State: task.Running}}))
	if got := s.get(r.ID); got.State != task.Succeeded {
		t.Errorf("progress after the end: %s", got.State)
	}
}

func testCancel(t *testing.T, s suite) {
	_, err := s.RequestCancel(s.ctx, "nothing", "ann", start)
	s.is(err, store.ErrNotFound)
	queued := s.add(start)
	got, err := s.RequestCancel(s.ctx, queued.ID, "ann", start.Add(time.Second))
	s.ok(err)
	if got.State != task.Cancelled || !got.Cancel || got.CancelledBy != "ann" || !got.EndedAt.Equal(start.Add(time.Second)) {
		t.Errorf("a queued one: %+v", got)
	}
	s.same(s.get(queued.ID), got)
	s.same(s.claim("one", start), []string(nil))
	again, err := s.RequestCancel(s.ctx, queued.ID, "bob", start.Add(time.Minute))
	s.ok(err)
	s.same(again, got)

	for _, state := range []task.State{task.Preparing, task.Starting, task.Running, task.Collecting} {
		r := s.add(start)
		s.claim("one", start)
		s.ok(s.Progress(s.ctx, []store.Step{{ID: r.ID, Attempt: 1, State: state}}))
		got, err := s.RequestCancel(s.ctx, r.ID, "ann", start)
		s.ok(err)
		if got.State != state || !got.Cancel || got.Owner != "one" {
			t.Errorf("one that is %s: %+v", state, got)
		}
		asked, err := s.Renew(s.ctx, "one", start.Add(time.Minute))
		s.ok(err)
		s.same(asked, []string{r.ID})
		if !s.finish(store.End{ID: r.ID, Attempt: 1, State: task.Cancelled, EndedAt: start}) {
			t.Error("its end did not count")
		}
		got, err = s.RequestCancel(s.ctx, r.ID, "bob", start)
		s.ok(err)
		if got.State != task.Cancelled || got.CancelledBy != "ann" {
			t.Errorf("after the end: %+v", got)
		}
	}
	counts, err := s.Count(s.ctx, store.RunFilter{})
	s.ok(err)
	s.same(counts, map[task.State]int64{task.Cancelled: 5})
}

func testLeases(t *testing.T, s suite) {
	r := s.add(start)
	s.claim("one", start)
	if _, err := s.Renew(s.ctx, "one", start.Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	expire := func(owner string, now time.Time, want ...string) {
		t.Helper()
		runs, err := s.Expire(s.ctx, owner, now)
		s.ok(err)
		s.same(ids(runs), want)
	}
	expire("two", start.Add(30*time.Second))
	expire("one", start.Add(time.Hour)) // one's own are not for others
	expire("two", start.Add(31*time.Second), r.ID)
	expire("two", start.Add(31*time.Second))
	owned, err := s.Owned(s.ctx, "one")
	s.ok(err)
	s.same(ids(owned), []string(nil))
	s.same(s.claim("two", start.Add(31*time.Second)), []string{r.ID})
	if s.finish(store.End{ID: r.ID, Attempt: 1, State: task.Succeeded, EndedAt: start}) {
		t.Error("the first server's late end counted")
	}
	if got := s.get(r.ID); got.Attempt != 2 || got.Owner != "two" {
		t.Errorf("%+v", got)
	}
	// The clock was set back by a day: the lease would last for that long.
	expire("three", start.Add(-24*time.Hour), r.ID)
	if owned, err := s.Owned(s.ctx, ""); err != nil || len(owned) != 0 {
		t.Errorf("nobody owns %d, %v", len(owned), err)
	}
}

func testServers(t *testing.T, s suite) {
	one := store.Server{Name: "one", URL: "http://one", Version: "1", Capacity: task.Resources{CPU: 2000, Memory: 1 << 30}, SeenAt: start}
	two := store.Server{Name: "two", SeenAt: start.Add(time.Hour)}
	s.ok(s.Heartbeat(s.ctx, one))
	s.ok(s.Heartbeat(s.ctx, two))
	one.SeenAt, one.Version = start.Add(2*time.Hour), "2"
	s.ok(s.Heartbeat(s.ctx, one))
	got, err := s.Servers(s.ctx)
	s.ok(err)
	s.same(got, []store.Server{one, two})
	one.SeenAt = start.Add(26 * time.Hour)
	s.ok(s.Heartbeat(s.ctx, one))
	got, err = s.Servers(s.ctx)
	s.ok(err)
	s.same(got, []store.Server{one})
}
