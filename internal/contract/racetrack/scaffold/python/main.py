"""A Racetrack job: POST /perform takes a JSON object of named arguments and answers with JSON."""

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
    ThreadingHTTPServer(("0.0.0.0", {{port}}), Handler).serve_forever()
