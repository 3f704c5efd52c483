// @ts-check
// What pages do besides being read: following what happens, sending forms without a reload, copying, sharing, the
// theme, celebrating. Every page works without this file, except that it does not change by itself.
//
// What a page and this file have agreed on:
//
// - `<body data-live="/live/…" data-token="…">`: the stream that the page follows, and the token after which it
//   begins: the page shows everything up to it. The id of each message is the next token.
// - Message `part`: elements as HTML. One with an id that the page has takes the place of that element. One with
//   `data-into="ID"` is put first into that list, which keeps as many as its `data-limit` says. Both can be repeated
//   without harm, as an element that is there is never put in again.
// - Message `beat`: the stream is alive. `reload`: the token is of no use any more; the page fetches itself.
//   `wait`: other pages of the session have taken the place of this one; it comes back after so many seconds.
//   `end`: the session or the permission has ended; its data is the address to go to, from where signing in leads
//   back to this page.
// - `done=…` in the address is a notice that the page shows. It is taken out of the address once it was shown.
// - `<body data-words='{…}'>`: the few texts that this file says, from the catalogue of the server.
// - Forms with `data-mirror` are the same thing in several forms: when one is edited, the server writes the others.
// - `<div data-queue>` has entries that j and k go along. `data-key="a"` is pressed by that key while its entry has the
//   focus, or from anywhere if it is in none. `data-keys` is only of use with a script; `data-keys="switch"` turns keys
//   off and on.
// - Forms with method post are sent by fetch, except with `data-plain` (downloads). The answer is a page.
//
// Nothing here sets a style attribute or writes a script, which the content security policy forbids.

/**
 * @typedef {object} Words
 * @property {string} copied
 * @property {string} failed
 * @property {string} open
 * @property {string} waiting
 * @property {string} closed
 * @property {string} dismiss
 */

/** The pause before the stream is opened again after the first failure, in milliseconds. It doubles each time. */
const FIRST_PAUSE_MS = 500;
/** The longest pause. */
const LONGEST_PAUSE_MS = 30_000;
/** After so long without a message the connection counts as dead: two heartbeats of 15 s, and some patience. */
const SILENCE_MS = 40_000;
/** How long a message at the corner stays. */
const TOAST_MS = 6_000;
/** How long a celebration stays if nobody touches it. */
const CELEBRATION_MS = 9_000;
/** How long nobody types before the other form of the same thing is written anew. */
const MIRROR_MS = 400;
/** Codes of answers to forms that were not taken as a whole: too slow, too large. */
const NOT_TAKEN = [408, 413];
/** How many pieces of confetti fall. */
const CONFETTI = 90;

/** @returns {Words} */
function words() {
  return JSON.parse(document.body.dataset.words ?? "{}");
}

const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

// ---- the stream ---------------------------------------------------------------------------------

/** One stream for the tab while it is visible. */
const live = {
  /** @type {EventSource | undefined} */
  source: undefined,
  /** The token of the last message. */
  token: "",
  /** How often opening has failed in a row. */
  failures: 0,
  /** @type {number | undefined} */
  timer: undefined,

  /** Follows the stream of the page from the page's own token. */
  begin() {
    this.stop();
    this.token = document.body.dataset.token ?? "";
    this.failures = 0;
    this.open();
  },

  open() {
    this.stop();
    const path = document.body.dataset.live;
    if (!path || document.hidden) return;
    // A new EventSource knows no last id, so the address carries the token.
    const url = new URL(path, document.baseURI);
    url.searchParams.set("resume_token", this.token);
    const source = new EventSource(url);
    this.source = source;
    source.onopen = () => this.heard(source);
    // It would try again by itself after a cut, but not after an HTTP error, and always at the same pace.
    source.onerror = () => {
      if (this.source !== source) return;
      if (source.readyState === EventSource.CLOSED) void this.refused(url);
      else this.retry();
    };
    /** @type {(name: string, then: (data: string) => void) => void} */
    const on = (name, then) =>
      source.addEventListener(name, (message) => {
        // What arrives after the end of this source belongs to nobody.
        if (this.source !== source) return;
        then(message.data);
        // Nor has a stream gone well that ends by its message: the pauses go on growing.
        if (this.source !== source) return;
        // Only now: had `then` failed, the message would come again.
        if (message.lastEventId) this.token = message.lastEventId;
        this.failures = 0;
        this.heard(source);
      });
    on("beat", () => {});
    on("part", applyParts);
    on("reload", () => void refresh());
    on("wait", (seconds) => this.retry(Number(seconds) * 1_000));
    on("end", (address) => {
      this.stop();
      say("closed");
      location.assign(address ? andBack(address) : location.href);
    });
  },

  /** A sign of life. @param {EventSource} source */
  heard(source) {
    say("open");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.source === source) this.retry();
    }, SILENCE_MS);
  },

  /** Opens again after the server has refused. It may have said when, which is not told here. @param {URL} url */
  async refused(url) {
    this.stop();
    say("waiting");
    let least = 0;
    try {
      const answer = await fetch(url, { method: "HEAD" });
      least = (Number(answer.headers.get("retry-after")) || 0) * 1_000;
    } catch {
      // Nobody is there to say it.
    }
    // Something else may have opened it meanwhile, or waits to do so.
    if (!this.source && !this.timer) this.retry(least);
  },

  /**
   * Opens again after a pause, which differs from tab to tab, so that not all return at once.
   * @param {number} [least] the shortest pause
   */
  retry(least = 0) {
    this.stop();
    say("waiting");
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.failures, LONGEST_PAUSE_MS);
    this.failures += 1;
    this.timer = setTimeout(() => this.open(), least + pause * (0.5 + Math.random() / 2));
  },

  stop() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.source?.close();
    this.source = undefined;
  },
};

