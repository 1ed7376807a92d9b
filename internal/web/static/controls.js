// Small controls that many pages have.
import { announce, byID } from "./dom.js";

// theme lets people choose the colours: automatic, light or dark.
export function theme() {
  const button = byID("theme");
  const order = ["automatic", "light", "dark"];
  const show = (name) => {
    if (name === "automatic") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.setAttribute("aria-label", `Colours: ${name}`);
    button.title = `Colours: ${name}`;
  };
  let now = document.documentElement.dataset.theme || "automatic";
  show(now);
  button.addEventListener("click", () => {
    now = order[(order.indexOf(now) + 1) % order.length];
    show(now);
    announce(`Colours: ${now}`);
    try {
      localStorage.setItem("theme", now);
    } catch {
      // It counts for this page only.
    }
  });
}

// filters send a form when a choice in it changes. Empty fields stay out of the address.
export function filters() {
  for (const form of document.querySelectorAll("form.filters")) {
    form.addEventListener("formdata", (e) => {
      for (const [name, value] of [...e.formData]) if (value === "") e.formData.delete(name);
    });
    if (!("auto" in form.dataset)) continue;
    form.addEventListener("change", (e) => {
      if (e.target.matches("select")) form.requestSubmit();
    });
  }
}

// copies put a text into the clipboard.
export function copies() {
  document.addEventListener("click", async (e) => {
    const button = e.target.closest("[data-copy]");
    if (!button) return;
    const source = byID(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      announce("Copied.");
    } catch {
      getSelection().selectAllChildren(source);
      announce("Selected. Copy it with the keyboard.");
    }
  });
}

// flips turn drawings upside down, where y points up.
export function flips() {
  document.addEventListener("change", (e) => {
    if (!e.target.matches("[data-flip]")) return;
    const shapes = e.target.closest(".drawing").querySelector(".shapes");
    if (e.target.checked) shapes.setAttribute("transform", shapes.dataset.matrix);
    else shapes.removeAttribute("transform");
  });
}
