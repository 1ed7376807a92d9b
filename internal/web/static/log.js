// The log of a run: read as it grows, searched, told apart by stream, held still.
import { byID, make } from "./dom.js";

// What is kept in the page is bounded, in lines and in characters of each; all of it is in the download.
const maxLines = 20000;
const maxLine = 10000;
// maxHits is how many places are marked that a search finds.
const maxHits = 5000;

export function log() {
  const box = byID("log");
  if (!box) return;
  const view = new View(box);
  view.controls();
  read(box.dataset.log, view);
}

// read follows the log. A connection that is lost is made again where it ended.
async function read(address, view) {
  let offset = 0;
  let attempt = 0;
  for (let tries = 0; tries < 100; ) {
    try {
      const answer = await fetch(`${address}&offset=${offset}&attempt=${attempt}`);
      if (answer.status >= 500 || answer.status === 429) throw new Error(`the server answered ${answer.status}`); // it may be starting
      if (!answer.ok) {
        const problem = await answer.json().catch(() => ({}));
        view.note(problem.detail || `The log cannot be read: ${answer.status}.`);
        return;
      }
      for await (const line of lines(answer.body)) {
        tries = 0;
        if (line === "") continue;
        const piece = JSON.parse(line);
        const bytes = piece.data === undefined ? new TextEncoder().encode(piece.text) : Uint8Array.from(atob(piece.data), (c) => c.charCodeAt(0));
        if (attempt > 0 && piece.attempt > attempt) view.attempt(piece.attempt);
        attempt = piece.attempt || 0;
        offset = piece.offset + bytes.length;
        view.write(piece.stream, piece.at, bytes);
      }
      view.end();
      return;
    } catch {
      tries++;
      await new Promise((done) => setTimeout(done, Math.min(5000, 200 * 2 ** tries)));
    }
  }
  view.note("The server does not answer any more. Load the page again to go on.");
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}

// line is one of the log: { stream, at, text, style, open, element }, where style is how the line before it of its stream ended.

class View {
  constructor(box) {
    this.box = box;
    this.lines = [];
    this.left = 0; // lines that are not kept in the page any more
    this.open = {}; // per stream, the line that is not ended
    this.styles = {}; // per stream, how its last whole line ended
    this.decoders = {};
    this.paused = false;
    this.due = false;
    this.took = 0; // the last drawing, in milliseconds
    this.wanted = null; // what is searched for, as a pattern
    this.room = maxHits; // for marks; below 0, there is more than is marked
    this.current = null;
  }