/** Shows whether the page follows. @param {"open" | "waiting" | "closed"} state */
function say(state) {
  for (const place of document.querySelectorAll(".live")) {
    if (!(place instanceof HTMLElement) || place.dataset.state === state) continue;
    place.dataset.state = state;
    place.textContent = words()[state];
  }
}

/** Puts elements into the page. @param {string} html */
function applyParts(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const part of [...template.content.children]) {
    const present = part.id ? document.getElementById(part.id) : null;
    const list = document.getElementById(part.getAttribute("data-into") ?? "");
    if (present) {
      become(present, part, true);
    } else if (list) {
      part.setAttribute("data-new", "");
      list.prepend(part);
      const limit = Number(list.dataset.limit) || 50;
      while (list.children.length > limit) list.lastElementChild?.remove();
      // The page said "nothing yet" beside the empty list.
      document.getElementById(`${list.id}-empty`)?.remove();
    }
  }
  enliven();
}

/**
 * Makes an element like another one and keeps what is the same, so that the focus, open details and transitions stay.
 * @param {Element} old
 * @param {Element} next
 * @param {boolean} marks whether changed numbers light up
 */
function become(old, next, marks) {
  if (old.nodeName !== next.nodeName || old.id !== next.id) {
    old.replaceWith(next);
    return;
  }
  for (const { name } of [...old.attributes]) {
    const isReaders = name === "open" || name === "data-changed" || name === "data-shown";
    if (!next.hasAttribute(name) && !isReaders) old.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  // What somebody is typing is theirs.
  if (old.matches("input, textarea, select")) return;
  const wanted = [...next.childNodes];
  const withId = [...old.children].filter((child) => child.id);
  const kept = new Map(withId.map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const child of wanted) {
    if (child instanceof Element) {
      const next = at instanceof Element && !at.id && !child.id ? at : undefined;
      const same = kept.get(child.id) ?? next;
      if (same && same.nodeName === child.nodeName) {
        if (same !== at) old.insertBefore(same, at);
        at = same.nextSibling;
        become(same, child, marks);
        continue;
      }
    } else if (at instanceof Text && child instanceof Text) {
      if (at.data !== child.data) {
        at.data = child.data;
        const marked = marks ? old.closest("[data-marked]") : null;
        if (marked) mark(marked);
      }
      at = at.nextSibling;
      continue;
    }
    old.insertBefore(child, at);
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

/** Lights up what has changed. @param {Element} element */
function mark(element) {
  element.removeAttribute("data-changed");
  // Reading the layout between the two begins the animation anew.
  element.getBoundingClientRect();
  element.setAttribute("data-changed", "");
}

// ---- pages and forms ----------------------------------------------------------------------------

/** The page that is shown. Going back to a place within it needs no other page. */
let shown = location.pathname + location.search;

/** An address without its notice, which was shown. @param {string} address */
function unnoticed(address) {
  const url = new URL(address);
  if (url.searchParams.has("done")) url.searchParams.delete("done");
  return url.href;
}

/** The address of the page for signing in, with this page as where to go on. @param {string} address */
function andBack(address) {
  const url = new URL(address, document.baseURI);
  const signIn = "/sign-in";
  if (!url.pathname.endsWith(signIn)) return url.href;
  // Paths of the server begin below its root.
  const root = url.pathname.slice(0, -signIn.length);
  const path = location.pathname.slice(root.length);
  const asked = new URLSearchParams(location.search);
  // What only said what had been done.
  for (const name of ["done", "at"]) asked.delete(name);
  const here = path + (asked.size ? `?${asked}`.replaceAll("+", "%20") : "");
  // The server takes these letters only.
  const isPlain = (/** @type {string} */ text) => /^[\w/.~?=&%-]+$/.test(text);
  const next = [here, path].find(isPlain);
  if (next && next !== "/") url.searchParams.set("next", next);
  return url.href;
}

/** Fetches the page again, as its stream cannot be continued. */
async function refresh() {
  live.stop();
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (response.redirected) location.assign(response.url);
    else if (response.ok) show(await page(response), undefined);
    else live.retry();
  } catch {
    live.retry();
  }
}

/** @param {Response} response */
async function page(response) {
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/**
 * Shows a page that was fetched in place of the present one.
 * @param {Document} next
 * @param {string | undefined} address where it is, if that is another address
 * @param {boolean} [isAnswer] whether it answers a form, so that it is at no address from which it could be fetched
 */
function show(next, address, isAnswer = false) {
  const [main, menu] = ["main", "menu"].map((id) => next.getElementById(id));
  const place = address && unnoticed(address);
  // Another layout, such as the door after signing out, or no page of ours: the browser goes there itself.
  if (!main || next.body.className !== document.body.className) {
    const isOfNobody = isAnswer && !address && !main;
    // What answers a form may be all that still has what was typed, and the id of the command.
    const isForm = isAnswer && !address && main?.querySelector("form");
    if (isOfNobody) toast(words().failed, true);
    else if (isForm) replace(next);
    else location.assign(address ?? location.href);
    return;
  }
  // Who decides about an entry of a queue goes on with the one that takes its place.
  const at = address ? focused() : -1;
  forgetEdits();
  const change = () => {
    if (place && place !== location.href) history.pushState(null, "", place);
    document.title = next.title;
    document.getElementById("main")?.replaceWith(main);
    const present = document.getElementById("menu");
    if (present && menu) become(present, menu, false);
    for (const name of ["live", "token"]) {
      const value = next.body.dataset[name];
      if (value === undefined) delete document.body.dataset[name];
      else document.body.dataset[name] = value;
    }
    for (const name of ["toasts", "celebrations"]) {
      for (const child of [...(next.getElementById(name)?.children ?? [])]) {
        const isThere = child.id && document.getElementById(child.id);
        if (!isThere) document.getElementById(name)?.append(child);
      }
    }
    shown = location.pathname + location.search;
    const fault = main.querySelector("[aria-invalid='true'], .notice.bad");
    if (fault instanceof HTMLElement) fault.focus();
    else if (address && (at < 0 || !go(at))) main.focus({ preventScroll: true });
    enliven();
    live.begin();
  };
  if (document.startViewTransition && !isCalm.matches) document.startViewTransition(change);
  else change();
}

/** Puts a page of another layout in place of the present one, as it is. @param {Document} next */
function replace(next) {
  live.stop();
  document.title = next.title;
  document.body.replaceWith(next.body);
  document.getElementById("main")?.focus({ preventScroll: true });
  enliven();
  live.begin();
}

/** Sends a form. @param {SubmitEvent} event */
async function send(event) {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.method !== "post") return;
  if ("plain" in form.dataset) return;
  event.preventDefault();
  // A second click is the same wish; the form's request id would make it the same command, too.
  if (form.getAttribute("aria-busy") === "true") return;
  const button = event.submitter;
  const fields = new FormData(form, button);
  if ("theme" in form.dataset) choose(String(fields.get("theme") ?? ""), form);
  const isQuiet = "quiet" in form.dataset;
  const isMirrored = "mirror" in form.dataset;
  if (isMirrored) forgetEdits();
  for (const busy of [form, button]) busy?.setAttribute("aria-busy", "true");
  try {
    const body = new URLSearchParams();
    for (const [name, value] of fields) if (typeof value === "string") body.append(name, value);
    const headers = { accept: "text/html" };
    const response = await fetch(form.action, { method: "POST", body, headers });
    const next = await page(response);
    const address = response.redirected ? response.url : undefined;
    // What did not arrive as a whole is still in the form of this page: it says so, and stays.
    if (NOT_TAKEN.includes(response.status)) toast(next.querySelector("main p")?.textContent ?? "", true);
    else if (!isQuiet) show(next, address, true);
  } catch {
    // The command may have been carried out. Sending the form again repeats it under the same request id.
    if (!isQuiet) toast(words().failed, true);
    // The page stays, so the other forms still have to become like this one.
    if (isMirrored) mirrorSoon(form);
  } finally {
    for (const busy of [form, button]) busy?.removeAttribute("aria-busy");
  }
}

/** How many changes of mirrored forms there were, and what waits until somebody pauses to type. */
const mirrored = { changes: 0, timer: /** @type {number | undefined} */ (undefined) };

/**
 * Writes the other forms with `data-mirror` anew, as the server makes them of this one: the same thing in another form.
 * @param {HTMLFormElement} form
 */
async function mirror(form) {
  const change = (mirrored.changes += 1);
  const body = new URLSearchParams(fieldsOf(form));
  body.set("do", "edit");
  try {
    const response = await fetch(form.action, { method: "POST", body, headers: { accept: "text/html" } });
    const next = await page(response);
    // What was typed meanwhile is on its way, too.
    if (change !== mirrored.changes) return;
    for (const other of document.querySelectorAll("form[data-mirror]")) {
      const wanted = other === form ? null : next.getElementById(other.id);
      if (!wanted) continue;
      const top = other.querySelector("textarea")?.scrollTop ?? 0;
      other.replaceWith(wanted);
      wanted.querySelector("textarea")?.scrollTo({ top });
    }
  } catch {
    // The buttons of the form say so, should it not go by itself.
  }
}

/** @param {Event} event */
function edited(event) {
  const form = event.target instanceof Element ? event.target.closest("form[data-mirror]") : null;
  if (form instanceof HTMLFormElement) mirrorSoon(form);
}

/** Writes the other forms anew once nobody types any more. @param {HTMLFormElement} form */
function mirrorSoon(form) {
  forgetEdits();
  mirrored.timer = setTimeout(() => void mirror(form), MIRROR_MS);
}

/** Whoever has sent the form waits for its answer: no edit from before may take the answer's place, faults and all. */
function forgetEdits() {
  clearTimeout(mirrored.timer);
  mirrored.changes += 1;
}

// ---- small things -------------------------------------------------------------------------------

/**
 * Changes the theme at once. The server keeps it in a cookie, so that pages come in it.
 * @param {string} theme `light`, `dark` or empty for the system's
 * @param {HTMLFormElement} form
 */
function choose(theme, form) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  for (const button of form.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
}

/**
 * Says something at the corner.
 * @param {string} text
 * @param {boolean} [isBad]
 */
function toast(text, isBad = false) {
  const element = document.createElement("div");
  element.className = isBad ? "toast bad" : "toast";
  const said = document.createElement("p");
  said.textContent = text;
  element.append(said);
  document.getElementById("toasts")?.append(element);
  enliven();
}

/** Copies a text; also where browsers forbid the clipboard, on plain HTTP. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(words().copied);
}

/** @param {MouseEvent} event */
function clicked(event) {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (!button) return;
  const { copy: text, share: url } = button.dataset;
  if (text !== undefined) void copy(text);
  else if ("print" in button.dataset) print();
  // Who closes the sheet without sharing has not failed.
  else if (url !== undefined) navigator.share({ url, title: button.title }).catch(() => {});
  else if ("dismiss" in button.dataset) button.closest(".toast")?.remove();
  else if (button.dataset.keys === "switch") keys.turn();
}

/** The entries of the queue, as `<div data-queue>` has them. @returns {HTMLElement[]} */
function entries() {
  const found = [...document.querySelectorAll("[data-queue] > *")];
  return found.filter((entry) => entry instanceof HTMLElement);
}

/** Which entry has the focus; -1 if none has. */
function focused() {
  return entries().findIndex((entry) => entry.contains(document.activeElement));
}

/** Gives the focus to an entry of the queue, or to the one next to where it would be. @param {number} at */
function go(at) {
  const all = entries();
  const entry = all[Math.max(0, Math.min(at, all.length - 1))];
  entry?.focus({ preventScroll: true });
  entry?.scrollIntoView({ block: "nearest" });
  return entry !== undefined;
}

/** Whether single keys do something: some readers' tools press them by themselves, so they can be switched off. */
const keys = {
  get areOn() {
    return localStorage.getItem("keys") !== "off";
  },
  turn() {
    localStorage.setItem("keys", this.areOn ? "off" : "on");
    enliven();
  },
};

/**
 * Goes along the queue with j and k, and presses the button with this key, as `<button data-key="a">`: one of the entry
 * that has the focus, or one outside of all. Fields get the focus instead.
 * @param {KeyboardEvent} event
 */
function pressed(event) {
  const { key, target } = event;
  const own = "input, textarea, select, dialog";
  const field = target instanceof HTMLElement ? target.closest(own) : null;
  if (key === "Escape" && field?.closest("[data-queue]")) go(focused());
  const isTyping = field && !field.matches("[type=checkbox]");
  const isOther = event.ctrlKey || event.metaKey || event.altKey || event.repeat;
  if (isTyping || isOther || !keys.areOn) return;
  const step = { j: 1, k: -1 }[key];
  if (step && go(focused() + step)) {
    event.preventDefault();
    return;
  }
  const entry = entries()[focused()];
  const wanted = [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)];
  const reachable = wanted.filter((of) => entry?.contains(of) || !of.closest("[data-queue]"));
  const found = reachable.find((of) => of.checkVisibility());
  if (!(found instanceof HTMLElement)) return;
  event.preventDefault();
  if (found.matches("input:not([type=checkbox]), textarea")) found.focus();
  else found.click();
}

/** Ticks the rules that what is typed meets, as `<li data-pattern="^.{12,}$">`. @param {Event} event */
function typed(event) {
  const input = event.target;
  if (!(input instanceof HTMLInputElement) || !input.dataset.rules) return;
  const rules = document.getElementById(input.dataset.rules);
  for (const rule of rules?.querySelectorAll("[data-pattern]") ?? []) {
    const pattern = new RegExp(rule.getAttribute("data-pattern") ?? "", "su");
    rule.setAttribute("data-met", String(pattern.test(input.value)));
  }
}

const language = document.documentElement.lang || "en";
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];

