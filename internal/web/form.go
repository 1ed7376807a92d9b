package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// form is how a run of a task is asked for.
type form struct {
	// Ref is what the request names: name:version. Server is where the API is.
	Ref, Variant, Server string
	Fields               []field
	// Body offers a request body, FreeInputs inputs beyond the declared ones, FreeEnv further variables, Network the network.
	Body, FreeInputs, FreeEnv, Network bool
	// The values to begin with, as text.
	BodyText, Inputs, Env, Labels, Args, Timeout string
	Resources                                    task.Resources
	Priority, Retries                            int
	Cache, UseNetwork                            bool
	// From is the run that the values are of.
	From string
	// KeptBody is that run's file which was its body, KeptFiles those that its Inputs name.
	KeptBody  string
	KeptFiles []string
}

// field is one parameter with the widget that fits it.
type field struct {
	ID, Name, Title, Description string
	// Of is the ID of the array that it is an item of.
	Of   string
	Kind task.Kind
	// Widget is "checkbox", "number", "text", "lines", "select", "textarea", "datetime", "file", "folder" or "array".
	Widget   string
	Required bool
	// Fixed fields are shown and cannot be changed.
	Fixed bool
	Env   bool // it becomes an environment variable
	// Value is what it begins with, as text; Given tells that there is one, from the default or an earlier run.
	Value string
	Given bool
	// Default is the default for people.
	Default string
	// Values are those of an array.
	Values []string
	// Earlier tells that the value is one that an earlier run was given: it is sent whatever it is, and not left to the default.
	Earlier bool
	// Kept are the earlier run's files, whose content is used again when none is chosen.
	Kept []string

	Min, Max, Step string
	MinLength      *int
	MaxLength      *int
	MinItems       *int
	MaxItems       *int
	Choices        []string
	Accept         string
	// Blank tells that the empty text is a value that can be chosen, Folder that a folder may stand in place of a file, URL an address.
	Blank, Folder, URL bool
	// Verbatim tells that the task gets the text as it is written.
	Verbatim bool
	// Says are the constraints in words.
	Says string
	// Item is what an array is made of.
	Item *field
}

func (s *site) form(r *http.Request, v store.Version, t *task.Task, variant string, from store.Run) form {
	f := form{
		Ref: v.Name + ":" + v.Version, Variant: variant, Server: s.cfg.URL, Body: t.Exchange == task.HTTP && len(t.Inputs()) == 0,
		FreeInputs: t.FreeInputs, FreeEnv: t.FreeEnv, Network: t.Network, From: from.ID,
	}
	if f.Server == "" {
		f.Server = "http://" + r.Host
		if r.TLS != nil {
			f.Server = "https://" + r.Host
		}
	}
	for i, p := range t.Inputs() {
		f.Fields = append(f.Fields, fieldFor(p, fmt.Sprintf("in-%d", i)))
	}
	if from.ID != "" {
		f.begin(from)
	}
	return f
}

// ExactBody is the body to begin with, as JSON.
func (f form) ExactBody() string { return written(f.BodyText) }

// begin fills the form with the values of an earlier run.
func (f *form) begin(run store.Run) {
	var sub durable.Submission
	if json.Unmarshal(run.Request, &sub) != nil {
		return
	}
	left := map[string]json.RawMessage{}
	for name, raw := range sub.Inputs {
		if i := f.index(name); i >= 0 {
			f.Fields[i].begin(raw, sub.Files)
			continue
		}
		left[name] = raw
		f.KeptFiles = append(f.KeptFiles, fileRefs(raw, sub.Files)...)
	}
	if data, err := json.MarshalIndent(left, "", "  "); err == nil && len(left) > 0 {
		f.Inputs = string(data)
	}
	if sub.Body != nil {
		f.BodyText = *sub.Body
	}
	var env, labels []string
	for _, e := range sub.Env {
		env = append(env, e.Name+"="+e.Value)
	}
	for k, v := range sub.Labels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	f.Env, f.Labels, f.Resources = strings.Join(env, "\n"), strings.Join(labels, "\n"), sub.Resources
	f.Priority, f.Retries, f.Cache, f.UseNetwork = sub.Priority, sub.Retry.Max, sub.Cache, sub.Network
	if sub.Timeouts.Run > 0 {
		f.Timeout = sub.Timeouts.Run.String()
	}
	if sub.Args != nil {
		f.Args = written(sub.Args)
	}
	if sub.BodyFile != "" {
		f.KeptBody = sub.BodyFile
	}
}

