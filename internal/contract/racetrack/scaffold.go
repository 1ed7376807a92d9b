package racetrack

import (
	"embed"
	"strconv"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// scaffold holds packages to start from, see contract.ScaffoldFiles.
//
//go:embed all:scaffold
var scaffold embed.FS

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"python", "go", "shell"} }

// Scaffold returns a job that works as it is: a server that sums numbers, on the seed's port, which the manifest also tells to
// releases that would look elsewhere.
func (c Contract) Scaffold(name, lang string) (map[string]string, error) {
	if lang == "" {
		lang = c.Languages()[0]
	}
	id := slug(name)
	if id == "" {
		return nil, task.Errorf(task.CodeUsage, "the job needs a name of letters, digits and dashes")
	}
	return contract.ScaffoldFiles(scaffold, lang, "{{quoted}}", strconv.Quote(id), "{{name}}", id, "{{port}}", strconv.Itoa(seedPort))
}
