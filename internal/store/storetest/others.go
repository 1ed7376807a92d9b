package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

func testVersions(t *testing.T, s suite) {
	var all []store.Version
	for i, v := range []struct{ name, version, contract, description string }{
		{"segment", "1", "cytomine", "Finds cells"}, {"segment", "2", "cytomine", "Finds 50% more ÄPFEL"}, {"sum", "1", "meca", "Adds"}, {"segment", "1", "cytomine", "again"},
	} {
		w := store.Version{
			ID: fmt.Sprintf("t%019d", i), Name: v.name, Version: v.version, Contract: v.contract, Package: fmt.Sprintf("sha256:%d", i), Form: "tar", Origin: "a.tar", Document: "d.yml",
			Task: task.Task{Name: v.name, Description: v.description}, Account: "ann", CreatedAt: start.Add(time.Duration(i) * time.Second), Findings: []task.Finding{{Rule: "odd"}},
		}
		s.ok(s.AddVersion(s.ctx, w, w.Account))
		all = append(all, w)
	}
	s.is(s.AddVersion(s.ctx, all[0], "ann"), store.ErrConflict)
	find := func(ref string, want int) {
		t.Helper()
		got, err := s.Version(s.ctx, ref)
		if want < 0 {
			s.is(err, store.ErrNotFound)
			return
		}
		s.ok(err)
		s.same(got, all[want])
	}
	list := func(f store.VersionFilter, want ...int) {
		t.Helper()
		got, _, err := s.Versions(s.ctx, f)
		s.ok(err)
		var found, wanted []string
		for _, v := range got {
			found = append(found, v.ID)
		}
		for _, i := range want {
			wanted = append(wanted, all[i].ID)
		}
		s.same(found, wanted)
	}
	find(all[1].ID, 1)
	find("segment", 3)
	find("segment:1", 3)
	find("segment:2", 1)
	find("segment:9", -1)
	find("nothing", -1)
	list(store.VersionFilter{}, 3, 2)
	list(store.VersionFilter{All: true}, 3, 2, 1, 0)
	list(store.VersionFilter{All: true, Name: "segment"}, 3, 1, 0)
	list(store.VersionFilter{Contract: "meca"}, 2)
	list(store.VersionFilter{All: true, Search: "50%"}, 1)
	list(store.VersionFilter{All: true, Search: "5_%"})
	list(store.VersionFilter{All: true, Search: "äpfel"}, 1)
	list(store.VersionFilter{All: true, Search: "SEG"}, 3, 1, 0)
	var pages []string
	f := store.VersionFilter{All: true, Limit: 3}
	for {
		got, next, err := s.Versions(s.ctx, f)
		s.ok(err)
		for _, v := range got {
			pages = append(pages, v.ID)
		}
		if f.After = next; next == "" {
			break
		}
	}
	s.same(pages, []string{all[3].ID, all[2].ID, all[1].ID, all[0].ID})
	s.ok(s.HideVersion(s.ctx, all[3].ID))
	s.is(s.HideVersion(s.ctx, "nothing"), store.ErrNotFound)
	all[3].Hidden = true
	find(all[3].ID, 3)
	find("segment", 1)
	find("segment:1", 0)
	list(store.VersionFilter{}, 2, 1)
	list(store.VersionFilter{All: true}, 3, 2, 1, 0)
	unused, err := s.Unreferenced(s.ctx, []string{"sha256:0", "sha256:3", "sha256:9"}, start)
	s.ok(err)
	s.same(unused, []string{"sha256:9"})
}

func testAccounts(t *testing.T, s suite) {
	_, err := s.Account(s.ctx, "ann")
	s.is(err, store.ErrNotFound)
	bob, ann := store.Account{Name: "bob", CreatedAt: start}, store.Account{Name: "ann", CreatedAt: start.Add(time.Second)}
	s.ok(s.PutAccount(s.ctx, bob))
	s.ok(s.PutAccount(s.ctx, ann))
	ann.Disabled = true
	later := ann
	later.CreatedAt = start.Add(time.Hour) // is not changed
	s.ok(s.PutAccount(s.ctx, later))
	got, err := s.Account(s.ctx, "ann")
	s.ok(err)
	s.same(got, ann)
	list, err := s.ListAccounts(s.ctx)
	s.ok(err)
	s.same(list, []store.Account{ann, bob})
}

