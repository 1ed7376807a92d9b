package kaapana_test

import (
	"path/filepath"
	"strings"
	"testing"

	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// ruleAsking is an execution whose scale rule asked for factor times 2 MiB.
func ruleAsking(t *testing.T, factor string, declared string) (*task.Task, *task.Execution) {
	t.Helper()
	in := t.TempDir()
	writeFile(t, filepath.Join(in, "x"), strings.Repeat("x", 2<<20))
	doc := scaleRule(`"scale_factor": ` + factor + `, "type": "limit", "mode": "sum"`)
	if declared != "" {
		doc.rest = `, "resources": ` + declared
	}
	tk := loaded(t, container(doc.String()), "")
	return tk, prepared(t, tk, task.Request{Inputs: map[string]task.Given{"in": {Path: in}}})
}

func TestPeakMemory(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		factor   string
		declared string
		peak     task.Bytes
		oom      bool
		warn     string
	}{
		{"50", "", 60 * mib, false, ""},
		{"50", "", 0, false, ""}, // an engine that cannot measure
		{"10", `{"limits": {"memory": "100Mi"}, "requests": {"memory": "1Mi"}}`, 60 * mib, false, `the measured peak memory is 60 MiB (62914560 B): the rule asks for too little; write "scale_factor": 38`},
		{"50", "", 98 * mib, false, `the rule asks for too little; write "scale_factor": 100`}, // at the limit: the need is not known
		{"50", "", 100 * mib, true, `write "scale_factor": 100`},
		{"500", "", 4 * mib, false, `the rule asks for far too much; write "scale_factor": 3`},
	} {
		tk, x := ruleAsking(t, c.factor, c.declared)
		got, err := kaapana.New().Collect(tk, x, task.Leftovers{Usage: task.Usage{PeakMemory: c.peak}, Exit: task.Exit{OOM: c.oom}})
		must(t, err)
		warnings := strings.Join(got.Warnings, "\n")
		if c.warn == "" && strings.Contains(warnings, "scale rule") || !strings.Contains(warnings, c.warn) {
			t.Errorf("%+v: %q", c, warnings)
		}
		if c.oom != (got.Failure != nil) || c.oom && !strings.Contains(got.Failure.Message, "its limit is 100 MiB, from a scale rule, its peak was 100 MiB") {
			t.Errorf("%+v: %+v", c, got.Failure)
		}
	}
}

// A declared limit that is reached is told with what to declare; little data says nothing about a factor.
func TestPeakDeclared(t *testing.T) {
	tk, x := ruleAsking(t, "1", `{"limits": {"memory": "100Mi"}, "requests": {"memory": "1Mi"}}`)
	got, err := kaapana.New().Collect(tk, x, task.Leftovers{Usage: task.Usage{PeakMemory: 99 << 20}})
	must(t, err)
	if w := strings.Join(got.Warnings, "\n"); !strings.Contains(w, `reached the limit of 100 MiB (104857600 B), from the package: write at least "memory": "200Mi"`) {
		t.Error(w)
	}
}

// Where the declared limit is enough, nothing is to be declared.
func TestPeakOfLittleData(t *testing.T) {
	in := t.TempDir()
	writeFile(t, filepath.Join(in, "x"), strings.Repeat("x", 100))
	for declared, want := range map[string]string{
		"": `the rule asks for too little; declare at least "memory": "3Mi" beside it`,
		`, "resources": {"limits": {"memory": "64Mi"}}`: `the rule asks for too little; the limit of 64 MiB (67108864 B) is enough all the same`,
	} {
		doc := scaleRule(`"scale_factor": 1, "type": "request", "mode": "sum"`)
		doc.rest = declared
		tk := loaded(t, container(doc.String()), "")
		x := prepared(t, tk, task.Request{Inputs: map[string]task.Given{"in": {Path: in}}})
		got, err := kaapana.New().Collect(tk, x, task.Leftovers{Usage: task.Usage{PeakMemory: 2 << 20}})
		must(t, err)
		if w := strings.Join(got.Warnings, "\n"); !strings.Contains(w, want) {
			t.Errorf("declared %q: %s", declared, w)
		}
	}
}
