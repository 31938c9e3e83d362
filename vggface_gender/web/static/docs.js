// The server's description of itself, to read. It loads nothing but openapi.json.

import { element } from "/static/view.js";

function rows(name, head, lines) {
  const line = (kind, cells) => element("tr", {}, ...cells.map((text) => element(kind, { textContent: text })));
  const first = line("th", head);
  first.querySelectorAll("th").forEach((cell) => (cell.scope = "col"));
  const table = element("table", {}, element("thead", {}, first), element("tbody", {}, ...lines.map((cells) => line("td", cells))));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": name }, table);
}

// A schema in a few words: a type, its limits, its default.
function inWords(schema) {
  const any = schema.anyOf ?? [schema];
  const named = any.map((one) => {
    if (one.$ref) return one.$ref.split("/").pop();
    if (one.enum) return one.enum.join(" or ");
    if (one.type === "array") return `list of ${one.items ? inWords(one.items) : "anything"}`;
    if (one.additionalProperties?.type) return `object of ${one.additionalProperties.type}s`;
    return one.type ?? "anything";
  });
  const limits = [schema.minimum, schema.maximum].some((x) => x !== undefined)
    ? ` from ${schema.minimum ?? "−∞"} to ${schema.maximum ?? "∞"}` : "";
  const usual = schema.default !== undefined && schema.default !== null ? `; default ${schema.default}` : "";
  return named.join(" or ") + limits + usual;
}

function operation(path, verb, about) {
  const made = element("section", { className: "panel operation" },
    element("h3", {}, element("span", { className: "verb", textContent: verb.toUpperCase() }), element("code", { textContent: path })),
    element("p", { textContent: `${about.summary ?? ""}. ${about.description ?? ""}` }));
  if (about.parameters?.length) {
    made.append(rows(`Options of ${verb} ${path}`, ["Option", "Form", "Meaning"], about.parameters.map((one) => [one.name, inWords(one.schema), one.description ?? ""])));
  }
  const bodies = Object.keys(about.requestBody?.content ?? {});
  if (bodies.length) made.append(element("p", { textContent: `Body: ${bodies.join(", ")}` }));
  const answers = Object.entries(about.responses ?? {}).map(([status, answer]) => {
    const schema = Object.values(answer.content ?? {})[0]?.schema;
    return [status, schema ? inWords(schema) : "", answer.description];
  });
  made.append(rows(`Statuses of ${verb} ${path}`, ["Status", "Form", "Meaning"], answers));
  return made;
}

async function start() {
  for (const id of ["origin", "origin-too"]) document.getElementById(id).textContent = location.origin;
  const described = await (await fetch("/openapi.json")).json();
  const parts = Object.entries(described.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, about]) => operation(path, verb, about)));
  parts.unshift(element("h2", { textContent: "Addresses" }));
  parts.push(element("h2", { textContent: "Forms" }));
  for (const [name, schema] of Object.entries(described.components.schemas)) {
    if (!schema.properties || name.includes("Validation")) continue;
    parts.push(element("section", { className: "panel operation" },
      element("h3", { textContent: name }),
      element("p", { textContent: schema.description ?? "" }),
      rows(`Fields of ${name}`, ["Field", "Form", "Meaning"], Object.entries(schema.properties).map(([key, one]) => [key, inWords(one), one.description ?? ""]))));
  }
  document.getElementById("operations").replaceChildren(...parts);
}

start();
