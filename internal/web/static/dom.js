// What the other scripts share: finding and making elements, and asking the API.

export const byID = (id) => document.getElementById(id);

// make builds an element. Text is only ever set as text.
export function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children);
  return e;
}

// announce tells screen readers.
export function announce(text) {
  byID("announce").textContent = text;
}

// Problem is an error's answer of the API.
export class Problem extends Error {
  constructor(body, status) {
    super(body.detail || body.title || `the server answered ${status}`);
    this.hint = body.hint || "";
    this.findings = body.findings || [];
    this.status = status;
  }
}

// call asks the API and answers its JSON.
export async function call(method, path, body, type) {
  let answer;
  try {
    answer = await fetch(path, { method, body, headers: type ? { "Content-Type": type } : {}, redirect: "error" });
  } catch {
    throw new Problem({ detail: "The server does not answer.", hint: "Check that it runs and that you are connected, then try again." }, 0);
  }
  const text = await answer.text();
  let json = {};
  try {
    json = text ? JSON.parse(text) : {};
  } catch {
    json = { detail: text.slice(0, 500) };
  }
  if (!answer.ok) throw new Problem(json, answer.status);
  return json;
}

// send posts what may be large, and tells how far it is. It answers JSON; signal ends it, and the Problem is then cancelled.
export function send(path, body, { progress, signal, type } = {}) {
  return new Promise((done, fail) => {
    const r = new XMLHttpRequest();
    r.open("POST", path);
    if (type) r.setRequestHeader("Content-Type", type);
    r.upload.addEventListener("progress", (e) => progress?.(e.loaded, e.total));
    r.addEventListener("error", () => fail(new Problem({ detail: "The upload was cut off.", hint: "Check that the server runs and has room, then try again." }, 0)));
    r.addEventListener("abort", () => fail(Object.assign(new Problem({ detail: "The upload was cancelled." }, 0), { cancelled: true })));
    r.addEventListener("load", () => {
      let json = {};
      try {
        json = JSON.parse(r.responseText);
      } catch {
        json = { detail: r.responseText.slice(0, 500) };
      }
      if (r.status >= 200 && r.status < 300) done(json);
      else fail(new Problem(json, r.status));
    });
    signal?.addEventListener("abort", () => r.abort());
    r.send(body);
  });
}

export const callJSON = (method, path, value) => call(method, path, JSON.stringify(value), "application/json");

// sentence makes a message a sentence.
export function sentence(text) {
  if (!text) return "";
  const s = /^[a-z]+[ ,]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text; // identifiers stay as they are
  return /[.!?]\s*$/.test(s) ? s : s + ".";
}

// showProblem fills a place for problems, and takes the focus there.
export function showProblem(place, problem) {
  place.replaceChildren(make("p", {}, make("strong", {}, sentence(problem.message))));
  if (problem.hint) place.append(make("p", {}, sentence(problem.hint)));
  place.hidden = false;
  place.tabIndex = -1;
  place.focus();
}

// findingList draws findings as the server's pages do.
export function findingList(findings) {
  const list = make("ul", { class: "findings" });
  for (const f of findings) {
    const item = make("li", { class: `finding ${f.severity}` });
    item.append(make("p", {}, make("strong", { class: "severity" }, f.severity), " " + sentence(f.what)));
    if (f.why) item.append(make("p", { class: "why" }, sentence(f.why)));
    if (f.mend) item.append(make("p", { class: "mend" }, make("strong", {}, "Mend:"), " " + sentence(f.mend)));
    const where = make("p", { class: "where" });
    if (f.file) {
      const at = [f.file, f.line, f.line && f.column].filter(Boolean).join(":");
      where.append(make("code", {}, at), " · ");
    }
    where.append(make("code", {}, f.rule));
    item.append(where);
    list.append(item);
  }
  return list;
}

// size writes an amount of bytes.
export function size(n) {
  for (const [unit, of] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= of) return `${(n / of).toFixed(1).replace(/\.0$/, "")} ${unit}`;
  }
  return `${n} B`;
}