  controls() {
    for (const stream of ["stdout", "stderr"]) {
      byID(`log-${stream}`).addEventListener("change", (e) => {
        this.box.classList.toggle(`no-${stream}`, !e.target.checked);
        this.find();
      });
    }
    byID("log-times").addEventListener("change", (e) => this.box.classList.toggle("times", e.target.checked));
    byID("log-pause").addEventListener("click", (e) => {
      this.paused = !this.paused;
      e.target.setAttribute("aria-pressed", String(this.paused));
      e.target.textContent = this.paused ? "Go on" : "Pause";
      this.flush();
    });
    let typing;
    byID("log-search").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.find(), 150);
    });
    byID("log-search").addEventListener("keydown", (e) => {
      if (e.key === "Enter") this.go(e.shiftKey ? -1 : 1);
    });
    byID("log-next").addEventListener("click", () => this.go(1));
    byID("log-previous").addEventListener("click", () => this.go(-1));
  }

  // attempt tells that what follows was written when the run was tried again.
  attempt(n) {
    this.open = {};
    this.styles = {};
    this.decoders = {};
    this.note(`Attempt ${n}:`);
  }

  // write takes what came of a stream. Characters may be divided between pieces.
  write(stream, at, bytes) {
    const decoder = (this.decoders[stream] ||= new TextDecoder());
    const parts = decoder.decode(bytes, { stream: true }).split("\n");
    parts.forEach((part, i) => {
      const last = i === parts.length - 1;
      if (part !== "" || !last || this.open[stream]) this.append(stream, at, part);
      if (!last) this.close(stream);
    });
    this.soon();
  }

  append(stream, at, part) {
    const line = (this.open[stream] ||= this.add({ stream, at, text: "", style: this.styles[stream] || "" }));
    const text = overwritten(line.text + part);
    line.cut ||= text.length > maxLine;
    line.text = text.slice(0, maxLine);
    line.stale = true;
  }

  close(stream) {
    const line = this.open[stream];
    if (line.text.includes("\x1b")) this.styles[stream] = pieces(line).style;
    this.open[stream] = null;
  }

  add(line) {
    this.lines.push({ ...line, stale: true });
    if (this.lines.length > maxLines * 1.2) {
      for (const old of this.lines.splice(0, this.lines.length - maxLines)) {
        old.element?.remove();
        this.left++;
      }
    }
    return this.lines.at(-1);
  }

  note(text) {
    this.add({ stream: "note", text, style: "" });
    this.soon();
  }

  // soon draws what came, and leaves more time for reading than for drawing.
  soon() {
    if (this.due || this.paused) return;
    this.due = true;
    setTimeout(() => this.flush(), Math.min(1000, 16 + 4 * this.took));
  }

  flush() {
    this.due = false;
    if (this.paused) return;
    const began = performance.now();
    const bottom = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    const fresh = document.createDocumentFragment();
    for (const line of this.lines) {
      if (!line.stale) continue;
      const element = this.draw(line);
      if (line.element) line.element.replaceWith(element);
      else fresh.append(element);
      line.element = element;
      line.stale = false;
    }
    this.box.append(fresh);
    if (this.left) this.earlier();
    this.count();
    if (bottom && !this.wanted) this.box.scrollTop = this.box.scrollHeight;
    this.took = performance.now() - began;
  }

  // earlier tells what was left out.
  earlier() {
    if (!this.gone?.isConnected) this.box.prepend((this.gone = make("span", { class: "line note" })));
    this.gone.textContent = `${this.left.toLocaleString("en")} earlier lines are in the download.`;
  }

  // draw makes a line's element: coloured as terminals do, and with what is searched for marked.
  draw(line) {
    const element = make("span", { class: `line ${line.stream}` });
    if (line.at) element.append(make("time", { datetime: line.at }, line.at.slice(11, 23)));
    const list = pieces(line).list;
    const hits = line.beyond ? [] : this.hits(line, list);
    line.marked = hits.length > 0;
    let at = 0;
    for (const { text, style } of list) {
      for (const [from, to, hit] of divided(at, at + text.length, hits)) {
        const inner = text.slice(from - at, to - at);
        const node = hit ? make("mark", { "data-hit": hit.from === from }, inner) : inner;
        element.append(style ? make("span", { class: style }, node) : node);
      }
      at += text.length;
    }
    if (line.cut) element.append(make("span", { class: "note" }, " … this line goes on in the download"));
    return element;
  }

  // hits are the places in a line that match: { from, to }.
  hits(line, list) {
    if (!this.wanted || line.stream === "note" || this.box.classList.contains(`no-${line.stream}`)) return [];
    return [...list.map((p) => p.text).join("").matchAll(this.wanted)].map((m) => ({ from: m.index, to: m.index + m[0].length }));
  }

  end() {
    this.paused = false;
    if (this.lines.length === 0) this.note("It wrote nothing.");
    this.flush();
    this.box.dataset.whole = "";
  }

  // find marks what is searched for, and goes to the first.
  find() {
    const text = byID("log-search").value;
    this.wanted = text ? new RegExp(text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "giu") : null;
    this.current = null;
    this.room = maxHits;
    for (const line of this.lines) {
      const hits = this.hits(line, pieces(line).list).length;
      line.stale ||= line.marked || (hits > 0 && this.room > 0);
      line.beyond = this.room <= 0;
      this.room -= hits;
    }
    const paused = this.paused;
    this.paused = false;
    this.flush();
    this.paused = paused;
    this.go(1);
  }

  marks() {
    return [...this.box.querySelectorAll("mark[data-hit]")];
  }

  count() {
    const n = this.wanted ? this.box.querySelectorAll("mark[data-hit]").length : 0;
    byID("log-next").disabled = byID("log-previous").disabled = n === 0;
    if (!this.current?.isConnected) byID("log-hits").textContent = !this.wanted ? "" : n === 0 ? "nothing found" : `${this.number(n)} found`;
  }

  // number says how many marks there are, and whether more was found.
  number(marks) {
    return this.room < 0 ? `${marks}+` : `${marks}`;
  }

  go(step) {
    const marks = this.marks();
    if (marks.length === 0) return;
    const now = marks.indexOf(this.current);
    this.current?.classList.remove("current");
    const next = now < 0 ? (step > 0 ? 0 : marks.length - 1) : (now + step + marks.length) % marks.length;
    this.current = marks[next];
    this.current.classList.add("current");
    this.box.scrollTop += this.current.getBoundingClientRect().top - this.box.getBoundingClientRect().top - this.box.clientHeight / 2;
    byID("log-hits").textContent = `${next + 1} of ${this.number(marks.length)}`;
  }
}

