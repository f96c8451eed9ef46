// Every exchange on the bus as it passes.

import { useEffect, useRef, useState } from "../lib/hooks.js";
import { effect } from "../lib/signals.js";
import { authorized, failure, fetched, get } from "../api.js";
import { follow, streaming } from "../events.js";
import { hold } from "../session.js";
import { number, t } from "../texts.js";
import { Act, Facts, Input, Mark, Panel, Problem, Scroll, Select, download, html } from "../ui.js";
import { causeName, causeWords, functionName } from "./modbus.js";
import { lineName } from "./line.js";
import { Recording } from "./recording.js";
import { spaced } from "./values.js";

const KEPT = 1000;
const SHOWN = 200;
const ASK_MS = 1000; // where there are no events
const NO_FILTER = { uid: "", func: "", kind: "all", text: "" };

export function Trace() {
  const [entries, setEntries] = useState([]);
  const [lost, setLost] = useState(0);
  const [paused, setPaused] = useState(false);
  const [filter, setFilter] = useState(NO_FILTER);
  const [error, setError] = useState(null);
  const waiting = useRef([]);
  const live = useRef(true);
  live.current = !paused;
  const take = (came) => {
    waiting.current = [...waiting.current, ...came].slice(-KEPT);
    if (!live.current) return;
    const news = waiting.current;
    waiting.current = [];
    setEntries((old) => joined(old, news));
  };
  useEffect(() => {
    const release = hold();
    const leave = keepUp(take, (count) => setLost((before) => before + count), setError);
    return () => (leave(), release());
  }, []);
  useEffect(() => take([]), [paused]);
  const set = (name) => (value) => setFilter({ ...filter, [name]: value });
  const found = entries.filter(fits(filter));
  return html`<${Panel} title=${t("bus.trace")} actions=${html`
      <button aria-pressed=${paused} onClick=${() => setPaused(!paused)}>${t(paused ? "trace.go" : "trace.pause")}</button>
      <button onClick=${() => setEntries([])}>${t("trace.clear")}</button>
      <${Act} label=${t("trace.capture")} what=${() => capture("pcapng", filter)} />
      <${Act} label="CSV" what=${() => capture("csv", filter)} />`}>
      <div class="fields narrow">
        <${Input} label=${t("req.uid")} value=${filter.uid} onValue=${set("uid")} inputmode="numeric" />
        <${Input} label=${t("req.func")} value=${filter.func} onValue=${set("func")} inputmode="numeric" />
        <${Select} label=${t("trace.kind")} value=${filter.kind} onValue=${set("kind")} options=${[["all", t("trace.all")], ["errors", t("trace.errors")]]} />
        <${Input} label=${t("trace.text")} value=${filter.text} onValue=${set("text")} class="mono" placeholder="01 03" />
      </div>
      <${Problem} error=${error} />
      <p class="dim" role="status">${t("trace.count", { shown: Math.min(found.length, SHOWN), all: entries.length })}${lost > 0 && html` · <span class="warn">${t("trace.lost", { lost })}</span>`}${paused && html` · <span class="warn">${t("trace.paused")}</span>`}</p>
      <${Scroll} label=${t("bus.trace")} kind="tall">
        <table class="trace cards">
          <thead><tr>${["n", "time", "uid", "func", "cause", "bytes", "queued", "first", "line"].map((name) => html`<th class=${["n", "uid", "queued", "first", "line"].includes(name) ? "n" : ""}>${t("trace." + name)}</th>`)}</tr></thead>
          <tbody>${found.slice(-SHOWN).reverse().map((entry) => html`<${Entry} key=${entry.n} entry=${entry} />`)}</tbody>
        </table>
      <//>
      ${!found.length && html`<p class="empty">${t("trace.none")}</p>`}
    <//>
    <${Recording} />`;
}

/** Entries by their numbers, each once: what is asked for may come after what is told. */
function joined(old, news) {
  const known = new Set(old.map((entry) => entry.n));
  return [...old, ...news.filter((entry) => !known.has(entry.n))].sort((one, other) => one.n - other.n).slice(-KEPT);
}

