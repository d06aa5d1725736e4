/* Behaviour that every page shares. All wiring is by data attributes: the CSP allows no inline code. */
"use strict";
(() => {
  const csrf = () => document.querySelector('meta[name="csrf-token"]').content;

  /** Show a short message; kind is ok, info, warn or bad. */
  function toast(text, kind) {
    const box = document.querySelector("[data-toasts]");
    if (!box || [...box.children].some((line) => line.textContent === text)) return;
    const line = document.createElement("div");
    line.className = `callout tone-${kind}`;
    const body = document.createElement("div");
    body.className = "body";
    body.textContent = text;
    line.append(body);
    box.append(line);
    setTimeout(() => line.remove(), 8000);
  }

  /** A number of bytes in binary units, as broch_core/sizes.py writes it. */
  function size(count) {
    if (count < 1024) return `${count} B`;
    const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let at = 0;
    let amount = count / 1024;
    for (; Number(amount.toFixed(1)) >= 1024 && at + 1 < units.length; at += 1) amount /= 1024;
    return `${amount.toFixed(1)} ${units[at]}`;
  }
  // On a small screen the navigation scrolls sideways: show where one is.
  document.querySelector(".rail a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  window.broch = Object.freeze({ csrf, toast, size });

  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-CSRF-Token"] = csrf();
  });
  document.addEventListener("htmx:responseError", (event) => {
    // The session ended: the whole page asks the server, which shows the sign-in.
    if (event.detail.xhr.status === 401) window.location.reload();
    else toast(`The server refused this (${event.detail.xhr.status}). Reload the page to see how things stand.`, "bad");
  });
  document.addEventListener("htmx:sendError", () => toast("The server cannot be reached.", "bad"));

  document.addEventListener("click", async (event) => {
    const opener = event.target.closest("[data-dialog-open]");
    if (opener) document.getElementById(opener.dataset.dialogOpen)?.showModal();

    const closer = event.target.closest("[data-dialog-close]");
    if (closer) closer.closest("dialog").close();

    const copier = event.target.closest("[data-copy]");
    if (copier) {
      try {
        await navigator.clipboard.writeText(copier.dataset.copy);
        toast("Copied.", "ok");
      } catch {
        toast("The browser did not allow copying. Select the text instead.", "warn");
      }
    }
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details[data-menu][open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  document.addEventListener("input", (event) => {
    const area = event.target;
    const counter = area.dataset?.counter && document.getElementById(area.dataset.counter);
    if (counter) counter.textContent = `${area.maxLength - area.value.length} of ${area.maxLength} characters left`;
  });

  /** Say above a viewer frame which file it is about to show. */
  function show(form) {
    const frame = document.getElementsByName(form.target)[0];
    frame?.toggleAttribute("data-open", true);
    frame?.closest(".viewer")?.scrollIntoView({ block: "nearest" });
    const name = frame?.closest(".viewer")?.querySelector("[data-viewer-name]");
    const file = form.closest("[data-key-item]")?.querySelector(".name");
    if (name && file) name.textContent = file.textContent;
  }

  // A second press of a button must not send a form twice; forms into a frame may be sent again.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.target) show(form);
    if (form.target || form.method === "get") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  document.querySelector("[data-focus]")?.focus();
})();
