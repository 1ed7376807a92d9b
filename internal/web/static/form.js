// The form of a run: read into a request, sent, and shown as the commands that ask for the same.
import { byID, call, make, Problem, sentence } from "./dom.js";
import { chosen, watchDrops } from "./files.js";

// Raw is JSON that is sent exactly as it was written: numbers keep all their digits.
class Raw {
  constructor(text) {
    this.text = text;
  }
}

// write is JSON.stringify that knows Raw.
function write(v) {
  if (v instanceof Raw) return v.text;
  if (Array.isArray(v)) return `[${v.map(write).join(", ")}]`;
  if (v && typeof v === "object") return `{${Object.entries(v).map(([k, x]) => `${JSON.stringify(k)}: ${write(x)}`).join(", ")}}`;
  return JSON.stringify(v);
}

// Wrong is what a field says about its own value.
class Wrong extends Error {}

const number = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

// retried are the failures of a task's own that are worth another try.
const retried = ["exit", "oom", "timeout", "not-ready"];

export function runForm() {
  const form = byID("run");
  if (!form) return;
  const fields = [...form.querySelectorAll("[data-field]")].map((e) => new Field(e));
  const draw = () => {
    const request = read(form, fields, false);
    byID("cli").textContent = command(form, request);
    byID("curl").textContent = curl(form, request);
  };
  for (const f of fields) f.changed = draw;
  form.addEventListener("input", draw);
  form.addEventListener("change", draw);
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    submit(form, fields);
  });
  draw();
}

// Field is one input of the task.
class Field {
  constructor(element) {
    this.element = element;
    this.name = element.dataset.field;
    this.widget = element.dataset.widget;
    this.kind = element.dataset.kind;
    this.required = "required" in element.dataset;
    this.blank = "blank" in element.dataset;
    this.kept = element.dataset.kept;
    this.problem = element.querySelector(".problem");
    this.entries = null; // files that were dropped or chosen
    this.touched = false;
    this.changed = () => {};
    element.addEventListener("input", () => {
      this.touched = true;
      this.complain("");
    });
    this.rows();
    this.files();
    this.clock();
  }

  controls() {
    return [...this.element.querySelectorAll("[data-control]")];
  }

  fileInput() {
    return this.element.querySelector("[data-file]");
  }

  rows() {
    const rows = this.element.querySelector("[data-rows]");
    const add = this.element.querySelector("[data-add]");
    if (!rows) return;
    let next = rows.children.length;
    const grow = (focus) => {
      const row = this.element.querySelector("template").content.firstElementChild.cloneNode(true);
      const control = row.querySelector("[data-control]");
      control.id = control.id.replace(/-\d+$/, `-${next++}`);
      rows.append(row);
      if (focus) control.focus();
    };
    add?.addEventListener("click", () => {
      this.touched = true;
      grow(true);
      this.changed();
    });
    rows.addEventListener("click", (e) => {
      const remove = e.target.closest("[data-remove]");
      if (!remove) return;
      this.touched = true;
      remove.parentElement.remove();
      (rows.querySelector("[data-control]") || add).focus();
      this.changed();
    });
    if (add) while (this.required && rows.children.length < Math.max(1, Number(rows.dataset.min || 0))) grow(false);
  }

  files() {
    const input = this.fileInput();
    if (!input) return;
    const show = () => {
      const list = this.element.querySelector("[data-chosen]");
      const all = this.entries || [];
      list.replaceChildren(...all.slice(0, 8).map((e) => make("li", {}, e.path)));
      if (all.length > 8) list.append(make("li", { class: "dim" }, `and ${all.length - 8} more`));
      this.complain("");
      this.changed();
    };
    input.addEventListener("change", () => {
      this.entries = input.files.length ? chosen(input) : null;
      show();
    });
    watchDrops(this.element.querySelector("[data-drop]"), ({ entries }) => {
      if (entries.length === 0) return;
      this.entries = input.multiple || input.webkitdirectory ? entries : entries.slice(0, 1);
      show();
    });
  }

  clock() {
    const clock = this.element.querySelector("[data-clock]");
    clock?.addEventListener("change", () => {
      if (clock.value) this.controls()[0].value = new Date(clock.value).toISOString().replace(".000Z", "Z");
      this.changed();
    });
  }

  complain(text) {
    this.problem.textContent = text;
    this.problem.hidden = !text;
    for (const c of [...this.controls(), this.fileInput()].filter(Boolean)) {
      if (text) c.setAttribute("aria-invalid", "true");
      else c.removeAttribute("aria-invalid");
    }
  }

  // read puts the value into a request. It throws Wrong.
  read(request) {
    if (this.element.querySelector("input[readonly]")) return;
    const value = this.fileInput() ? this.readFiles(request) : this.widget === "array" ? this.readRows() : this.readOne(this.controls()[0]);
    if (value !== undefined) request.inputs[this.name] = value;
  }

