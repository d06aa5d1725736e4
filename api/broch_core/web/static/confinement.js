/* Finds out, before somebody signs in, whether this browser enforces Connection-Allowlist. The frame's page is allowed no
   connection; that ours can make the same one shows that the server is there. Without an answer the field stays empty. */
"use strict";
{
  const field = document.querySelector("input[name=confined]");
  const WAIT_MS = 2000;

  /** Resolve to `yes` or `no` as the frame says, or to nothing. */
  const asked = () => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.src = "/sign-in/probe";
    addEventListener("message", (event) => {
      if (event.source === frame.contentWindow && event.origin === location.origin) resolve(String(event.data));
    });
    setTimeout(() => resolve(""), WAIT_MS);
    document.body.append(frame);
  });

  const known = fetch("/healthz", { cache: "no-store" }).then(asked, () => "").then((said) => { field.value = said || "unknown"; });
  field.form.addEventListener("submit", (event) => {
    if (field.value) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    known.then(() => field.form.requestSubmit(event.submitter));
  }, { capture: true });
}
