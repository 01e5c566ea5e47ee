// How the proxy is asked: calls, and the stream of events, which comes back by itself.

/** The bearer token, in this variable and nowhere else. */
let token = null;

/** Why a call was not answered as asked; status 0 when nobody answered. */
class Problem extends Error {
  constructor(status, document) {
    super(document.detail ?? document.title ?? `status ${status}`);
    Object.assign(this, { status, kind: (document.type ?? "").split(":").pop(), epoch: document.epoch });
  }
}

const poolPath = (rest) => `/v1/pools/${encodeURIComponent(state.pool)}/${rest}`;

async function request(method, path, { body, signal } = {}) {
  const headers = { "x-ringway-actor": "page" };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = {
    method,
    headers,
    signal,
    body: JSON.stringify(body),
    cache: "no-store",
    credentials: "same-origin",
  };
  const response = await fetch(path, options).catch((error) => {
    if (signal?.aborted) throw error;
    throw new Problem(0, { detail: "The proxy does not answer." });
  });
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (problem.status === 401) askForToken(token === null ? "" : "This token is not known here.");
  throw problem;
}

/** Makes a call and returns the JSON that it answers. */
async function call(method, path, body) {
  return (await request(method, path, { body })).json();
}

/** The events of a stream (the HTML standard, section 9.2), each with its name and its data. */
async function* eventsOf(response, heard) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    text += value;
    const pieces = text.split("\n\n");
    text = pieces.pop();
    for (const piece of pieces) {
      const [name, data] = ["event: ", "data: "].map((field) =>
        piece
          .split("\n")
          .find((line) => line.startsWith(field))
          ?.slice(field.length),
      );
      if (name) yield [name, JSON.parse(data)];
    }
  }
}

/** Follows the pool until told to stop: what happens, and each second how it does. Returns what stops it. */
function follow(pool, tell) {
  const stop = new AbortController();
  const path = `/v1/events?status=1s&pool=${encodeURIComponent(pool)}`;
  (async () => {
    for (let failures = 0; !stop.signal.aborted; failures += 1) {
      const attempt = new AbortController();
      const give = () => attempt.abort();
      stop.signal.addEventListener("abort", give);
      let silence = setTimeout(give, SILENCE_MS);
      const heard = () => {
        clearTimeout(silence);
        silence = setTimeout(give, SILENCE_MS);
        failures = 0;
      };
      let why = "The stream of events ended.";
      try {
        const response = await request("GET", path, { signal: attempt.signal });
        for await (const [name, data] of eventsOf(response, heard)) {
          if (!stop.signal.aborted) tell(name, data);
        }
      } catch (problem) {
        if (problem.status === 401) return;
        if (problem.status === 404) return notice(`${problem.message}. Choose another pool above.`);
        why = problem instanceof Problem ? problem.message : "The connection to the proxy is lost.";
      }
      clearTimeout(silence);
      stop.signal.removeEventListener("abort", give);
      if (!stop.signal.aborted) await pause(failures, why, stop.signal);
    }
  })();
  return () => stop.abort();
}

/** Waits before the next attempt: twice as long after each, and not all pages at once. */
async function pause(failures, why, signal) {
  let left = Math.ceil(Math.min(15, 2 ** failures) * (0.75 + Math.random() / 2));
  for (; left > 0 && !signal.aborted; left -= 1) {
    connection("lost", `${why} Next attempt in ${left} s.`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** A stream that says nothing for so long is dead: the proxy sends figures each second. */
const SILENCE_MS = 10_000;
