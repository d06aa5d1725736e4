/* Keyboard: `?` lists, `g x` goes to [data-goto="x"], j/k walk [data-key-item], any other key presses its [data-key]. */
"use strict";
(() => {
  const STORE = "broch.keys";
  const CHORD_MS = 1500;
  const CONTROLS = new Set(["radio", "checkbox", "button", "submit", "reset"]);
  let chordUntil = 0;

  const typing = (element) =>
    element.isContentEditable ||
    ["TEXTAREA", "SELECT"].includes(element.tagName) ||
    (element.tagName === "INPUT" && !CONTROLS.has(element.type));

  // Single-letter shortcuts can be switched off (WCAG 2.1.4).
  const enabled = () => {
    try {
      return localStorage.getItem(STORE) !== "off";
    } catch {
      return true;
    }
  };

  const items = () => [...document.querySelectorAll("[data-key-list] > [data-key-item]")];
  const current = () => document.querySelector("[data-key-item][data-current]");

  function select(item) {
    for (const other of items()) other.toggleAttribute("data-current", other === item);
  }

  function walk(step) {
    const all = items();
    if (!all.length) return false;
    const at = all.indexOf(current());
    const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    select(next);
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
    return true;
  }

  function press(key) {
    const wanted = `[data-key="${CSS.escape(key)}"]`;
    const outside = [...document.querySelectorAll(wanted)].filter((e) => !e.closest("[data-key-item]"));
    const target = [...(current()?.querySelectorAll(wanted) ?? []), ...outside].find((e) => !e.disabled && e.getClientRects().length);
    if (!target) return false;
    target.focus();
    target.click();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat && event.key !== "j" && event.key !== "k") return;
    if (!enabled() || typing(event.target) || document.querySelector("dialog[open]")) return;
    const key = event.key;
    let done = false;
    if (performance.now() < chordUntil) {
      chordUntil = 0;
      const link = document.querySelector(`a[data-goto="${CSS.escape(key)}"]`);
      link?.click();
      done = Boolean(link);
    } else if (key === "?") {
      const list = document.getElementById("shortcuts");
      list?.showModal();
      done = Boolean(list);
    } else if (key === "g") {
      chordUntil = performance.now() + CHORD_MS;
      done = true;
    } else if (key === "j" || key === "k") {
      done = walk(key === "j" ? 1 : -1);
    } else if (key.length === 1 && key !== " ") {
      done = press(key);
    }
    if (done) event.preventDefault();
  });

  // Working in an item with the mouse or Tab makes it the one that keys act on.
  document.addEventListener("focusin", (event) => {
    const item = event.target.closest("[data-key-item]");
    if (item) select(item);
  });

  const box = document.querySelector("[data-keys-enabled]");
  if (box) {
    box.checked = enabled();
    box.addEventListener("change", () => {
      try {
        localStorage.setItem(STORE, box.checked ? "on" : "off");
      } catch {
        window.broch.toast("The browser keeps no settings for this site.", "warn");
      }
    });
  }
})();