// written is a value as JSON.
func written(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil { // values of tasks were read from JSON
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (f *form) index(name string) int {
	for i := range f.Fields {
		if f.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// begin takes a value of an earlier run.
func (f *field) begin(raw json.RawMessage, files map[string]durable.FileRef) {
	if f.Fixed || string(raw) == "null" {
		return
	}
	if f.Kept = fileRefs(raw, files); len(f.Kept) > 0 {
		f.Value, f.Values, f.Given = "", nil, false
		return
	}
	f.Earlier = true
	text := plain(raw)
	switch {
	case f.Widget == "array":
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) == nil {
			f.Values, f.Given = nil, true
			for _, i := range items {
				f.Values = append(f.Values, f.Item.text(i))
			}
		}
	case strings.HasPrefix(text, "@@"):
		f.Value, f.Given = text[1:], true
	default:
		f.Value, f.Given = f.text(raw), true
	}
}

// text is a JSON value as the field's widget writes it.
func (f *field) text(raw json.RawMessage) string {
	if f.Kind == task.JSON || f.Kind == task.Array {
		return string(raw)
	}
	return plain(raw)
}

// Needed tells that something must be written or chosen.
func (f field) Needed() bool { return f.Required && len(f.Kept) == 0 }

// Exactly is the value as JSON: what widgets make of line ends is not sent unless somebody has changed it.
func (f field) Exactly() string { return written(f.Value) }

// plain is a JSON value as people write it into a field.
func plain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// widgets choose what a kind is asked for with.
var widgets = map[task.Kind]string{
	task.Boolean: "checkbox", task.Integer: "number", task.Number: "number", task.String: "lines", task.Enumeration: "select",
	task.Datetime: "datetime", task.Geometry: "textarea", task.JSON: "textarea", task.Image: "file", task.FileKind: "file",
	task.Directory: "folder", task.Array: "array",
}

func fieldFor(p task.Parameter, id string) field {
	f := typed(p.Type, id)
	f.Name, f.Title, f.Description = p.Name, p.Title, p.Description
	if f.Title == "" {
		f.Title = p.Name
	}
	f.Fixed, f.Env = p.Fixed, p.Place.Kind == task.PlaceEnv
	f.Required = !p.Optional && p.Default == nil
	if p.Default != nil {
		f.Value, f.Given = p.Default.Text, !p.Type.Kind.OnDisk()
		f.Default = f.Value
		for _, i := range p.Default.Items {
			f.Values = append(f.Values, f.Item.text(json.RawMessage(written(i.Plain(*p.Type.Item)))))
		}
	}
	return f
}

// typed is a field without a parameter's own words.
func typed(t task.Type, id string) field {
	f := field{
		ID: id, Kind: t.Kind, Widget: widgets[t.Kind], MinLength: t.MinLength, MaxLength: t.MaxLength, MinItems: t.MinItems, MaxItems: t.MaxItems,
		Choices: t.Choices, Blank: t.AllowEmpty, URL: t.URLs && t.Kind.OnDisk(), Verbatim: t.Verbatim,
		Folder: t.Kind.OnDisk() && (slices.Contains(t.Formats, "wsidicom") || slices.Contains(t.Formats, "folder")),
	}
	if t.Kind == task.String && len(t.Choices) > 0 {
		f.Widget = "select"
	}
	if f.Widget == "" {
		f.Widget = "text"
	}
	if f.Widget == "number" {
		f.Min, f.Max, f.Step = numbers(t)
		if t.AllowNaN || t.AllowInfinity || t.AllowEmpty {
			f.Widget = "text" // a number field takes neither the words nor nothing
		}
	}
	f.Accept = accept(t.Formats)
	if t.Item != nil {
		item := typed(*t.Item, id)
		if item.Widget == "array" {
			item.Widget = "textarea" // lists in lists are written as JSON
		}
		f.Item = &item
	}
	f.Says = says(t)
	return f
}

// endings are those of file names by format. Files of formats that are not here are called anything.
var endings = map[string]string{
	"png": ".png", "jpeg": ".jpg,.jpeg", "jpg": ".jpg,.jpeg", "tiff": ".tif,.tiff", "gif": ".gif", "webp": ".webp", "zip": ".zip", "csv": ".csv", "json": ".json",
}

// accept is what a file dialog offers, "" for everything.
func accept(formats []string) string {
	var list []string
	for _, f := range formats {
		e, ok := endings[f]
		if !ok {
			return ""
		}
		list = append(list, e)
	}
	return strings.Join(list, ",")
}

// numbers is what a browser's number field is told. Exclusive bounds of integers become inclusive; those of other numbers are
// left to the server, and said in words.
func numbers(t task.Type) (low, high, step string) {
	low, high, step = string(t.GE), string(t.LE), "any"
	if t.Kind != task.Integer {
		return low, high, step
	}
	step = "1"
	if n, ok := task.ParseInteger(string(t.GT)); ok && low == "" {
		low = n.Add(n, big.NewInt(1)).String()
	}
	if n, ok := task.ParseInteger(string(t.LT)); ok && high == "" {
		high = n.Sub(n, big.NewInt(1)).String()
	}
	return low, high, step
}

// says puts constraints into words.
func says(t task.Type) string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	for _, b := range []struct {
		word  string
		bound task.Decimal
	}{{"greater than", t.GT}, {"at least", t.GE}, {"less than", t.LT}, {"at most", t.LE}} {
		if b.bound != "" {
			add("%s %s", b.word, b.bound)
		}
	}
	if t.MinLength != nil && *t.MinLength > 0 {
		add("at least %d characters", *t.MinLength)
	}
	if t.MaxLength != nil {
		add("at most %d characters", *t.MaxLength)
	}
	if t.MinItems != nil && *t.MinItems > 0 {
		add("at least %d items", *t.MinItems)
	}
	if t.MaxItems != nil {
		add("at most %d items", *t.MaxItems)
	}
	if t.After != nil {
		add("not before %s", t.After.Format("2006-01-02 15:04 MST"))
	}
	if t.Before != nil {
		add("not after %s", t.Before.Format("2006-01-02 15:04 MST"))
	}
	if len(t.Formats) > 0 {
		add("%s", strings.Join(t.Formats, ", "))
	}
	if t.MaxBytes != nil {
		add("at most %s", *t.MaxBytes)
	}
	if t.MaxWidth != nil {
		add("at most %d pixels wide", *t.MaxWidth)
	}
	if t.MaxHeight != nil {
		add("at most %d pixels high", *t.MaxHeight)
	}
	if len(t.Matching) > 0 {
		add("as many as %s", strings.Join(t.Matching, ", "))
	}
	return strings.Join(w, ", ")
}
