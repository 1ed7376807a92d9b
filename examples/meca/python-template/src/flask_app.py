import json

from flask import Flask, request

app = Flask(__name__)


@app.route("/", methods=["POST"])
def task():
    """Replace the body of this function: it gets the decoded input and returns the output as text."""
    data = request.get_json(force=True)
    return json.dumps(data)


# Without flush the mark can stay in Python's buffer, as stdout is not a terminal.
print("meca-init-done", flush=True)
