// The log of a run: read as it grows, searched, told apart by stream, held still.
import { byID, make } from "./dom.js";

// maxLines bounds what is kept in the page; older lines are in the download.
const maxLines = 20000;

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
  for (let tries = 0; tries < 20; ) {
    try {
      const answer = await fetch(`${address}&offset=${offset}`);
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
        if (piece.offset < offset) view.restart();
        offset = piece.offset + bytes.length;
        view.write(piece.stream, piece.at, piece.text ?? new TextDecoder().decode(bytes));
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

class View {
  constructor(box) {
    this.box = box;
    this.open = {}; // per stream, the line that is not ended
    this.pending = []; // what came while it was held
    this.paused = false;
    this.hits = [];
    this.current = -1;
    this.search = "";
    this.dirty = false;
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
      if (!this.paused) this.flush();
    });
    byID("log-search").addEventListener("input", (e) => {
      this.search = e.target.value;
      this.find();
    });
    byID("log-search").addEventListener("keydown", (e) => {
      if (e.key === "Enter") this.go(e.shiftKey ? -1 : 1);
    });
    byID("log-next").addEventListener("click", () => this.go(1));
    byID("log-previous").addEventListener("click", () => this.go(-1));
  }

  restart() {
    this.box.replaceChildren();
    this.open = {};
    this.note("The run is tried again; its log begins anew.");
  }

  write(stream, at, text) {
    this.pending.push([stream, at, text]);
    if (!this.paused && !this.dirty) {
      this.dirty = true;
      requestAnimationFrame(() => this.flush());
    }
  }

  flush() {
    this.dirty = false;
    if (this.paused) return;
    const bottom = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    const added = [];
    for (const [stream, at, text] of this.pending.splice(0)) {
      const parts = text.split("\n");
      parts.forEach((part, i) => {
        let line = this.open[stream];
        if (!line && (part !== "" || i < parts.length - 1)) {
          line = this.open[stream] = make("span", { class: `line ${stream}` }, make("time", { datetime: at }, at.slice(11, 23)));
          line.append("");
          this.box.append(line);
        }
        if (line) {
          line.lastChild.data += plain(part);
          added.push(line);
        }
        if (i < parts.length - 1) this.open[stream] = null;
      });
    }
    while (this.box.childElementCount > maxLines) this.box.firstElementChild.remove();
    if (this.search) this.find(false);
    if (bottom && !this.search) this.box.scrollTop = this.box.scrollHeight;
  }

  end() {
    this.paused = false;
    this.flush();
    if (this.box.childElementCount === 0) this.note("It wrote nothing.");
    this.box.dataset.whole = "";
  }

  note(text) {
    this.box.append(make("span", { class: "line note" }, text));
  }

  // find marks what was searched for.
  find(move = true) {
    for (const mark of this.box.querySelectorAll("mark")) mark.replaceWith(mark.textContent);
    this.hits = [];
    const wanted = this.search.toLowerCase();
    if (wanted) {
      for (const line of this.box.children) {
        line.normalize();
        if (line.offsetParent === null && line.getClientRects().length === 0) continue;
        this.mark(line, wanted);
      }
    } else {
      for (const line of this.box.children) line.normalize();
    }
    const none = this.hits.length === 0;
    byID("log-next").disabled = byID("log-previous").disabled = none;
    byID("log-hits").textContent = !wanted ? "" : none ? "nothing found" : `${this.hits.length} found`;
    if (move) {
      this.current = -1;
      if (!none) this.go(1);
    }
  }

  mark(line, wanted) {
    let text = line.lastChild;
    if (!text || text.nodeType !== Node.TEXT_NODE) return;
    for (;;) {
      const at = text.data.toLowerCase().indexOf(wanted);
      if (at < 0 || this.hits.length >= 5000) return;
      const hit = text.splitText(at);
      const rest = hit.splitText(wanted.length);
      const mark = make("mark");
      hit.replaceWith(mark);
      mark.append(hit);
      this.hits.push(mark);
      text = rest;
    }
  }

  go(step) {
    if (this.hits.length === 0) return;
    this.hits[this.current]?.classList.remove("current");
    this.current = (this.current + step + this.hits.length) % this.hits.length;
    const hit = this.hits[this.current];
    hit.classList.add("current");
    this.box.scrollTop += hit.getBoundingClientRect().top - this.box.getBoundingClientRect().top - this.box.clientHeight / 2;
    byID("log-hits").textContent = `${this.current + 1} of ${this.hits.length}`;
  }
}

// plain leaves out what only terminals understand.
function plain(text) {
  return text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").replace(/[^\r]*\r(?=[^\r])/g, "").replace(/\r$/, "");
}