func testTokens(t *testing.T, s suite) {
	a := store.Token{ID: "1", Name: "laptop", Account: "ann", Hash: "h1", Scopes: []string{"admin", "reader"}, CreatedAt: start, ExpiresAt: start.Add(time.Hour)}
	b := store.Token{ID: "2", Name: "ci", Account: "bob", Hash: "h2", CreatedAt: start.Add(time.Second)}
	s.ok(s.AddToken(s.ctx, b))
	s.ok(s.AddToken(s.ctx, a))
	s.is(s.AddToken(s.ctx, a), store.ErrConflict)
	s.is(s.AddToken(s.ctx, store.Token{ID: "3", Hash: "h1"}), store.ErrConflict)
	s.ok(s.TouchToken(s.ctx, "1", start.Add(time.Minute)))
	s.ok(s.RevokeToken(s.ctx, "1", start.Add(2*time.Minute)))
	s.ok(s.RevokeToken(s.ctx, "1", start.Add(3*time.Minute))) // the first counts
	s.is(s.RevokeToken(s.ctx, "9", start), store.ErrNotFound)
	s.is(s.TouchToken(s.ctx, "9", start), store.ErrNotFound)
	a.LastUsedAt, a.RevokedAt = start.Add(time.Minute), start.Add(2*time.Minute)
	got, err := s.TokenByHash(s.ctx, "h1")
	s.ok(err)
	s.same(got, a)
	_, err = s.TokenByHash(s.ctx, "h9")
	s.is(err, store.ErrNotFound)
	list, err := s.ListTokens(s.ctx, "")
	s.ok(err)
	s.same(list, []store.Token{a, b})
	list, err = s.ListTokens(s.ctx, "bob")
	s.ok(err)
	s.same(list, []store.Token{b})
}

func testAudit(t *testing.T, s suite) {
	var all []store.Entry
	for i, action := range []string{"run.submit", "run.submit", "run.cancel", "run_x", "token.create"} {
		e := store.Entry{At: start.Add(time.Duration(i/2) * time.Second), Account: []string{"ann", "bob"}[i%2], Token: "1", Remote: "::1", Action: action, Subject: fmt.Sprint(i), Outcome: "ok", Detail: "d"}
		all = append([]store.Entry{e}, all...)
		s.ok(s.Record(s.ctx, []store.Entry{e}))
	}
	list := func(account, action string, want ...store.Entry) {
		t.Helper()
		var got []store.Entry
		for after := ""; ; {
			page, next, err := s.Entries(s.ctx, account, action, 2, after)
			s.ok(err)
			if got = append(got, page...); next == "" {
				break
			}
			after = next
		}
		s.same(got, want)
	}
	list("", "", all...)
	list("bob", "", all[1], all[3])
	list("", "run.", all[2], all[3], all[4])
	list("", "run_", all[1])
	list("ann", "run.submit", all[4])
	s.ok(s.PruneAudit(s.ctx, start.Add(time.Second)))
	list("", "", all[:3]...)
	// What strangers send is kept as far as it can be.
	s.ok(s.Record(s.ctx, []store.Entry{{At: start.Add(time.Hour), Account: "ann", Action: "x", Subject: "a\x00b\xff", Outcome: "bad"}}))
	got, _, err := s.Entries(s.ctx, "", "x", 1, "")
	s.ok(err)
	if len(got) != 1 || got[0].Subject != "a\uFFFDb\uFFFD" {
		t.Errorf("%+v", got)
	}
}

// testOwners: a name belongs to who imported it first.
func testOwners(t *testing.T, s suite) {
	add := func(id, name, account, as string) error {
		return s.AddVersion(s.ctx, store.Version{ID: id, Name: name, Version: "1", Package: id, Account: account, CreatedAt: start}, as)
	}
	_, err := s.Owner(s.ctx, "sum")
	s.is(err, store.ErrNotFound)
	s.ok(add("t1", "sum", "ann", "ann"))
	s.is(add("t2", "sum", "bob", "bob"), store.ErrTaken)
	s.ok(add("t3", "sum", "root", "")) // may use every name, and takes none over
	s.ok(add("t4", "sum", "ann", "ann"))
	s.ok(add("t5", "other", "bob", "bob"))
	s.is(add("t5", "third", "bob", "bob"), store.ErrConflict)
	s.ok(s.HideVersion(s.ctx, "t1"))
	for name, want := range map[string]string{"sum": "ann", "other": "bob"} {
		got, err := s.Owner(s.ctx, name)
		s.ok(err)
		s.same(got, want)
	}
	_, err = s.Version(s.ctx, "t2")
	s.is(err, store.ErrNotFound)
	// Of many that import a new name at once, one gets it.
	got := make(chan error)
	for i := range 8 {
		go func() { got <- add(fmt.Sprintf("t1%d", i), "new", fmt.Sprint(i), fmt.Sprint(i)) }()
	}
	added := 0
	for range 8 {
		if err := <-got; err == nil {
			added++
		} else {
			s.is(err, store.ErrTaken)
		}
	}
	s.same(added, 1)
}

