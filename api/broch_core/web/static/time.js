/* Times: the server writes UTC; here they become local, relative or a countdown. The title keeps both. */
"use strict";
(() => {
  // The pages are English, and a day is written as the server writes it: 7 Nov 2026 can be read in one way only.
  const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
  const relative = new Intl.RelativeTimeFormat("en-GB", { numeric: "auto" });
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function ago(seconds) {
    const [unit, size] = UNITS.find(([, s]) => Math.abs(seconds) >= s) ?? UNITS[3];
    return relative.format(Math.trunc(seconds / size), unit);
  }

  function left(seconds) {
    if (seconds <= 0) return "over";
    const two = (n) => String(n).padStart(2, "0");
    const days = Math.floor(seconds / 86400);
    const hours = Math.floor((seconds % 86400) / 3600);
    if (days > 1) return `${days} d ${hours} h`;
    return `${days * 24 + hours}:${two(Math.floor((seconds % 3600) / 60))}:${two(Math.floor(seconds % 60))}`;
  }

  function show(element) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) return;
    const style = element.dataset.time;
    const seconds = (at.getTime() - Date.now()) / 1000;
    element.title = `${full.format(at)} (${element.dateTime})`;
    const text =
      style === "date" ? day.format(at) : style === "relative" ? ago(seconds) : style === "countdown" ? left(seconds) : full.format(at);
    if (element.textContent !== text) element.textContent = text;
    if (style === "countdown") element.classList.toggle("ending", seconds < 600);
  }

  const showAll = (root) => root.querySelectorAll("time[data-time]").forEach(show);
  showAll(document);
  document.addEventListener("htmx:afterSettle", (event) => showAll(event.target));
  setInterval(() => document.querySelectorAll('time[data-time="countdown"]').forEach(show), 1000);
  setInterval(() => document.querySelectorAll('time[data-time="relative"]').forEach(show), 30000);
})();
