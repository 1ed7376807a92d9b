package iexec

import (
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.Carrier = Contract{}

// Carry leaves out what iExec's workers do: fetching by URL, the digest that they agree on, enclaves with their secrets, and
// positions in a bag of tasks.
func (Contract) Carry(t *task.Task) contract.Carried {
	out := contract.Carried{Task: t}
	lost := func(sev task.Severity, rule, mend, what string, args ...any) {
		out.Findings = append(out.Findings, contract.Lost(sev, rule, mend, what, args...))
	}
	p, err := planOf(t)
	if err != nil {
		return out // Prepare says so
	}
	changed := *t
	changed.Parameters = nil
	for _, par := range t.Parameters {
		if par.Place.Kind == task.PlaceEnv && strings.HasPrefix(par.Place.Name, "IEXEC_BOT_") {
			lost(task.SeverityNote, "parameter", "", "%s is left out: there are no bags of tasks", par.Name)
			continue
		}
		if par.Name == paramInput && len(p.Inputs) > 0 {
			lost(task.SeverityNote, "url", "", "%s must be given: %s is not fetched", paramInput, p.Inputs[0].URL)
			par.Optional = len(p.Inputs) > 1 // then it may come in the list
		}
		changed.Parameters = append(changed.Parameters, par)
	}
	out.Task = &changed
	lost(task.SeverityNote, "digest", "", "the digest that workers agree on is not made: a result is its files")
	if !p.Generation.legacy() {
		lost(task.SeverityNote, "parameter", "", "%s and %s are the container's log, not outputs", outputStdout, outputStderr)
	}
	out.Varying = []string{outputResult} // what must be the same is the deterministic file
	if p.Seconds > 0 {
		lost(task.SeverityNote, "limit", "", "the time limit of the request's category (%d s) is left to the platform", p.Seconds)
	}
	if p.Dataset.URL != "" || p.Dataset.Checksum != "" {
		lost(task.SeverityWarning, "dataset", "give its file", "the dataset is not fetched or decrypted")
	}
	return out
}
