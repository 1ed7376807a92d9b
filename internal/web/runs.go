package web

import (
	"net/http"
	"net/url"
	"time"

	"longshore/internal/store"
	"longshore/internal/task"
)

// runList is the data of the list of runs.
type runList struct {
	Runs  []store.Run
	Next  string
	First string // the first page, when this is a later one
	// What was chosen.
	Search, State, Name, Account, Reason, Since, Label string
	States                                             []task.State
	Reasons                                            []task.Code
	Counts                                             map[task.State]int64
	Live                                               bool // this is the first page, which keeps itself current
	Query                                              string
}

// states are what a list can be narrowed to, in the order of a run's life.
func states() []task.State {
	return []task.State{task.Queued, task.Preparing, task.Starting, task.Running, task.Collecting, task.Succeeded, task.Failed, task.Cancelled}
}

func (s *site) runs(w http.ResponseWriter, r *http.Request, c Caller) error {
	q := r.URL.Query()
	d := runList{
		Search: q.Get("search"), State: q.Get("state"), Name: q.Get("task"), Account: q.Get("account"), Reason: q.Get("reason"),
		Since: q.Get("since"), Label: q.Get("label"), States: states(), Reasons: task.Reasons(), Live: q.Get("after") == "",
	}
	f, err := d.filter(q.Get("after"))
	if err != nil {
		return err
	}
	if !c.All {
		f.Account = c.Account
	}
	var next string
	if d.Runs, next, err = s.cfg.Service.Runs(r.Context(), f); err != nil {
		return err
	}
	d.Next = nextPage(r.URL, next)
	if !d.Live {
		q.Del("after")
		d.First = r.URL.Path + "?" + q.Encode()
	}
	return s.show(w, r, "runs", view{Title: "Runs", Nav: "runs", Caller: c, Data: d})
}

// active are the states of runs that have not ended.
const active = "active"

func (d *runList) filter(after string) (store.RunFilter, error) {
	f := store.RunFilter{Search: d.Search, Name: d.Name, Account: d.Account, Reason: task.Code(d.Reason), Limit: pageSize, After: after}
	switch d.State {
	case "":
	case active:
		for _, st := range states() {
			if !st.Terminal() {
				f.States = append(f.States, st)
			}
		}
	default:
		f.States = []task.State{task.State(d.State)}
	}
	if d.Since != "" {
		t, err := time.Parse(time.DateOnly, d.Since)
		if err != nil {
			return f, task.Errorf(task.CodeUsage, "%q is no day", d.Since).WithHint("write it as 2006-01-02")
		}
		f.Since = t
	}
	if d.Label != "" {
		k, v := cutLabel(d.Label)
		f.Labels = map[string]string{k: v}
	}
	return f, nil
}

// cutLabel reads "name=value".
func cutLabel(s string) (name, value string) {
	for i, r := range s {
		if r == '=' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// visible finds a run that the caller may see. Others' runs are not there.
func (s *site) visible(r *http.Request, c Caller, id string) (store.Run, error) {
	run, err := s.cfg.Service.Run(r.Context(), id)
	if err != nil {
		return run, err
	}
	if !c.All && run.Account != c.Account {
		return store.Run{}, (&task.Error{Code: task.CodeMissing, Message: "there is no run " + id}).WithHint("the list of runs shows yours; runs are removed when they are old")
	}
	return run, nil
}

// usageView is the data of the usage page.
type usageView struct {
	Rows         []store.Usage
	Since, Until string
	Total        store.Usage
	Most         float64 // the largest CPUSeconds, for bars
}

func (s *site) usage(w http.ResponseWriter, r *http.Request, c Caller) error {
	f, d, err := usageFilter(r.URL.Query())
	if err != nil {
		return err
	}
	if !c.All {
		f.Account = c.Account
	}
	if d.Rows, err = s.cfg.Service.Usage(r.Context(), f); err != nil {
		return err
	}
	for _, u := range d.Rows {
		d.Total.Runs += u.Runs
		d.Total.Succeeded += u.Succeeded
		d.Total.Failed += u.Failed
		d.Total.Cancelled += u.Cancelled
		d.Total.CPUSeconds += u.CPUSeconds
		d.Total.WallTime += u.WallTime
		d.Total.PeakMemory = max(d.Total.PeakMemory, u.PeakMemory)
		d.Most = max(d.Most, u.CPUSeconds)
	}
	return s.show(w, r, "usage", view{Title: "Usage", Nav: "usage", Caller: c, Data: d})
}

func usageFilter(q url.Values) (store.UsageFilter, usageView, error) {
	d := usageView{Since: q.Get("since"), Until: q.Get("until")}
	var f store.UsageFilter
	for _, b := range []struct {
		text string
		to   *time.Time
		add  time.Duration
	}{{d.Since, &f.Since, 0}, {d.Until, &f.Until, 24 * time.Hour}} {
		if b.text == "" {
			continue
		}
		t, err := time.Parse(time.DateOnly, b.text)
		if err != nil {
			return f, d, task.Errorf(task.CodeUsage, "%q is no day", b.text).WithHint("write it as 2006-01-02")
		}
		*b.to = t.Add(b.add) // the last day counts
	}
	return f, d, nil
}
