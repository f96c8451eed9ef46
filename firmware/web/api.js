// The device's API: calls, the token, errors.

import { signal } from "./lib/signals.js";

const TOKEN = "token";

/** The token of the login, null without one; it lives as long as the browser's tab. */
export const token = signal(sessionStorage.getItem(TOKEN));

/** Whether the device has answered lately. */
export const online = signal(true);

const listeners = { ended: () => {} };

/** Have a function called when the device no longer knows the token. */
export const onEnded = (listener) => (listeners.ended = listener);

export function keepToken(value) {
  token.value = value;
  if (value) sessionStorage.setItem(TOKEN, value);
  else sessionStorage.removeItem(TOKEN);
}

/** What a call has come to where it did not succeed: the API's code and words, or OFFLINE where nothing came. */
export class ApiError extends Error {
  constructor(code, detail = "", status = 0, retryAfter = null) {
    super(detail || code);
    this.code = code;
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** What the device says, [a field's path or "", words] for each thing that it refuses. */
  problems() {
    return this.detail.split(/; (?=\S+: )/).map((problem) => problem.match(/^(?:(\S+): )?(.*)$/s).slice(1));
  }
}

/** What went wrong, in words that people can read as they stand. */
export class Said extends Error {}

let leaving = new AbortController();

/** Give up what is asked at the moment: whoever asked has left. */
export function abandon() {
  leaving.abort();
  leaving = new AbortController();
}

/** The headers of every call. */
export const authorized = () => (token.value ? { Authorization: `Bearer ${token.value}` } : {});

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body = {}, options) => call("POST", path, body, options);

/** The answer's JSON; ApiError. */
export async function call(method, path, body, { signal: abort, timeoutMs, keepalive } = {}) {
  const sent = token.value;
  const late = new AbortController();
  if (timeoutMs) setTimeout(() => late.abort(new DOMException("", "TimeoutError")), timeoutMs);
  const response = await fetched(path, {
    method,
    headers: { ...authorized(), ...(method === "POST" ? { "Content-Type": "application/json" } : {}) },
    body: method === "POST" ? JSON.stringify(body) : undefined,
    signal: AbortSignal.any([abort === undefined ? leaving.signal : abort, late.signal].filter(Boolean)),
    keepalive,
    cache: "no-store",
  });
  const text = await response.text().catch((error) => {
    throw lost(error);
  });
  if (response.ok) return parsed(text);
  const error = failure(response, text);
  if (error.code === "UNAUTHORIZED" && sent && token.value === sent) listeners.ended();
  throw error;
}

/** A response whose body is not read yet; ApiError OFFLINE where none came. */
export async function fetched(path, options) {
  try {
    const response = await fetch("/api/" + path, options);
    online.value = true;
    return response;
  } catch (error) {
    throw lost(error);
  }
}

function lost(error) {
  if (error.name === "AbortError") return error;
  online.value = false;
  return new ApiError("OFFLINE", error.message);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ApiError("BAD_ANSWER", error.message);
  }
}

/** The error that a response tells of. */
export function failure(response, text) {
  let said = {};
  try {
    said = JSON.parse(text);
  } catch {
    said = {};
  }
  const wait = Number(response.headers.get("Retry-After"));
  return new ApiError(said.error ?? "BAD_ANSWER", said.message ?? "", response.status, wait || null);
}
