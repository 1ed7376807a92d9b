package iexec

import (
	"embed"
	"fmt"
	"path/filepath"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Examples gives the manifest's own default request. An input that it names by URL is taken from the package, where dapp
// registries keep sample inputs under the URL's file name; without one the example is skipped.
func (Contract) Examples(src contract.Source, t *task.Task) ([]contract.Example, error) {
	p, err := planOf(t)
	if err != nil || p.Nothing != "" {
		return nil, err
	}
	e := contract.Example{Name: "default"}
	switch {
	case len(p.Inputs) == 0:
	case p.Beside != "" && src.Dir != "":
		e.Request.Inputs = map[string]task.Given{paramInput: {Path: filepath.Join(src.Dir, filepath.FromSlash(p.Beside))}}
	default:
		e.Skip = fmt.Sprintf("%s is not fetched for tests: put a file named %s beside the manifest", p.Inputs[0].URL, p.Inputs[0].Name)
	}
	if d := t.Parameter(task.Input, paramDataset); d != nil && (!d.Optional || p.Dataset.Fetch) {
		e.Skip = "the request names a dataset, which is not here"
	}
	if len(p.Secrets) > 0 {
		e.Skip = "the request asks for secrets, which are not here"
	}
	return []contract.Example{e}, nil
}

// scaffold holds packages to start from, see contract.ScaffoldFiles.
//
//go:embed all:scaffold
var scaffold embed.FS

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"shell", "python", "go"} }

// Scaffold writes a dapp of today's generation: it reads the input files, and declares its result deterministic.
func (c Contract) Scaffold(name, lang string) (map[string]string, error) {
	if lang == "" {
		lang = c.Languages()[0]
	}
	image := imageWord(name)
	if image == "" {
		return nil, task.Errorf(task.CodeUsage, "%q makes no image name: use letters and digits", name)
	}
	return contract.ScaffoldFiles(scaffold, lang, "{{name}}", image)
}

// imageWord is name as a part of an image reference.
func imageWord(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}
