// Files and folders that are chosen or dropped, and folders as tar archives.

// Entry is a file with its path: { path, file }.

// chosen are the entries of a file input. Of a folder, the paths are below it.
export function chosen(input) {
  return [...input.files].map((file) => {
    const path = file.webkitRelativePath || file.name;
    return { path: file.webkitRelativePath ? path.slice(path.indexOf("/") + 1) : path, file };
  });
}

// folderName is what the folder of an input is called.
export function folderName(input) {
  const first = input.files[0];
  return first && first.webkitRelativePath ? first.webkitRelativePath.split("/")[0] : "";
}

// dropped are the entries of a drop: { entries, folder }, where folder is the name when one folder was dropped.
export async function dropped(transfer) {
  const items = [...transfer.items].filter((i) => i.kind === "file").map((i) => ({ entry: i.webkitGetAsEntry?.(), file: i.getAsFile() }));
  const entries = [];
  const folder = items.length === 1 && items[0].entry?.isDirectory ? items[0].entry.name : "";
  for (const { entry, file } of items) {
    if (entry?.isDirectory) await walk(entry, folder ? "" : entry.name + "/", entries);
    else if (file) entries.push({ path: file.name, file });
  }
  return { entries, folder };
}

async function walk(folder, prefix, into) {
  const reader = folder.createReader();
  for (;;) {
    const batch = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (batch.length === 0) return;
    for (const e of batch) {
      if (e.isDirectory) await walk(e, prefix + e.name + "/", into);
      else into.push({ path: prefix + e.name, file: await new Promise((done, fail) => e.file(done, fail)) });
    }
  }
}

// watchDrops calls drop with what is dropped onto an element, and shows that it can be.
export function watchDrops(element, drop) {
  let depth = 0;
  element.addEventListener("dragenter", (e) => {
    e.preventDefault();
    depth++;
    element.classList.add("over");
  });
  element.addEventListener("dragover", (e) => e.preventDefault());
  element.addEventListener("dragleave", () => {
    if (--depth <= 0) {
      depth = 0;
      element.classList.remove("over");
    }
  });
  element.addEventListener("drop", async (e) => {
    e.preventDefault();
    depth = 0;
    element.classList.remove("over");
    drop(await dropped(e.dataTransfer));
  });
}

// keepPage has what is dropped beside the places for it do nothing, where browsers would leave the page for it.
export function keepPage() {
  if (!document.querySelector("[data-drop]")) return;
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (e) => e.preventDefault());
}

// tar makes an archive of entries. Browsers know no modes: everything may be executed, so that scripts can be.
export function tar(entries) {
  const parts = [];
  for (const { path, file } of [...entries].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    if (path.split("/").includes(".git")) continue;
    const name = new TextEncoder().encode(path);
    if (name.length > 100) {
      const record = paxRecord("path", path);
      parts.push(header(new TextEncoder().encode("PaxHeader"), record.length, "x"), record, padding(record.length));
    }
    parts.push(header(name.slice(0, 100), file.size, "0"), file, padding(file.size));
  }
  parts.push(new Uint8Array(1024));
  return new Blob(parts, { type: "application/octet-stream" });
}

// paxRecord is "<length> key=value\n", where the length counts itself.
function paxRecord(key, value) {
  const rest = new TextEncoder().encode(` ${key}=${value}\n`);
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return new TextEncoder().encode(`${length} ${key}=${value}\n`);
}

const padding = (size) => new Uint8Array((512 - (size % 512)) % 512);

function header(name, size, type) {
  const h = new Uint8Array(512);
  const text = (at, s) => h.set(new TextEncoder().encode(s), at);
  const octal = (at, width, n) => text(at, n.toString(8).padStart(width - 1, "0"));
  h.set(name, 0);
  octal(100, 8, 0o755);
  octal(108, 8, 0);
  octal(116, 8, 0);
  if (size < 8 ** 11) octal(124, 12, size);
  else {
    // Larger than eleven octal digits: base 256, as GNU tar writes it.
    h[124] = 0x80;
    for (let i = 11, n = BigInt(size); i > 0; i--, n >>= 8n) h[124 + i] = Number(n & 255n);
  }
  octal(136, 12, 0);
  text(148, "        ");
  text(156, type);
  text(257, "ustar\x0000");
  text(148, h.reduce((sum, b) => sum + b, 0).toString(8).padStart(6, "0") + "\x00 ");
  return h;
}
