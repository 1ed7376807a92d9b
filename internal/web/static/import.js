// Importing a package: uploaded once, looked at first, kept when the author says so.
import { announce, byID, callJSON, findingList, make, Problem, send, sentence, size } from "./dom.js";
import { chosen, folderName, tar, watchDrops } from "./files.js";

export function importForm() {
  const form = byID("import");
  if (!form) return;
  let request = null; // what was looked at, for keeping it
  let upload = null; // the one under way

  const options = () => {
    const o = {};
    for (const name of ["contract", "name", "version", "document"]) {
      const value = byID(`import-${name}`).value.trim();
      if (value) o[name] = value;
    }
    return o;
  };

  const look = async (source) => {
    byID("import-actions").hidden = true;
    say("Looking at the package…");
    request = { ...source, ...options() };
    try {
      const seen = await callJSON("POST", "/v1/tasks", { ...request, dryRun: true });
      good(seen);
    } catch (problem) {
      bad(problem);
    }
  };

  const take = async (entries, folder) => {
    if (entries.length === 0) return;
    const whole = folder || entries.length > 1;
    const body = whole ? tar(entries) : entries[0].file;
    const name = whole ? `${folder || "package"}.tar` : entries[0].path;
    byID("import-result").hidden = true;
    upload?.abort(); // the latest counts
    const mine = (upload = new AbortController());
    byID("import-cancel").hidden = false;
    try {
      const uploaded = await send("/v1/uploads", body, {
        type: "application/octet-stream", signal: mine.signal, progress: (part) => say(`Uploading ${name}: ${size(part)} of ${size(body.size)}`),
      });
      if (upload === mine) await look({ upload: uploaded.digest, fileName: name });
    } catch (problem) {
      if (upload !== mine) return;
      if (problem.cancelled) say("The upload was cancelled; nothing was kept.");
      else bad(problem);
    } finally {
      if (upload === mine) byID("import-cancel").hidden = true;
    }
  };

  byID("import-cancel").addEventListener("click", () => upload?.abort());
  watchDrops(byID("drop"), ({ entries, folder }) => take(entries, folder));
  byID("file").addEventListener("change", (e) => take(chosen(e.target), ""));
  byID("folder").addEventListener("change", (e) => take(chosen(e.target), folderName(e.target)));
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    const source = byID("source").value.trim();
    if (source.startsWith("image:")) look({ image: source.slice(6) });
    else if (source.startsWith("git+")) look({ git: source });
    else if (source === "" && request?.upload) look({ upload: request.upload, fileName: request.fileName });
    else if (source === "") bad(new Problem({ detail: "Nothing is chosen yet.", hint: "Drop a package, choose a file or a folder, or name an image or a git repository." }));
    else bad(new Problem({ detail: `“${source}” is neither an image nor a git repository.`, hint: "Write image:NAME or git+https://…" }));
  });
  byID("keep").addEventListener("click", async () => {
    byID("keep").disabled = true;
    say("Importing…");
    try {
      const kept = await callJSON("POST", "/v1/tasks", request);
      location.href = `/tasks/${kept.id}`;
    } catch (problem) {
      bad(problem);
    }
    byID("keep").disabled = false;
  });
}

const say = (text) => {
  byID("import-progress").textContent = text;
};

function result(heading, ...body) {
  say("");
  byID("import-heading").textContent = heading;
  byID("import-body").replaceChildren(...body);
  byID("import-result").hidden = false;
  byID("import-heading").focus();
  announce(heading);
}

// good shows what the package is, with what was noticed.
function good(seen) {
  const facts = make("dl", { class: "facts-list" });
  const fact = (name, value) => value && facts.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  fact("Name", seen.name);
  fact("Version", seen.version);
  fact("Contract", seen.contract);
  const names = (direction) => (seen.parameters || []).filter((p) => p.direction === direction).map((p) => p.name).join(", ");
  fact("Inputs", names("input"));
  fact("Outputs", names("output"));
  const body = [];
  if (seen.description) body.push(make("p", {}, seen.description));
  body.push(facts);
  if (seen.evidence) body.push(make("p", { class: "dim" }, sentence(seen.evidence)));
  const findings = seen.findings || [];
  if (findings.length) body.push(findingList(findings));
  result(findings.length ? `It can be imported, with ${findings.length} ${findings.length === 1 ? "remark" : "remarks"}` : "It can be imported", ...body);
  byID("import-actions").hidden = false;
}

// bad shows why the package cannot be used.
function bad(problem) {
  const errors = problem.findings?.filter((f) => f.severity === "error").length || 0;
  const body = [make("p", {}, sentence(problem.message))];
  if (problem.hint) body.push(make("p", {}, make("strong", {}, "What to do: "), sentence(problem.hint)));
  if (problem.findings?.length) body.push(findingList(problem.findings));
  byID("import-actions").hidden = true;
  result(errors ? `It cannot be imported: ${errors} ${errors === 1 ? "error" : "errors"}` : "It cannot be imported", ...body);
}