// divided cuts a stretch of a line where hits begin and end: [from, to, hit or null] in turn.
function divided(from, to, hits) {
  const cuts = [];
  for (const hit of hits) {
    if (hit.to <= from || hit.from >= to) continue;
    if (hit.from > from) cuts.push([from, hit.from, null]);
    const begin = Math.max(from, hit.from);
    from = Math.min(to, hit.to);
    cuts.push([begin, from, hit]);
  }
  if (from < to) cuts.push([from, to, null]);
  return cuts;
}

// overwritten leaves out what a carriage return has the rest of the line stand over.
function overwritten(text) {
  const end = text.endsWith("\r") ? text.length - 1 : text.length;
  return text.slice(text.lastIndexOf("\r", end - 1) + 1);
}

// sequences are those that terminals act on: only colours mean anything here.
const sequences = /\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\-~]/g;

// pieces divides a line where its colour changes: { list: [{ text, style }], style } with the style that the next line begins in.
function pieces(line) {
  const list = [];
  let { style } = line;
  let from = 0;
  const piece = (to) => {
    const text = visible(line.text.slice(from, to));
    if (text) list.push({ text, style });
  };
  for (const m of line.text.matchAll(sequences)) {
    piece(m.index);
    from = m.index + m[0].length;
    if (m[1] !== undefined) style = painted(style, m[1]);
  }
  piece(line.text.length);
  return { list, style };
}

// visible writes control characters as pictures of themselves.
function visible(text) {
  return text.replace(/\r$/, "").replace(/[\x00-\x08\x0b-\x1f\x7f]/g, (c) => (c === "\x7f" ? "␡" : String.fromCharCode(0x2400 + c.charCodeAt(0))));
}

// painted is a style, as classes, after a sequence of numbers: bold, dim, italic, underlined, and sixteen colours.
function painted(style, numbers) {
  const now = new Set(style.split(" ").filter(Boolean));
  const drop = (...names) => names.forEach((name) => now.delete(name));
  const codes = numbers.split(";").map(Number);
  const colour = (n) => {
    drop(...Array.from({ length: 8 }, (_, i) => `ansi-${i}`));
    if (n !== null) now.add(`ansi-${n % 8}`);
  };
  for (let i = 0; i < codes.length; i++) {
    const n = codes[i];
    if (n === 0) now.clear();
    else if (n === 38 || n === 48) {
      if (n === 38) colour(codes[i + 1] === 5 && codes[i + 2] < 16 ? codes[i + 2] : null);
      i += codes[i + 1] === 5 ? 2 : 4;
    } else if (n >= 30 && n <= 37) colour(n - 30);
    else if (n >= 90 && n <= 97) colour(n - 90);
    else if (n === 39) colour(null);
    else if (n === 22) drop("bold", "faint");
    else if (n === 23 || n === 24) drop(attributes[n - 20]);
    else if (attributes[n]) now.add(attributes[n]);
  }
  return [...now].join(" ");
}

const attributes = { 1: "bold", 2: "faint", 3: "italic", 4: "underlined" };
