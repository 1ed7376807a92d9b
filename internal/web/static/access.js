// Signing in, and tokens: made and revoked.
import { byID, call, callJSON, Problem, showProblem } from "./dom.js";

// signIn shows why a token is not taken; without scripts the server's answer does.
export function signIn() {
  const form = byID("signin");
  if (form) comeBack();
  form?.addEventListener("submit", async (e) => {
    e.preventDefault();
    try {
      const answer = await fetch("/login", { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
      if (answer.type === "opaqueredirect") {
        location.reload();
        return;
      }
      throw new Problem(await answer.json(), answer.status);
    } catch (problem) {
      showProblem(byID("signin-problem"), problem);
    }
  });
}

// comeBack goes on for somebody who is signed in and followed a link from another site: browsers do not tell the server who that is
// until this page asks itself.
async function comeBack() {
  const before = Number(sessionStorage.getItem("came-back") || 0);
  if (Date.now() - before < 10000) return; // it does not help
  const known = await fetch("/v1/self").catch(() => null);
  if (!known?.ok) return;
  sessionStorage.setItem("came-back", Date.now());
  location.replace(location.pathname + location.search);
}

export function access() {
  const form = byID("token-form");
  if (!form) return;
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    byID("token-problem").hidden = true;
    const request = { account: byID("token-account").value, scopes: [...form.querySelectorAll("[name=scope]:checked")].map((b) => b.value) };
    if (byID("token-name").value) request.name = byID("token-name").value;
    if (byID("token-expires").value) request.expiresIn = byID("token-expires").value;
    try {
      const made = await callJSON("POST", "/v1/tokens", request);
      byID("secret").textContent = made.secret;
      byID("token-secret").hidden = false;
      byID("secret").focus();
      form.reset();
      await draw();
    } catch (problem) {
      showProblem(byID("token-problem"), problem);
    }
  });
  document.addEventListener("click", async (e) => {
    const button = e.target.closest("[data-revoke]");
    if (!button) return;
    button.disabled = true;
    try {
      await call("DELETE", `/v1/tokens/${button.dataset.revoke}`);
      await draw();
      byID("tokens").tabIndex = -1;
      byID("tokens").focus();
    } catch (problem) {
      button.disabled = false;
      showProblem(byID("token-problem"), problem);
    }
  });
}

// draw brings the list of tokens up to date.
async function draw() {
  const answer = await fetch(location.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  byID("tokens").replaceChildren(...page.getElementById("tokens").childNodes);
}
