// The searches for devices: by address, and by template.

import { useEffect, useRef, useState } from "../lib/hooks.js";
import { ApiError, Said, get, post } from "../api.js";
import { follow, streaming } from "../events.js";
import { hold } from "../session.js";
import { duration, fieldsOf, t } from "../texts.js";
import { Act, Check, Input, Labelled, Mark, Panel, Problem, Progress, Scroll, Select, Tabs, html, useAction, useKept } from "../ui.js";
import { BAUD_RATES, CHAR_FORMATS, lineName } from "../parts/line.js";
import TEMPLATES from "../templates.js";

const PERIOD_MS = 700; // where there are no events
const RESULTS = { search: "modbus/find/result/?list", classSearch: "modbus/class-find/result/" };
const FIELDS = ["baudRate", "baudRates", "charFormat", "charFormats", "uidFrom", "uidTo", "frameMode", "filePath"];
const KINDS = { address: ByAddress, template: ByTemplate };

export default function Search() {
  const [kind, setKind] = useKept("search", "address");
  return html`<h1 class="unseen">${t("nav.search")}</h1>
    <div class="pages"><${Tabs} label=${t("nav.search")} value=${kind} onValue=${setKind} options=${Object.keys(KINDS).map((name) => [name, t("search." + name)])} /></div>
    <${KINDS[kind]} />`;
}

/** [how far a search is, ask now, error] of one of the two, `search` or `classSearch`, kept up to date while it runs. */
export function useSearch(name) {
  const [result, setResult] = useState(null);
  const [error, setError] = useState(null);
  const [asked, ask] = useState(0);
  const latest = useRef(null);
  latest.current = { result, error };
  useEffect(() => {
    let wanted = true;
    const look = () => get(RESULTS[name]).then((news) => wanted && (setResult(news), setError(null)), (failed) => wanted && setError(failed));
    const leave = follow([name], (event, data) => {
      if (event !== name) return;
      setResult((old) => joined(old, data));
      if (data.status !== "RUNNING") look();
    });
    const ask = () => !streaming.value && (latest.current.error || latest.current.result?.status === "RUNNING") && look();
    const timer = setInterval(ask, PERIOD_MS);
    look();
    return () => ((wanted = false), leave(), clearInterval(timer));
  }, [asked]);
  const running = result?.status === "RUNNING";
  useEffect(() => (running ? hold() : undefined), [running]);
  return [result, () => ask(asked + 1), error];
}

/** How far a search is, with what came of it: finds are told once, all of them anew where another search has begun. */
function joined(old, news) {
  const goesOn = old && news.progress >= old.progress && (news.status !== "RUNNING" || old.status === "RUNNING");
  const found = [...(goesOn ? (old.foundDevices ?? []) : []), ...news.foundDevices];
  const place = ({ uid, baudRate, charFormat, frameMode }) => [uid, baudRate, charFormat, frameMode].join();
  return { ...news, foundDevices: [...new Map(found.map((one) => [place(one), one])).values()] };
}

/** Ask for a start or a stop, and see that it was not refused because something is under way. */
export async function order(path, body) {
  const { status, errorCode } = await post(path, body);
  if (status === "BUSY") throw new Said(t("search.busy"));
  if (status === "ERROR") throw new ApiError("BAD_TEMPLATE", errorCode);
}

function Running({ result, stop }) {
  if (!result || result.status === "IDLE") return null;
  const running = result.status === "RUNNING";
  return html`<div class="row">
    <${Mark} kind=${{ DONE: "good", ERROR: "bad" }[result.status] ?? ""}>${t("search." + result.status)}<//>
    ${running && html`<${Progress} value=${result.progress} label=${t("search.progress")} /><span role="timer">${t("search.left", { time: duration(result.etaSec) })}</span>
      <${Act} label=${t("search.stop")} what=${stop} />`}
  </div>`;
}

