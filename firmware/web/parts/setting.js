// One field of the settings, as its schema has it.

import { core, isSecret, limits, misfit } from "../schema.js";
import { has, helpOf, t } from "../texts.js";
import { Check, Input, Labelled, Scroll, Select, html } from "../ui.js";
import { CHAR_FORMATS } from "./line.js";

const LOG_BITS = [1, 2, 4, 8, 16, 32, 64];
const NAMED = {
  charFormat: () => CHAR_FORMATS,
  frameMode: () => [[0, "RTU"], [1, "ASCII"]],
  tsMode: () => [0, 1, 2].map((mode) => [mode, t("tsMode." + mode)]),
  language: () => ["en", "uk", "pl", "ru", "de"].map((code) => [code, t("language." + code)]),
};

/** The last name of a field's path. */
const nameOf = (path) => path.split(".").pop();

export const labelOf = (path) => {
  const name = nameOf(path);
  const found = [`set.${path}`, `set.${name}`].find(has);
  return found ? t(found) : name;
};

/** `value` now, `active` what is in use; `said` what the device says of it. */
export function Setting({ path, schema, value, active, onValue, said }) {
  const name = nameOf(path);
  const kind = core(schema);
  const differs = active !== undefined && JSON.stringify(active) !== JSON.stringify(value) && !isSecret(schema) && kind.type !== "array";
  const options = NAMED[name]?.();
  const help = options || name === "logFlags" ? "" : [helpOf(path, schema.description), limits(schema)].filter(Boolean).join(" · "); // names say it better
  const used = options?.find(([one]) => one === active)?.[1] ?? String(active);
  const given = {
    label: labelOf(path),
    help: differs ? html`${help} <span class="mark">${t("settings.active", { value: used })}</span>` : help,
    error: said ?? misfit(schema, value),
    value,
    onValue,
  };
  if (isSecret(schema)) return html`<${Secret} ...${given} />`;
  if (options) return html`<${Select} ...${given} onValue=${(text) => onValue(kind.type === "integer" ? Number(text) : text)} options=${options} />`;
  if (kind.enum) return html`<${Select} ...${given} options=${kind.enum.map((one) => [one, one])} />`;
  if (kind.type === "boolean") return html`<${Check} ...${given} />`;
  if (name === "logFlags") return html`<${Flags} ...${given} />`;
  if (kind.type === "array") return kind.items.type === "object" ? html`<${Rows} ...${given} path=${path} items=${kind.items} />` : html`<${Lines} ...${given} />`;
  if (kind.type === "string") return html`<${Input} ...${given} maxlength=${kind.maxLength} value=${value ?? ""} />`;
  const take = (text) => onValue(text === "" ? null : Number(text));
  return html`<${Input} ...${given} type="number" step=${kind.type === "integer" ? 1 : "any"} min=${kind.minimum} max=${kind.maximum} value=${value ?? ""} onValue=${take} error=${value === null ? t("bad.number") : given.error} />`;
}

function Secret({ label, help, error, value, onValue }) {
  const state = value === null ? "settings.unset" : value === "***" ? "settings.set" : "settings.new";
  return html`<${Labelled} ...${{ label, help, error }}>
    ${(given) => html`<input ...${given} type="password" autocomplete="new-password" value=${value === null || value === "***" ? "" : value} placeholder=${t(state)} onInput=${(event) => onValue(event.target.value || "***")} />
      ${value !== null && html`<button type="button" class="small" onClick=${() => onValue(null)}>${t("settings.forget")}</button>`}`}
  <//>`;
}

function Flags({ label, help, error, value, onValue }) {
  return html`<fieldset class="field wide"><legend>${label}</legend>
    <div class="choices">${LOG_BITS.map((bit) => html`<label><input type="checkbox" checked=${(value & bit) > 0} onChange=${() => onValue(value ^ bit)} />${t("log." + bit)}</label>`)}</div>
    ${error && html`<small class="error">${error}</small>`}${help && html`<small class="help">${help}</small>`}
  </fieldset>`;
}

const Lines = ({ value, onValue, ...given }) => html`<${Labelled} ...${given} help=${html`${given.help} · ${t("settings.lines")}`}>
  ${(more) => html`<textarea ...${more} rows="3" onChange=${(event) => onValue(event.target.value.split("\n").map((line) => line.trim()).filter(Boolean))}>${value.join("\n")}</textarea>`}
<//>`;

/** A list of objects, each a row of fields. */
function Rows({ label, help, error, path, items, value, onValue }) {
  const names = Object.keys(items.properties);
  const fresh = () => Object.fromEntries(names.map((name) => [name, first(items.properties[name])]));
  const change = (at, name, one) => onValue(value.map((row, index) => (index === at ? { ...row, [name]: one } : row)));
  return html`<div class="field wide">
    <small class="help">${help}</small>
    ${value.length > 0 && html`<${Scroll} label=${label}><table class="rows">
      <thead><tr>${names.map((name) => html`<th title=${helpOf(path + "." + name, items.properties[name].description)}>${labelOf(path + "." + name)}</th>`)}<th></th></tr></thead>
      <tbody>${value.map((row, at) => html`<tr>
        ${names.map((name) => html`<td><${Cell} path=${path + "." + name} row=${at + 1} schema=${items.properties[name]} value=${row[name]} onValue=${(one) => change(at, name, one)} /></td>`)}
        <td><button type="button" class="small" aria-label=${t("settings.remove", { row: at + 1 })} onClick=${() => onValue(value.filter((other, index) => index !== at))}>×</button></td>
      </tr>`)}</tbody>
    </table><//>`}
    ${error && html`<small class="error" role="alert">${error}</small>`}
    <button type="button" class="small" onClick=${() => onValue([...value, fresh()])}>${t("settings.add")}</button>
  </div>`;
}

const first = (schema) => schema.default ?? (core(schema).type === "string" ? "" : schema.anyOf ? null : Math.max(0, core(schema).minimum ?? 0));

function Cell({ path, row, schema, value, onValue }) {
  const isText = core(schema).type === "string";
  const take = (text) => onValue(text === "" && schema.anyOf ? null : isText ? text : Number(text));
  const wrong = misfit(schema, value);
  return html`<input aria-label="${labelOf(path)} ${row}" aria-invalid=${Boolean(wrong)} title=${wrong ?? helpOf(path, schema.description)} inputmode=${isText ? undefined : "numeric"} value=${value ?? ""} placeholder=${schema.anyOf ? "–" : ""} onChange=${(event) => take(event.target.value)} />`;
}
