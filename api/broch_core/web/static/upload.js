/* Resumable upload by the core protocol and the creation extension of tus 1.0 (https://tus.io/protocols/resumable-upload). */
"use strict";
(() => {
  const CHUNK = 8 * 1024 * 1024;
  const ATTEMPTS = 8;
  const PARALLEL = 2;
  const LONGEST_WAIT_MS = 30000;
  const TUS = { "Tus-Resumable": "1.0.0" };

  class Refused extends Error {} // the server said no: trying again cannot help
  class Conflict extends Error {} // our offset is not the server's: ask it
  class Paused extends Error {}

  const { size } = window.broch;
  const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

  function refusal(xhr) {
    try {
      const problem = JSON.parse(xhr.responseText);
      return problem.detail || problem.title || `The server answered ${xhr.status}.`;
    } catch {
      return `The server answered ${xhr.status}.`;
    }
  }

  /** One request; rejects with Refused, Conflict, Paused, or an Error that is worth another attempt. */
  function send(method, url, headers, body, { signal, onProgress } = {}) {
    return new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      const stop = () => xhr.abort();
      xhr.open(method, url);
      for (const [name, value] of Object.entries({ ...TUS, "X-CSRF-Token": window.broch.csrf(), ...headers })) xhr.setRequestHeader(name, value);
      if (onProgress) xhr.upload.addEventListener("progress", (event) => onProgress(event.loaded));
      xhr.addEventListener("loadend", () => {
        signal?.removeEventListener("abort", stop);
        if (signal?.aborted) reject(new Paused());
        else if (xhr.status >= 200 && xhr.status < 300) resolve(xhr);
        else if (xhr.status === 409 || xhr.status === 460) reject(new Conflict(refusal(xhr)));
        else if (xhr.status === 0) reject(new Error("The connection broke."));
        else if (xhr.status >= 500 || xhr.status === 423 || xhr.status === 429) reject(Object.assign(new Error(refusal(xhr)), { after: Number(xhr.getResponseHeader("Retry-After")) || 0 }));
        else reject(Object.assign(new Refused(refusal(xhr)), { status: xhr.status }));
      });
      if (signal?.aborted) return reject(new Paused());
      signal?.addEventListener("abort", stop);
      return xhr.send(body);
    });
  }

  class Upload {
    constructor(file, endpoint, row, changed) {
      Object.assign(this, { file, endpoint, row, changed, state: "waiting", offset: 0, url: null, control: null });
      this.memory = `broch.upload:${endpoint}:${file.name}:${file.size}:${file.lastModified}`;
      row.querySelector("[data-name]").textContent = file.name;
      row.querySelector("progress").setAttribute("aria-label", `Upload of ${file.name}`);
      row.addEventListener("click", (event) => this.act(event.target.closest("[data-act]")?.dataset.act));
      this.show("waiting", size(file.size));
    }

    show(state, note) {
      const turned = state !== this.state;
      this.state = state;
      this.row.dataset.state = state;
      this.row.querySelector("[data-note]").textContent = note;
      this.row.querySelector('[data-act="retry"]').hidden = state !== "failed";
      this.row.querySelector('[data-act="pause"]').hidden = state === "failed" || state === "done";
      this.row.querySelector("[data-pause-label]").textContent = state === "paused" ? "Resume" : "Pause";
      this.changed(this, turned);
    }

    moved(offset) {
      const bar = this.row.querySelector("progress");
      bar.value = this.file.size ? offset / this.file.size : 1;
      if (this.state === "sending") this.row.querySelector("[data-note]").textContent = `${size(offset)} of ${size(this.file.size)}`;
    }

    act(name) {
      if (name === "pause" && this.state === "paused") this.show("waiting", "Waiting");
      else if (name === "pause") this.pause("Paused");
      else if (name === "retry") this.show("waiting", "Waiting");
      else if (name === "remove") this.remove();
    }

    pause(note) {
      this.control?.abort();
      this.show("paused", `${note} at ${size(this.offset)}`);
    }

    remove() {
      this.control?.abort();
      // Termination is an extension: a server without it drops the unfinished upload in time.
      if (this.url && this.state !== "done") send("DELETE", this.url, {}, null).catch(() => undefined);
      this.remember(null);
      this.state = "removed";
      this.row.remove();
      this.changed(this, true);
    }

    remember(url) {
      this.url = url;
      try {
        if (url) sessionStorage.setItem(this.memory, url);
        else sessionStorage.removeItem(this.memory);
      } catch {
        // Without storage an upload goes on after a break, only not after a reload.
      }
    }

    async run() {
      const control = new AbortController();
      this.control = control;
      this.show("sending", "Starting");
      for (let failures = 0; ; ) {
        const before = this.offset;
        try {
          await this.locate(control.signal);
          while (this.offset < this.file.size) await this.chunk(control.signal);
          this.moved(this.file.size);
          this.forget();
          this.show("done", `Arrived, ${size(this.file.size)}`);
          return;
        } catch (error) {
          if (error instanceof Paused || control.signal.aborted) return;
          failures = this.offset > before ? 1 : failures + 1;
          if (error instanceof Refused || failures >= ATTEMPTS) {
            this.show("failed", error.message);
            return;
          }
          const wait = Math.min(Math.max(2 ** (failures - 1) * 1000, (error.after || 0) * 1000), LONGEST_WAIT_MS);
          this.row.querySelector("[data-note]").textContent = `${error.message} Next attempt in ${Math.round(wait / 1000)} s.`;
          await new Promise((resolve) => {
            const timer = setTimeout(resolve, wait);
            control.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
          });
          if (control.signal.aborted) return;
        }
      }
    }

    forget() {
      const url = this.url;
      this.remember(null);
      this.url = url;
    }

    /** Find out where the server stands, or begin. */
    async locate(signal) {
      let known = this.url;
      try {
        known ??= sessionStorage.getItem(this.memory);
      } catch {
        // No storage: begin anew.
      }
      if (known) {
        try {
          const answer = await send("HEAD", known, {}, null, { signal });
          if (Number(answer.getResponseHeader("Upload-Length") ?? this.file.size) !== this.file.size) throw new Refused("The upload on the server has another size.");
          this.accept(answer);
          this.remember(known);
          return;
        } catch (error) {
          if (![403, 404, 410].includes(error.status)) throw error;
          this.remember(null);
        }
      }
      const answer = await send("POST", this.endpoint, { "Upload-Length": String(this.file.size), "Upload-Metadata": `filename ${base64(this.file.name)}` }, null, { signal });
      const url = new URL(answer.getResponseHeader("Location") ?? "", new URL(this.endpoint, location.href));
      if (url.origin !== location.origin || !answer.getResponseHeader("Location")) throw new Refused("The server named no address of its own for the upload.");
      this.offset = 0;
      this.remember(url.href);
    }

    accept(answer) {
      const offset = Number(answer.getResponseHeader("Upload-Offset") ?? NaN);
      if (!Number.isInteger(offset) || offset < 0 || offset > this.file.size) throw new Refused("The server named an impossible offset.");
      this.offset = offset;
      this.moved(offset);
    }

    async chunk(signal) {
      const start = this.offset;
      const part = this.file.slice(start, start + CHUNK);
      const answer = await send("PATCH", this.url, { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(start) }, part, { signal, onProgress: (sent) => this.moved(start + sent) });
      this.accept(answer);
      if (this.offset <= start) throw new Error("The server took nothing.");
    }
  }

  class UploadList {
    constructor(section) {
      this.section = section;
      this.uploads = [];
      this.largest = Number(section.dataset.maxBytes);
      const drop = section.querySelector("[data-drop]");
      const input = section.querySelector('input[type="file"]');
      const take = () => (this.add(input.files), (input.value = ""));
      input.addEventListener("change", take);
      for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => (event.preventDefault(), drop.classList.add("over")));
      for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => (event.preventDefault(), drop.classList.remove("over")));
      drop.addEventListener("drop", (event) => this.add(event.dataTransfer.files));
      window.addEventListener("beforeunload", (event) => {
        if (this.uploads.some((u) => u.state === "sending")) event.preventDefault();
      });
      this.changed();
      if (input.files.length) take(); // chosen before this script was here
    }

    say(text) {
      this.section.querySelector("[data-say]").textContent = text;
    }

    add(files) {
      for (const file of files) {
        const row = this.section.querySelector("template").content.cloneNode(true).firstElementChild;
        this.section.querySelector("[data-list]").append(row);
        const upload = new Upload(file, this.section.dataset.upload, row, (u, turned) => this.changed(u, turned));
        this.uploads.push(upload);
        if (file.size > this.largest) {
          upload.show("failed", `Too large: ${size(file.size)}, at most ${size(this.largest)}.`);
          row.querySelector('[data-act="retry"]').hidden = true;
        }
      }
      this.next();
    }

    next() {
      const sending = this.uploads.filter((u) => u.state === "sending").length;
      for (const upload of this.uploads.filter((u) => u.state === "waiting").slice(0, Math.max(PARALLEL - sending, 0))) upload.run();
    }

    changed(upload, turned) {
      this.uploads = this.uploads.filter((u) => u.state !== "removed");
      const arrived = this.uploads.filter((u) => u.state === "done").length;
      const done = document.getElementById(this.section.dataset.done ?? "");
      if (done) done.disabled = arrived === 0 || arrived < this.uploads.length;
      if (!upload || !turned) return;
      if (upload.state === "done") {
        this.say(`${upload.file.name} has arrived. ${arrived} of ${this.uploads.length} files are there.`);
        this.section.dispatchEvent(new CustomEvent("broch:arrived", { bubbles: true })); // lists of files ask again
      }
      if (upload.state === "failed") this.say(`${upload.file.name} failed: ${upload.row.querySelector("[data-note]").textContent}`);
      if (upload.state === "paused") this.say(`${upload.file.name} is paused.`);
      if (upload.state !== "sending") queueMicrotask(() => this.next());
    }
  }

  document.querySelectorAll("[data-upload]").forEach((section) => new UploadList(section));
})();
