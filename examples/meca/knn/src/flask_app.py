import json

from flask import Flask, request

from neighbours import nearest, vote

app = Flask(__name__)


def numbers(row):
    return isinstance(row, list) and all(type(x) in (int, float) for x in row)


def problem(data):
    """What is wrong with a request, or None."""
    if not isinstance(data, dict):
        return "the request must be a JSON object"
    dataset, point, k, labels = (data.get(key) for key in ("dataset", "point", "k", "labels"))
    if not numbers(point) or not point:
        return "point must be a list of numbers"
    if not isinstance(dataset, list) or not all(numbers(row) and len(row) == len(point) for row in dataset):
        return f"dataset must be a list of points with {len(point)} numbers each"
    if type(k) is not int or not 1 <= k <= len(dataset):
        return f"k must be an integer from 1 to {len(dataset)}"
    if labels is not None and not (
        isinstance(labels, list) and len(labels) == len(dataset) and all(isinstance(label, str) for label in labels)
    ):
        return f"labels must be a list of {len(dataset)} strings"
    return None


@app.route("/", methods=["POST"])
def classify():
    data = request.get_json(force=True)
    wrong = problem(data)
    if wrong:
        return wrong, 400
    found = nearest(data["dataset"], data["point"], data["k"])
    if data.get("labels") is None:
        return json.dumps(found)
    label = vote([data["labels"][index] for index in found])
    return json.dumps({"label": label, "neighbours": found})


print("meca-init-done", flush=True)
