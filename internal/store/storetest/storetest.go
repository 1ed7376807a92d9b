// Package storetest is the suite that every database passes, what it takes to start one, and measures of the queue's speed.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"longshore/internal/store"
	"longshore/internal/task"
)

// Run puts a store through the suite. open answers a fresh one, which is closed by open's own means.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s suite)
	}{
		{"run", testRun}, {"keys", testKeys}, {"submit ended", testSubmitEnded}, {"lists", testLists}, {"pages", testPages}, {"search many", testSearchMany}, {"counts", testCounts},
		{"usage", testUsage}, {"cached", testCached}, {"prune", testPrune},
		{"claim order", testClaimOrder}, {"claim fits", testClaimFits}, {"patience", testPatience}, {"not before", testNotBefore},
		{"finish", testFinish}, {"cancel", testCancel}, {"leases", testLeases}, {"servers", testServers},
		{"versions", testVersions}, {"owners", testOwners}, {"accounts", testAccounts}, {"tokens", testTokens}, {"audit", testAudit}, {"blobs", testBlobs},
		{"texts", testTexts}, {"claimers race", testClaimersRace}, {"submitters share", testSubmittersShare}, {"same key at once", testSameKey},
		{"finish races cancel", testFinishRaces}, {"bad write among others", testBadWrite}, {"close", testClose},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, suite{Store: open(t), t: t, ctx: t.Context()})
		})
	}
}

// suite is a store with what tests do to it often.
type suite struct {
	store.Store
	t   *testing.T
	ctx context.Context
}

func (s suite) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s suite) is(err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Fatalf("got %v, want %v", err, want)
	}
}

// add submits a run made of newRun and changes, and answers it as it is on record.
func (s suite) add(at time.Time, changes ...func(*store.Run)) store.Run {
	s.t.Helper()
	r := newRun(at)
	for _, change := range changes {
		change(&r)
	}
	added, err := s.Submit(s.ctx, []store.Run{r})
	s.ok(err)
	return added[0]
}

func (s suite) get(id string) store.Run {
	s.t.Helper()
	r, err := s.Run(s.ctx, id)
	s.ok(err)
	return r
}

// claim claims with a lease of a minute; changes may say otherwise.
func (s suite) claim(owner string, now time.Time, changes ...func(*store.Claim)) []string {
	s.t.Helper()
	c := store.Claim{Owner: owner, Now: now, Until: now.Add(time.Minute), Max: 10}
	for _, change := range changes {
		change(&c)
	}
	runs, err := s.Claim(s.ctx, c)
	s.ok(err)
	var ids []string
	for _, r := range runs {
		if r.Owner != owner || r.State != task.Preparing || r.Attempt < 1 || !r.LeaseUntil.Equal(c.Until) {
			s.t.Errorf("claimed: %+v", r)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

func (s suite) finish(e store.End) bool {
	s.t.Helper()
	counted, err := s.Finish(s.ctx, []store.End{e})
	s.ok(err)
	return counted[0]
}

func (s suite) same(got, want any) {
	s.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b string) bool { return false })); diff != "" {
		s.t.Errorf("(-want +got)\n%s", diff)
	}
}

// set is the same but for the order.
func (s suite) set(got []string, want ...string) {
	s.t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	s.same(got, want)
}

func ids(runs []store.Run) (list []string) {
	for _, r := range runs {
		list = append(list, r.ID)
	}
	return list
}

func needs(cpu task.MilliCPU, memory task.Bytes, gpus int) func(*store.Run) {
	return func(r *store.Run) { r.Needs = task.Resources{CPU: cpu, Memory: memory, GPUs: gpus} }
}

