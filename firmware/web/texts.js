// The texts of the page, in the language of setting `language`.

import { signal } from "./lib/signals.js";
import en from "./texts/en.js";

const FILES = { uk: () => import("./texts/uk.js") };
const KEPT = "language";

export const language = signal("en");
const texts = signal(en);
const KEYS = Object.keys(en);

/** A text by its key, with {names} filled in. */
export function t(key, values) {
  const text = texts.value[key] ?? en[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all) : text;
}

/** Whether there is a text of this key. */
export const has = (key) => key in en;

/** The help at a setting: `given` is the device's own, in English. */
export function helpOf(path, given) {
  const all = texts.value;
  return all[`help.${path}`] ?? all[`help.${path.split(".").pop()}`] ?? given;
}

/** What an ApiError says of fields, in the page's language where that has its forms: [path or "", words] for each. */
export const problemsOf = (error) => error.problems().map(([path = "", words]) => [path, refusal(words)]);

/** The same as one text. */
export const detailOf = (error) => problemsOf(error).map((problem) => problem.filter(Boolean).join(": ")).join("; ");

/** By field, what BAD_FIELD says of it and of its members; what belongs to none of these is under "". */
export function fieldsOf(error, names) {
  const found = {};
  if (error?.code !== "BAD_FIELD") return found;
  for (const [path, words] of problemsOf(error)) {
    const name = names.find((one) => path === one || path.startsWith(one + "[")) ?? "";
    const text = path === name ? words : `${path}: ${words}`;
    found[name] = found[name] ? `${found[name]}; ${text}` : text;
  }
  return found;
}

/** The device's words on a field: a text said.FORM tells what it says with {0}, {1} ... in FORM. */
function refusal(words) {
  for (const [key, text] of Object.entries(texts.value)) {
    if (!key.startsWith("said.")) continue;
    const form = key.slice(5).replace(/[.+]/g, "\\$&").replace(/\{\d\}/g, "(.+)");
    const found = words.match(new RegExp(`^${form}$`));
    if (found) return text.replace(/\{(\d)\}/g, (gap, at) => found[Number(at) + 1]);
  }
  return words;
}

/** The texts of a language: a list in the order of the English ones, and what only it has. */
async function load(name) {
  const [list, more] = (await FILES[name]()).default;
  return { ...more, ...Object.fromEntries(KEYS.map((key, at) => [key, list[at]])) };
}

/** Show the page in a language; one that has no texts is shown in English. */
export async function speak(wanted) {
  const known = wanted in FILES ? wanted : "en";
  localStorage.setItem(KEPT, known);
  if (known === language.value) return;
  texts.value = known === "en" ? en : await load(known);
  language.value = known;
  document.documentElement.lang = known;
}

/** The language of last time, else the browser's. */
export const firstLanguage = () => localStorage.getItem(KEPT) ?? navigator.language.slice(0, 2);

/** Why the device has started, as state `system` has it. */
export const startName = ({ startReason }) => (has("start." + startReason) ? t("start." + startReason) : startReason);

/** A number as people write it. */
export const number = (value, digits = 0) =>
  value === null || value === undefined
    ? "–"
    : value.toLocaleString(language.value, { maximumFractionDigits: digits, minimumFractionDigits: 0 });

/** Bytes as people write them. */
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1024 && at < units.length - 1) (count /= 1024), at++;
  return `${number(count, at && count < 100 ? 1 : 0)} ${units[at]}`;
}

/** Seconds as 1 d 4 h, 12 min or 9 s. */
export function duration(sec) {
  if (sec === null || sec === undefined) return "–";
  sec = Math.max(0, Math.round(sec));
  const parts = [
    [Math.floor(sec / 86400), t("unit.d")],
    [Math.floor(sec / 3600) % 24, t("unit.h")],
    [Math.floor(sec / 60) % 60, t("unit.min")],
    [sec % 60, t("unit.s")],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  const shown = first < 0 ? [parts[3]] : parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(" ");
}

/** Seconds as 9:07. */
export const countdown = (sec) => `${Math.floor(sec / 60)}:${String(Math.floor(sec % 60)).padStart(2, "0")}`;

/** A firmwareVer as a version. */
export const versionName = (ver) => `${Math.floor(ver / 10000)}.${Math.floor(ver / 100) % 100}.${ver % 100}`;
