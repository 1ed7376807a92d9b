package cytomine

import (
	"strings"

	"longshore/internal/task"
)

// Scaffold returns a task folder that works as it is: a Python script that adds two integers, with the inputs and outputs of
// one local test.
func (Contract) Scaffold(name, lang string) (map[string]string, error) {
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
	return map[string]string{
		"descriptor.yml": strings.NewReplacer("{{name}}", title, "{{short}}", short, "{{namespace}}", "org.example."+word).Replace(scaffoldDescriptor),
		"Dockerfile":     scaffoldDockerfile,
		"run.py":         scaffoldScript,
		".dockerignore":  "inputs\noutputs\n*.tar\n*.zip\n",
		"inputs/a":       "5",
		"inputs/b":       "37",
		"outputs/sum":    "42",
	}, nil
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

const scaffoldDescriptor = `$schema: https://cytomine.com/schema-store/tasks/task.v0.json
name: "{{name}}"
name_short: "{{short}}"
namespace: {{namespace}}
version: "0.1.0"
description: Adds two integers. Say here what the task does.
authors:
  - first_name: Ada
    last_name: Example
    organization: Example
    email: ada@example.org
    is_contact: true
configuration:
  # What the container finds and leaves; these two are also the defaults.
  input_folder: /inputs
  output_folder: /outputs
  resources:
    ram: 256Mi
    cpus: 1
    # internet: true opens the network.
    internet: false
inputs:
  a:
    display_name: Operand A
    description: The first operand
    type: integer
  b:
    display_name: Operand B
    description: The second operand, 0 or more
    type: {id: integer, geq: 0}
    default: 0
outputs:
  sum:
    display_name: Sum
    description: The sum of both operands
    type: integer
`

const scaffoldDockerfile = `FROM python:3.9-slim

WORKDIR /app
COPY run.py .

# The App Engine starts the image's own entrypoint, with no arguments.
ENTRYPOINT ["python3", "run.py"]
`

const scaffoldScript = `"""Each input is a file named like its parameter, without extension; so is each output."""

from pathlib import Path

INPUTS = Path("/inputs")
OUTPUTS = Path("/outputs")


def main():
    a = int((INPUTS / "a").read_text())
    b = int((INPUTS / "b").read_text())
    (OUTPUTS / "sum").write_text(str(a + b))


# An exception ends the program with a code other than 0, which means failure.
if __name__ == "__main__":
    main()
`

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"python"} }
