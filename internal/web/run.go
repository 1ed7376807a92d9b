package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// runView is the data of a run's page.
type runView struct {
	Run    store.Run
	Result *task.Result // nil before the end
	Bar    bar
	Charts []chart
	// Warnings and Progress are what happened on the way; Tries tells why attempts were made again.
	Warnings, Progress []string
	Tries              []durable.Event
	Inputs             []part
	Outputs            []part
	// Partial are what the container of a failed run left.
	Partial []part
	HasLog  bool
	Advice  string
}

// part is one input or output with its files.
type part struct {
	Name, Kind string
	// Text is a value that is written down, in full or its beginning.
	Text     string
	Long     bool
	Default  bool
	Previews []preview
	// More are files that are not previewed here.
	More []kept
	Size int64
	// Files counts what the part holds.
	Files  int
	SHA256 string
}

// kept is a file of a run by its addresses.
type kept struct {
	store.File
	Side string // "inputs" or "outputs"
	Run  string
}

// URL is where its content is, View its preview.
func (k kept) URL() string  { return "/runs/" + k.Run + "/" + k.Side + "/file/" + segments(k.Path) }
func (k kept) View() string { return "/runs/" + k.Run + "/" + k.Side + "/view/" + segments(k.Path) }

func (s *site) run(w http.ResponseWriter, r *http.Request, c Caller) error {
	run, err := s.visible(r, c, r.PathValue("id"))
	if err != nil {
		return err
	}
	d := runView{Run: run, HasLog: run.State.Terminal() && !run.Pruned}
	if len(run.Result) > 0 {
		d.Result = &task.Result{}
		if err := json.Unmarshal(run.Result, d.Result); err != nil {
			return err
		}
	}
	d.happened(s.cfg.Service.Past(r.Context(), run), s.cfg.Now())
	b := previewer{site: s, r: r, run: run, left: maxPreviews}
	d.Inputs = b.inputs()
	if d.Result != nil {
		d.Outputs, d.Partial = b.outputs(d.Result)
		if d.Result.Failure != nil {
			d.Advice = advice[d.Result.Failure.Reason]
		}
	}
	return s.show(w, r, "run", view{Title: run.TaskName + ", run " + clip(run.ID, 12), Nav: "runs", Caller: c, Data: d})
}

// advice says what to do about a failure beyond its own hint.
var advice = map[task.Code]string{
	task.ReasonExit:        "The program in the container ended with an error. Its last words below, and the whole log, are where to look.",
	task.ReasonOOM:         "The program needed more memory than it may have. Run it again with a higher limit under “Limits and more”.",
	task.ReasonTimeout:     "It took longer than it may. Run it again with a longer time under “Limits and more”, or with less to do.",
	task.ReasonNotReady:    "The server in the container never got ready. The log tells how far it came.",
	task.ReasonBadResponse: "The server in the container answered with an error, or with something that cannot be used. The log may tell why.",
	task.ReasonInput:       "A value is missing or wrong. Change it, and run the task again.",
	task.ReasonOutput:      "The program ended well, but an output is missing or not what the task declares. Its author has to mend that.",
	task.ReasonImage:       "The image could not be built, loaded or started. Its author has to mend that, or an operator to bring it here.",
	task.ReasonPolicy:      "This server does not allow it, or its machine cannot give what is asked for. Ask for less, or ask the operator.",
	task.ReasonEngine:      "This is a fault of the server or its machine, not of the task. It was tried again; tell the operator.",
}