/** Says how long ago things were, for what is not older than a month. */
function tellTimes() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const moment = new Date(time.getAttribute("datetime") ?? "");
    const seconds = (moment.getTime() - Date.now()) / 1_000;
    if (Number.isNaN(seconds) || Math.abs(seconds) > 30 * 86_400) continue;
    const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
    const text = relative.format(unit === "second" ? 0 : Math.round(seconds / length), unit);
    if (time.textContent !== text) time.textContent = text;
    time.setAttribute("title", moment.toLocaleString());
  }
}

// ---- celebration --------------------------------------------------------------------------------

/** Where tabs tell each other what somebody has seen. */
const seen = new BroadcastChannel("seen");
seen.addEventListener("message", ({ data }) => {
  const dialog = document.getElementById(String(data));
  if (!(dialog instanceof HTMLDialogElement)) return;
  // Without its form it says nothing when it closes.
  dialog.querySelector("form")?.remove();
  if (dialog.open) dialog.close();
  else dialog.remove();
});

/**
 * Shows a dialog that the page or a message has brought, with confetti. When it closes, its form tells the server that
 * it was seen, and tells the other tabs. Until then the dashboard brings it, also what was reached while away.
 * @param {HTMLDialogElement} dialog
 */
function celebrate(dialog) {
  dialog.dataset.shown = "";
  dialog.showModal();
  const form = dialog.querySelector("form");
  const closing = setTimeout(() => dialog.close(), CELEBRATION_MS);
  // Who is reading it or about to press something decides when it goes.
  for (const kind of ["pointermove", "keydown"]) {
    dialog.addEventListener(kind, () => clearTimeout(closing), { once: true });
  }
  dialog.addEventListener("close", () => {
    clearTimeout(closing);
    if (form?.isConnected) {
      seen.postMessage(dialog.id);
      const body = new URLSearchParams(fieldsOf(form));
      // Should it not arrive, the next page celebrates once more.
      fetch(form.action, { method: "POST", body, keepalive: true }).catch(() => {});
    }
    dialog.remove();
  });
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation();
    dialog.close();
  });
  if (!isCalm.matches) confetti();
}

