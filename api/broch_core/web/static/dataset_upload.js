/* Files into an open dataset version: one PUT each, one after the other, the whole and each with a progress bar. */
"use strict";
(() => {
  const { size } = window.broch;

  function refusal(xhr) {
    try {
      return JSON.parse(xhr.responseText).detail || `The server answered ${xhr.status}.`;
    } catch {
      return xhr.status ? `The server answered ${xhr.status}.` : "The connection broke.";
    }
  }

  function put(url, file, moved) {
    return new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      xhr.open("PUT", url);
      xhr.setRequestHeader("Content-Type", "application/octet-stream");
      xhr.setRequestHeader("X-CSRF-Token", window.broch.csrf());
      xhr.upload.addEventListener("progress", (event) => moved(event.loaded));
      xhr.addEventListener("loadend", () => (xhr.status >= 200 && xhr.status < 300 ? resolve() : reject(new Error(refusal(xhr)))));
      xhr.send(file);
    });
  }

  class Uploads {
    constructor(section) {
      this.section = section;
      this.waiting = [];
      this.busy = false;
      Object.assign(this, { bytes: 0, sent: 0, arrived: 0, failed: 0 });
      const drop = section.querySelector("[data-drop]");
      const inputs = [...section.querySelectorAll('input[type="file"]')];
      const take = (input) => (this.add(input.files), (input.value = ""));
      for (const input of inputs) input.addEventListener("change", () => take(input));
      for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => (event.preventDefault(), drop.classList.add("over")));
      for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => (event.preventDefault(), drop.classList.remove("over")));
      drop.addEventListener("drop", (event) => this.add(event.dataTransfer.files));
      window.addEventListener("beforeunload", (event) => this.busy && event.preventDefault());
      for (const input of inputs) if (input.files.length) take(input); // chosen before this script was here
    }

    add(files) {
      for (const file of files) {
        const row = this.section.querySelector("template").content.cloneNode(true).firstElementChild;
        // A folder's own name is not part of the paths inside the version.
        const path = (file.webkitRelativePath ? file.webkitRelativePath.split("/").slice(1).join("/") : file.name).normalize("NFC");
        row.querySelector("[data-name]").textContent = path;
        row.querySelector("progress").setAttribute("aria-label", `Upload of ${path}`);
        this.section.querySelector("[data-list]").append(row);
        this.waiting.push({ file, path, row });
        this.bytes += file.size;
        this.show(row, "waiting", size(file.size));
      }
      if (!this.busy) this.run();
    }

    show(row, state, note) {
      row.dataset.state = state;
      row.querySelector("[data-note]").textContent = note;
    }

    total(now) {
      const gauge = this.section.querySelector("[data-total]");
      gauge.hidden = false;
      gauge.querySelector("[data-total-label]").textContent = "Uploading";
      gauge.querySelector("progress").value = this.bytes ? (this.sent + now) / this.bytes : 1;
      gauge.querySelector("[data-total-note]").textContent = `${this.arrived} files there, ${this.waiting.length} to come, ${size(this.sent + now)} of ${size(this.bytes)}`;
    }

    async run() {
      this.busy = true;
      while (this.waiting.length) {
        const { file, path, row } = this.waiting.shift();
        const bar = row.querySelector("progress");
        try {
          if (file.size > Number(this.section.dataset.maxBytes)) throw new Error(`Too large: ${size(file.size)}.`);
          this.show(row, "sending", "Sending");
          await put(this.section.dataset.datasetUpload + path.split("/").map(encodeURIComponent).join("/"), file, (sent) => {
            bar.value = file.size ? sent / file.size : 1;
            this.show(row, "sending", `${size(sent)} of ${size(file.size)}`);
            this.total(sent);
          });
          bar.value = 1;
          this.arrived += 1;
          this.show(row, "done", `Arrived, ${size(file.size)}`);
        } catch (error) {
          this.failed += 1;
          bar.hidden = true;
          this.show(row, "failed", error.message);
        }
        this.sent += file.size;
        this.total(0);
      }
      this.busy = false;
      this.section.querySelector("[data-total-label]").textContent = this.failed ? "Not all arrived" : "All arrived";
      this.section.querySelector("[data-say]").textContent = `${this.arrived} files arrived, ${this.failed} failed.`;
      // The list below comes from the server; what failed stays to be read.
      if (!this.failed) window.location.reload();
    }
  }

  document.querySelectorAll("[data-dataset-upload]").forEach((section) => new Uploads(section));
})();