func testRun(t *testing.T, s suite) {
	r := newRun(start)
	r.Variant, r.Priority, r.Key, r.CacheKey = "v", 7, "k", "c"
	r.Needs.GPUs = 2
	r.Labels = map[string]string{"team": "a&b<c>", "päivä": "東京"}
	r.Inputs = []store.File{{Path: "in", Digest: "sha256:1", Size: 3}, {Path: "d/l", Mode: "link", Target: "../x"}}
	r.NotBefore = start.Add(time.Second)
	added, err := s.Submit(s.ctx, []store.Run{r})
	s.ok(err)
	s.same(added[0], r)
	s.same(s.get(r.ID), r)
	list, _, err := s.List(s.ctx, store.RunFilter{})
	s.ok(err)
	lean := r
	lean.Request, lean.Inputs = nil, nil
	s.same(list, []store.Run{lean})
	_, err = s.Run(s.ctx, "nothing")
	s.is(err, store.ErrNotFound)
	s.ok(s.Ping(s.ctx))
}

func testKeys(t *testing.T, s suite) {
	key := func(k, account string) func(*store.Run) {
		return func(r *store.Run) { r.Key, r.Account = k, account }
	}
	one := s.add(start, key("k", "ann"))
	if again := s.add(start.Add(time.Second), key("k", "ann")); again.ID != one.ID {
		t.Errorf("the same key made another run")
	}
	if other := s.add(start, key("k", "bob")); other.ID == one.ID {
		t.Errorf("another account's key is the same")
	}
	if a, b := s.add(start), s.add(start); a.ID == b.ID {
		t.Errorf("runs without a key are the same")
	}
	// A run with the ID of another is none of these, and nothing of its call is kept.
	clash, fine := newRun(start), newRun(start)
	clash.ID = one.ID
	_, err := s.Submit(s.ctx, []store.Run{fine, clash})
	s.is(err, store.ErrConflict)
	_, err = s.Run(s.ctx, fine.ID)
	s.is(err, store.ErrNotFound)
	// In one call, the first of a key counts.
	two := []store.Run{newRun(start), newRun(start)}
	two[0].Key, two[1].Key = "twice", "twice"
	added, err := s.Submit(s.ctx, two)
	s.ok(err)
	if added[0].ID != two[0].ID || added[1].ID != two[0].ID {
		t.Errorf("got %s and %s", added[0].ID, added[1].ID)
	}
}

func testSubmitEnded(t *testing.T, s suite) {
	r := ended(newRun(start))
	r.CachedFrom, r.Files = "other", []store.File{{Path: "out", Digest: "sha256:2", Size: 1}}
	_, err := s.Submit(s.ctx, []store.Run{r})
	s.ok(err)
	s.same(s.get(r.ID), r)
	s.same(s.claim("one", start), []string(nil))
	counts, err := s.Count(s.ctx, store.RunFilter{})
	s.ok(err)
	s.same(counts, map[task.State]int64{task.Succeeded: 1})
	if s.finish(store.End{ID: r.ID, Attempt: 1, State: task.Failed, EndedAt: start}) {
		t.Error("an ended run ended again")
	}
	unused, err := s.Unreferenced(s.ctx, []string{"sha256:2"}, start)
	s.ok(err)
	s.same(unused, []string(nil))
	// One that is submitted as claimed is its owner's.
	held := s.add(start, func(r *store.Run) {
		r.State, r.Owner, r.Attempt, r.LeaseUntil = task.Preparing, "one", 1, start.Add(time.Minute)
	})
	owned, err := s.Owned(s.ctx, "one")
	s.ok(err)
	s.same(owned, []store.Run{held})
	if !s.finish(store.End{ID: held.ID, Attempt: 1, State: task.Failed, EndedAt: start, Reason: task.ReasonExit}) {
		t.Error("its end did not count")
	}
}

