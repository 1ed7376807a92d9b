package cytomine

import (
	"embed"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// scaffold holds packages to start from, see contract.ScaffoldFiles.
//
//go:embed all:scaffold
var scaffold embed.FS

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"python", "go", "shell"} }

// Scaffold returns a task folder that works as it is: it adds two integers, with the inputs and outputs of one local test.
func (c Contract) Scaffold(name, lang string) (map[string]string, error) {
	if lang == "" {
		lang = c.Languages()[0]
	}
	title := scaffoldTitle(name)
	switch {
	case title == "":
		return nil, task.Errorf(task.CodeUsage, "a task's name has 3 to 30 letters, digits, blanks, \"_\" and \"-\", found %s", quote(name))
	case len(title) < 3:
		title += " task"
	}
	short := slug(title)
	if short == "" {
		short = "task"
	}
	// No dash in the namespace: today's App Engine takes the name of the image's file apart at the first one.
	word := strings.ReplaceAll(short, "-", "_")
	return contract.ScaffoldFiles(scaffold, lang, "{{name}}", title, "{{short}}", short, "{{namespace}}", "org.example."+word)
}

// scaffoldTitle keeps what a task's name may hold, 30 characters of it.
func scaffoldTitle(name string) string {
	kept := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == ' ':
			return r
		case r == '.' || r == '/':
			return '-'
		}
		return -1
	}, name)
	return strings.Trim(kept[:min(len(kept), 30)], " -")
}
