// An answer as elements. Text is only ever set as text: a photo's name can't become markup.

import { likeliest, percent, phrase, plain, tasksOf } from "/static/answers.js";

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export function counted(count) {
  return count === 1 ? "1 face" : `${count || "no"} faces`;
}

// A photo's card. `state` has photo, answer or error; `act` what its buttons do.
export function card(state, confidence, act) {
  const { photo, answer, error } = state;
  const title = element("h3", { textContent: photo.name });
  const about = element("p", { className: "count" });
  const remove = element("button", { type: "button", className: "small", textContent: "Remove" });
  remove.setAttribute("aria-label", `Remove ${photo.name}`);
  remove.addEventListener("click", () => act.remove(state));
  const head = element("div", { className: "head" }, element("div", {}, title, about), remove);
  const parts = element("div", { className: "parts" });
  const made = element("article", { className: "photo" }, head, parts);
  made.setAttribute("aria-label", photo.name);

  const fault = error ?? answer?.error;
  if (fault) {
    about.textContent = "not answered";
    const box = element("div", { className: "fault" }, element("p", { textContent: fault }));
    if (error && state.mayPass) {
      const again = element("button", { type: "button", textContent: "Try again" });
      again.setAttribute("aria-label", `Try again with ${photo.name}`);
      again.addEventListener("click", () => act.again(state));
      box.append(again);
    }
    parts.append(box);
    return made;
  }
  if (!answer) {
    about.textContent = "waiting";
    parts.append(picture(state, []));
    return made;
  }
  about.textContent = `${counted(answer.faces.length)}, ${answer.width} × ${answer.height} pixels`;
  const boxes = answer.faces.map((face, i) => boxOf(face, i, answer));
  parts.append(picture(state, boxes));
  if (!answer.faces.length) {
    parts.append(element("p", { className: "hint", textContent: "No face was found. A face that is small, turned away or covered may be missed." }));
    return made;
  }
  made.classList.toggle("many", answer.faces.length > 3);
  parts.classList.add("two");
  const faces = answer.faces.map((face, i) => faceOf(state, face, i, confidence, act));
  faces.forEach((face, i) => {
    const light = (on) => () => [face, boxes[i]].forEach((one) => one.classList.toggle("lit", on));
    for (const event of ["pointerenter", "focusin"]) face.addEventListener(event, light(true));
    for (const event of ["pointerleave", "focusout"]) face.addEventListener(event, light(false));
  });
  parts.append(element("ol", { className: "faces", role: "list" }, ...faces));
  return made;
}

function picture(state, boxes) {
  const { photo, answer } = state;
  const said = answer ? `${photo.name}: ${counted(answer.faces.length)}` : photo.name;
  const image = element("img", { src: photo.url, alt: said });
  const figure = element("div", { className: "picture" }, image, ...boxes);
  image.addEventListener("error", () => {
    // A format that the server reads and this browser does not: boxes on an empty ground.
    image.remove();
    figure.classList.add("blank");
    if (answer) figure.style.aspectRatio = `${answer.width} / ${answer.height}`;
    figure.setAttribute("role", "img");
    figure.setAttribute("aria-label", `${said}; this browser can't show the picture`);
  });
  return figure;
}

function boxOf(face, i, { width, height }) {
  const [left, top, right, bottom] = face.box;
  const box = element("div", { className: "box", "aria-hidden": "true" }, element("span", { textContent: i + 1 }));
  box.classList.toggle("top", top < 0.06 * height);
  box.style.left = `${(100 * left) / width}%`;
  box.style.top = `${(100 * top) / height}%`;
  box.style.width = `${(100 * (right - left)) / width}%`;
  box.style.height = `${(100 * (bottom - top)) / height}%`;
  return box;
}

function faceOf(state, face, i, confidence, act) {
  const tasks = tasksOf(face);
  const said = tasks.map((task) => phrase(face[task], confidence)).join(", ");
  const words = element("div", {},
    element("h4", { textContent: `Face ${i + 1}` }),
    element("p", { className: "said", textContent: said }));
  const made = element("li", { className: "face" },
    element("div", { className: "who" }, thumbnail(state, face), words));
  for (const task of tasks) made.append(taskOf(state, face, i, task, confidence, act));
  return made;
}

function thumbnail({ photo, answer }, face) {
  const canvas = element("canvas", { width: 104, height: 104, "aria-hidden": "true" });
  const image = new Image();
  image.addEventListener("load", () => {
    // Boxes are in the server's pixels, of which the browser may show another number.
    const scale = image.naturalWidth / answer.width;
    const [left, top, right, bottom] = face.box.map((x) => x * scale);
    canvas.getContext("2d").drawImage(image, left, top, right - left, bottom - top, 0, 0, 104, 104);
  });
  image.src = photo.url;
  return canvas;
}

function taskOf(state, face, i, task, confidence, act) {
  const said = face[task];
  const why = element("button", { type: "button", className: "small", textContent: "Why?" });
  why.setAttribute("aria-label", `Why? What the ${task} of face ${i + 1} depends on`);
  const place = element("div", { role: "status" });
  why.addEventListener("click", () => act.explain(state, i + 1, task, why, place));
  const made = element("div", { className: "task" },
    element("div", { className: "name" }, element("span", {}, `Perceived ${task}: `, element("b", { textContent: phrase(said, confidence) })), why));
  made.dataset.task = task;
  if (said.probabilities) made.append(bars(said));
  made.append(place);
  return made;
}

function bars(said) {
  const best = likeliest(said);
  const list = element("dl", { className: "bars" });
  for (const [name, probability] of Object.entries(said.probabilities)) {
    const fill = element("i");
    fill.style.width = `${100 * probability}%`;
    list.append(element("div", { className: name === best ? "first" : "" },
      element("dt", { textContent: plain(name) }),
      element("dd", { className: "track", "aria-hidden": "true" }, fill),
      element("dd", { textContent: percent(probability) })));
  }
  return list;
}