  readFiles(request) {
    const input = this.fileInput();
    if (!this.entries) {
      if (this.kept) {
        request.kept.push(this.kept);
        return `@${this.kept}`;
      }
      if (this.required) throw new Wrong(this.widget === "folder" ? "Choose or drop a folder." : "Choose or drop a file.");
      return undefined;
    }
    if (this.widget === "array") {
      return this.entries.map((e, i) => {
        request.files.push({ name: `${this.name}.${i}`, shown: e.path, file: e.file });
        return `@${this.name}.${i}`;
      });
    }
    if (input.webkitdirectory) {
      for (const e of this.entries) request.files.push({ name: `${this.name}/${e.path}`, shown: e.path, file: e.file, folder: this.name });
    } else request.files.push({ name: this.name, shown: this.entries[0].path, file: this.entries[0].file });
    return `@${this.name}`;
  }

  readRows() {
    const controls = this.controls();
    if (controls.length === 0 && !this.required && !this.touched) return undefined;
    return controls.map((c) => this.scalar(c, c.type === "checkbox" ? c.checked : c.value));
  }

  readOne(control) {
    if (control.type === "checkbox") return !this.required && !this.touched && !control.checked ? undefined : control.checked;
    if (control.value === "" && !(this.required || (this.touched && (this.blank || this.kind === "string"))) && !control.validity.badInput) return undefined;
    const value = this.scalar(control, control.value);
    return typeof value === "string" && value.startsWith("@") ? "@" + value : value;
  }

  // scalar is one written value in its JSON form.
  scalar(control, value) {
    if (!control.checkValidity()) throw new Wrong(control.validationMessage);
    const kind = this.widget === "array" ? control.type === "number" ? "number" : control.type === "checkbox" ? "boolean" : this.itemKind(control) : this.kind;
    switch (kind) {
      case "boolean":
        return value;
      case "integer":
      case "number":
        return number.test(value) ? new Raw(value) : value;
      case "json":
      case "geometry":
        try {
          JSON.parse(value);
        } catch (e) {
          throw new Wrong(`This is no JSON: ${e.message}.`);
        }
        return new Raw(value.trim());
    }
    return value;
  }

  itemKind(control) {
    return control.tagName === "TEXTAREA" ? "json" : "string";
  }
}

// read makes the request of the form. With strict, it throws what is wrong; without, it leaves that out.
function read(form, fields, strict) {
  const request = { inputs: {}, files: [], kept: [], rest: {}, env: {}, wrong: [] };
  for (const f of fields) {
    try {
      f.read(request);
      if (strict) f.complain("");
    } catch (e) {
      if (!(e instanceof Wrong)) throw e;
      request.wrong.push([f, e.message]);
    }
  }
  more(request);
  const r = request.rest;
  const text = (id) => byID(id)?.value.trim() || "";
  if (byID("body")?.value) r.body = byID("body").value;
  request.env = pairs(text("env"));
  if (Object.keys(request.env).length) r.env = request.env;
  for (const c of form.querySelectorAll("[data-limit]")) if (c.value.trim()) (r.limits ||= {})[c.dataset.limit] = c.value.trim();
  if (text("timeout")) r.timeouts = { run: text("timeout") };
  if (Number(text("priority"))) r.priority = Number(text("priority"));
  if (Number(text("retry"))) r.retry = { max: Number(text("retry")), on: retried };
  const labels = pairs(text("labels"));
  if (Object.keys(labels).length) r.labels = labels;
  if (byID("cache")?.checked) r.cache = true;
  if (byID("network")?.checked) r.network = true;
  return request;
}

// more reads the inputs that the task does not declare.
function more(request) {
  const area = byID("more-inputs");
  if (!area) return;
  area.removeAttribute("aria-invalid");
  byID("more-inputs-problem").hidden = true;
  if (!area.value.trim()) return;
  try {
    const object = JSON.parse(area.value);
    if (typeof object !== "object" || object === null || Array.isArray(object)) throw new Error("it is no object");
    for (const [name, value] of Object.entries(object)) request.inputs[name] = value;
  } catch (e) {
    request.wrong.push([{ complain: (text) => {
      byID("more-inputs-problem").textContent = text;
      byID("more-inputs-problem").hidden = !text;
      area.setAttribute("aria-invalid", "true");
    }, controls: () => [area], fileInput: () => null }, `This is no JSON object: ${e.message}.`]);
  }
}