// population is runs that differ in everything that filters look at.
func population(s suite) map[string]store.Run {
	for i, name := range []string{"Segment 100%", "segment_cells", "sum"} {
		s.ok(s.AddVersion(s.ctx, store.Version{ID: fmt.Sprintf("t%d", i), Name: name, Version: "1", CreatedAt: start}, ""))
	}
	m := map[string]store.Run{}
	for i, r := range []struct {
		name, task, taskName, account string
		state                         task.State
		reason                        task.Code
		labels                        map[string]string
	}{
		{"a", "t0", "Segment 100%", "ann", task.Queued, "", map[string]string{"team": "x", "kind": "y"}},
		{"b", "t0", "Segment 100%", "bob", task.Running, "", map[string]string{"team": "x%"}},
		{"c", "t1", "segment_cells", "ann", task.Succeeded, "", map[string]string{"team": "x"}},
		{"d", "t1", "segment_cells", "bob", task.Failed, task.ReasonExit, map[string]string{"te": "am", "am": `x","team":"x`}},
		{"e", "t2", "sum", "ann", task.Failed, task.ReasonOOM, nil},
		{"f", "t2", "sum", "ann", task.Cancelled, "", nil},
		{"g", "t2", "sum", "bob", task.Succeeded, "", map[string]string{"team": "x", "kind": "z"}},
	} {
		run := newRun(start.Add(time.Duration(i) * time.Minute))
		run.Task, run.TaskName, run.Account, run.State, run.Reason, run.Labels = r.task, r.taskName, r.account, r.state, r.reason, r.labels
		if r.state == task.Running {
			run.Owner, run.Attempt, run.LeaseUntil = "one", 1, start.Add(time.Hour)
		}
		if r.state.Terminal() {
			run.EndedAt = run.CreatedAt.Add(time.Minute)
		}
		m[r.name] = s.add(run.CreatedAt, func(r *store.Run) { *r = run })
	}
	return m
}

// filters are what each chooses from the population, latest first.
func filters(m map[string]store.Run) map[string]store.RunFilter {
	return map[string]store.RunFilter{
		"gfedcba": {},
		"a":       {States: []task.State{task.Queued}},
		"gedc":    {States: []task.State{task.Succeeded, task.Failed}},
		"gcba":    {States: []task.State{task.Succeeded, task.Queued, task.Running}},
		"gfe":     {Task: "t2"},
		"dc":      {Name: "segment_cells"},
		"feca":    {Account: "ann"},
		"d":       {Reason: task.ReasonExit},
		"gca":     {Labels: map[string]string{"team": "x"}},
		"g":       {Labels: map[string]string{"team": "x", "kind": "z"}},
		"c":       {Labels: map[string]string{"team": "x"}, Account: "ann", States: []task.State{task.Succeeded}},
		"b":       {Labels: map[string]string{"team": "x%"}},
		"gfed":    {Since: m["d"].CreatedAt},
		"cba":     {Until: m["d"].CreatedAt},
		"cb":      {Since: m["b"].CreatedAt, Until: m["d"].CreatedAt},
		"dcba":    {Search: "SEGMENT"},
		"ba":      {Search: "0%"},
		"cd":      {Search: "t_C", Oldest: true},
		"f":       {Search: m["f"].ID[:17]},
		"e":       {Search: m["e"].ID, Account: "ann"},
		"":        {Search: "abc"},
		"fe":      {Name: "sum", Account: "ann"},
		"ec":      {Account: "ann", States: []task.State{task.Succeeded, task.Failed}},
		"abcdefg": {Oldest: true},
		"db":      {Account: "bob", Until: m["g"].CreatedAt},
		"ca":      {Search: "segment", Account: "ann"},
	}
}

func testLists(t *testing.T, s suite) {
	m := population(s)
	for want, f := range filters(m) {
		got, next, err := s.List(s.ctx, f)
		s.ok(err)
		if s.same(names(m, got), want); next != "" {
			t.Errorf("%+v: a next page %q", f, next)
		}
	}
	for _, f := range []store.RunFilter{
		{Search: m["f"].ID, Account: "bob"}, {Search: "019"}, {Name: "sum", Search: "segment"}, {Labels: map[string]string{"team": "X"}}, {Labels: map[string]string{"team": "x", "kind": "no"}},
		{Account: "nobody"}, {Reason: task.ReasonExit, States: []task.State{task.Succeeded}}, {Search: "%"}, {Search: "_c", Account: "nobody"}, {Until: start.Add(-time.Hour)}, {Since: start.Add(time.Hour)},
	} {
		if f.Search == "%" { // it is in one name
			f.States = []task.State{task.Failed}
		}
		got, _, err := s.List(s.ctx, f)
		s.ok(err)
		s.same(names(m, got), "")
	}
	_, err := s.Prune(s.ctx, m["c"].EndedAt.Add(time.Second), 1, false)
	s.ok(err)
	got, _, err := s.List(s.ctx, store.RunFilter{Kept: true, States: []task.State{task.Succeeded}})
	s.ok(err)
	s.same(names(m, got), "g")
}

