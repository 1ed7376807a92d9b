package web

import (
	"net/http"
	"net/url"
	"slices"

	"longshore/internal/store"
	"longshore/internal/task"
)

// pageSize is how many rows a list shows.
const pageSize = 50

// catalogue is the data of the first page.
type catalogue struct {
	Search, Contract string
	Versions         []store.Version
	Contracts        []string
	Next             string
}

func (s *site) tasks(w http.ResponseWriter, r *http.Request, c Caller) error {
	q := r.URL.Query()
	d := catalogue{Search: q.Get("search"), Contract: q.Get("contract")}
	var err error
	var next string
	f := store.VersionFilter{Search: d.Search, Contract: d.Contract, Limit: pageSize, After: q.Get("after")}
	if d.Versions, next, err = s.cfg.Records.Versions(r.Context(), f); err != nil {
		return err
	}
	d.Next = nextPage(r.URL, next)
	all, _, err := s.cfg.Records.Versions(r.Context(), store.VersionFilter{Limit: 1000})
	if err != nil {
		return err
	}
	for _, v := range all {
		if !slices.Contains(d.Contracts, v.Contract) {
			d.Contracts = append(d.Contracts, v.Contract)
		}
	}
	slices.Sort(d.Contracts)
	return s.show(w, r, "tasks", view{Title: "Tasks", Nav: "tasks", Caller: c, Data: d})
}

// nextPage is the address of the page after, empty at the end.
func nextPage(u *url.URL, cursor string) string {
	if cursor == "" {
		return ""
	}
	q := u.Query()
	q.Set("after", cursor)
	return u.Path + "?" + q.Encode()
}

func (s *site) importPage(w http.ResponseWriter, r *http.Request, c Caller) error {
	return s.show(w, r, "import", view{Title: "Import a task", Nav: "tasks", Caller: c})
}

// taskView is the data of a task's page.
type taskView struct {
	Version store.Version
	Task    *task.Task // of the chosen variant
	// Choose tells that a variant must be chosen first.
	Choose   bool
	Form     form
	Outputs  []field
	Versions []store.Version
	Runs     []store.Run
}

func (s *site) task(w http.ResponseWriter, r *http.Request, c Caller) error {
	v, err := s.cfg.Service.Version(r.Context(), r.PathValue("ref"))
	if err != nil {
		return err
	}
	from, err := s.earlier(r, c)
	if err != nil {
		return err
	}
	d := taskView{Version: v, Task: &v.Task}
	variant := r.URL.Query().Get("variant")
	if variant == "" {
		variant = from.Variant
	}
	if variant == "" && v.Task.Variant == "" && len(v.Task.Variants) > 0 {
		d.Choose = true
	} else if d.Task, err = s.cfg.Service.Variant(r.Context(), v, variant); err != nil {
		return err
	}
	d.Form = s.form(r, v, d.Task, variant, from)
	for _, p := range d.Task.Outputs() {
		d.Outputs = append(d.Outputs, fieldFor(p, ""))
	}
	if d.Versions, _, err = s.cfg.Records.Versions(r.Context(), store.VersionFilter{Name: v.Name, All: true, Limit: 20}); err != nil {
		return err
	}
	f := store.RunFilter{Name: v.Name, Limit: 5}
	if !c.All {
		f.Account = c.Account
	}
	if d.Runs, _, err = s.cfg.Service.Runs(r.Context(), f); err != nil {
		return err
	}
	return s.show(w, r, "task", view{Title: v.Name, Nav: "tasks", Caller: c, Data: d})
}

// earlier is the run whose values the form starts from, if one is named.
func (s *site) earlier(r *http.Request, c Caller) (store.Run, error) {
	id := r.URL.Query().Get("from")
	if id == "" {
		return store.Run{}, nil
	}
	return s.visible(r, c, id)
}
