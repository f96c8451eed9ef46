// A table of registers that is polled and plotted; it is kept in this browser.

import { useEffect, useRef, useState } from "../lib/hooks.js";
import { hold } from "../session.js";
import { t } from "../texts.js";
import { Input, Panel, Problem, Scroll, Select, download, html, useKept } from "../ui.js";
import { causeName, exchange } from "./modbus.js";
import { Plot } from "./plot.js";
import { TYPES, fromBase64, ordersOf, parseNumber, read, wordsOf } from "./values.js";

const ROWS = 64;
const POINTS = 600;
const PERIODS = [0.5, 1, 2, 5, 10, 60];
const NEW = { name: "", uid: "1", func: "3", addr: "0", type: "uint16", order: "AB", scale: "1" };

export function Registers() {
  const [rows, setRows] = useKept("registers", []);
  const [period, setPeriod] = useKept("period", 2);
  const [running, setRunning] = useState(false);
  const [seen, setSeen] = useState({});
  const [error, setError] = useState(null);
  const points = useRef([]);
  const plotted = rows.filter((row) => row.plot);
  usePolling(running, rows, period, (values, failed) => {
    setSeen(values);
    setError(failed);
    points.current = [...points.current.slice(-POINTS), { at: Date.now() / 1000, values }];
    if (failed) setRunning(false);
  });
  const toggle = (row) => setRows(rows.map((other) => (other === row ? { ...row, plot: !row.plot } : other)));
  return html`<${Panel} title=${t("bus.registers")} actions=${html`
      <select aria-label=${t("reg.period")} class="short" onChange=${(event) => setPeriod(Number(event.target.value))}>
        ${PERIODS.map((sec) => html`<option value=${sec} selected=${sec === period}>${t("reg.every", { sec })}</option>`)}
      </select>
      <button class=${running ? "" : "main"} disabled=${!rows.length} onClick=${() => setRunning(!running)}>${t(running ? "reg.stop" : "reg.start")}</button>
      <button disabled=${!points.current.length} onClick=${() => download("registers.csv", csv(rows, points.current), "text/csv")}>CSV</button>`}>
      <${Problem} error=${error} />
      <${Scroll} label=${t("bus.registers")}>
        <table>
          <thead><tr>${["plot", "name", "unit", "addr", "type", "value", "gone"].map((name) => html`<th class=${["unit", "addr", "value"].includes(name) ? "n" : ""}>${t("reg." + name)}</th>`)}</tr></thead>
          <tbody>${rows.map((row) => html`<tr>
            <td><input type="checkbox" checked=${row.plot} aria-label=${t("reg.plot.one", { name: nameOf(row) })} onChange=${() => toggle(row)} /></td>
            <td class="text">${nameOf(row)}</td><td class="n">${row.uid}</td><td class="n">${row.func}:${row.addr}</td>
            <td><code>${row.type} ${row.order}</code></td>
            <td class="n"><strong>${seen[keyOf(row)] ?? "–"}</strong></td>
            <td><button class="small" aria-label=${t("reg.remove", { name: nameOf(row) })} onClick=${() => setRows(rows.filter((other) => other !== row))}>×</button></td>
          </tr>`)}</tbody>
        </table>
      <//>
      ${!rows.length && html`<p class="empty">${t("reg.none")}</p>`}
    <//>
    ${plotted.length > 0 && html`<${Panel} title=${t("reg.plot.title")}>
      <${Plot} series=${plotted.map(nameOf)} data=${series(plotted, points.current)} label=${t("reg.plot.title")} height=${260} />
    <//>`}
    <${Adding} add=${(row) => rows.length < ROWS && setRows([...rows, row])} full=${rows.length >= ROWS} />`;
}

const keyOf = (row) => [row.uid, row.func, row.addr, row.type, row.order, row.scale].join(" ");
const nameOf = (row) => row.name || `${row.uid} · ${row.func}:${row.addr}`;

function series(rows, points) {
  const value = (point, row) => (typeof point.values[keyOf(row)] === "number" ? point.values[keyOf(row)] : null);
  return [points.map((point) => point.at), ...rows.map((row) => points.map((point) => value(point, row)))];
}

function csv(rows, points) {
  const quoted = (text) => `"${String(text).replace(/^[=+@-]/, "'$&").replaceAll('"', '""')}"`;
  const lines = points.map((point) => [new Date(point.at * 1000).toISOString(), ...rows.map((row) => point.values[keyOf(row)] ?? "")]);
  return [["time", ...rows.map(nameOf)].map(quoted), ...lines].map((line) => line.join(",")).join("\r\n") + "\r\n";
}

/** While it runs: every row in turn, then a pause. An answer that failed stands as its cause. */
function usePolling(running, rows, period, told) {
  const latest = useRef(null);
  latest.current = { rows, period, told };
  useEffect(() => {
    if (!running) return undefined;
    const release = hold();
    const abort = new AbortController();
    let timer = null;
    const round = async () => {
      const values = {};
      let failed = null;
      for (const row of latest.current.rows) {
        if (abort.signal.aborted) return;
        try {
          values[keyOf(row)] = valueOf(row, await exchange(questionOf(row), { signal: abort.signal }));
        } catch (error) {
          failed = error;
          break;
        }
      }
      if (abort.signal.aborted) return;
      latest.current.told(values, failed);
      if (!failed) timer = setTimeout(round, latest.current.period * 1000);
    };
    round();
    return () => (abort.abort(), clearTimeout(timer), release());
  }, [running]);
}

const questionOf = (row) => ({ uid: parseNumber(row.uid), func: Number(row.func), addr: parseNumber(row.addr), count: Number(row.func) < 3 ? 1 : wordsOf(row.type) });

function valueOf(row, result) {
  if (result.errorCode) return causeName(result);
  if (Number(row.func) < 3) return Number(result.values[0]);
  const value = read(row.type, fromBase64(result.data).slice(1), row.order);
  return typeof value === "bigint" ? Number(value) * Number(row.scale) : Number((value * Number(row.scale)).toPrecision(9));
}

function Adding({ add, full }) {
  const [row, setRow] = useState(NEW);
  const set = (name) => (value) => setRow({ ...row, [name]: value, ...(name === "type" ? { order: ordersOf(value)[0] } : {}) });
  const wrong = {
    uid: outside(row.uid, 1, 247),
    addr: outside(row.addr, 0, 65535),
    scale: Number.isFinite(Number(row.scale)) && row.scale !== "" ? undefined : t("bad.number"),
  };
  const submit = (event) => {
    event.preventDefault();
    if (Object.values(wrong).some(Boolean)) return;
    add(row);
    setRow({ ...row, name: "", addr: String(parseNumber(row.addr) + wordsOf(row.type)) });
  };
  return html`<${Panel} title=${t("reg.add")}>
    <form onSubmit=${submit}>
      <div class="fields narrow">
        <${Input} label=${t("reg.name")} value=${row.name} onValue=${set("name")} maxlength="40" />
        <${Input} label=${t("req.uid")} value=${row.uid} onValue=${set("uid")} error=${wrong.uid} inputmode="numeric" />
        <${Select} label=${t("req.func")} value=${row.func} onValue=${set("func")} options=${[1, 2, 3, 4].map((func) => [func, `${func} ${t("func." + func)}`])} />
        <${Input} label=${t("req.addr")} value=${row.addr} onValue=${set("addr")} error=${wrong.addr} />
        <${Select} label=${t("reg.type")} value=${row.type} onValue=${set("type")} options=${TYPES.map((type) => [type, type])} />
        <${Select} label=${t("ans.order")} value=${row.order} onValue=${set("order")} options=${ordersOf(row.type).map((order) => [order, order])} />
        <${Input} label=${t("reg.scale")} value=${row.scale} onValue=${set("scale")} error=${wrong.scale} />
      </div>
      <div class="row"><button class="main" disabled=${full}>${t("reg.add.do")}</button></div>
    </form>
  <//>`;
}

function outside(text, low, high) {
  const value = parseNumber(text);
  return value >= low && value <= high ? undefined : t("bad.range", { low, high });
}
