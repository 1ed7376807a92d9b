// Answers what is wrong with the page, as a list of sentences.
(() => {
  const wrong = [];
  const visible = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
  const where = (e) => `<${e.tagName.toLowerCase()}${e.id ? " id=" + e.id : ""}${e.className && e.className.baseVal === undefined ? " class=" + e.className : ""}> “${(e.textContent || "").trim().slice(0, 40)}”`;
  const byIDs = (ids) => (ids || "").split(/\s+/).filter(Boolean).map((id) => document.getElementById(id));
  const name = (e) => {
    const labelled = byIDs(e.getAttribute("aria-labelledby")).map((l) => l?.textContent || "").join(" ");
    const labels = [...(e.labels || [])].map((l) => l.textContent).join(" ");
    const alt = [...e.querySelectorAll("img[alt], svg[aria-label]")].map((i) => i.alt || i.getAttribute("aria-label")).join(" ");
    return (labelled || e.getAttribute("aria-label") || labels || (["INPUT", "SELECT", "TEXTAREA"].includes(e.tagName) ? "" : e.textContent + alt)).trim();
  };

  if (document.documentElement.lang !== "en") wrong.push("the page does not say its language");
  if (document.querySelectorAll("h1").length !== 1) wrong.push(`there are ${document.querySelectorAll("h1").length} first headings`);
  if (document.querySelectorAll("main").length !== 1) wrong.push("there is no main part");
  if (!document.title) wrong.push("the page has no title");
  if (document.querySelector("a").getAttribute("href") !== "#main") wrong.push("the first link does not skip to the content");
  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .log, pre, .visually-hidden")).slice(0, 3);
    wrong.push(`the page is ${document.documentElement.scrollWidth} wide, the window ${innerWidth}: ${wide.map(where).join("; ")}`);
  }
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
    if (!visible(h)) continue;
    const now = Number(h.tagName[1]);
    if (now > level + 1) wrong.push(`a heading of level ${now} follows one of ${level}: ${where(h)}`);
    level = now;
  }
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) {
    if (ids.has(e.id)) wrong.push(`two elements are called ${e.id}`);
    ids.add(e.id);
  }
  for (const e of document.querySelectorAll("input, select, textarea, button, a[href], meter, audio, video, [role=region], [role=log], [role=img], nav, summary")) {
    if (e.type === "hidden" || !visible(e)) continue;
    if (!name(e)) wrong.push(`nothing names ${where(e)}`);
  }
  for (const e of document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]")) {
    for (const a of ["aria-labelledby", "aria-describedby", "aria-controls"]) {
      if (byIDs(e.getAttribute(a)).includes(null)) wrong.push(`${a} of ${where(e)} names what is not there`);
    }
  }
  for (const i of document.querySelectorAll("img:not([alt])")) wrong.push(`a picture has no words: ${where(i)}`);
  for (const f of document.querySelectorAll("fieldset")) if (visible(f) && !f.querySelector("legend")?.textContent.trim()) wrong.push(`a group has no name: ${where(f)}`);
  for (const t of document.querySelectorAll("table")) if (visible(t) && !t.querySelector("th")) wrong.push(`a table has no headings: ${where(t)}`);
  for (const s of document.querySelectorAll(".scroll, .log")) if (visible(s) && s.scrollHeight > s.clientHeight + 1 && s.tabIndex < 0) wrong.push(`the keyboard cannot scroll ${where(s)}`);
  for (const s of document.querySelectorAll("[style]")) if (!s.closest("svg")) wrong.push(`a style stands in the page: ${where(s)}`);

  // Contrast of every text against what is behind it.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (c) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = c;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (e) => {
    const layers = [];
    for (let n = e; n; n = n.parentElement) layers.unshift(parse(getComputedStyle(n).backgroundColor));
    return layers.reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const luminance = ([r, g, b]) => {
    const f = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(e) || !visible(e) || e.closest("svg, noscript, script, option, .visually-hidden, .skip")) continue;
    seen.add(e);
    const ground = behind(e);
    const ratio = contrast(over(parse(getComputedStyle(e).color), ground), ground);
    if (ratio < 4.5) wrong.push(`the contrast of ${where(e)} is ${ratio.toFixed(2)}`);
  }
  for (const e of document.querySelectorAll("input, select, textarea, button, .button")) {
    if (!visible(e) || ["hidden", "file", "checkbox"].includes(e.type)) continue;
    const ground = behind(e);
    const ratio = contrast(over(parse(getComputedStyle(e).color), ground), ground);
    if (ratio < 4.5) wrong.push(`the contrast of ${where(e)} is ${ratio.toFixed(2)}`);
  }
  return wrong;
})();