// happened draws what is known of the run's course.
func (d *runView) happened(events []durable.Event, now time.Time) {
	var samples []sample
	for _, e := range events {
		switch {
		case e.Warning != "":
			d.Warnings = append(d.Warnings, e.Warning)
		case e.Progress != "":
			d.Progress = append(d.Progress, e.Progress)
		case e.Retry != "":
			d.Tries = append(d.Tries, e)
			samples = nil // the charts are of the last attempt
		case e.Usage != nil:
			samples = append(samples, sample{e.At, e.Usage.CPUSeconds, e.Usage.MemoryBytes})
		}
	}
	if d.Result != nil {
		for _, w := range d.Result.Warnings {
			if !slices.Contains(d.Warnings, w) {
				d.Warnings = append(d.Warnings, w)
			}
		}
	}
	d.Bar = barOf(d.Run, events, now)
	d.Charts = charts(samples, d.Run.Needs)
}

// inputs are the values and files of the request.
func (b *previewer) inputs() []part {
	var sub durable.Submission
	if json.Unmarshal(b.run.Request, &sub) != nil {
		return nil
	}
	var parts []part
	for _, name := range sortedNames(sub.Inputs) {
		text := plain(sub.Inputs[name])
		p := part{Name: name}
		refs := fileRefs(sub.Inputs[name], sub.Files)
		for _, ref := range refs {
			for _, f := range b.run.Inputs {
				if f.Path == ref || strings.HasPrefix(f.Path, ref+"/") {
					b.add(&p, f, inputsSide)
				}
			}
		}
		if len(refs) == 0 {
			p.write(strings.TrimPrefix(text, "@@"), strings.HasPrefix(text, "@@"))
		}
		parts = append(parts, p)
	}
	if sub.Body != nil {
		p := part{Name: "request body"}
		p.write(*sub.Body, false)
		parts = append(parts, p)
	}
	for _, f := range b.run.Inputs {
		if sub.BodyFile != "" && f.Path == sub.BodyFile {
			p := part{Name: "request body"}
			b.add(&p, f, inputsSide)
			parts = append(parts, p)
		}
	}
	for _, e := range sub.Env {
		p := part{Name: e.Name, Kind: "variable"}
		p.write(e.Value, false)
		parts = append(parts, p)
	}
	return parts
}

// write sets the text of a part. at puts the "@" back that was doubled.
func (p *part) write(text string, at bool) {
	if at {
		text = "@" + text
	}
	p.Text = text
	if len(p.Text) > maxInline {
		p.Text, p.Long = strings.ToValidUTF8(p.Text[:maxInline], ""), true
	}
}

// fileRefs are the files that a value names, in order.
func fileRefs(raw json.RawMessage, files map[string]durable.FileRef) []string {
	var refs []string
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case string:
			if name, at := strings.CutPrefix(v, "@"); at {
				if _, ok := files[name]; ok {
					refs = append(refs, name)
				}
			}
		case []any:
			for _, e := range v {
				look(e)
			}
		}
	}
	var v any
	if json.Unmarshal(raw, &v) == nil {
		look(v)
	}
	return refs
}

func sortedNames(m map[string]json.RawMessage) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// outputs are those of the result, and what a failed run left behind.
func (b *previewer) outputs(res *task.Result) (parts, partial []part) {
	files := durable.Outputs(b.run)
	for _, o := range res.Outputs {
		p := part{Name: o.Name, Kind: string(o.Type), Size: o.Size, Files: o.Files, SHA256: o.SHA256}
		for _, f := range files {
			if f.Path == o.Path || strings.HasPrefix(f.Path, o.Path+"/") {
				b.add(&p, f, outputsSide)
			}
		}
		parts = append(parts, p)
	}
	if res.Partial == "" {
		return parts, nil
	}
	p := part{Name: "left by the container"}
	for _, f := range files {
		if strings.HasPrefix(f.Path, res.Partial+"/") {
			b.add(&p, f, outputsSide)
		}
	}
	return parts, []part{p}
}

// The sides of a run that have files.
const (
	inputsSide  = "inputs"
	outputsSide = "outputs"
)

// sideFiles are the files of one side.
func sideFiles(run store.Run, side string) []store.File {
	switch side {
	case inputsSide:
		return run.Inputs
	case outputsSide:
		return durable.Outputs(run)
	}
	return nil
}
