package meca

import (
	"longshore/internal/contract"
	"longshore/internal/task"
)

// Rule is one thing that Load looks at.
type Rule struct {
	ID       string
	Severity task.Severity
	Summary  string
}

// The ids of the rules. MECA019, that the machine can satisfy the limits, is the dispatcher's.
const (
	ruleEntry       = "MECA001"
	ruleEmpty       = "MECA002"
	ruleKind        = "MECA003"
	ruleSyntax      = "MECA004"
	ruleType        = "MECA005"
	ruleRange       = "MECA006"
	ruleGPUCount    = "MECA007"
	ruleAlias       = "MECA008"
	ruleKey         = "MECA009"
	ruleGPUUnused   = "MECA010"
	ruleText        = "MECA011"
	ruleInput       = "MECA012"
	ruleOutput      = "MECA013"
	ruleCopyMissing = "MECA014"
	ruleCopyOutside = "MECA015"
	ruleExpose      = "MECA016"
	ruleTree        = "MECA017"
	ruleNoResource  = "MECA018"
	rulePNG         = "MECA020"
	ruleLink        = "MECA021"
	ruleRecipe      = "MECA022"
	ruleFolder      = "MECA023"
	ruleMark        = "MECA024"
	ruleSGX         = "MECA025"
	ruleBrackets    = "MECA026"
	ruleLineEnds    = "MECA027"
	ruleHistory     = "MECA030" // this and the next are looked at before publishing
	ruleMode        = "MECA031"
)

// Rules lists every rule. The first two are MECA's own folder test; the others find what passes it and fails later.
func Rules() []Rule {
	const e, w, n = task.SeverityError, task.SeverityWarning, task.SeverityNote
	return []Rule{
		{ruleEntry, e, "each of the seven entries exists"},
		{ruleEmpty, e, "an entry that is a directory is not empty"},
		{ruleKind, e, "src is a directory and the other entries are regular files"},
		{ruleSyntax, e, "config.json is UTF-8 JSON, an object or null"},
		{ruleType, e, "the fields of resource have the documented types"},
		{ruleRange, e, "cpu, mem and gpu_count are in range"},
		{ruleGPUCount, e, "use_gpu comes with a gpu_count of at least 1"},
		{ruleAlias, w, "fields go by their documented names"},
		{ruleKey, w, "config.json has no unknown, misplaced or repeated key"},
		{ruleGPUUnused, w, "gpu_count comes with use_gpu"},
		{ruleText, w, "name.txt and description.txt are UTF-8 text that is not blank, and the name is one line"},
		{ruleInput, w, "example_input.bin is JSON"},
		{ruleOutput, w, "example_output.bin is text"},
		{ruleCopyMissing, e, "every source of COPY and ADD is in the folder, and not left out by .dockerignore"},
		{ruleCopyOutside, w, "the sources of COPY and ADD lie under src/"},
		{ruleExpose, w, "the Dockerfile exposes port 8080"},
		{ruleTree, e, "no symbolic link leaves the folder, and it holds no special file"},
		{ruleNoResource, n, "config.json says what the task needs"},
		{rulePNG, w, "an example that is a PNG image is not damaged"},
		{ruleLink, w, "the folder holds no symbolic link"},
		{ruleRecipe, e, "the Dockerfile can be parsed"},
		{ruleFolder, e, "the package is a folder on this machine"},
		{ruleMark, w, "something in the folder prints meca-init-done"},
		{ruleSGX, n, "a task that needs an SGX enclave is told as such"},
		{ruleBrackets, w, "CMD and ENTRYPOINT in brackets are JSON"},
		{ruleLineEnds, w, "a script that CMD or ENTRYPOINT starts has the line ends of Unix"},
		{ruleHistory, w, "a folder that is published holds no .git"},
		{ruleMode, w, "a folder that is published has no executable files, whose mode gets lost, unless the Dockerfile sets modes"},
	}
}

// severityOf returns the severity that the table gives a rule.
func severityOf(id string) task.Severity {
	for _, r := range Rules() {
		if r.ID == id {
			return r.Severity
		}
	}
	return task.SeverityError
}

// Rules implements contract.RuleLister.
func (Contract) Rules() []contract.Rule {
	var list []contract.Rule
	for _, r := range Rules() {
		list = append(list, contract.Rule{ID: r.ID, Severity: r.Severity, Summary: r.Summary})
	}
	return list
}
