package racetrack

import (
	"encoding/json"
	"path/filepath"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var _ contract.Carrier = Contract{}

// Carry leaves out what Racetrack's cluster does for a job: secret variables, the gateway, and the addresses it gives.
func (Contract) Carry(t *task.Task) contract.Carried {
	out := contract.Carried{Task: t}
	lost := func(sev task.Severity, rule, mend, what string, args ...any) {
		out.Findings = append(out.Findings, contract.Lost(sev, rule, mend, what, args...))
	}
	var d detail
	if json.Unmarshal(t.Detail, &d) != nil {
		return out // Prepare says so
	}
	if d.SecretFile != "" {
		lost(task.SeverityWarning, "secret", "give the task its secrets another way", "the variables of %s are not in the package, as anybody could read them there", d.SecretFile)
		out.LeaveOut = append(out.LeaveOut, filepath.Join(d.SecretDir, filepath.FromSlash(d.SecretFile)))
		changed := *t
		d.SecretFile, d.SecretDir = "", ""
		changed.Detail, _ = json.Marshal(d) // texts and numbers always encode
		out.Task = &changed
	}
	lost(task.SeverityNote, "service", "", "there is no Racetrack around the job: calls to other jobs, metrics, the web page and its further paths are not carried over; one request is one POST /perform")
	lost(task.SeverityNote, "env", "", "JOB_NAME, JOB_VERSION and JOB_MANIFEST_YAML are as they were; PUB_URL leads nowhere, and AUTH_TOKEN is empty")
	return out
}
