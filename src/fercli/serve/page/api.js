// The server's answers. Addresses are relative, so that the page also works below a proxy's path.

const IN_FLIGHT = 2;
const LONGEST_NAME = 1024;

let token = null;
let nFlying = 0;
const queue = [];

/** What went wrong, in the server's own words where it has some. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = "", hint = "", retryAfterS = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
    this.retryAfterS = retryAfterS;
  }
}

/** Take the token out of the address: it must stay neither in the bar nor in the history. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  token = given;
  history.replaceState(null, "", location.pathname + location.search);
}

/** Use a token from now on; it is kept in memory only. */
export function setToken(value) {
  token = value.trim();
}

/** Return what `GET api/models` says. */
export async function fetchModels() {
  return call("api/models", {});
}

/**
 * Return the data of `POST api/predict` for one picture, rows of a refused one included.
 *
 * @param {Blob} picture encoded image, sent as it is
 * @param {string} name what its rows are to call it
 * @param {{model: string, faces: string}} options
 * @param {AbortSignal} [signal]
 * @throws {ApiError} there is an error and no row
 */
export async function predict(picture, name, options, signal) {
  await enter(signal);
  try {
    return await send(picture, name, options, signal);
  } finally {
    leave();
  }
}

/**
 * Call `predict` until the server has room; it says itself how long to wait.
 *
 * @param {(seconds: number) => void} onWait told before each pause
 */
export async function predictPatiently(picture, name, options, signal, onWait) {
  for (;;) {
    try {
      return await predict(picture, name, options, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 503) throw error;
      const seconds = Math.min(error.retryAfterS ?? 1, 30);
      onWait(seconds);
      await pause(seconds, signal);
    }
  }
}

/** Wait; an abort ends it as it ends a request. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

async function send(picture, name, options, signal) {
  // Longer paths are refused; their end says more than their beginning.
  const shortName = name.slice(-LONGEST_NAME);
  const query = new URLSearchParams({ model: options.model, faces: options.faces, name: shortName });
  const type = picture.type.startsWith("image/") ? picture.type : "application/octet-stream";
  const headers = { "Content-Type": type };
  const answer = await call(`api/predict?${query}`, { method: "POST", body: picture, headers, signal });
  return answer.data;
}

/** Wait until fewer than two requests are at the server, whatever part of the page sent them. */
async function enter(signal) {
  if (nFlying >= IN_FLIGHT) await new Promise((resolve) => { queue.push(resolve); });
  else nFlying += 1;
  if (!signal?.aborted) return;
  leave();
  throw signal.reason;
}

function leave() {
  const next = queue.shift();
  if (next) next();
  else nFlying -= 1;
}

async function call(address, options) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  let answer;
  try {
    response = await fetch(address, { ...options, headers, cache: "no-store" });
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (response) throw new ApiError(`The server answered with status ${response.status} and nothing readable.`, { status: response.status });
    throw new ApiError("The server does not answer.", { hint: "Is fer serve still running?" });
  }
  if (response.ok || answer.data?.rows?.length) return answer;
  const [error] = answer.errors ?? [];
  const wait = Number.parseFloat(response.headers.get("Retry-After"));
  throw new ApiError(error?.message ?? `The server answered with status ${response.status}.`, {
    status: response.status,
    code: error?.code ?? "",
    hint: error?.hint ?? "",
    retryAfterS: Number.isFinite(wait) ? wait : null,
  });
}