function pairs(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

// body is the request as the API takes it.
function body(form, request, files) {
  const d = { task: form.dataset.task };
  if (form.dataset.variant) d.variant = form.dataset.variant;
  if (Object.keys(request.inputs).length) d.inputs = request.inputs;
  if (files && Object.keys(files).length) d.files = files;
  return write({ ...d, ...request.rest });
}

async function submit(form, fields) {
  const place = byID("run-problem");
  place.hidden = true;
  const request = read(form, fields, true);
  if (request.wrong.length) {
    for (const [f, message] of request.wrong) f.complain(message);
    const first = request.wrong[0][0];
    (first.controls()[0] || first.fileInput()).focus();
    return;
  }
  byID("submit").disabled = true;
  byID("submit-progress").textContent = request.files.length ? "Uploading…" : "Submitting…";
  try {
    const files = await keptFiles(form, request);
    const parts = new FormData();
    parts.append("request", new Blob([body(form, request, files)], { type: "application/json" }));
    for (const f of request.files) parts.append(f.name, f.file, f.file.name);
    const run = await call("POST", "/v1/runs", parts);
    location.href = `/runs/${run.id}`;
  } catch (problem) {
    refused(place, fields, problem);
  }
  byID("submit").disabled = false;
  byID("submit-progress").textContent = "";
}

// keptFiles are the uploads of the earlier run that are used again.
async function keptFiles(form, request) {
  if (request.kept.length === 0) return {};
  const earlier = await call("GET", `/v1/runs/${form.dataset.from}/request`);
  const files = {};
  for (const name of request.kept) {
    if (!earlier.files?.[name]) throw new Problem({ detail: "The files of the earlier run are not kept any more.", hint: "Choose them again." });
    files[name] = earlier.files[name];
  }
  return files;
}

// refused shows what the server says, beside the fields that it is about.
function refused(place, fields, problem) {
  const left = [];
  for (const f of problem.findings || []) {
    const [, name, why] = /^input "([^"]*)": ([\s\S]*)$/.exec(f.what) || [];
    const field = fields.find((x) => x.name === name);
    if (field) field.complain(sentence(why));
    else left.push(f.what);
  }
  place.replaceChildren(make("p", {}, make("strong", {}, sentence(problem.message))));
  if (problem.hint) place.append(make("p", {}, sentence(problem.hint)));
  if (left.length > 1) place.append(make("ul", {}, ...left.map((w) => make("li", {}, sentence(w)))));
  place.hidden = false;
  place.focus();
}

// quote makes one word of a shell.
const quote = (s) => (/^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", `'\\''`)}'`);

// command is the same run by the longshore command.
function command(form, request) {
  const words = ["longshore", "run", quote(form.dataset.task), "--server", quote(form.dataset.server)];
  const options = [];
  const option = (name, value) => options.push(`${name} ${quote(value)}`);
  if (form.dataset.variant) option("--template", form.dataset.variant);
  const local = localNames(request);
  for (const [name, value] of Object.entries(request.inputs)) {
    if (value instanceof Raw) option("-i", `${name}=${value.text}`);
    else if (typeof value === "string") option("-i", `${name}=${value.startsWith("@@") ? value : value.startsWith("@") ? "@" + (local[value.slice(1)] || value.slice(1)) : value}`);
    else option("-i", `${name}=${Array.isArray(value) ? write(value.map((v) => (typeof v === "string" && v.startsWith("@") && local[v.slice(1)] ? "@" + local[v.slice(1)] : v))) : write(value)}`);
  }
  for (const [name, value] of Object.entries(request.env)) option("--env", `${name}=${value}`);
  const r = request.rest;
  if (r.body) option("-d", r.body.startsWith("@") ? "@" + r.body : r.body);
  if (r.limits?.cpu) option("--cpus", r.limits.cpu);
  if (r.limits?.memory) option("--memory", r.limits.memory);
  if (r.timeouts) option("--timeout", r.timeouts.run);
  if (r.network) option("--network", "host");
  if (r.priority) option("--priority", String(r.priority));
  if (r.retry) option("--retries", String(r.retry.max));
  for (const [name, value] of Object.entries(r.labels || {})) option("--label", `${name}=${value}`);
  if (r.cache) options.push("--cache");
  option("-o", "out");
  return [words.join(" "), ...options].join(" \\\n  ");
}

// localNames are the files that people have, by the names in the request.
function localNames(request) {
  const names = {};
  for (const f of request.files) names[f.folder || f.name] = f.folder || f.shown;
  for (const k of request.kept) names[k] = k;
  return names;
}

// curl is the same run by the API.
function curl(form, request) {
  const lines = [`curl ${quote(form.dataset.server + "/v1/runs")}`, `-H "Authorization: Bearer $LONGSHORE_TOKEN"`];
  if (request.files.length === 0 && request.kept.length === 0) {
    lines.push(`-H 'Content-Type: application/json'`, `-d ${quote(body(form, request))}`);
  } else {
    lines.push(`--form-string ${quote("request=" + body(form, request))}`);
    for (const f of request.files.slice(0, 10)) lines.push(`-F ${quote(`${f.name}=@${f.folder ? f.folder + "/" : ""}${f.shown}`)}`);
    if (request.files.length > 10) lines.push(`… # and ${request.files.length - 10} more`);
    for (const k of request.kept) lines.push(`-F ${quote(`${k}=@${k}`)}`);
  }
  return lines.join(" \\\n  ");
}
