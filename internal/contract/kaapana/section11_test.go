package kaapana_test

import (
	"fmt"
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// TestReferenceVerdicts holds rows of the Kaapana reference, section 11.1, that change one place of a whole document. worst is
// the most serious finding, "" for none above a note.
func TestReferenceVerdicts(t *testing.T) {
	const document = `{"name": "n", "description": "d", "api_version": 1, "templates": [{"identifier": "t", "description": "d",
"inputs": [{"name": "i", "mounted_path": "/i", "description": "d"%s}], "outputs": [], "env": [{"name": "E", "value": "1"%s}]%s}]}`
	cases := []struct {
		rule, env, template string
		worst               task.Severity
	}{
		{},
		{env: `, "type": "float"`, worst: task.SeverityWarning},
		{env: `, "adjustable": "maybe"`, worst: task.SeverityWarning},
		{env: `, "choices": [1, 2]`, worst: task.SeverityError},
		{template: `, "command": "ls"`, worst: task.SeverityError},
		{template: `, "command": [1]`, worst: task.SeverityError},
		{template: `, "resources": {}`},
		{template: `, "resources": {"limits": {"memory": 500, "cpu": 1}}`, worst: task.SeverityWarning},
		{template: `, "a": 1, "a": 2`, worst: task.SeverityWarning},
		{rule: `, "scale_rule": {"complexity": "10*n**1", "type": "limit", "mode": "sum"}`},
		{rule: `, "scale_rule": {"scale_factor": 1, "type": "Limit", "mode": "sum"}`, worst: task.SeverityError},
		{rule: `, "scale_rule": {"scale_factor": -1, "type": "limit", "mode": "sum"}`, worst: task.SeverityWarning},
		{rule: `, "scale_rule": {"scale_factor": 2.5, "type": "limit", "mode": "sum"}`, worst: task.SeverityError},
	}
	for _, c := range cases {
		text := fmt.Sprintf(document, c.rule, c.env, c.template)
		_, found := kaapana.New().Load(container(text), contract.Options{})
		worst := task.Severity("")
		for _, f := range found {
			if f.Severity == task.SeverityError || f.Severity == task.SeverityWarning && worst == "" {
				worst = f.Severity
			}
		}
		if worst != c.worst {
			t.Errorf("%s: %q, want %q: %v", strings.TrimPrefix(c.rule+c.env+c.template, ", "), worst, c.worst, found)
		}
	}
}
