/* View buttons under review: fetch a ticket just before, then post it into the viewer's frame. Without this, the server
   puts the ticket into the page. */
"use strict";
(() => {
  async function show(place, form) {
    const data = new FormData(form);
    const answer = await fetch(place.dataset.view, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": data.get("csrf_token") },
      body: JSON.stringify({ sha256: data.get("sha256"), turn: Number(data.get("turn")) }),
    });
    const body = await answer.json();
    if (!answer.ok) {
      window.broch.toast([body.detail, body.remedy].filter(Boolean).join(" "), "bad");
      return;
    }
    const post = document.createElement("form");
    post.method = "post";
    post.action = body.target;
    post.target = "viewer";
    post.hidden = true;
    for (const [name, value] of [["ticket", body.ticket], ["page", data.get("page") ?? "1"]]) {
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = name;
      field.value = value;
      post.append(field);
    }
    place.append(post);
    post.requestSubmit();
    post.remove();
  }

  document.addEventListener("submit", (event) => {
    const place = event.target.closest("[data-view]");
    if (!place || event.target.target) return;
    event.preventDefault();
    const form = event.target;
    delete form.dataset.sent;
    show(place, form).catch(() => window.broch.toast("Broch did not answer. Try again.", "bad"));
  });
})();
