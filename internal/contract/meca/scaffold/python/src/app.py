"""A MECA task: POST / takes JSON and answers with text."""

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
