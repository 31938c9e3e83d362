// An occlusion map: the crop, and over it how a prediction changes where it is covered.

import { element } from "/static/view.js";

const SIDE = 264;

export async function occlusionMap(answer) {
  const canvas = element("canvas", { width: SIDE, height: SIDE, role: "img" });
  const context = canvas.getContext("2d");
  context.filter = "grayscale(1)"; // on skin, orange would hardly be seen
  context.drawImage(await decoded(answer.crop), 0, 0, SIDE, SIDE);
  context.filter = "none";
  context.drawImage(heat(answer), 0, 0, SIDE, SIDE);
  const said = inWords(answer);
  canvas.setAttribute("aria-label", said);
  const legend = element("p", { className: "legend" },
    element("span", { className: "warm" }), " falls where covered, ",
    element("span", { className: "cold" }), " rises");
  return element("figure", { className: "map" }, canvas,
    element("figcaption", {}, element("p", { textContent: said }), legend));
}

async function decoded(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

// A small picture of one pixel a place, which the browser smooths when it is drawn larger.
function heat({ grid, drops }) {
  const small = element("canvas", { width: grid, height: grid });
  const context = small.getContext("2d");
  const most = Math.max(1e-9, ...drops.flat().map(Math.abs));
  const pixels = context.createImageData(grid, grid);
  drops.flat().forEach((drop, i) => {
    const colour = drop > 0 ? [232, 121, 43] : [63, 127, 208];
    pixels.data.set([...colour, Math.round((190 * Math.abs(drop)) / most)], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return small;
}

function inWords({ grid, drops, task, label, probability }) {
  const flat = drops.flat();
  const most = Math.max(...flat);
  const at = flat.indexOf(most);
  const third = (x) => Math.min(2, Math.floor((3 * (x + 0.5)) / grid));
  const row = ["top", "middle", "bottom"][third(Math.floor(at / grid))];
  const column = ["left", "centre", "right"][third(at % grid)];
  const place = row === "middle" && column === "centre" ? "centre" : `${row} ${column}`;
  if (task === "age") return `The age falls most, by ${most.toFixed(1)} years, where the ${place} is covered.`;
  const points = (100 * most).toFixed(1);
  return `The probability of ${label} (${Math.min(99, Math.round(100 * probability))}%) falls most, by ${points} points, where the ${place} is covered.`;
}
