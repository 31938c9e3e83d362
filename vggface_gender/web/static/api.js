// What the page asks the server. Nothing here asks another host.

let token = "";

export function setToken(value) {
  token = value;
}

export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // 0: no answer came
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Failure("The server does not answer. Is it still running?", 0);
  }
  return response;
}

async function read(response) {
  try {
    return await response.json();
  } catch {
    throw new Failure(`The server answered ${response.status}, and not as expected.`, response.status);
  }
}

export async function about() {
  return read(await ask("/about"));
}

function query(settings, more = {}) {
  return new URLSearchParams({
    upsample: settings.upsample,
    detector: settings.cut ? "none" : "auto",
    ...more,
  });
}

function form(photo) {
  const made = new FormData();
  made.append("file", photo.file, photo.name);
  return made;
}

// The answer for a photo. A busy server says when to come again, and is asked again then.
export async function predict(photo, settings, onBusy) {
  for (let attempt = 0; ; attempt++) {
    const response = await ask(`/predict?${query(settings)}`, { method: "POST", body: form(photo) });
    const answer = await read(response);
    // Forms can't hold a name with quotes as it is, so the name is the one that is known here.
    if (response.ok || answer.status === "unreadable") return { ...answer, photo: photo.name };
    if (response.status !== 503 || attempt === 9) throw new Failure(answer.error, response.status);
    onBusy();
    const seconds = Number(response.headers.get("Retry-After")) || 2;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
  }
}

export async function explain(photo, settings, face, task) {
  const path = `/explain?${query(settings, { face, task })}`;
  const response = await ask(path, { method: "POST", body: form(photo) });
  const answer = await read(response);
  if (!response.ok) throw new Failure(answer.error, response.status);
  return answer;
}
