package kaapana

import (
	"embed"
	"strings"

	"longshore/internal/contract"
)

// scaffold holds packages to start from, see contract.ScaffoldFiles.
//
//go:embed all:scaffold
var scaffold embed.FS

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"shell", "python", "go"} }

// Scaffold returns a container folder with two templates, an example task for each, and data for them.
func (c Contract) Scaffold(name, lang string) (map[string]string, error) {
	if lang == "" {
		lang = c.Languages()[0]
	}
	count, shout := `["/bin/sh", "/app/count.sh"]`, `["/bin/sh", "/app/shout.sh"]`
	switch lang {
	case "python":
		count, shout = `["python3", "/app/count.py"]`, `["python3", "/app/shout.py"]`
	case "go":
		count, shout = `["/app/texts", "count"]`, `["/app/texts", "shout"]`
	}
	image := strings.TrimSuffix(imageName(name, ""), ":latest")
	return contract.ScaffoldFiles(scaffold, lang, "{{name}}", image, "{{count}}", count, "{{shout}}", shout)
}
