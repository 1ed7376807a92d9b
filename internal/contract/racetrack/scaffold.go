package racetrack

import (
	"fmt"
	"strconv"

	"longshore/internal/task"
)

// Scaffold returns a job that works as it is: a server of Python's standard library that sums numbers, on the seed's port,
// which the manifest also tells to releases that would look elsewhere.
func (Contract) Scaffold(name, lang string) (map[string]string, error) {
	id := slug(name)
	if id == "" {
		return nil, task.Errorf(task.CodeUsage, "the job needs a name of letters, digits and dashes")
	}
	return map[string]string{
		manifestName:      fmt.Sprintf(scaffoldManifest, strconv.Quote(id), id, seedPort),
		defaultDockerfile: scaffoldDockerfile,
		"main.py":         fmt.Sprintf(scaffoldMain, seedPort),
	}, nil
}

const scaffoldManifest = `name: %s
owner_email: nobody@example.com # who to ask about this job
version: 0.0.1
jobtype: docker-proxy:latest

git:
  remote: https://github.com/example/%s # where Racetrack clones the job from

jobtype_extra:
  user_module_port: %d # where main.py listens

labels:
  description: sums numbers
`

const scaffoldDockerfile = `FROM python:3.9-slim-bullseye

COPY main.py /src/
WORKDIR /src/

# -u: Python would otherwise hold back what it prints.
CMD ["python3", "-u", "main.py"]
`

const scaffoldMain = `"""A Racetrack job: POST /perform takes a JSON object of named arguments and answers with JSON."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def perform(numbers):
    """The job itself. Its parameters are the members of the request's JSON object."""
    return sum(numbers)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/perform":
            self.answer(404, {"error": "there is only /perform"})
            return
        try:
            self.answer(200, perform(**json.loads(body)))
        except (TypeError, ValueError) as problem:
            self.answer(400, {"error": str(problem)})

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    # 0.0.0.0: Racetrack's wrapper calls from outside the container.
    ThreadingHTTPServer(("0.0.0.0", %d), Handler).serve_forever()
`

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"python"} }
