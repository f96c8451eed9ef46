// Who is at the page: the level, where it comes from, and when it ends.

import { computed, signal } from "./lib/signals.js";
import { ApiError, abandon, get, keepToken, onEnded, post, token } from "./api.js";
import { sha1 } from "./sha1.js";
import { firstLanguage, speak } from "./texts.js";

const WARNED_SEC = 60; // so long before its end a session that is not used says so
const DEFAULT_TTL_SEC = 600;

/** State `access` as it was last told, null for a guest. */
export const access = signal(null);

/** Why there is a login to be seen: "" at first, ENDED, RESTARTED, BUTTON_OVER. */
export const ended = signal(sessionStorage.getItem("ended") ?? "");
sessionStorage.removeItem("ended");

/** Whether the device has no password yet, so that it wants to be set up; null while that is not known. */
export const isNew = signal(null);

/** Seconds until an unused session ends, null while it is far. */
export const endsIn = signal(null);

export const level = computed(() => access.value?.level ?? 0);

/** Where the level comes from: guest, vpn, login or button. */
export const reason = computed(() =>
  level.value === 0 ? "guest" : level.value === 2 ? "vpn" : token.value ? "login" : "button",
);

let ttlSec = DEFAULT_TTL_SEC;
let usedAt = Date.now();
let holds = 0;

onEnded(() => leave("ENDED"));

/** Keep the session alive while something goes on that its user waits for; call the result when it is over. */
export function hold() {
  holds++;
  let held = true;
  return () => {
    if (held) holds--, used();
    held = false;
  };
}

/** The session was used. */
export function used() {
  usedAt = Date.now();
  endsIn.value = null;
}

/** Log in; ApiError. */
export async function login(username, password) {
  const { salt } = await get("login/salt/");
  const session = await post("login/", { username, password: sha1(username + password + salt) });
  ttlSec = session.ttlSec;
  keepToken(session.token);
  ended.value = "";
  used();
  await look();
}

/** End the session, at the device too. */
export async function logout(why = "") {
  const leaving = post("cmd/logout/", {}, { signal: null, keepalive: true }).catch(() => {});
  leave(why);
  await leaving;
  await look();
}

/** Forget the session; `why` is shown beside the login. */
export function leave(why) {
  abandon();
  keepToken(null);
  access.value = null;
  ended.value = why;
}

/** Take what the device says about access. */
export function told(state) {
  if (access.value?.level && !state.level) ended.value = "BUTTON_OVER";
  access.value = state;
}

/** Ask the device who we are. Errors other than a guest's are the caller's. */
export async function look() {
  if (!token.value && !(await isOpen())) return;
  const before = level.value;
  try {
    told((await get("state/get/?access")).access);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "UNAUTHORIZED") throw error;
    access.value = null;
    return;
  }
  if (!before && level.value) await welcome();
}

/** Whether no login is needed; it also tells whether the device is new. */
async function isOpen() {
  const answer = await get("login/salt/");
  if (level.value && !answer.open) ended.value = "BUTTON_OVER";
  if (!answer.open) access.value = null;
  isNew.value = answer.firstStart === true;
  return answer.open === true;
}

async function welcome() {
  const settings = await get("settings/saved/get/?language&protect");
  ttlSec = (await get("settings/active/get/?httpd")).httpd.sessionTtlSec;
  isNew.value = settings.protect.password === null;
  await speak(settings.language);
}

/** Watch over the session: what its user does uses it, what nobody uses ends. */
export function start() {
  speak(firstLanguage());
  for (const event of ["pointerdown", "keydown", "wheel", "touchmove"])
    addEventListener(event, used, { passive: true, capture: true });
  setInterval(watch, 1000);
}

function watch() {
  if (!token.value || reason.value !== "login") return;
  if (holds > 0) return used();
  const left = Math.ceil(ttlSec - (Date.now() - usedAt) / 1000);
  endsIn.value = left <= WARNED_SEC ? Math.max(0, left) : null;
  if (left <= 0) logout("ENDED");
}
