// Lab's page says when the workspace will end, saves before that, and lets the person keep it.
// A prebuilt extension written by hand: the container that JupyterLab loads (module federation: init and get), with
// one plugin that needs no module of Lab's, only what an application hands to every plugin.
(() => {
  "use strict";

  const DEADLINES = [86400, 3600, 900, 300]; // seconds before the deadline at which it is said
  const DAY = 86400;
  const TOO_LATE = 43200; // a day's notice is none to who opened a workspace for some hours
  const PERSON = ["keydown", "pointerdown", "wheel"];
  const LAST_SAVE = 20; // seconds before the end, at most

  /**
   * What the server tells (`GET broch/notices`), with its clock turned into this browser's.
   * @typedef {{idleStop: number|null, deadline: number|null, idle: number, warn: number, every: number}} Notice
   */

  /** @param {Record<string, any>} told @param {number} now milliseconds @returns {Notice} */
  const read = (told, now) => {
    const shift = now - Date.parse(told.now);
    const here = (/** @type {string|null} */ at) => (at ? Date.parse(at) + shift : null);
    return {
      idleStop: here(told.idle_stop_at),
      deadline: here(told.deadline_at),
      idle: told.idle_seconds,
      warn: told.warn_seconds,
      every: told.every_seconds,
    };
  };

  /** @param {number} seconds */
  const span = (seconds) => {
    const left = Math.max(Math.round(seconds), 0);
    if (left < 120) return `${left} seconds`;
    return left < 7200 ? `${Math.round(left / 60)} minutes` : `${Math.round(left / 3600)} hours`;
  };

  /** @param {number} at */
  const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", timeZoneName: "short" });

  /**
   * What is to be said now: by a key that stays the same while it is the same thing.
   * @param {Notice} notice @param {number} now milliseconds
   * @returns {{key: string, text: string, left: number, keep: boolean}[]}
   */
  const warnings = (notice, now) => {
    const said = [];
    if (notice.idleStop !== null && notice.warn > 0) {
      const left = (notice.idleStop - now) / 1000;
      if (left <= notice.warn) {
        const text = `Nothing has happened here for a while. This workspace stops in ${span(left)}, at ${clock(notice.idleStop)}. Your work was saved.`;
        said.push({ key: "idle", text, left, keep: true });
      }
    }
    if (notice.deadline !== null) {
      const left = (notice.deadline - now) / 1000;
      const due = DEADLINES.filter((seconds) => left <= seconds && (seconds < DAY || left > TOO_LATE)).pop();
      if (due !== undefined) {
        const text = `The time for this workspace is over in ${span(left)}, at ${clock(notice.deadline)}. Your work was saved. You can open it again afterwards, if the project still runs.`;
        said.push({ key: `deadline-${due}`, text, left, keep: false });
      }
    }
    return said;
  };

  const config = () => JSON.parse(document.getElementById("jupyter-config-data")?.textContent || "{}");

  /** @param {string} path @param {string} method @returns {Promise<Record<string, any>>} */
  const ask = async (path, method) => {
    const token = /\b_xsrf=([^;]*)/.exec(document.cookie);
    const answer = await fetch(`${config().baseUrl}broch/${path}`, {
      method,
      cache: "no-store",
      headers: token ? { "X-XSRFToken": token[1] } : {},
    });
    if (!answer.ok) throw new Error(`broch/${path} answers ${answer.status}`);
    return answer.json();
  };

  /** Keeps the notifications of one page. */
  class Notices {
    /** @param {any} app JupyterLab's application */
    constructor(app) {
      this.commands = app.commands;
      this.shell = app.shell;
      /** @type {Notice|null} */
      this.notice = null;
      /** @type {Map<string, {id: string, text: string, closed: boolean}>} */
      this.shown = new Map();
      this.saved = new Set();
      this.toldAt = 0;
      this.commands.addCommand("broch:keep", { label: "Keep this workspace running", execute: () => this.active(true) });
      PERSON.forEach((kind) => document.addEventListener(kind, () => this.active(false), { capture: true, passive: true }));
    }

    async poll() {
      let pause = 15;
      try {
        this.take(await ask("notices", "GET"));
        pause = this.notice?.every ?? pause;
      } catch (error) {
        console.debug(error); // the server is away: the page around this one says so
      }
      setTimeout(() => this.poll(), pause * 1000);
    }

    /** @param {Record<string, any>} told */
    take(told) {
      this.notice = read(told, Date.now());
      this.tick();
    }

    /** The person is there: said at once when they say so, else now and then. @param {boolean} atOnce */
    async active(atOnce) {
      const now = Date.now();
      const pause = Math.min(20, (this.notice?.idle || 60) / 6) * 1000;
      if (!atOnce && now - this.toldAt < pause) return;
      this.toldAt = now;
      try {
        this.take(await ask("active", "POST"));
      } catch (error) {
        this.toldAt = 0;
        console.debug(error);
      }
    }

    tick() {
      if (this.notice === null) return;
      const due = warnings(this.notice, Date.now());
      for (const key of [...this.shown.keys()]) if (!due.some((one) => one.key === key)) this.drop(key);
      for (const one of due) {
        this.show(one);
        this.save(`${one.key} first`);
        if (one.left <= Math.min(LAST_SAVE, (this.notice.warn || LAST_SAVE * 4) / 4)) this.save(`${one.key} last`);
      }
      for (const key of [...this.saved]) if (!due.some((one) => key.startsWith(`${one.key} `))) this.saved.delete(key);
    }

    /**
     * Save what was changed, by the documents' own contexts. Lab's command saves unchanged ones too, which for large
     * notebooks would be work that keeps the workspace, and asks about those that cannot be written.
     * @param {string} once
     */
    save(once) {
      if (this.saved.has(once)) return;
      this.saved.add(once);
      const done = new Set();
      for (const { context } of this.shell.widgets("main")) {
        if (!context?.model?.dirty || !context.contentsModel?.writable || done.has(context.path)) continue;
        done.add(context.path);
        context.save().catch(console.debug);
      }
    }

    /** @param {{key: string, text: string, keep: boolean}} one */
    async show({ key, text, keep }) {
      const known = this.shown.get(key);
      if (known === undefined) {
        const entry = { id: "", text, closed: false };
        this.shown.set(key, entry);
        const actions = keep ? [{ label: "Keep it", commandId: "broch:keep", caption: "Keep this workspace running" }] : [];
        entry.id = await this.commands.execute("apputils:notify", {
          message: text,
          type: "warning",
          options: { autoClose: false, actions },
        });
        if (entry.closed) this.dismiss(entry.id);
      } else if (known.id && known.text !== text) {
        known.text = text;
        const actions = keep ? [{ label: "Keep it", commandId: "broch:keep", caption: "Keep this workspace running" }] : [];
        this.commands.execute("apputils:update-notification", {
          id: known.id,
          message: text,
          type: "warning",
          autoClose: false,
          actions,
        });
      }
    }

    /** @param {string} key */
    drop(key) {
      const known = this.shown.get(key);
      this.shown.delete(key);
      if (known === undefined) return;
      known.closed = true;
      if (known.id) this.dismiss(known.id);
    }

    /** @param {string} id */
    dismiss(id) {
      this.commands.execute("apputils:dismiss-notification", { id });
    }
  }

  const plugin = {
    id: "broch-notices:plugin",
    description: "Says when this workspace ends, and saves before.",
    autoStart: true,
    /** @param {any} app */
    activate: (app) => {
      const notices = new Notices(app);
      app.restored.then(() => {
        notices.poll();
        setInterval(() => notices.tick(), 1000);
      });
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["broch-notices"] = {
    init: () => {},
    /** @param {string} name */
    get: async (name) => {
      if (name !== "./extension") throw new Error(`there is no ${name} here`);
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
