"use strict";
// The page at the root: log in, and one's files. Everything goes through the REST interface; names reach the page as text only.

const $ = (id) => document.getElementById(id);
const state = { csrf: "", user: null, challenge: null, timer: 0, path: [], sort: "name", cursor: null, load: 0 };

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// --- talking to the server

class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function refusal(response) {
  let error = {};
  try { error = (await response.json()).error || {}; } catch { /* not JSON: the status must do */ }
  return new Refused(response.status, error.code || "", error.message || `the server answered ${response.status}`);
}

async function call(method, path, body) {
  const headers = { "X-Requested-With": "page" };
  if (state.csrf) headers["X-CSRF-Token"] = state.csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, {
      method, headers, credentials: "same-origin", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "offline", "the server cannot be reached");
  }
  if (!response.ok) throw await refusal(response);
  return response.status === 204 || response.status === 201 ? null : response.json();
}

const address = (path) => path.map(encodeURIComponent).join("/");
const child = (name) => [...state.path, name];

// --- what is shown

function show(view) {
  for (const id of ["loading", "login", "challenge", "files"]) $(id).hidden = id !== view;
  $("who").hidden = view !== "files";
}

function say(text) { $("status").textContent = text; }

function complain(id, error) {
  $(id).textContent = error ? sentence(error.message) : "";
  $(id).hidden = !error;
}

function sentence(text) { return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : "."); }

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes, unit = -1;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

// --- login

function toLogin(error) {
  clearInterval(state.timer);
  Object.assign(state, { csrf: "", user: null, challenge: null });
  $("password").value = "";
  $("code").value = "";
  complain("login-error", error);
  show("login");
  ($("username").value ? $("password") : $("username")).focus();
}

async function granted(answer) {
  clearInterval(state.timer);
  $("password").value = "";
  $("code").value = "";
  state.csrf = answer.csrf;
  state.user = answer.user;
  await enter();
}

async function enter() {
  $("user-name").textContent = state.user.name;
  show("files");
  await open(fromHash());
  room();
}

function loginText(error) {
  if (error.status === 401) return new Refused(401, "denied", "user name, password or code is not right, or the account may not log in here");
  if (error.status === 429) return new Refused(429, "busy", "too many logins are under way, try again in a moment");
  return error;
}

async function busy(form, work) {
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  form.setAttribute("aria-busy", "true");
  try { await work(); } finally {
    buttons.forEach((button) => { button.disabled = false; });
    form.removeAttribute("aria-busy");
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const username = $("username").value, password = $("password").value;
  if (!username || !password) {
    complain("login-error", new Error("user name and password are needed"));
    ($("username").value ? $("password") : $("username")).focus();
    return;
  }
  complain("login-error", null);
  busy($("login"), async () => {
    try {
      const answer = await call("POST", "login", { username, password });
      if (answer.state === "granted") await granted(answer); else ask(answer.challenge);
    } catch (error) {
      toLogin(loginText(error));
    }
  });
});

const CHANNELS = { totp: "authenticator app", sms: "text message", email: "email" };
const channelName = (channel) => CHANNELS[channel] || channel;
const RESEND_AFTER = 30;

function ask(challenge) {
  state.challenge = challenge;
  $("prompt").textContent = challenge.prompt || `Enter the code from your ${channelName(challenge.channel)}.`;
  $("code-row").hidden = challenge.expects !== "code";
  $("answer").textContent = challenge.expects === "code" ? "Continue" : "I have confirmed it";
  $("code").inputMode = challenge.channel === "totp" ? "numeric" : "text";
  $("code").value = "";
  complain("challenge-error", null);

  const choices = $("channels");
  choices.replaceChildren();
  let again = null;
  if (challenge.channel !== "totp" && challenge.expects === "code") {
    again = element("button", "Send a new code", { type: "button", class: "quiet" });
    again.addEventListener("click", () => through(challenge.channel));
    choices.append(again);
  }
  for (const channel of challenge.alternatives || []) {
    const button = element("button", `Use ${channelName(channel)}`, { type: "button", class: "quiet" });
    button.addEventListener("click", () => through(channel));
    choices.append(button);
  }
  show("challenge");
  (challenge.expects === "code" ? $("code") : $("answer")).focus();
  count(challenge, again);
}

