// The form of a run: read into a request, sent, and shown as the commands that ask for the same.
import { byID, call, make, Problem, send, sentence, size } from "./dom.js";
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
    const data = element.dataset;
    this.element = element;
    this.name = data.field;
    this.widget = data.widget;
    this.kind = data.item || data.kind;
    this.required = "required" in data;
    this.blank = "blank" in data;
    this.fixed = "fixed" in data;
    this.verbatim = "verbatim" in data; // the task gets the text as it is written
    this.kept = JSON.parse(data.kept || "[]"); // names of files of the earlier run
    this.problem = element.querySelector(".problem");
    this.entries = null; // files that were dropped or chosen
    this.folder = false; // they are one folder
    this.touched = "earlier" in data; // its value counts even if it looks like none
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
    if (add && !this.touched) while (this.required && rows.children.length < Math.max(1, Number(rows.dataset.min || 0))) grow(false);
  }

  files() {
    const drop = this.element.querySelector("[data-drop]");
    if (!drop) return;
    const inputs = [...drop.querySelectorAll("[data-file]")];
    const take = (entries, folder) => {
      this.entries = entries;
      this.folder = folder;
      const all = entries || [];
      const list = drop.querySelector("[data-chosen]");
      list.replaceChildren(...all.slice(0, 8).map((e) => make("li", {}, `${e.path} `, make("span", { class: "dim" }, size(e.file.size)))));
      if (all.length > 8) list.append(make("li", { class: "dim" }, `and ${all.length - 8} more`));
      this.complain("");
      this.changed();
    };
    for (const input of inputs) {
      input.addEventListener("change", () => {
        for (const other of inputs) if (other !== input) other.value = "";
        take(input.files.length ? chosen(input) : null, input.webkitdirectory);
      });
    }
    const folders = "folders" in drop.dataset || this.widget === "folder";
    watchDrops(drop, ({ entries, folder }) => {
      if (entries.length === 0) return;
      for (const input of inputs) input.value = "";
      if (this.widget === "array") take(entries, false);
      else if (folders && (folder || this.widget === "folder")) take(entries, true);
      else if (entries.length > 1) this.complain(`These are ${entries.length} files, and it takes one.`);
      else take(entries, false);
    });
  }

  clock() {
    this.element.addEventListener("change", (e) => {
      if (!e.target.matches("[data-clock]") || !e.target.value) return;
      e.target.parentElement.querySelector("[data-control]").value = new Date(e.target.value).toISOString().replace(".000Z", "Z");
      this.touched = true;
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
    if (this.fixed) return;
    const value = this.fileInput() ? this.readFiles(request) : this.readWritten(request);
    if (value !== undefined) request.inputs[this.name] = value;
  }

  // again are the files of the earlier run.
  again(request) {
    request.kept.push(...this.kept);
    const names = this.kept.map((name) => `@${name}`);
    return this.widget === "array" ? names : names[0];
  }

  readFiles(request) {
    const address = this.element.querySelector("[data-url]")?.value.trim();
    if (!this.entries && address) return address;
    if (!this.entries) {
      if (this.kept.length) return this.again(request);
      if (this.required) throw new Wrong(this.widget === "folder" ? "Choose or drop a folder." : "Choose or drop a file.");
      return undefined;
    }
    for (const e of this.entries) if (/["\r\n]/.test(e.path)) throw new Wrong(`Browsers cannot send the name “${e.path}”: rename it.`);
    if (this.widget === "array") return this.entries.map((e) => `@${request.attach(`${this.name}.${request.files.length}`, e)}`);
    if (!this.folder) return `@${request.attach(this.name, this.entries[0])}`;
    const name = request.free(this.name);
    for (const e of this.entries) request.files.push({ name: `${name}/${e.path}`, shown: e.path, file: e.file, folder: name });
    return `@${name}`;
  }

  readWritten(request) {
    const controls = this.controls();
    if (this.kept.length && controls.every((c) => c.value === "")) return this.again(request);
    if (this.widget !== "array") return this.readOne(controls[0]);
    if (controls.length === 0 && !this.required && !this.touched) return undefined;
    return controls.map((c) => this.scalar(c));
  }

  readOne(control) {
    if (control.type === "checkbox" && !this.required && !this.touched && !control.checked) return undefined;
    if (control.type !== "checkbox" && control.value === "" && !(this.required || (this.touched && (this.blank || this.kind === "string"))) && !control.validity.badInput) return undefined;
    const value = this.scalar(control);
    return typeof value === "string" && value.startsWith("@") ? `@${value}` : value;
  }

  // scalar is one written value in its JSON form.
  scalar(control) {
    if (!control.checkValidity()) throw new Wrong(control.validationMessage);
    const value = exactly(control);
    if (this.verbatim) return control.type === "checkbox" ? String(control.checked) : value;
    switch (this.kind) {
      case "boolean":
        return control.checked;
      case "integer":
      case "number":
        return number.test(value) ? new Raw(value) : value;
      case "json":
      case "geometry":
      case "array":
        try {
          JSON.parse(value);
        } catch (e) {
          throw new Wrong(`This is no JSON: ${e.message}.`);
        }
        return new Raw(value.trim());
      case "string":
        this.measure(control, value);
    }
    return value;
  }

  // measure counts characters as the task does, not as browsers do.
  measure(control, value) {
    const length = [...value].length;
    const { least, most } = control.dataset;
    if (least && length < Number(least)) throw new Wrong(`It has ${length} characters, and needs at least ${least}.`);
    if (most && length > Number(most)) throw new Wrong(`It has ${length} characters, and may have at most ${most}.`);
  }
}

// exactly is a control's value; line ends, of which browsers know one kind only, are those that were given unless it was changed.
function exactly(control) {
  const given = control.dataset.given;
  return given && control.value === control.defaultValue ? JSON.parse(given) : control.value;
}

// Area is a field that is none of the task's.
class Area {
  constructor(id) {
    this.control = byID(id);
    this.problem = byID(`${id}-problem`);
  }

  // take hands over what is written, and keeps what is wrong with it.
  take(request, use) {
    if (!this.control) return;
    this.complain("");
    if (!this.control.value.trim()) return;
    try {
      use(this.control.value);
    } catch (e) {
      request.wrong.push([this, e.message]);
    }
  }

  complain(text) {
    this.problem.textContent = text;
    this.problem.hidden = !text;
    if (text) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }

  controls() {
    return [this.control];
  }
}

// Request is what a form asks for.
class Request {
  constructor(reserved) {
    this.reserved = reserved; // names of files that are the earlier run's
    this.inputs = Object.create(null);
    this.files = []; // { name, shown, file, folder }
    this.kept = []; // names of the earlier run's files
    this.rest = {};
    this.wrong = []; // [field, what]
  }

  // free is a name for a file that nothing else has, and that needs no quotes anywhere.
  free(wanted) {
    const taken = new Set([...this.reserved, ...this.files.map((f) => f.folder || f.name), "request"]);
    const plain = wanted.replace(/[^\w.-]/g, "_");
    let name = plain;
    for (let n = 2; taken.has(name); n++) name = `${plain}-${n}`;
    return name;
  }

  attach(wanted, entry) {
    const name = this.free(wanted);
    this.files.push({ name, shown: entry.path, file: entry.file });
    return name;
  }
}

// read makes the request of the form. With strict, fields are shown as right that are.
function read(form, fields, strict) {
  const body = byID("body");
  const free = byID("more-inputs");
  const freeKept = JSON.parse(free?.dataset.kept || "[]");
  const request = new Request([...fields.flatMap((f) => f.kept), ...freeKept, body?.dataset.kept]);
  for (const f of fields) {
    try {
      f.read(request);
      if (strict) f.complain("");
    } catch (e) {
      if (!(e instanceof Wrong)) throw e;
      request.wrong.push([f, e.message]);
    }
  }
  new Area("more-inputs").take(request, (text) => {
    for (const [name, value] of members(text)) request.inputs[name] = value;
    request.kept.push(...freeKept.filter((name) => text.includes(JSON.stringify(`@${name}`))));
  });
  readBody(request, body);
  const r = request.rest;
  const text = (id) => byID(id)?.value.trim() || "";
  new Area("env").take(request, (lines) => (r.env = pairs(lines)));
  for (const c of form.querySelectorAll("[data-limit]")) if (c.value.trim()) (r.limits ||= {})[c.dataset.limit] = c.value.trim();
  if (text("timeout")) r.timeouts = { run: text("timeout") };
  if (Number(text("priority"))) r.priority = Number(text("priority"));
  if (Number(text("retry"))) r.retry = { max: Number(text("retry")), on: retried };
  new Area("labels").take(request, (lines) => (r.labels = pairs(lines)));
  new Area("args").take(request, (list) => (r.args = words(list)));
  if (byID("cache")?.checked) r.cache = true;
  if (byID("network")?.checked) r.network = true;
  return request;
}

// readBody takes the request body: a file, a text, or the earlier run's file.
function readBody(request, area) {
  const file = byID("body-file")?.files[0];
  const kept = area?.dataset.kept;
  if (file) request.rest.bodyFile = request.attach("body", { path: file.name, file });
  else if (area?.value) request.rest.body = exactly(area);
  else if (kept) {
    request.kept.push(kept);
    request.rest.bodyFile = kept;
  }
}

// members are those of a JSON object, each value as it was written: numbers keep all their digits.
function members(text) {
  let object;
  try {
    object = JSON.parse(text);
  } catch (e) {
    throw new Wrong(`This is no JSON object: ${e.message}.`);
  }
  if (typeof object !== "object" || object === null || Array.isArray(object)) throw new Wrong("This is no JSON object: write {\"name\": value}.");
  const found = [];
  let depth = 0;
  let from = 0;
  let name = null;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]+|\\.)*"|[{}[\],:]/g)) {
    const opens = token === "{" || token === "[";
    const closes = token === "}" || token === "]";
    if (depth === 1 && name !== null && (closes || token === ",")) {
      found.push([JSON.parse(name), new Raw(text.slice(from, index).trim())]);
      name = null;
    } else if (depth === 1 && token === ":") from = index + 1;
    else if (depth === 1 && name === null && token[0] === '"') name = token;
    depth += opens ? 1 : closes ? -1 : 0;
  }
  return found;
}

