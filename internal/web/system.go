package web

import (
	"net/http"
	"strconv"

	"longshore/internal/access"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// systemView is the data of the system page.
type systemView struct {
	durable.System
	// Meters are what is used of what there is.
	Meters []meter
	// Queued are the runs that wait, oldest first.
	Queued    []store.Run
	Leftovers []string
	Looked    bool // for leftovers
}

// meter is an amount of a whole.
type meter struct {
	Name, Used, Whole string
	Percent           int
}

func percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(100, max(0, 100*part/whole)))
}

func (s *site) system(w http.ResponseWriter, r *http.Request, c Caller) error {
	if err := operators(c); err != nil {
		return err
	}
	y, err := s.cfg.Service.System(r.Context())
	if err != nil {
		return err
	}
	d := systemView{System: y}
	cpu, memory := y.Capacity.CPU-y.Free.CPU, y.Capacity.Memory-y.Free.Memory
	d.Meters = []meter{
		{"Runs under way", strconv.Itoa(y.Busy), strconv.Itoa(y.Slots), percent(int64(y.Busy), int64(y.Slots))},
		{"CPUs claimed", cpu.String(), y.Capacity.CPU.String(), percent(int64(cpu), int64(y.Capacity.CPU))},
		{"Memory claimed", memory.String(), y.Capacity.Memory.String(), percent(int64(memory), int64(y.Capacity.Memory))},
	}
	if y.Capacity.GPUs > 0 {
		gpus := y.Capacity.GPUs - y.Free.GPUs
		d.Meters = append(d.Meters, meter{"GPUs claimed", strconv.Itoa(gpus), strconv.Itoa(y.Capacity.GPUs), percent(int64(gpus), int64(y.Capacity.GPUs))})
	}
	if y.FreeBytes >= 0 {
		whole := y.BlobBytes + y.FreeBytes
		d.Meters = append(d.Meters, meter{"Disk for files", amount(y.BlobBytes).String(), amount(whole).String(), percent(y.BlobBytes, whole)})
	}
	if d.Queued, _, err = s.cfg.Service.Runs(r.Context(), store.RunFilter{States: []task.State{task.Queued}, Oldest: true, Limit: 10}); err != nil {
		return err
	}
	if s.cfg.Leftovers != nil {
		d.Looked = true
		if d.Leftovers, err = s.cfg.Leftovers(r.Context()); err != nil {
			return err
		}
	}
	return s.show(w, r, "system", view{Title: "System", Nav: "system", Caller: c, Data: d})
}

// accessView is the data of the page of accounts and tokens.
type accessView struct {
	Accounts []store.Account
	Tokens   []store.Token
	Scopes   []access.Scope
}

func (s *site) access(w http.ResponseWriter, r *http.Request, c Caller) error {
	if err := admins(c); err != nil {
		return err
	}
	d := accessView{Scopes: access.Scopes()}
	var err error
	if d.Accounts, err = s.cfg.Records.ListAccounts(r.Context()); err != nil {
		return err
	}
	if d.Tokens, err = s.cfg.Records.ListTokens(r.Context(), ""); err != nil {
		return err
	}
	return s.show(w, r, "access", view{Title: "Access", Nav: "access", Caller: c, Data: d})
}

// auditView is the data of the audit log's page.
type auditView struct {
	Account, Action string
	Entries         []store.Entry
	Next            string
}

func (s *site) audit(w http.ResponseWriter, r *http.Request, c Caller) error {
	if err := admins(c); err != nil {
		return err
	}
	q := r.URL.Query()
	d := auditView{Account: q.Get("account"), Action: q.Get("action")}
	entries, next, err := s.cfg.Records.Entries(r.Context(), d.Account, d.Action, pageSize, q.Get("after"))
	if err != nil {
		return err
	}
	d.Entries, d.Next = entries, nextPage(r.URL, next)
	return s.show(w, r, "audit", view{Title: "Audit log", Nav: "audit", Caller: c, Data: d})
}
