package kaapana

import (
	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.Carrier = Contract{}

// Carry tells of the package's other templates, of scale rules, which compute limits from the size of the inputs before the
// container starts, and of values that are fixed.
func (Contract) Carry(t *task.Task) contract.Carried {
	out := contract.Carried{Task: t}
	lost := func(sev task.Severity, rule, mend, what string, args ...any) {
		out.Findings = append(out.Findings, contract.Lost(sev, rule, mend, what, args...))
	}
	for _, v := range t.Variants {
		if v.Name != t.Variant {
			lost(task.SeverityNote, "variant", "convert it into a package of its own with --template "+v.Name, "the template %s is left out", v.Name)
		}
	}
	d, err := detailOf(t)
	if err != nil || d.Template == nil {
		return out // Prepare says so
	}
	for _, c := range d.Template.Inputs {
		if c.Rule != nil {
			lost(task.SeverityWarning, "scale", "set a limit for the largest input", "the scale rule of the channel %s is left out: memory does not depend on the size of the inputs", c.Name)
		}
	}
	for _, v := range d.Template.Env {
		if v.Fixed {
			lost(task.SeverityNote, "fixed", "", "%s is no parameter, as it is fixed; it keeps its value", v.Name)
		}
	}
	lost(task.SeverityNote, "service", "", "there is no Kaapana around the task: its own variables and services are not there")
	return out
}
