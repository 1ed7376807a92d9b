package iexec

import (
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
	if d := t.Parameter(task.Input, paramDataset); d != nil && !d.Optional {
		e.Skip = "the request names a dataset, which is not here"
	}
	return []contract.Example{e}, nil
}

// Scaffold writes a dapp of today's generation: it reads the input files, and declares its result deterministic.
func (Contract) Scaffold(name, lang string) (map[string]string, error) {
	image := imageWord(name)
	if image == "" {
		return nil, task.Errorf(task.CodeUsage, "%q makes no image name: use letters and digits", name)
	}
	return map[string]string{
		"iexec.json": fmt.Sprintf(`{
  "app": {
    "owner": "0x0000000000000000000000000000000000000000",
    "name": %q,
    "type": "DOCKER",
    "multiaddr": "docker.io/your-name/%s:1.0.0"
  },
  "buyConf": {
    "params": {
      "iexec_args": "World",
      "iexec_input_files": []
    }
  }
}
`, image, image),
		"Dockerfile": `# Longshore builds this file and runs the image under the name in iexec.json (app.multiaddr).
FROM busybox
COPY app.sh /app.sh
# The ENTRYPOINT is kept by iExec workers; the request's iexec_args become its arguments.
ENTRYPOINT ["/bin/sh", "/app.sh"]
`,
		"app.sh": `#!/bin/sh
# Arguments: the words of iexec_args.
# $IEXEC_IN   folder with the input files, IEXEC_INPUT_FILE_NAME_1 to IEXEC_INPUT_FILE_NAME_$IEXEC_INPUT_FILES_NUMBER
# $IEXEC_OUT  folder for the result; names of files have at most 31 characters
set -eu

{
  echo "Hello, ${1:-World}!"
  i=1
  while [ "$i" -le "$IEXEC_INPUT_FILES_NUMBER" ]; do
    eval "name=\$IEXEC_INPUT_FILE_NAME_$i"
    echo "$name has $(wc -c < "$IEXEC_IN/$name" | tr -d ' ') bytes"
    i=$((i + 1))
  done
} > "$IEXEC_OUT/result.txt"
cat "$IEXEC_OUT/result.txt"

# Workers compare the digest of this file. It must be the same on every machine: no times, no random numbers.
echo '{"deterministic-output-path": "/iexec_out/result.txt"}' > "$IEXEC_OUT/computed.json"
`,
		".dockerignore": "*\n!app.sh\n",
	}, nil
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

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"shell"} }
