package meca

import (
	"slices"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var (
	_ contract.CompatModes = Contract{}
	_ contract.Aliaser     = Contract{}
)

// The platform's own runners, whose defects --compat brings back.
const (
	// compatHost is the command line host: it loses config.json's resources on the way, so that every task gets the defaults.
	compatHost = "host"
	// compatExecutor is the task executor as such, which heeds them.
	compatExecutor = "executor"
)

// CompatModes lists the runners: in both any HTTP status is a success, and only equal text passes an example.
func (Contract) CompatModes() []string { return []string{compatHost, compatExecutor} }

// Aliases are the names of the platform since 2024.
func (Contract) Aliases() []string { return []string{"mecanywhere"} }

// asRunner changes a loaded task to what the platform's own runner makes of it.
func (l *loader) asRunner(t *task.Task, mode string) {
	switch mode {
	case compatHost:
		c := defaults()
		t.Resources = task.Resources{CPU: c.cpu, Memory: c.memory}
		t.Notes = append(t.Notes, "compat: config.json's resources are lost, as on MECA's command line host: 1 CPU, 128 MB, no GPU")
		l.loosenGPUCount()
	case compatExecutor:
		if l.loosenGPUCount() {
			t.Resources.GPUs = 1
			t.Notes = append(t.Notes, "compat: use_gpu without gpu_count is taken for one GPU")
		}
	default:
		return
	}
	t.Notes = append(t.Notes, "compat: any HTTP status is a success, as for MECA's executor")
}

// loosenGPUCount makes a warning of a gpu_count that lacks, and tells whether there was one.
func (l *loader) loosenGPUCount() bool {
	i := slices.IndexFunc(l.report.Findings, func(f task.Finding) bool { return f.Rule == ruleGPUCount })
	if i >= 0 {
		l.report.Findings[i].Severity = task.SeverityWarning
	}
	return i >= 0
}
