// The small parts that all pages are made of.

import { createElement } from "./lib/preact.js";
import { useEffect, useRef, useState } from "./lib/hooks.js";
import htm from "./lib/htm.js";
import { ApiError, Said } from "./api.js";
import { detailOf, has, t } from "./texts.js";

export const html = htm.bind(createElement);

let lastId = 0;

/** An id for what labels and descriptions refer to. */
export const useId = () => useState(() => `x${++lastId}`)[0];

/** What an error means, and what to do, in words. */
export function words(error) {
  if (error instanceof Said) return error.message;
  if (!(error instanceof ApiError)) return t("e.PAGE", { what: error.message });
  const said = has("e." + error.code) ? t("e." + error.code) : t("e.OTHER", { code: error.code });
  return error.retryAfter ? `${said} ${t("e.again", { sec: error.retryAfter })}` : said;
}

/** An error as it is shown beside what it came of; what the device says besides below. */
export function Problem({ error, id }) {
  if (!error) return null;
  const detail = error.detail && error.code !== "OFFLINE" ? detailOf(error) : "";
  return html`<div class="problem" role="alert" id=${id}>
    <span>${words(error)}</span>${detail && html`<small>${detail}</small>`}
  </div>`;
}

/** [run, busy, error, result] of something that is asked of the device; one at a time. */
export function useAction(what) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [result, setResult] = useState(null);
  const there = useRef(true);
  useEffect(() => () => (there.current = false), []);
  async function run(...given) {
    setBusy(true);
    setError(null);
    setResult(null);
    try {
      const came = await what(...given);
      if (there.current) setResult(came ?? true);
    } catch (failed) {
      if (there.current && failed.name !== "AbortError") setError(failed);
    }
    if (there.current) setBusy(false);
  }
  return [run, busy, error, result];
}

/** A button that asks something of the device; what went wrong stands below it, what came of it in `done`. */
export function Act({ label, what, done, kind = "", sure, disabled, small }) {
  const [run, busy, error, result] = useAction(what);
  const [asked, setAsked] = useState(false);
  const box = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) box.current.querySelector("button").focus(); // the one that had it is gone
    first.current = false;
  }, [asked]);
  const go = () => busy || (setAsked(false), run()); // not disabled while it runs: what has the focus would lose it
  if (asked)
    return html`<span class="act asked" role="group" aria-label=${sure} ref=${box}>
      <span>${sure}</span>
      <button type="button" class="danger" onClick=${go}>${t("do.yes")}</button>
      <button type="button" onClick=${() => setAsked(false)}>${t("do.no")}</button>
    </span>`;
  return html`<span class="act" ref=${box}>
    <button
      type="button"
      class="${kind} ${small ? "small" : ""}"
      aria-busy=${busy}
      disabled=${disabled}
      onClick=${sure ? () => setAsked(true) : go}
    >
      ${label}
    </button>
    <${Problem} error=${error} />
    ${result && done && html`<span class="done" role="status">${done}</span>`}
  </span>`;
}

/** A labelled control; `children` is a function that gets {id, describedby, invalid} for it. */
export function Labelled({ label, help, error, unit, wide, children }) {
  const id = useId();
  const parts = [help && `${id}h`, error && `${id}e`].filter(Boolean).join(" ");
  return html`<div class="field ${wide ? "wide" : ""} ${error ? "bad" : ""}">
    <label for=${id}>${label}</label>
    <div class="control">
      ${children({ id, "aria-describedby": parts || undefined, "aria-invalid": error ? "true" : undefined })}
      ${unit && html`<span class="unit">${unit}</span>`}
    </div>
    ${error && html`<small class="error" id="${id}e">${error}</small>`}
    ${help && html`<small class="help" id="${id}h">${help}</small>`}
  </div>`;
}

/** A field of text or number. */
export function Input({ label, help, error, unit, value, onValue, wide, ...rest }) {
  return html`<${Labelled} ...${{ label, help, error, unit, wide }}>
    ${(given) => html`<input ...${rest} ...${given} value=${value} onInput=${(event) => onValue(event.target.value)} />`}
  <//>`;
}

/** A field whose values are a few: pairs of value and text. */
export function Select({ label, help, error, value, onValue, options, wide, ...rest }) {
  return html`<${Labelled} ...${{ label, help, error, wide }}>
    ${(given) => html`<select ...${rest} ...${given} value=${value} onChange=${(event) => onValue(event.target.value)}>
      ${options.map(([key, text]) => html`<option value=${key} selected=${String(key) === String(value)}>${text}</option>`)}
    </select>`}
  <//>`;
}

/** A field that is on or off. */
export function Check({ label, help, error, value, onValue, ...rest }) {
  const id = useId();
  return html`<div class="field check ${error ? "bad" : ""}">
    <input type="checkbox" id=${id} checked=${value} ...${rest} onChange=${(event) => onValue(event.target.checked)} />
    <label for=${id}>${label}</label>
    ${error && html`<small class="error">${error}</small>`} ${help && html`<small class="help">${help}</small>`}
  </div>`;
}

/** How far something is. */
export const Progress = ({ value, label }) =>
  html`<div class="progress"><progress max="100" value=${value} aria-label=${label}></progress><span>${Math.floor(value)} %</span></div>`;

/** A part of a page under a heading. */
export function Panel({ title, children, actions, id, kind = "" }) {
  const own = useId();
  return html`<section class="panel ${kind}" id=${id} aria-labelledby=${own}>
    <header><h2 id=${own}>${title}</h2>${actions}</header>
    ${children}
  </section>`;
}

/** Names and values. */
export const Facts = ({ rows }) =>
  html`<dl class="facts">
    ${rows.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;

/** A state in one word, with a colour that only repeats it. */
export const Mark = ({ kind, children }) => html`<span class="mark ${kind}">${children}</span>`;

/** A wide table that scrolls by itself, by the keyboard too. */
export const Scroll = ({ label, children, kind = "" }) =>
  html`<div class="scroll ${kind}" tabindex="0" role="region" aria-label=${label}>${children}</div>`;

/** Choices of which one is shown. */
export const Tabs = ({ label, value, options, onValue }) =>
  html`<div class="tabs" role="group" aria-label=${label}>
    ${options.map(
      ([key, text]) =>
        html`<button type="button" aria-pressed=${key === value} onClick=${() => onValue(key)}>${text}</button>`,
    )}
  </div>`;

/** Offer bytes or text as a file. */
export function download(name, content, type = "application/octet-stream") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** A value that is kept in this browser, and what of it another version of the page has left. */
export function useKept(name, first) {
  const [value, setValue] = useState(() => fitting(kept(name), first));
  const keep = (next) => {
    setValue(next);
    try {
      localStorage.setItem(name, JSON.stringify(next));
    } catch {
      // it is full or switched off: the value lasts as long as the page
    }
  };
  return [value, keep];
}

function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

/** What was kept, where it is of the same kind as the first value, whose members stand for those that it lacks. */
function fitting(found, first) {
  if (Array.isArray(first)) return Array.isArray(found) ? found : first;
  if (typeof found !== typeof first || found === null) return first;
  return typeof first === "object" ? Object.fromEntries(Object.keys(first).map((key) => [key, fitting(found[key], first[key])])) : found;
}