func names(m map[string]store.Run, runs []store.Run) (word string) {
	for _, r := range runs {
		for name, other := range m {
			if other.ID == r.ID {
				word += name
			}
		}
	}
	return word
}

func testPages(t *testing.T, s suite) {
	var want []string
	for i := range 25 {
		want = append(want, s.add(start.Add(time.Duration(i)*time.Second)).ID)
	}
	for _, f := range []store.RunFilter{{}, {Account: "ann"}, {Oldest: true}, {Name: "sum", States: []task.State{task.Queued, task.Failed}}} {
		f.Limit = 7
		var got []string
		for pages := 0; ; pages++ {
			list, next, err := s.List(s.ctx, f)
			s.ok(err)
			if got = append(got, ids(list)...); next == "" {
				break
			}
			f.After = next
			if len(list) != f.Limit || pages > 5 {
				t.Fatalf("a page of %d", len(list))
			}
			if !f.Oldest {
				s.add(start.Add(time.Hour)) // it comes before what was read, and shifts nothing
			}
		}
		if !f.Oldest {
			slices.Reverse(got)
		}
		s.same(got[:25], want)
		for _, id := range got[25:] {
			if f.Oldest {
				continue
			}
			t.Errorf("run %s was listed, which came later", id)
		}
		if !f.Oldest {
			s.forget(start.Add(30 * time.Minute))
		}
	}
	if list, next, err := s.List(s.ctx, store.RunFilter{Limit: 25}); err != nil || len(list) != 25 || next != "" {
		t.Errorf("a page as long as the list: %d, %q, %v", len(list), next, err)
	}
}

// testSearchMany searches for more tasks than one question of a database may name, among runs that wait and runs that ended.
func testSearchMany(t *testing.T, s suite) {
	var want []string
	for i := range 90 {
		name := fmt.Sprintf("0000-%02d", i)
		s.ok(s.AddVersion(s.ctx, store.Version{ID: fmt.Sprintf("t%019d", i), Name: name, CreatedAt: start}, ""))
		for n, change := range []func(*store.Run){
			func(r *store.Run) { r.TaskName = name },
			func(r *store.Run) { *r = ended(*r); r.TaskName = name },
			func(*store.Run) {}, // of another task
		} {
			r := s.add(start.Add(time.Duration(90*n+i)*time.Second), change)
			if n < 2 {
				want = append(want, r.ID)
			}
		}
	}
	slices.Sort(want)
	for _, oldest := range []bool{true, false} {
		f := store.RunFilter{Search: "000-", Oldest: oldest, Limit: 50}
		var got []string
		for more := true; more; more = f.After != "" {
			list, next, err := s.List(s.ctx, f)
			s.ok(err)
			got, f.After = append(got, ids(list)...), next
		}
		if !oldest {
			slices.Reverse(got)
		}
		s.same(got, want)
	}
	n, err := s.Count(s.ctx, store.RunFilter{Search: "000-"})
	s.ok(err)
	s.same(n, map[task.State]int64{task.Queued: 90, task.Succeeded: 90})
}

// forget removes the runs that were created since.
func (s suite) forget(since time.Time) {
	s.t.Helper()
	list, _, err := s.List(s.ctx, store.RunFilter{Since: since})
	s.ok(err)
	for _, r := range list {
		_, err := s.RequestCancel(s.ctx, r.ID, "test", start)
		s.ok(err)
	}
	_, err = s.Prune(s.ctx, start.Add(time.Second), 1000, true)
	s.ok(err)
}