func testBlobs(t *testing.T, s suite) {
	s.ok(s.Hold(s.ctx, "ann", []string{"a", "b"}, start.Add(time.Hour)))
	s.ok(s.Hold(s.ctx, "ann", []string{"a"}, start.Add(time.Minute))) // never shortened
	s.ok(s.Hold(s.ctx, "bob", []string{"b"}, start.Add(2*time.Hour)))
	s.add(start, func(r *store.Run) { r.Inputs = []store.File{{Path: "in", Digest: "c"}, {Path: "again", Digest: "c"}} })
	s.ok(s.AddVersion(s.ctx, store.Version{ID: "t1", Name: "x", Package: "d", Account: "bob", CreatedAt: start}, "bob"))
	held := func(account string, now time.Time, want ...string) {
		t.Helper()
		got, err := s.Held(s.ctx, account, []string{"a", "b", "c", "d", "e"}, now)
		s.ok(err)
		s.set(got, want...)
	}
	held("ann", start.Add(30*time.Minute), "a", "b", "c")
	held("ann", start.Add(90*time.Minute), "c")
	held("bob", start, "b", "d")
	held("nobody", start)
	unused := func(now time.Time, want ...string) {
		t.Helper()
		got, err := s.Unreferenced(s.ctx, []string{"a", "b", "c", "d", "e"}, now)
		s.ok(err)
		s.set(got, want...)
	}
	unused(start, "e")
	unused(start.Add(90*time.Minute), "a", "e")
	unused(start, "a", "e") // what has run out is gone
	unused(start.Add(3*time.Hour), "a", "b", "e")
	none, err := s.Unreferenced(s.ctx, nil, start)
	s.ok(err)
	s.same(none, []string(nil))
}

// testTexts has texts that are refused, and odd ones that are kept as they are, the same in every database.
func testTexts(t *testing.T, s suite) {
	for name, bad := range map[string]string{"a zero byte": "a\x00b", "no UTF-8": "a\xffb"} {
		for field, change := range map[string]func(*store.Run){
			"account": func(r *store.Run) { r.Account = bad }, "key": func(r *store.Run) { r.Key = bad }, "request": func(r *store.Run) { r.Request = []byte(`"` + bad + `"`) },
			"a label": func(r *store.Run) { r.Labels = map[string]string{"a": bad} }, "a label's name": func(r *store.Run) { r.Labels = map[string]string{bad: "a"} },
		} {
			r := newRun(start)
			change(&r)
			if _, err := s.Submit(s.ctx, []store.Run{r}); err == nil {
				t.Errorf("%s in %s was accepted", name, field)
			}
			_, err := s.Run(s.ctx, r.ID)
			s.is(err, store.ErrNotFound)
		}
		_, _, err := s.List(s.ctx, store.RunFilter{Account: bad})
		s.is(err, store.ErrInvalid)
		_, err = s.Run(s.ctx, bad)
		s.is(err, store.ErrInvalid)
		s.is(s.PutAccount(s.ctx, store.Account{Name: bad}), store.ErrInvalid)
	}
	for _, odd := range []string{`\u0000`, "e\u0301", "\u00e9", "👩‍🔬", "\u202eright", "'; DROP TABLE runs; --", `"\'`, "?", "$1", "{}", strings.Repeat("x", 100_000), " ", "\n"} {
		r := s.add(start, func(r *store.Run) {
			r.Account, r.TaskName, r.Labels = odd, odd, map[string]string{odd: odd}
			r.Request = []byte(`{"zero":"\u0000"}`)
		})
		s.same(s.get(r.ID), r)
		for _, f := range []store.RunFilter{{Account: odd}, {Name: odd}, {Labels: map[string]string{odd: odd}}} {
			got, _, err := s.List(s.ctx, f)
			s.ok(err)
			s.same(ids(got), []string{r.ID})
		}
		_, _, err := s.List(s.ctx, store.RunFilter{Search: odd})
		s.ok(err)
	}
}
