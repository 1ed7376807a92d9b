// Parts of a page that keep themselves current: the server draws them again, and what differs is put in place.
import { announce, byID, call, showProblem, make } from "./dom.js";

// fresh asks the server for this page as it is now; null when that is not to be had.
async function fresh() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.status === 401) location.reload(); // to sign in again
    if (!answer.ok) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null;
  }
}

// replace puts the new form of an element in place, if it differs, and keeps the focus and what was opened.
function replace(old, page) {
  const now = page.getElementById(old.id);
  if (!now || now.innerHTML === old.dataset.drawn) return now;
  const focus = old.contains(document.activeElement) ? document.activeElement.id || document.activeElement.getAttribute("href") : "";
  const open = new Set([...old.querySelectorAll("details[open] > summary")].map((s) => s.textContent));
  const element = document.importNode(now, true);
  element.dataset.drawn = now.innerHTML;
  old.replaceWith(element);
  for (const s of element.querySelectorAll("details > summary")) if (open.has(s.textContent)) s.parentElement.open = true;
  if (focus) (byID(focus) || [...element.querySelectorAll("a")].find((a) => a.getAttribute("href") === focus))?.focus();
  return element;
}

// refresh draws all parts of that kind again.
async function refresh(selector) {
  const page = await fresh();
  if (!page) return false;
  for (const e of document.querySelectorAll(selector)) replace(e, page);
  return true;
}

// poll draws lists again every so often, while somebody looks at them.
export function poll() {
  const list = document.querySelector("[data-poll]");
  if (!list) return;
  const pause = Number(list.dataset.poll);
  const next = () => setTimeout(async () => {
    const selecting = !getSelection().isCollapsed;
    if (document.visibilityState === "visible" && !selecting) await refresh("[data-poll]");
    next();
  }, pause);
  next();
}

// follow keeps the page of a run current until it has ended.
export function follow() {
  const head = byID("run-head");
  if (!head?.dataset.running) return;
  let state = head.dataset.state;
  let due = 0;
  const draw = async () => {
    due = 0;
    await refresh("[data-live]");
    const now = byID("run-head").dataset.state;
    if (now !== state) {
      state = now;
      announce(`The run is ${now}.`);
    }
  };
  const soon = () => {
    due ||= setTimeout(draw, 150);
  };
  let events;
  const listen = () => {
    events = new EventSource(`/v1/runs/${head.dataset.running}/events`);
    for (const kind of ["open", "state", "warning", "progress", "usage", "retry"]) events.addEventListener(kind, soon);
    for (const kind of ["end", "problem"]) {
      events.addEventListener(kind, () => {
        events.close();
        soon();
      });
    }
    // Browsers come back by themselves when a connection is lost, and give up when the server or a proxy answers with an error.
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    });
  };
  listen();
  addEventListener("pagehide", () => events.close());
}

// runActions are the buttons of a run's page.
export function runActions() {
  document.addEventListener("click", async (e) => {
    const cancel = e.target.closest("[data-cancel]");
    const again = e.target.closest("[data-again]");
    const hide = e.target.closest("[data-hide]");
    const button = cancel || again || hide;
    if (!button) return;
    button.disabled = true;
    try {
      if (cancel) {
        await call("POST", `/v1/runs/${cancel.dataset.cancel}/cancel`);
        announce("The run is being cancelled.");
        await refresh("[data-live]");
      } else if (again) {
        location.href = `/runs/${(await call("POST", `/v1/runs/${again.dataset.again}/retry`)).id}`;
      } else {
        await call("DELETE", `/v1/tasks/${hide.dataset.hide}`);
        location.reload();
      }
    } catch (problem) {
      button.disabled = false;
      const place = byID("action-problem") || make("div", { id: "action-problem", class: "problems", role: "alert" });
      button.parentElement.after(place);
      showProblem(place, problem);
    }
  });
}