func testCounts(t *testing.T, s suite) {
	m := population(s)
	check := func() {
		t.Helper()
		all := filters(m)
		all["kept"] = store.RunFilter{Kept: true}
		all["kept label"] = store.RunFilter{Kept: true, Labels: map[string]string{"team": "x"}}
		for _, f := range all {
			f.Limit = 1000
			list, _, err := s.List(s.ctx, f)
			s.ok(err)
			want := map[task.State]int64{}
			for _, r := range list {
				want[r.State]++
			}
			got, err := s.Count(s.ctx, f)
			s.ok(err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%+v (-want +got)\n%s", f, diff)
			}
		}
	}
	check()
	// Runs that are whole hours and days away, at edges of hours and in between.
	for _, d := range []time.Duration{-72 * time.Hour, -time.Hour, -time.Microsecond, 0, time.Hour, 90 * time.Minute, 2*time.Hour + time.Microsecond, 50 * time.Hour} {
		s.add(start.Add(d), func(r *store.Run) { *r = ended(*r) })
		s.add(start.Add(d))
	}
	check()
	edges := []time.Time{{}, start.Add(-72 * time.Hour), start, start.Add(time.Microsecond), start.Add(time.Hour), start.Add(100 * time.Minute), start.Add(50 * time.Hour)}
	for _, since := range edges {
		for _, until := range edges {
			m[since.String()+until.String()] = store.Run{}
			f := store.RunFilter{Since: since, Until: until, Limit: 1000}
			list, _, err := s.List(s.ctx, f)
			s.ok(err)
			counts, err := s.Count(s.ctx, f)
			s.ok(err)
			var n int64
			for _, c := range counts {
				n += c
			}
			if n != int64(len(list)) {
				t.Errorf("%s to %s: %d counted, %d listed", since, until, n, len(list))
			}
		}
	}
	_, err := s.Prune(s.ctx, start.Add(time.Hour), 3, false)
	s.ok(err)
	check()
	_, err = s.Prune(s.ctx, start.Add(time.Hour), 5, true)
	s.ok(err)
	check()
}

func testUsage(t *testing.T, s suite) {
	use := func(account, name string, state task.State, at time.Time, cpu float64, peak task.Bytes) store.Run {
		return s.add(at, func(r *store.Run) {
			*r = ended(*r)
			r.Account, r.TaskName, r.Task, r.State, r.CPUSeconds, r.PeakMemory = account, name, "t-"+name, state, cpu, peak
		})
	}
	use("ann", "sum", task.Succeeded, start, 1, 10)
	use("ann", "sum", task.Failed, start.Add(30*time.Minute), 2, 30)
	use("ann", "sum", task.Cancelled, start.Add(3*time.Hour), 4, 20)
	use("ann", "cut", task.Succeeded, start, 8, 1)
	use("bob", "sum", task.Succeeded, start, 16, 2)
	s.add(start) // queued: not used anything
	annCut := store.Usage{Account: "ann", TaskName: "cut", Contract: "cytomine", Runs: 1, Succeeded: 1, CPUSeconds: 8, WallTime: 1, PeakMemory: 1}
	annSum := store.Usage{Account: "ann", TaskName: "sum", Contract: "cytomine", Runs: 3, Succeeded: 1, Failed: 1, Cancelled: 1, CPUSeconds: 7, WallTime: 3, PeakMemory: 30}
	bobSum := store.Usage{Account: "bob", TaskName: "sum", Contract: "cytomine", Runs: 1, Succeeded: 1, CPUSeconds: 16, WallTime: 1, PeakMemory: 2}
	early := store.Usage{Account: "ann", TaskName: "sum", Contract: "cytomine", Runs: 2, Succeeded: 1, Failed: 1, CPUSeconds: 3, WallTime: 2, PeakMemory: 30}
	first := store.Usage{Account: "ann", TaskName: "sum", Contract: "cytomine", Runs: 1, Succeeded: 1, CPUSeconds: 1, WallTime: 1, PeakMemory: 10}
	check := func(f store.UsageFilter, want ...store.Usage) {
		t.Helper()
		got, err := s.Usage(s.ctx, f)
		s.ok(err)
		s.same(got, want)
	}
	check(store.UsageFilter{}, annCut, annSum, bobSum)
	check(store.UsageFilter{Account: "ann"}, annCut, annSum)
	check(store.UsageFilter{Name: "sum"}, annSum, bobSum)
	check(store.UsageFilter{Account: "ann", Name: "sum", Until: start.Add(2 * time.Hour)}, early)
	check(store.UsageFilter{Account: "ann", Name: "sum", Until: start.Add(time.Minute)}, first)
	check(store.UsageFilter{Account: "ann", Name: "sum", Since: start, Until: start.Add(time.Minute)}, first)
	check(store.UsageFilter{Since: start.Add(4 * time.Hour)})
	// What was used stays on record when the runs go.
	_, err := s.Prune(s.ctx, start.Add(24*time.Hour), 100, true)
	s.ok(err)
	check(store.UsageFilter{}, annCut, annSum, bobSum)
}

