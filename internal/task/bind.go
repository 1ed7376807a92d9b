package task

import (
	"fmt"
	"maps"
	"slices"
)

// Bind checks what a caller gave against the task's input parameters and fills in defaults. Every problem is reported, as
// findings of one *Error with code ReasonInput.
func Bind(t *Task, r Request) (Values, error) {
	b := &binder{task: t, request: r, values: Values{Inputs: map[string]Value{}, Given: map[string]bool{}, Words: r.Words, Body: r.Body, Resources: r.Resources, Unbound: r.Unbound}}
	b.inputs()
	b.env()
	b.defaults()
	b.body()
	return b.values, b.err()
}

// binder is one use of Bind.
type binder struct {
	task     *Task
	request  Request
	values   Values
	problems []Finding
}

func (b *binder) problem(name, rule, why, mend string) {
	b.problems = append(b.problems, Finding{Rule: rule, Severity: SeverityError, What: fmt.Sprintf("input %q: %s", name, why), Mend: mend})
}

// refused reports a value that is wrong, in the platform's words where it has some.
func (b *binder) refused(name string, t Type, err error) {
	b.problem(name, "input-type", err.Error(), fmt.Sprintf("it takes: %s; for example -i %s=%s", t.Describe(), name, t.example()))
	if words := b.task.Wording.Of(t, err); words.Text != "" {
		f := &b.problems[len(b.problems)-1]
		f.Rule, f.What, f.Why = words.Code, fmt.Sprintf("input %q: %s", name, words.Text), err.Error()
	}
}

func (b *binder) err() error {
	if len(b.problems) == 0 {
		return nil
	}
	msg := b.problems[0].What
	if why := b.problems[0].Why; why != "" {
		msg += " (" + why + ")"
	}
	if len(b.problems) > 1 {
		msg = fmt.Sprintf("%d inputs are wrong: %s", len(b.problems), msg)
	}
	return &Error{Code: ReasonInput, Message: msg, Hint: b.problems[0].Mend, Findings: b.problems}
}

// inputs takes what was given by name.
func (b *binder) inputs() {
	t := b.task
	for _, name := range slices.Sorted(maps.Keys(b.request.Inputs)) {
		g := b.request.Inputs[name]
		g.files = b.request.Files
		p := t.Parameter(Input, name)
		switch {
		case p != nil:
			b.take(name, p, g)
		case !t.FreeInputs:
			b.problem(name, "input-unknown", "this task has no such input", "its inputs are: "+names(t.Inputs()))
		default:
			data, err := g.asJSON()
			if err != nil {
				b.problem(name, "input-type", err.Error(), "write a text, a JSON value, or @ and the name of a file that can be read")
				continue
			}
			b.values.Free = append(b.values.Free, FreeValue{name, data})
		}
	}
}

// env takes the environment variables.
func (b *binder) env() {
	t := b.task
	for _, e := range b.request.Env {
		p := t.envParameter(e.Name)
		switch {
		case p != nil:
			b.take(e.Name, p, GivenText(e.Value))
		case t.FreeEnv:
			b.values.Env = append(b.values.Env, e)
		default:
			b.problem(e.Name, "env-unknown", "this task declares no such environment variable", "its variables are: "+names(t.envParameters()))
		}
	}
}

// take checks one value for a parameter, which the caller called by name.
func (b *binder) take(name string, p *Parameter, g Given) {
	v := &b.values
	switch {
	case g.null() && p.Type.Kind != JSON && p.Place.Kind != PlaceBody:
		return // forms send null for what was left empty
	case v.Given[p.Name]:
		b.problem(name, "input-twice", fmt.Sprintf("given twice (it means %q)", p.Name), "give it once")
		return
	}
	v.Given[p.Name] = true
	if p.Place.Kind == PlaceBody {
		if v.Body != nil {
			b.problem(name, "input-twice", "the request body is given twice", "give either the input or the body")
			return
		}
		v.Body = &Body{Path: g.Path, Text: g.text()}
		return
	}
	val, err := ParseGiven(p.Type, g)
	if err != nil {
		b.refused(name, p.Type, err)
		return
	}
	if p.Fixed && (p.Default == nil || p.Default.Text != val.Text) {
		def := ""
		if p.Default != nil {
			def = p.Default.Text
		}
		b.problem(name, "input-fixed", fmt.Sprintf("is fixed to %q by the package", def), "leave it out")
		return
	}
	v.Inputs[p.Name] = val
}

// defaults fills in what was not given, and reports what is required.
func (b *binder) defaults() {
	for i := range b.task.Parameters {
		p := &b.task.Parameters[i]
		if p.Direction != Input || b.values.Given[p.Name] {
			continue
		}
		if p.Default != nil {
			if err := Check(p.Type, *p.Default); err != nil {
				b.problem(p.Name, "input-missing", "has no usable default ("+err.Error()+")", "give it a value")
				continue
			}
			b.values.Inputs[p.Name] = *p.Default
			continue
		}
		if !p.Optional && !p.answersToAny(b.request.Unbound) && !bodyGiven(p, b.request.Body) {
			mend := fmt.Sprintf("give it with -i %s=%s", p.Name, p.Type.example())
			if p.Type.Kind == Directory && p.Place.Kind == PlaceFolder {
				mend += ", or leave it out on purpose with --unbound " + p.Name
			}
			b.problem(p.Name, "input-missing", fmt.Sprintf("is required (%s)", p.Type.Describe()), mend)
		}
	}
}

// body reports inputs that would be members of a request body which is given as a whole.
func (b *binder) body() {
	if b.request.Body == nil || b.task.Exchange != HTTP {
		return
	}
	twice := func(name string) {
		b.problem(name, "input-twice", "is part of the request body, which is given as a whole too", "give either the inputs or the body")
	}
	for _, name := range slices.Sorted(maps.Keys(b.values.Given)) {
		if p := b.task.Parameter(Input, name); p != nil && p.Place.Kind == PlaceBodyMember {
			twice(name)
		}
	}
	for _, f := range b.values.Free {
		twice(f.Name)
	}
}

// bodyGiven tells whether the raw request body stands in for the parameter.
func bodyGiven(p *Parameter, b *Body) bool {
	return b != nil && (p.Place.Kind == PlaceBody || p.Place.Kind == PlaceBodyMember)
}