function ByAddress() {
  const [form, keep] = useKept("find", { rates: [9600], formats: [5], frameMode: 0, uidFrom: "1", uidTo: "247", fastSearch: true, identify: true, allProbes: false, stopAtFirst: false });
  const [result, look, error] = useSearch("search");
  const set = (name) => (value) => keep({ ...form, [name]: value });
  const [start, busy, refused] = useAction(async () => {
    const { rates, formats, uidFrom, uidTo, ...rest } = form;
    await order("modbus/find/start/", { ...rest, baudRates: rates, charFormats: formats, uidFrom: Number(uidFrom), uidTo: Number(uidTo) });
    look();
  });
  const said = fieldsOf(refused, FIELDS);
  const running = result?.status === "RUNNING";
  return html`<${Panel} title=${t("search.address")}>
      <form onSubmit=${(event) => (event.preventDefault(), start())}>
        <div class="fields">
          <${Many} label=${t("set.baudRate")} all=${BAUD_RATES.map((rate) => [rate, rate])} value=${form.rates} onValue=${set("rates")} error=${said.baudRate ?? said.baudRates} />
          <${Many} label=${t("set.charFormat")} all=${CHAR_FORMATS} value=${form.formats} onValue=${set("formats")} error=${said.charFormat ?? said.charFormats} />
        </div>
        <div class="fields narrow spaced">
          <${Select} label=${t("set.frameMode")} value=${form.frameMode} onValue=${(value) => set("frameMode")(Number(value))} options=${[[0, "RTU"], [1, "ASCII"]]} />
          <${Input} label=${t("search.from")} type="number" min="0" max="255" value=${form.uidFrom} onValue=${set("uidFrom")} error=${said.uidFrom} />
          <${Input} label=${t("search.to")} type="number" min="0" max="255" value=${form.uidTo} onValue=${set("uidTo")} error=${said.uidTo} />
        </div>
        <div class="fields spaced">
          ${["fastSearch", "identify", "allProbes", "stopAtFirst"].map((name) => html`<${Check} label=${t("search." + name)} help=${t("search." + name + ".help")} value=${form[name]} onValue=${set(name)} />`)}
        </div>
        <div class="row"><button class="main" aria-busy=${busy} disabled=${busy || running}>${t("search.start")}</button></div>
        <${Problem} error=${refused ?? error} />
      </form>
      <${Running} result=${result} stop=${() => order("modbus/find/stop/").then(look)} />
    <//>
    <${Panel} title=${t("search.found", { count: result?.foundDevices?.length ?? 0 })}>
      <${Scroll} label=${t("search.results")}>
        <table>
          <thead><tr>${["uid", "line", "verdict", "identity"].map((name) => html`<th class=${name === "uid" ? "n" : ""}>${t("found." + name)}</th>`)}<th></th></tr></thead>
          <tbody aria-live="polite">${(result?.foundDevices ?? []).map((found) => html`<tr>
            <td class="n">${found.uid}</td><td>${lineName(found)}</td>
            <td><${Mark} kind=${found.verdict === "answer" ? "good" : "warn"}>${t("verdict." + found.verdict)}<//></td>
            <td class="text">${found.identity ?? "–"}</td>
            <td><a href="#/bus/request/${found.uid}">${t("found.go")}</a></td>
          </tr>`)}</tbody>
        </table>
      <//>
    <//>`;
}

function Many({ label, all, value, onValue, error }) {
  const toggle = (key) => onValue(value.includes(key) ? value.filter((other) => other !== key) : all.map(([one]) => one).filter((one) => one === key || value.includes(one)));
  return html`<fieldset>
    <legend>${label}</legend>
    <div class="choices">${all.map(([key, text]) => html`<label><input type="checkbox" checked=${value.includes(key)} onChange=${() => toggle(key)} />${text}</label>`)}</div>
    ${error && html`<small class="error">${error}</small>`}
  </fieldset>`;
}

function ByTemplate() {
  const [form, keep] = useKept("classes", { filePath: TEMPLATES[0].path, baudRate: 9600, charFormat: 5, frameMode: 0 });
  const [meta, setMeta] = useState(null);
  const [result, look, error] = useSearch("classSearch");
  const set = (name, kind = Number) => (value) => (setMeta(null), keep({ ...form, [name]: kind(value) }));
  const [start, busy, refused] = useAction(() => order("modbus/class-find/start/", form).then(look));
  const [check, , wrong] = useAction(async () => {
    const answer = await post("modbus/class-find/search-meta-info/", { filePath: form.filePath });
    if (answer.status === "ERROR") throw new ApiError("BAD_TEMPLATE", answer.errorCode);
    setMeta(answer.metaInfo);
  });
  const said = fieldsOf(refused, FIELDS);
  return html`<${Panel} title=${t("search.template")}>
      <form onSubmit=${(event) => (event.preventDefault(), start())}>
        <div class="fields">
          <${Labelled} label=${t("search.file")} help=${t("search.file.help")} error=${said.filePath} wide>
            ${(given) => html`<input ...${given} list="templates" value=${form.filePath} onInput=${(event) => set("filePath", String)(event.target.value)} required />
              <datalist id="templates">${TEMPLATES.map(({ path, title }) => html`<option value=${path}>${title}</option>`)}</datalist>
              <button type="button" onClick=${check}>${t("search.check")}</button>`}
          <//>
          <${Select} label=${t("set.baudRate")} value=${form.baudRate} onValue=${set("baudRate")} options=${BAUD_RATES.map((rate) => [rate, rate])} />
          <${Select} label=${t("set.charFormat")} value=${form.charFormat} onValue=${set("charFormat")} options=${CHAR_FORMATS} />
          <${Select} label=${t("set.frameMode")} value=${form.frameMode} onValue=${set("frameMode")} options=${[[0, "RTU"], [1, "ASCII"]]} />
        </div>
        ${meta && html`<p class="notice" role="status">${[meta.title, meta.manufacturer, meta.version].filter(Boolean).join(" · ")}</p>`}
        <${Problem} error=${wrong} />
        <div class="row"><button class="main" aria-busy=${busy} disabled=${busy || result?.status === "RUNNING"}>${t("search.start")}</button></div>
        <${Problem} error=${refused ?? error} />
      </form>
      <${Running} result=${result} stop=${() => order("modbus/class-find/stop/").then(look)} />
    <//>
    <${Panel} title=${t("search.found", { count: result?.foundDevices?.length ?? 0 })}>
      ${(result?.foundDevices ?? []).map((found) => html`<h3>${t("found.unit", { uid: found.uid })} · ${found.title} <a href="#/bus/request/${found.uid}">${t("found.go")}</a></h3>
        <${Scroll} label=${found.title}><table><tbody>
          ${Object.entries(found.params).map(([name, value]) => html`<tr><th>${name}</th><td class="n">${value === null ? html`<span class="dim">${found.missing[name] ?? "–"}</span>` : String(value)}</td></tr>`)}
        </tbody></table><//>`)}
      ${(result?.unjudged ?? []).map((one) => html`<p class="warn">${t("found.unjudged", one)}</p>`)}
    <//>`;
}