func testCached(t *testing.T, s suite) {
	_, err := s.Cached(s.ctx, "key")
	s.is(err, store.ErrNotFound)
	put := func(at time.Time, state task.State, from string) store.Run {
		return s.add(at, func(r *store.Run) {
			*r = ended(*r)
			r.State, r.CacheKey, r.CachedFrom = state, "key", from
		})
	}
	put(start, task.Failed, "")
	_, err = s.Cached(s.ctx, "key")
	s.is(err, store.ErrNotFound)
	old := put(start.Add(time.Second), task.Succeeded, "")
	latest := put(start.Add(time.Minute), task.Succeeded, "")
	put(start.Add(2*time.Minute), task.Succeeded, latest.ID)
	got, err := s.Cached(s.ctx, "key")
	s.ok(err)
	s.same(got, latest)
	_, err = s.Cached(s.ctx, "")
	s.is(err, store.ErrNotFound)
	_, err = s.Prune(s.ctx, old.EndedAt.Add(time.Hour), 100, false)
	s.ok(err)
	_, err = s.Cached(s.ctx, "key")
	s.is(err, store.ErrNotFound)
}

func testPrune(t *testing.T, s suite) {
	var runs []store.Run
	for i := range 4 {
		runs = append(runs, s.add(start.Add(time.Duration(i)*time.Minute), func(r *store.Run) {
			*r = ended(*r)
			r.Labels = map[string]string{"n": fmt.Sprint(i)}
			r.Inputs = []store.File{{Path: "in", Digest: fmt.Sprintf("in%d", i)}}
			r.Files = []store.File{{Path: "out", Digest: fmt.Sprintf("out%d", i)}, {Path: "same", Digest: "shared"}}
		}))
	}
	queued := s.add(start, func(r *store.Run) { r.Inputs = []store.File{{Path: "in", Digest: "in-queued"}} })
	prune := func(before time.Time, limit int, whole bool, want int) {
		t.Helper()
		n, err := s.Prune(s.ctx, before, limit, whole)
		s.ok(err)
		if n != want {
			t.Errorf("%d pruned, want %d", n, want)
		}
	}
	unused := func(want ...string) {
		t.Helper()
		got, err := s.Unreferenced(s.ctx, []string{"in0", "out0", "in1", "out1", "shared", "in-queued"}, start)
		s.ok(err)
		s.set(got, want...)
	}
	unused()
	prune(runs[2].EndedAt, 1, false, 1) // the one that ended first
	unused("in0", "out0")
	if r := s.get(runs[0].ID); !r.Pruned || r.Files != nil || r.Inputs != nil || r.Result == nil {
		t.Errorf("pruned: %+v", r)
	}
	prune(runs[2].EndedAt, 10, false, 1)
	prune(runs[2].EndedAt, 10, false, 0)
	unused("in0", "out0", "in1", "out1")
	prune(start.Add(time.Hour), 10, true, 4)
	unused("in0", "out0", "in1", "out1", "shared")
	_, err := s.Run(s.ctx, runs[3].ID)
	s.is(err, store.ErrNotFound)
	list, _, err := s.List(s.ctx, store.RunFilter{Labels: map[string]string{"n": "3"}})
	s.ok(err)
	s.same(ids(list), []string(nil))
	s.get(queued.ID)
}