function count(challenge, again) {
  clearInterval(state.timer);
  const begun = Date.now();
  const tick = () => {
    const gone = Math.floor((Date.now() - begun) / 1000);
    const left = Math.max(0, challenge.expires_in_s - gone);
    $("countdown").textContent = `Valid for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (again) {
      const wait = RESEND_AFTER - gone;
      again.disabled = wait > 0;
      again.textContent = wait > 0 ? `Send a new code (in ${wait} s)` : "Send a new code";
    }
    if (left === 0) toLogin(new Error("the time for the code is over, log in again"));
  };
  tick();
  state.timer = setInterval(tick, 1000);
}

async function through(channel) {
  await busy($("challenge"), async () => {
    try {
      const answer = await call("POST", `login/${encodeURIComponent(state.challenge.id)}/channel`, { channel });
      if (answer.state === "granted") await granted(answer); else ask(answer.challenge);
    } catch (error) {
      toLogin(loginText(error));
    }
  });
}

$("challenge").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = $("code").value.replace(/\s+/g, "");
  if (state.challenge.expects === "code" && !code) { $("code").focus(); return; }
  complain("challenge-error", null);
  busy($("challenge"), async () => {
    try {
      const answer = await call("POST", `login/${encodeURIComponent(state.challenge.id)}`, { code });
      if (answer.state === "granted") await granted(answer); else ask(answer.challenge);
    } catch (error) {
      $("code").value = "";
      complain("challenge-error", error.status === 401
        ? new Error("the code was not accepted; after three wrong ones the login starts over") : loginText(error));
    }
  }).then(() => { if (!$("challenge").hidden) $("code").focus(); });
});

$("start-over").addEventListener("click", () => toLogin(null));

$("logout").addEventListener("click", async () => {
  try { await call("DELETE", "session"); } catch { /* it is over either way */ }
  toLogin(null);
});

// --- files

function fromHash() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    return [];
  }
}

function failed(error) {
  if (error.status === 401) toLogin(new Error("the session has ended, log in again"));
  else complain("files-error", error);
}

async function open(path) {
  state.path = path;
  state.cursor = null;
  complain("files-error", null);
  crumbs();
  await list(false);
}

function crumbs() {
  const row = element("ol");
  ["Files", ...state.path].forEach((name, depth) => {
    const item = element("li");
    const link = element("a", name, { href: `#/${address(state.path.slice(0, depth))}` });
    if (depth === state.path.length) link.setAttribute("aria-current", "page");
    item.append(link);
    row.append(item);
  });
  $("crumbs").replaceChildren(row);
  document.title = `${state.path.at(-1) || "Files"} · Lockgate`;
}

async function list(further) {
  const mine = ++state.load;
  const query = new URLSearchParams({ limit: "500", sort: state.sort });
  if (further && state.cursor) query.set("cursor", state.cursor);
  try {
    const answer = await call("GET", `list/${address(state.path)}?${query}`);
    if (mine !== state.load) return;
    state.cursor = answer.next_cursor;
    // The cursor keeps the server's order; within a page folders come first.
    const entries = [...answer.entries].sort((a, b) => (b.kind === "dir") - (a.kind === "dir"));
    const rows = entries.map(row);
    if (further) $("rows").append(...rows); else $("rows").replaceChildren(...rows);
    $("empty").hidden = $("rows").childElementCount > 0;
    $("more").hidden = !state.cursor;
    say(`${$("rows").childElementCount} entries`);
  } catch (error) {
    if (mine !== state.load) return;
    if (!further) $("rows").replaceChildren();
    $("more").hidden = true;
    $("empty").hidden = true;
    failed(error);
  }
}

