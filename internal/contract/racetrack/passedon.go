package racetrack

import (
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// passedOn warns of variables that Racetrack changes on their way to the job, or cannot pass on: it writes them into a
// shell's command line or into the text of a Kubernetes object (reference 5.4, 9.1). Here they arrive as they are.
func (l *loader) passedOn() {
	length := len(l.doc.text)
	for _, v := range l.m.runtimeEnv {
		length += len(v.Name) + len(v.Value) + len(` --env =""`)
		if strings.ContainsAny(v.Value, inShell+"\n") {
			add := l.on(ruleShell, v.member.Value, "runtime_env.%s: quotes, $, backquotes, backslashes and line ends arrive changed on Racetrack", show(v.Name))
			add.Why = "Racetrack puts the value into a shell's command line, or into the text of a Kubernetes object"
			add.Mend = "put the value into a file of the job"
		}
	}
	if length > maxCommandLine && unusable("JOB_MANIFEST_YAML", l.doc.text) == "" {
		add := l.on(ruleCommandLine, nil, "the manifest and runtime_env make %d characters; Racetrack on Docker fails on more than %d", length, maxCommandLine)
		add.Why = "it starts a job with one command line, and answers: maximum tty line length has been exceeded"
		add.Mend = "move what is long into a file of the job"
	}
}

// inShell are the characters that a shell changes between double quotes.
const inShell = "\"`$\\"

// manifestPassedOn warns of the same in the manifest, all of which Racetrack passes on as JOB_MANIFEST_YAML. n is a node whose
// path is at.
func (l *loader) manifestPassedOn(n *contract.Node, at string) {
	switch n.Kind {
	case contract.NodeObject:
		for _, m := range n.Members {
			if m.Key != "runtime_env" || at != "" {
				l.manifestPassedOn(m.Value, strings.TrimPrefix(at+"."+m.Key, "."))
			}
		}
	case contract.NodeList:
		for _, it := range n.Items {
			l.manifestPassedOn(it, at)
		}
	case contract.NodeString:
		if strings.ContainsAny(n.Text, inShell) && !l.wrong(n) {
			add := l.on(ruleManifestText, n, "%s: quotes, $, backquotes and backslashes break the manifest that Racetrack passes on", show(at))
			add.Why = "Racetrack puts the manifest into a shell's command line, or into the text of a Kubernetes object, as JOB_MANIFEST_YAML"
			add.Mend = "put the value into a file of the job"
		}
	}
}

// wrong tells whether an error was found at a node: what is wrong is written anew anyway.
func (l *loader) wrong(n *contract.Node) bool {
	file, at := l.doc.fileOf(n), n.Pos()
	return slices.ContainsFunc(l.findings, func(f task.Finding) bool {
		return f.Severity == task.SeverityError && f.File == file && f.Line == at.Line && f.Column == at.Column
	})
}

// maxCommandLine is how long a command of Racetrack's docker target may be.
const maxCommandLine = 4096
