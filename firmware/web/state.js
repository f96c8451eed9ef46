// The device's state, kept up to date while pages watch it.

import { useEffect } from "./lib/hooks.js";
import { signal } from "./lib/signals.js";
import { get } from "./api.js";
import { level, look, told } from "./session.js";

const PERIOD_MS = 2000;
const HIDDEN_MS = 20000;

/** State by key, as last told. */
export const state = signal({});

/** The last error of asking for it, null when the last answer came. */
export const stateError = signal(null);

const watched = new Map(); // key -> how many watch it
let timer = null;
let asking = false;

/** Have keys of the state kept up to date while a component is there. */
export function useState(...keys) {
  useEffect(() => {
    for (const key of keys) watched.set(key, (watched.get(key) ?? 0) + 1);
    refresh();
    return () => {
      for (const key of keys) watched.set(key, watched.get(key) - 1);
    };
  }, []);
}

/** Ask for the state now. */
export async function refresh() {
  clearTimeout(timer);
  if (!asking && level.value) {
    asking = true;
    await ask();
    asking = false;
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, document.hidden ? HIDDEN_MS : PERIOD_MS);
}

async function ask() {
  const keys = [...watched].filter(([, count]) => count > 0).map(([key]) => key);
  try {
    const news = await get(`state/get/?${[...new Set([...keys, "access"])].join("&")}`);
    state.value = { ...state.value, ...news };
    told(news.access);
    stateError.value = null;
  } catch (error) {
    if (error.code === "UNAUTHORIZED") return look().catch(() => {});
    stateError.value = error;
  }
}

document.addEventListener("visibilitychange", () => !document.hidden && refresh());