function row(entry) {
  const made = element("tr");
  const name = element("td", undefined, { class: "name" });
  const label = element("span", undefined, { class: "label" });
  label.append(element("span", entry.kind === "dir" ? "▸" : entry.kind === "link" ? "↗" : "·", { class: "kind", "aria-hidden": "true" }));
  const link = entry.kind === "dir"
    ? element("a", `${entry.name}/`, { href: `#/${address(child(entry.name))}` })
    : element("a", entry.name, { href: `/api/v1/files/${address(child(entry.name))}`, download: "" });
  label.append(link);
  name.append(label);
  const changed = entry.modified ? new Date(entry.modified) : null;
  const acts = element("td", undefined, { class: "acts" });
  acts.append(act("Rename", entry, rename), " ", act("Delete", entry, remove));
  made.append(
    name,
    element("td", entry.kind === "file" ? size(entry.size) : "", { class: "num" }),
    element("td", changed ? changed.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "", { class: "when" }),
    acts,
  );
  return made;
}

function act(word, entry, work) {
  const button = element("button", word, { type: "button", class: "quiet act", "aria-label": `${word} ${entry.name}` });
  button.addEventListener("click", () => work(entry));
  return button;
}

function question({ title, text = "", label = "", value = "", yes }) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-label").textContent = label;
  $("ask-label").hidden = $("ask-value").hidden = !label;
  $("ask-value").value = value;
  $("ask-yes").textContent = yes;
  const dialog = $("ask");
  dialog.returnValue = "";
  dialog.showModal();
  if (label) {
    $("ask-value").focus();
    const dot = value.lastIndexOf(".");
    $("ask-value").setSelectionRange(0, dot > 0 ? dot : value.length);
  }
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? $("ask-value").value.trim() || !label : null), { once: true });
  });
}
// Enter in the field means yes, whichever button comes first.
$("ask-value").addEventListener("keydown", (event) => {
  if (event.key === "Enter") { event.preventDefault(); $("ask").close("yes"); }
});

async function change(work, done) {
  complain("files-error", null);
  try { await work(); say(done); } catch (error) { failed(error); return; }
  await list(false);
  room();
}

async function rename(entry) {
  const name = await question({ title: `Rename ${entry.name}`, label: "New name", value: entry.name, yes: "Rename" });
  if (!name || name === true || name === entry.name) return;
  if (name.includes("/")) { complain("files-error", new Error("a name has no slash")); return; }
  await change(() => call("POST", "move", { from: `/${child(entry.name).join("/")}`, to: `/${child(name).join("/")}` }), `renamed to ${name}`);
}

async function remove(entry) {
  const folder = entry.kind === "dir";
  const sure = await question({
    title: `Delete ${entry.name}?`,
    text: folder ? "The folder and everything in it will be gone." : "The file will be gone.",
    yes: "Delete",
  });
  if (!sure) return;
  await change(() => call("DELETE", `files/${address(child(entry.name))}${folder ? "?recursive=true" : ""}`), `deleted ${entry.name}`);
}

$("new-folder").addEventListener("click", async () => {
  const name = await question({ title: "New folder", label: "Name", yes: "Create" });
  if (!name || name === true) return;
  if (name.includes("/")) { complain("files-error", new Error("a name has no slash")); return; }
  await change(() => call("POST", `mkdir/${address(child(name))}`), `created ${name}`);
});

async function room() {
  try {
    const me = await call("GET", "me");
    $("space").textContent = me.space ? `${size(me.space.free)} free` : "";
  } catch { /* a nicety */ }
}

