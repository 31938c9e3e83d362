// What is said of an answer: words, rows of a table, CSV.

export function percent(probability) {
  return `${Math.min(Math.round(100 * probability), 99)}%`; // never a certainty
}

// An answer in which labels below a confidence are null, as the server's `min_confidence` has it.
export function withConfidence(answer, confidence) {
  const faces = answer.faces.map((face) => {
    const changed = { ...face };
    for (const [task, said] of Object.entries(face)) {
      if (said && said.probabilities) {
        changed[task] = { ...said, label: said.probability >= confidence ? likeliest(said) : null };
      }
    }
    return changed;
  });
  return { ...answer, faces };
}

export function likeliest(said) {
  const names = Object.keys(said.probabilities);
  return names.reduce((best, name) =>
    said.probabilities[name] > said.probabilities[best] ? name : best);
}

export function plain(label) {
  return label.replaceAll("_", " ");
}

export function tasksOf(face) {
  return Object.keys(face).filter((key) => face[key]?.probabilities || face[key]?.years !== undefined);
}

export function phrase(said, confidence) {
  if (said.years !== undefined) return `${Math.round(said.years)} years`;
  if (said.probability < confidence) return "uncertain";
  return `${plain(likeliest(said))} ${percent(said.probability)}`;
}

// Rows as the library's `PhotoAnswer.to_rows` has them: one a face, or one that says why there is none.
export function rows(answers, confidence) {
  const all = [];
  for (const answer of answers) {
    const { photo, status, error = "", width, height } = answer;
    const start = { photo, status, error, width, height };
    if (!answer.faces.length) all.push({ ...start, face: "" });
    answer.faces.forEach((face, i) => {
      const [left, top, right, bottom] = face.box;
      const row = { ...start, face: i + 1, left, top, right, bottom, score: face.score };
      for (const task of tasksOf(face)) {
        const said = face[task];
        if (said.years !== undefined) {
          row[task] = said.years;
          continue;
        }
        row[task] = said.probability >= confidence ? likeliest(said) : "uncertain";
        for (const [name, value] of Object.entries(said.probabilities)) row[`${task}_${name}`] = value;
      }
      all.push(row);
    });
  }
  return all;
}

export function csv(table) {
  const names = [...new Set(table.flatMap((row) => Object.keys(row)))];
  const lines = [names, ...table.map((row) => names.map((name) => row[name] ?? ""))];
  return lines.map((line) => line.map(cell).join(",") + "\r\n").join("");
}

function cell(value) {
  let text = String(value);
  // A spreadsheet would take a photo's name that begins like this for a formula.
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