/** Hand over what is there, then what comes: as events, or by asking where there are none. Call the result to end it. */
function keepUp(take, lost, trouble) {
  const abort = new AbortController();
  let last = 0;
  let asking = false;
  let again = false;
  const told = (entries) => {
    take(entries);
    last = entries.reduce((most, entry) => Math.max(most, entry.n), last);
  };
  const ask = async () => {
    again = asking;
    if (asking || abort.signal.aborted) return;
    asking = true;
    try {
      const page = await get(`modbus/trace/${last ? "?since=" + last : ""}`, { signal: abort.signal });
      if (last) lost(page.lost);
      told(page.entries);
      trouble(null);
    } catch (error) {
      if (!abort.signal.aborted) trouble(error);
    }
    asking = false;
    if (again) ask();
  };
  const leave = follow(["trace"], (event, data) => (event === "trace" ? told(data) : event === "lost" && lost(data.lost)));
  const end = effect(() => void (streaming.value, queueMicrotask(ask))); // what passed before a stream began is asked for
  const timer = setInterval(() => streaming.value || ask(), ASK_MS);
  return () => (abort.abort(), leave(), end(), clearInterval(timer));
}

function fits({ uid, func, kind, text }) {
  const wanted = text.replace(/\s/g, "").toLowerCase();
  return (entry) =>
    (uid === "" || String(entry.uid) === uid.trim()) &&
    (func === "" || String(entry.func) === func.trim()) &&
    (kind === "all" || entry.cause !== null) &&
    (wanted === "" || [entry.question, entry.answer, ...entry.thrown.map((one) => one.bytes)].some((bytes) => bytes?.includes(wanted)));
}

async function capture(format, { uid, kind }) {
  const chosen = [`format=${format}`, /^\d+$/.test(uid.trim()) && `uid=${uid.trim()}`, kind === "errors" && "errors"];
  const response = await fetched(`modbus/trace/capture/?${chosen.filter(Boolean).join("&")}`, { headers: authorized(), cache: "no-store" });
  if (!response.ok) throw failure(response, await response.text());
  download(`mc252-trace.${format}`, await response.blob());
}

const ms = (us) => (us === null ? "–" : number(us / 1000, 1));

function Entry({ entry }) {
  const [open, setOpen] = useState(false);
  return html`<tr class=${entry.cause ? "bad" : ""}>
      <td class="n"><button class="quiet" aria-expanded=${open} onClick=${() => setOpen(!open)}>${entry.n}</button></td>
      <td><time>${entry.time ? new Date(entry.time).toLocaleTimeString() + entry.time.slice(19, 23) : `+${ms(entry.atUs)}`}</time></td>
      <td class="n uid">${entry.uid}</td>
      <td>${entry.func} ${functionName(entry.func)}</td>
      <td>${entry.cause ? html`<${Mark} kind="bad">${causeName(entry)}<//>` : html`<${Mark} kind="good">${t("ans.ok")}<//>`}</td>
      <td class="all"><code>${spaced(entry.question) || "–"}</code><code>${entry.answer ? spaced(entry.answer) : "–"}</code></td>
      <td class="n more">${number(entry.queuedMs)}</td>
      <td class="n more">${ms(entry.firstByteUs)}</td>
      <td class="n more">${ms(entry.lineUs)}</td>
    </tr>
    ${open && html`<tr class="chosen"><td colspan="9" class="all">
      <${Facts} rows=${[
        entry.cause && [t("trace.why"), causeWords(entry)],
        ...entry.thrown.map((one) => [t("thrown." + one.why), html`<code>${spaced(one.bytes)}</code>`]),
        [t("trace.from"), `${entry.source} (${entry.lane})`],
        ...[["queued", number(entry.queuedMs)], ["first", ms(entry.firstByteUs)], ["line", ms(entry.lineUs)]].map(([name, value]) => [t("trace." + name), value]),
        entry.shared > 0 && [t("trace.shared"), number(entry.shared)],
        entry.baudRate && [t("trace.settings"), lineName(entry)],
      ]} />
    </td></tr>`}`;
}