// pairs reads lines of name=value.
function pairs(text) {
  const found = Object.create(null);
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const at = line.indexOf("=");
    if (at < 1) throw new Wrong(`“${line}” is no name=value.`);
    found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

// words reads a JSON list of texts.
function words(text) {
  try {
    const list = JSON.parse(text);
    if (Array.isArray(list) && list.every((w) => typeof w === "string")) return list;
  } catch {
    // It is said below.
  }
  throw new Wrong('This is no JSON list of texts: write ["--fast", "3"].');
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
  const stop = byID("submit-cancel");
  const abort = new AbortController();
  stop.onclick = () => abort.abort();
  stop.hidden = request.files.length === 0;
  byID("submit").disabled = true;
  const say = (text) => (byID("submit-progress").textContent = text);
  say("Submitting…");
  try {
    const files = await keptFiles(form, request);
    const parts = new FormData();
    parts.append("request", new Blob([body(form, request, files)], { type: "application/json" }));
    for (const f of request.files) parts.append(f.name, f.file, f.file.name);
    const run = await send("/v1/runs", parts, { signal: abort.signal, progress: (part, whole) => request.files.length && say(`Uploading: ${size(part)} of ${size(whole)}`) });
    location.href = `/runs/${run.id}`;
  } catch (problem) {
    say("");
    if (problem.cancelled) say("The upload was cancelled; nothing was submitted.");
    else refused(place, fields, problem);
  }
  stop.hidden = true;
  byID("submit").disabled = false;
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
  const lines = [["longshore run", quote(form.dataset.task), "--server", quote(form.dataset.server)].join(" ")];
  const option = (name, value) => lines.push(`${name} ${quote(value)}`);
  if (form.dataset.variant) option("--template", form.dataset.variant);
  const local = localNames(request);
  const here = (v) => (typeof v === "string" && v.startsWith("@") && local[v.slice(1)] ? `@${local[v.slice(1)]}` : v);
  for (const [name, value] of Object.entries(request.inputs)) {
    if (typeof value === "string") option("-i", `${name}=${here(value)}`);
    else option("-i", `${name}=${write(Array.isArray(value) ? value.map(here) : value)}`);
  }
  const r = request.rest;
  for (const [name, value] of Object.entries(r.env || {})) option("--env", `${name}=${value}`);
  if (r.body) option("-d", r.body.startsWith("@") ? `@${r.body}` : r.body);
  if (r.bodyFile) option("-d", here(`@${r.bodyFile}`));
  if (r.limits?.cpu) option("--cpus", r.limits.cpu);
  if (r.limits?.memory) option("--memory", r.limits.memory);
  if (r.timeouts) option("--timeout", r.timeouts.run);
  if (r.network) option("--network", "host");
  if (r.priority) lines.push(`--priority=${r.priority}`);
  if (r.retry) option("--retries", String(r.retry.max));
  for (const [name, value] of Object.entries(r.labels || {})) option("--label", `${name}=${value}`);
  if (r.cache) lines.push("--cache");
  lines.push("-o out");
  if (r.args) lines.push(["--", ...r.args.map(quote)].join(" "));
  return lines.join(" \\\n  ");
}

// localNames are the files that people have, by the names in the request.
function localNames(request) {
  const names = Object.create(null);
  for (const f of request.files) names[f.folder || f.name] = f.folder || f.shown;
  for (const k of request.kept) names[k] = k;
  return names;
}

// maxParts is how many files one command names.
const maxParts = 200;

// curl is the same run by the API.
function curl(form, request) {
  if (request.files.length > maxParts) return `# These are ${request.files.length} files: too many for one curl. Use the longshore command.`;
  const lines = [`curl ${quote(form.dataset.server + "/v1/runs")}`, `-H "Authorization: Bearer $LONGSHORE_TOKEN"`];
  if (request.files.length === 0 && request.kept.length === 0) {
    lines.push(`-H 'Content-Type: application/json'`, `-d ${quote(body(form, request))}`);
  } else {
    lines.push(`--form-string ${quote("request=" + body(form, request))}`);
    for (const f of request.files) lines.push(part(f.name, f.folder ? `${f.folder}/${f.shown}` : f.shown));
    for (const k of request.kept) lines.push(part(k, k));
  }
  return lines.join(" \\\n  ");
}

// part is a file in a form of curl, which takes commas and semicolons in names for its own unless there are quotes.
function part(name, path) {
  return `-F ${quote(`${name}=@${/[,;"\\]/.test(path) ? `"${path.replace(/["\\]/g, "\\$&")}"` : path}`)}`;
}
