package meca

import (
	"longshore/internal/task"
)

// Scaffold returns a MECA folder that works as it is: a server of Python's standard library that answers with the JSON it
// was sent.
func (Contract) Scaffold(title, lang string) (map[string]string, error) {
	title = trim(printable(title))
	if title == "" {
		return nil, task.Errorf(task.CodeUsage, "the task needs a name")
	}
	return map[string]string{
		dockerfile:          scaffoldDockerfile,
		sources + "/app.py": scaffoldApp,
		nameText:            title + "\n",
		descriptionText:     "Answers with the JSON it was sent. Say here what the task does, what it takes and what it gives.\n",
		exampleInput:        `{"greeting": "hello"}`,
		exampleOutput:       `{"greeting": "hello"}`,
		configuration:       scaffoldConfig,
	}, nil
}

const scaffoldDockerfile = `FROM python:3.9-slim

WORKDIR /app

# Keep everything that is copied under src/: MECAnywhere Desktop builds from this file and src/ alone.
COPY src/ .

EXPOSE 8080

# -u: Python would otherwise hold back what it prints, and the ready mark with it.
CMD ["python3", "-u", "app.py"]
`

const scaffoldApp = `"""A MECA task: POST / takes JSON and answers with text."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def work(data):
    """The task itself. Takes the decoded request and returns the reply as a string."""
    return json.dumps(data)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            data = json.loads(body)
        except ValueError as problem:
            self.answer(400, f"the request is not JSON: {problem}")
            return
        self.answer(200, work(data))

    def answer(self, status, text):
        reply = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("0.0.0.0", 8080), Handler)
    # The server listens from here on, so the mark is true when it is printed.
    print("meca-init-done", flush=True)
    server.serve_forever()
`

const scaffoldConfig = `{
  "resource": {
    "cpu": 1,
    "mem": 128,
    "use_gpu": false,
    "gpu_count": 0
  }
}
`

// Languages lists what Scaffold can write.
func (Contract) Languages() []string { return []string{"python"} }