/** @param {HTMLFormElement} form @returns {[string, string][]} */
function fieldsOf(form) {
  return [...new FormData(form)].map(([name, value]) => [name, String(value)]);
}

function confetti() {
  const layer = document.createElement("div");
  layer.className = "confetti";
  layer.popover = "manual";
  layer.ariaHidden = "true";
  const falls = Array.from({ length: CONFETTI }, () => {
    const piece = document.createElement("i");
    layer.append(piece);
    piece.style.insetInlineStart = `${Math.random() * 100}%`;
    const drift = (Math.random() - 0.5) * 30;
    const to = `translate(${drift}vw, 110vh) rotate(${Math.random() * 1440}deg)`;
    const [duration, delay] = [2_200 + Math.random() * 2_200, Math.random() * 700];
    const timing = { duration, delay, easing: "cubic-bezier(.2,.5,.6,1)" };
    return piece.animate([{ transform: "none" }, { transform: to }], timing).finished;
  });
  document.body.append(layer);
  layer.showPopover();
  void Promise.allSettled(falls).then(() => layer.remove());
}

// ---- beginning ----------------------------------------------------------------------------------

/** Does what new elements need. May be called at any time. */
function enliven() {
  tellTimes();
  for (const button of document.querySelectorAll("[data-share]")) {
    if (button instanceof HTMLElement) button.hidden = !navigator.share;
  }
  for (const button of document.querySelectorAll("[data-print]")) {
    if (button instanceof HTMLElement) button.hidden = false;
  }
  for (const button of document.querySelectorAll("[data-keys]")) {
    if (!(button instanceof HTMLElement)) continue;
    button.hidden = false;
    if (button.dataset.keys === "switch") button.ariaPressed = String(keys.areOn);
  }
  for (const said of document.querySelectorAll(".toast:not([data-shown])")) {
    said.setAttribute("data-shown", "");
    const dismiss = document.createElement("button");
    dismiss.type = "button";
    dismiss.className = "button quiet square";
    dismiss.dataset.dismiss = "";
    dismiss.ariaLabel = words().dismiss;
    dismiss.textContent = "×";
    said.append(dismiss);
    const leave = () => {
      if (said.matches(":hover, :focus-within")) setTimeout(leave, TOAST_MS);
      else said.remove();
    };
    // What went wrong stays until it was read.
    if (!said.classList.contains("bad")) setTimeout(leave, TOAST_MS);
  }
  const dialog = document.querySelector("dialog[data-celebrate]:not([data-shown])");
  // One after the other: the next one when this one has closed. Nobody sees a tab that is hidden.
  const isFree = !document.hidden && !document.querySelector("dialog[open]");
  if (dialog instanceof HTMLDialogElement && isFree) {
    dialog.addEventListener("close", () => enliven(), { once: true });
    celebrate(dialog);
  }
}

/** Tells the server the reader's time zone, so that the next pages say times in it. */
function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone) return;
  const value = encodeURIComponent(zone);
  document.cookie = `zone=${value}; Path=/; Max-Age=31536000; SameSite=Lax`;
}

document.addEventListener("submit", (event) => void send(event));
document.addEventListener("click", clicked);
document.addEventListener("keydown", pressed);
document.addEventListener("input", typed);
document.addEventListener("input", edited);
document.addEventListener("animationend", ({ target, animationName }) => {
  if (animationName !== "changed" || !(target instanceof Element)) return;
  target.removeAttribute("data-changed");
});
// Browsers allow six connections to a server without TLS: a tab that nobody sees holds none, and catches up later.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    live.stop();
  } else {
    live.open();
    enliven();
  }
});
addEventListener("pagehide", () => live.stop());
addEventListener("pageshow", (event) => {
  if (event.persisted) live.open();
});
addEventListener("online", () => live.open());
addEventListener("popstate", () => {
  if (shown !== location.pathname + location.search) void refresh();
});
setInterval(tellTimes, 30_000);

tellZone();
history.replaceState(history.state, "", unnoticed(location.href));
shown = location.pathname + location.search;
enliven();
live.begin();

// A module, so that its names are its own.
export {};
