// The page: photos come in by four ways, are answered one after the other, and are shown.

import * as api from "/static/api.js";
import { csv, phrase, rows, tasksOf, withConfidence } from "/static/answers.js";
import { offerCamera } from "/static/camera.js";
import { occlusionMap } from "/static/map.js";
import { card, counted, element } from "/static/view.js";

const part = (id) => document.getElementById(id);
const states = []; // a photo each, in order: { photo, settings, answer, error, mayPass, element }
let limits = null;
let working = false;

function confidence() {
  return Number(part("confidence").value) / 100;
}

function say(message, busy = false) {
  part("status").textContent = message;
  part("status").classList.toggle("busy", busy);
}

function add(files) {
  const settings = { upsample: part("upsample").value, cut: part("cut").checked };
  for (const file of files) {
    const name = file.name || "pasted photo";
    const state = { photo: { file, name, url: URL.createObjectURL(file) }, settings };
    if (limits && file.size > limits.max_bytes - 1000) {
      state.error = `Larger than the ${Math.floor(limits.max_bytes / 2 ** 20)} MiB that this server takes. Make it smaller.`;
    }
    states.push(state);
    show(state);
  }
  if (files.length) work();
}

async function work() {
  if (working) return;
  working = true;
  let done = 0;
  for (;;) {
    const waiting = states.filter((state) => !state.answer && !state.error);
    if (!waiting.length) break;
    const state = waiting[0];
    say(`Looking for faces in ${state.photo.name}${waiting.length > 1 ? ` (${waiting.length - 1} more to do)` : ""} …`, true);
    try {
      state.answer = await api.predict(state.photo, state.settings, () => say("The server is busy. Waiting for it …", true));
    } catch (fault) {
      state.error = fault.message;
      state.mayPass = fault.status < 400 || fault.status === 401 || fault.status === 408 || fault.status >= 500;
      if (fault.status === 401) part("token-form").hidden = false;
    }
    done += 1;
    if (states.includes(state)) show(state);
    table();
  }
  working = false;
  const failed = states.filter((state) => state.error || state.answer?.error).length;
  const faces = states.reduce((sum, state) => sum + (state.answer?.faces.length ?? 0), 0);
  const photos = states.length === 1 ? "1 photo" : `${states.length} photos`;
  say(states.length ? `${photos}, ${counted(faces)}${failed ? `, ${failed} not answered` : ""}.` : "");
}

function show(state) {
  const made = card(state, confidence(), { remove, again, explain });
  if (state.element) state.element.replaceWith(made);
  else part("photos").append(made);
  state.element = made;
  part("all").hidden = false;
}

function remove(state) {
  states.splice(states.indexOf(state), 1);
  state.element.remove();
  URL.revokeObjectURL(state.photo.url);
  part("all").hidden = !states.length;
  table();
  say(`${state.photo.name} was removed.`);
  part("choose").focus();
}

function again(state) {
  state.error = undefined;
  show(state);
  work();
}

async function explain(state, face, task, button, place) {
  button.disabled = true;
  place.textContent = "Covering parts of the face …";
  try {
    place.replaceChildren(await occlusionMap(await api.explain(state.photo, state.settings, face, task)));
  } catch (fault) {
    place.replaceChildren(element("p", { className: "fault", textContent: fault.message }));
  }
  button.disabled = false;
}

function answered() {
  return states.map((state) => state.answer).filter(Boolean);
}

function table() {
  const tasks = [...new Set(answered().flatMap((answer) => answer.faces.flatMap(tasksOf)))];
  const line = (kind, cells) => element("tr", {}, ...cells.map((text) => element(kind, { textContent: text })));
  const head = line("th", ["Photo", "Face", ...tasks.map((task) => `Perceived ${task}`)]);
  head.querySelectorAll("th").forEach((cell) => (cell.scope = "col"));
  const lines = answered().flatMap((answer) => answer.faces.length
    ? answer.faces.map((face, i) => line("td", [answer.photo, i + 1, ...tasks.map((task) => (face[task] ? phrase(face[task], confidence()) : ""))]))
    : [line("td", [answer.photo, answer.status, ...tasks.map(() => "")])]);
  part("table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...lines));
}

async function copy() {
  const all = answered().map((answer) => withConfidence(answer, confidence()));
  const text = JSON.stringify(all.length === 1 ? all[0] : all, null, 2);
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS browsers lend no clipboard; the older way still works.
    const area = element("textarea", { value: text, className: "skip" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    part("copy").focus();
  }
  say("Copied as JSON.");
}

function download() {
  const text = csv(rows(answered(), confidence()));
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: "faces.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
  say("The table is saved as faces.csv.");
}

function listen() {
  part("choose").addEventListener("click", () => part("files").click());
  part("files").addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    part("add").classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) part("add").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    part("add").classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) event.preventDefault();
    add(files);
  });
  part("confidence").addEventListener("input", () => {
    part("confidence-value").textContent = `${part("confidence").value}%`;
    states.filter((state) => state.answer).forEach(show);
    table();
  });
  part("copy").addEventListener("click", copy);
  part("csv").addEventListener("click", download);
  part("clear").addEventListener("click", () => {
    [...states].forEach(remove);
    say("All photos were removed.");
  });
  part("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.setToken(part("token").value.trim());
    part("token-form").hidden = true;
    part("choose").focus();
    states.filter((state) => state.error).forEach(again);
  });
  offerCamera((file) => add([file]));
}

async function start() {
  listen();
  try {
    limits = await api.about();
  } catch (fault) {
    say(fault.message);
    return;
  }
  const named = Object.keys(limits.tasks);
  const last = named.pop();
  part("tasks").textContent = named.length ? `${named.join(", ")} and ${last}` : last;
  part("model").textContent = `${limits.model}, version ${limits.version}`;
  part("token-form").hidden = !limits.needs_token;
  document.querySelectorAll('a[href="/model-card"]').forEach((link) => {
    if (!limits.has_card) link.removeAttribute("href");
  });
}

start();