for (const button of document.querySelectorAll(".sort")) {
  button.addEventListener("click", () => {
    const by = button.dataset.sort;
    state.sort = state.sort === by ? `-${by}` : by;
    for (const head of document.querySelectorAll("th[aria-sort]")) head.removeAttribute("aria-sort");
    button.closest("th").setAttribute("aria-sort", state.sort.startsWith("-") ? "descending" : "ascending");
    state.cursor = null;
    list(false);
  });
}

$("more").addEventListener("click", () => list(true));
window.addEventListener("hashchange", () => { if (state.user) open(fromHash()); });

// --- uploads, one after the other

const queue = [];
let uploading = false;

function enqueue(files) {
  for (const file of files) {
    const item = element("li");
    const label = element("span", `${file.name} (${size(file.size)})`);
    const stop = element("button", "Cancel", { type: "button", class: "quiet act", "aria-label": `Cancel ${file.name}` });
    const bar = element("progress", undefined, { max: "100", value: "0", "aria-label": `Upload of ${file.name}` });
    item.append(label, stop, bar);
    $("uploads").append(item);
    const job = { file, item, label, stop, bar, path: child(file.name), request: null, gone: false };
    stop.addEventListener("click", () => {
      job.gone = true;
      if (job.request) job.request.abort();
      item.remove();
    });
    queue.push(job);
  }
  if (!uploading) drain();
}

async function drain() {
  uploading = true;
  for (let job = queue.shift(); job; job = queue.shift()) {
    if (job.gone) continue;
    try {
      await send(job, false);
      job.item.remove();
      say(`uploaded ${job.file.name}`);
    } catch (error) {
      if (job.gone) continue;
      if (error.status === 401) { failed(error); break; }
      job.bar.remove();
      job.label.textContent = `${job.file.name}: ${sentence(error.message)}`;
      job.stop.textContent = "Dismiss";
    }
    await list(false);
  }
  uploading = false;
  room();
}

async function send(job, replace) {
  try {
    await put(job, replace);
  } catch (error) {
    if (error.status !== 412 || replace || job.gone) throw error;
    const sure = await question({ title: `Replace ${job.file.name}?`, text: "A file of this name is there already.", yes: "Replace" });
    if (!sure) throw new Refused(0, "kept", "the file that is there was kept");
    await send(job, true);
  }
}

function put(job, replace) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    job.request = request;
    request.open("PUT", `/api/v1/files/${address(job.path)}`);
    request.setRequestHeader("X-Requested-With", "page");
    request.setRequestHeader("X-CSRF-Token", state.csrf);
    if (!replace) request.setRequestHeader("If-None-Match", "*");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) job.bar.value = (event.loaded / event.total) * 100; });
    request.addEventListener("load", () => {
      if (request.status < 300) { resolve(); return; }
      const error = (request.response || {}).error || {};
      reject(new Refused(request.status, error.code || "", error.message || `the server answered ${request.status}`));
    });
    request.addEventListener("error", () => reject(new Refused(0, "cut", "the upload was interrupted")));
    request.addEventListener("abort", () => reject(new Refused(0, "cancelled", "cancelled")));
    request.send(job.file);
  });
}

$("choose").addEventListener("click", () => $("picker").click());
$("picker").addEventListener("change", () => { enqueue($("picker").files); $("picker").value = ""; });

const drop = $("drop");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  // Folders come as entries without bytes; they are left to WebDAV.
  const files = [...event.dataTransfer.items]
    .filter((item) => item.kind === "file" && !(item.webkitGetAsEntry && item.webkitGetAsEntry()?.isDirectory))
    .map((item) => item.getAsFile());
  enqueue(files.filter(Boolean));
});
window.addEventListener("beforeunload", (event) => { if (uploading) event.preventDefault(); });

// --- begin

(async () => {
  try {
    const me = await call("GET", "me");
    if (!me.csrf) throw new Refused(401, "denied", "no session of this page");
    state.csrf = me.csrf;
    state.user = { name: me.name, admin: me.admin };
    await enter();
  } catch {
    toLogin(null);
  }
})();
