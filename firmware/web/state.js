// The device's state, kept up to date while pages watch it: by events, or by asking where there are none.

import { useEffect } from "./lib/hooks.js";
import { signal } from "./lib/signals.js";
import { get } from "./api.js";
import { follow, streaming } from "./events.js";
import { level, look, told } from "./session.js";

const PERIOD_MS = 2000;
const HIDDEN_MS = 20000;
const LATE_MS = 6000;
const ALIVE_MS = 30000; // following a stream does not keep a session alive

/** State by key, as last told. */
export const state = signal({});

/** The last error of asking for it, null when the last answer came. */
export const stateError = signal(null);

const watched = new Map(); // key -> how many watch it
let timer = null;
let asking = false;
let askedAt = 0;

/** Have keys of the state kept up to date while a component is there. */
export function useState(...keys) {
  useEffect(() => {
    for (const key of keys) watched.set(key, (watched.get(key) ?? 0) + 1);
    const leave = follow(keys, take);
    refresh();
    return () => {
      for (const key of keys) watched.set(key, watched.get(key) - 1);
      leave();
    };
  }, []);
}

function take(event, data) {
  if (event === "session") return look().catch(() => {});
  if (event !== "state") return;
  state.value = Object.fromEntries(Object.entries({ ...state.value, ...data }).map(([key, value]) => [key, key in data ? merged(state.value[key], value) : value]));
  if (data.access) told(state.value.access);
}

/** A value with what has changed in it; null where an object was stands for one that is gone. */
function merged(before, changes) {
  if (!isObject(before) || !isObject(changes)) return changes;
  const after = { ...before };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null && isObject(before[name])) delete after[name];
    else after[name] = merged(before[name], value);
  }
  return after;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Ask for the state now. */
export async function refresh() {
  clearTimeout(timer);
  if (!asking && level.value) {
    asking = true;
    await ask();
    asking = false;
  }
  plan();
}

/** Ask again when that is due. */
function plan() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (streaming.value && Date.now() - askedAt < ALIVE_MS) plan();
    else refresh();
  }, document.hidden ? HIDDEN_MS : PERIOD_MS);
}

async function ask() {
  const keys = [...watched].filter(([, count]) => count > 0).map(([key]) => key);
  askedAt = Date.now();
  try {
    const news = await get(`state/get/?${[...new Set([...keys, "access"])].join("&")}`, { timeoutMs: LATE_MS });
    state.value = streaming.value ? { ...news, ...state.value } : { ...state.value, ...news }; // the stream tells changes of what it has told
    told(state.value.access);
    stateError.value = null;
  } catch (error) {
    if (error.code === "UNAUTHORIZED") return look().catch(() => {});
    stateError.value = error;
  }
}

document.addEventListener("visibilitychange", () => !document.hidden && refresh());
