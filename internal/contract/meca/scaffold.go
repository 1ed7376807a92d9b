package meca

import (
	"embed"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// scaffold holds packages to start from, see contract.ScaffoldFiles.
//
//go:embed all:scaffold
var scaffold embed.FS

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"python", "go", "shell"} }

// Scaffold returns a MECA folder that works as it is: a server that answers with the JSON it was sent.
func (c Contract) Scaffold(title, lang string) (map[string]string, error) {
	if lang == "" {
		lang = c.Languages()[0]
	}
	title = trim(printable(title))
	if title == "" {
		return nil, task.Errorf(task.CodeUsage, "the task needs a name")
	}
	return contract.ScaffoldFiles(scaffold, lang, "{{name}}", title)
}
