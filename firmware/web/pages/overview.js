// How the device is: what is wrong first, then who it is and how each part does.

import { useEffect, useState as useLocal } from "../lib/hooks.js";
import { get, post } from "../api.js";
import { state, stateError, useState } from "../state.js";
import { problemsOf } from "../problems.js";
import { Plot } from "../parts/plot.js";
import { bytes, duration, number, startName, t, versionName } from "../texts.js";
import { Act, Facts, Mark, Panel, Problem, html } from "../ui.js";
import { lineName } from "../parts/line.js";
import { labelOf } from "../parts/setting.js";

const POINT_MS = 2000;
const KEPT_POINTS = 450; // a quarter of an hour

export default function Overview() {
  useState("ethernet", "gsm", "vpn", "mbTcpCallback", "activation", "fwUpdate", "card", "time", "bus", "devices", "system");
  const [areas, setAreas] = useLocal({});
  const [identity, setIdentity] = useLocal(null);
  const [error, setError] = useLocal(null);
  useEffect(() => {
    const ask = async () => {
      setIdentity(await get("identify/"));
      setAreas({ saved: await get("settings/saved/get/"), active: await get("settings/active/get/") });
    };
    ask().catch(setError);
  }, []);
  const now = state.value;
  if (!now.system && !stateError.value) return html`<p class="loading" aria-busy="true"></p>`;
  return html`<h1 class="unseen">${t("nav.overview")}</h1>
    <${Problem} error=${stateError.value ?? error} />
    <${Problems} found=${problemsOf(now, { ...areas, now: Date.now() })} />
    <div class="grid">
      <${Line} bus=${now.bus} devices=${now.devices} />
      <${Who} identity=${identity} system=${now.system} settings=${areas.active} />
      <${Network} ethernet=${now.ethernet} settings=${areas.active} />
      <${Gsm} gsm=${now.gsm} />
      <${Cloud} callback=${now.mbTcpCallback} activation=${now.activation} />
      <${Vpn} vpn=${now.vpn} />
      <${Card} card=${now.card} />
      <${Time} time=${now.time} />
    </div>`;
}

function Problems({ found }) {
  if (!found.length) return html`<p class="fine" role="status"><${Mark} kind="good">${t("fine")}<//> ${t("fine.words")}</p>`;
  return html`<section class="problems" aria-label=${t("problems")}>
    <ul>
      ${found.map(
        ({ kind, id, values, to }) => html`<li class=${kind}>
          <${Mark} kind=${kind}>${t("kind." + kind)}<//>
          <div><strong>${t("problem." + id, shown(values))}</strong> <span>${t("remedy." + id, shown(values))}</span></div>
          ${to && html`<a href="#/${to}">${t("mend")}</a>`}
        </li>`,
      )}
    </ul>
  </section>`;
}

/** What a problem tells, as people read it. */
function shown(values) {
  if ("keys" in values) return { keys: values.keys.map(labelOf).join(", ") };
  if ("offSec" in values) return { off: duration(values.offSec) };
  if ("lastSeen" in values) return { ...values, lastSeen: values.lastSeen?.replace("T", " ") ?? t("never") };
  return values;
}

let points = [[], [], []]; // of the line's load and failures; they outlive the page
let before = null;

function keepPoint(bus) {
  if (!bus) return;
  const failed = bus.timeouts + bus.crcErrors;
  const at = Date.now() / 1000;
  const failures = before ? Math.max(0, failed - before.failed) / (at - before.at) : 0;
  before = { failed, at };
  const point = [at, bus.loadPercent, Number(failures.toFixed(2))];
  points = points.map((list, index) => [...list, point[index]].slice(-KEPT_POINTS));
}

function Line({ bus, devices }) {
  const [, drawn] = useLocal(0);
  useEffect(() => {
    const point = () => (keepPoint(state.value.bus), drawn((count) => count + 1));
    const timer = setInterval(point, POINT_MS);
    point();
    return () => clearInterval(timer);
  }, []);
  if (!bus) return html`<${Panel} title=${t("bus")} kind="wide"><p class="dim">${t("absent")}</p><//>`;
  const all = Object.values(devices ?? {});
  const down = all.filter((device) => device.down).length;
  return html`<${Panel} title=${t("bus")} kind="wide" actions=${html`<${Mark} kind=${bus.portOpen ? "good" : "bad"}>${t(bus.portOpen ? "bus.open" : "bus.closed")}<//>`}>
    <div class="numbers">
      <${Count} name=${t("bus.load")} value="${bus.loadPercent} %" />
      <${Count} name=${t("bus.sent")} value=${number(bus.sent)} />
      <${Count} name=${t("bus.ok")} value=${number(bus.ok)} />
      <${Count} name=${t("bus.timeouts")} value=${number(bus.timeouts)} kind=${bus.timeouts ? "warn" : ""} />
      <${Count} name=${t("bus.crc")} value=${number(bus.crcErrors)} kind=${bus.crcErrors ? "warn" : ""} />
      <${Count} name=${t("bus.exceptions")} value=${number(bus.exceptions)} />
      <${Count} name=${t("bus.answering")} value=${number(all.filter((device) => device.ok && !device.down).length)} />
      <${Count} name=${t("bus.down")} value=${number(down)} kind=${down ? "bad" : ""} />
    </div>
    <${Plot}
      series=${[t("bus.load.plot"), t("bus.failures.plot")]}
      data=${points}
      low=${0}
      high=${10}
      label=${t("bus.plot", { percent: bus.loadPercent })}
      height=${150}
    />
    <p class="dim">${lineName(bus)}</p>
  <//>`;
}

const Count = ({ name, value, kind = "" }) =>
  html`<div class="count ${kind}"><strong>${value}</strong><span>${name}</span></div>`;

function Who({ identity, system, settings }) {
  const rows = [
    [t("who.device"), identity?.device],
    [t("who.name"), settings?.ethernet.hostname],
    [t("who.maker"), identity?.manufacturer],
    [t("who.firmware"), identity && `${versionName(identity.firmwareVer)} (${identity.releaseDate.slice(0, 10)})`],
    [t("who.mac"), identity && html`<code>${identity.mac}</code>`],
    [t("who.up"), system && duration(system.uptimeSec)],
    [t("who.start"), system && startName(system)],
    [t("who.memory"), system && bytes(system.memFree)],
    system?.cpuTempC !== null && [t("who.temperature"), system && `${number(system.cpuTempC, 1)} °C`],
  ];
  return html`<${Panel} title=${t("who")}><${Facts} rows=${rows} /><//>`;
}

const yes = (value) => html`<${Mark} kind=${value ? "good" : "bad"}>${t(value ? "yes" : "no")}<//>`;

function Network({ ethernet, settings }) {
  if (!ethernet) return html`<${Panel} title=${t("net")}><p class="dim">${t("absent")}</p><//>`;
  const rows = [
    [t("net.link"), yes(ethernet.linkUp)],
    [t("net.ip"), html`<code>${ethernet.ip ?? "–"}</code>`],
    [t("net.how"), settings && t(settings.ethernet.dhcp ? "net.dhcp" : "net.static")],
    [t("who.mac"), html`<code>${ethernet.mac}</code>`],
  ];
  return html`<${Panel} title=${t("net")}><${Facts} rows=${rows} /><//>`;
}

function Gsm({ gsm }) {
  if (!gsm) return html`<${Panel} title=${t("gsm")}><p class="dim">${t("gsm.off")}</p><//>`;
  const rows = [
    [t("gsm.signal"), gsm.signalLevel === null ? "–" : html`<meter min="0" max="100" low="20" value=${gsm.signalLevel} aria-label=${t("gsm.signal")}></meter> ${gsm.signalLevel} %`],
    [t("gsm.registered"), yes(gsm.registered)],
    [t("gsm.operator"), gsm.operator ?? "–"],
    [t("gsm.sim"), yes(gsm.simReady)],
    [t("gsm.ip"), html`<code>${gsm.ip ?? "–"}</code>`],
    [t("gsm.imei"), html`<code>${gsm.imei ?? "–"}</code>`],
  ];
  return html`<${Panel} title=${t("gsm")}><${Facts} rows=${rows} /><//>`;
}

function Cloud({ callback, activation }) {
  const all = [["cbCloud", callback], ["ownSrv", callback?.ownSrv], ["rmSrv", callback?.rmSrv]].filter(([, one]) => one?.server);
  return html`<${Panel} title=${t("cloud")}>
    ${!all.length && html`<p class="dim">${t("cloud.off")}</p>`}
    ${all.map(
      ([key, one]) => html`<${Facts}
        rows=${[
          [t("set." + key), html`<${Mark} kind=${one.connected ? "good" : "bad"}>${t(one.connected ? "cloud.up" : "cloud.down")}<//> ${duration(one.sinceSec)}`],
          [t("cloud.server"), html`<code>${one.server}</code>`],
          !one.connected && one.attempts > 0 && [t("cloud.attempts"), number(one.attempts)],
          one.lastError && [t("cloud.error"), one.lastError],
        ]}
      />`,
    )}
    ${activation && html`<${Facts} rows=${[[t("activation"), activation.activated ? t("yes") : activation.code ? html`<code>${activation.code}</code>` : t("no")]]} />`}
    ${all.length > 0 && html`<${Act} label=${t("cloud.reconnect")} small what=${() => post("cmd/callback/reconnect/")} done=${t("done")} />`}
  <//>`;
}

function Vpn({ vpn }) {
  if (!vpn) return html`<${Panel} title=${t("vpn")}><p class="dim">${t("vpn.off")}</p><//>`;
  const rows = [
    [vpn.interface, yes(vpn.up)],
    [t("net.ip"), html`<code>${vpn.ip ?? "–"}</code>`],
    [t("vpn.handshake"), vpn.peerHandshakeSec === null ? t("never") : t("ago", { time: duration(vpn.peerHandshakeSec) })],
  ];
  return html`<${Panel} title=${t("vpn")}><${Facts} rows=${rows} /><//>`;
}

function Card({ card }) {
  const full = card?.mounted ? (100 * (card.totalBytes - card.freeBytes)) / card.totalBytes : 0;
  return html`<${Panel} title=${t("card")} actions=${card?.mounted && html`<a href="#/card">${t("card.files")}</a>`}>
    ${!card && html`<p class="dim">${t("absent")}</p>`}
    ${card && !card.mounted && html`<p class="dim">${t(card.present ? "card.ejected" : "card.none")}</p>`}
    ${card?.mounted &&
    html`<${Facts} rows=${[[t("card.free"), bytes(card.freeBytes)], [t("card.size"), bytes(card.totalBytes)], [t("card.used"), html`<meter min="0" max="100" high="95" value=${full} aria-label=${t("card.used")}></meter> ${number(full)} %`]]} />`}
  <//>`;
}

function Time({ time }) {
  if (!time) return html`<${Panel} title=${t("time")}><p class="dim">${t("absent")}</p><//>`;
  const rows = [
    [t("time.local"), html`<time>${time.local.replace("T", " ")}</time>`],
    [t("time.utc"), html`<time>${time.utc.replace("T", " ")}</time>`],
    [t("time.source"), t("time.source." + time.source)],
    [t("time.sync"), time.lastSync ? time.lastSync.replace("T", " ") : t("never")],
    time.sunrise && [t("time.sun"), `${time.sunrise.slice(11, 16)} – ${time.sunset.slice(11, 16)}`],
  ];
  return html`<${Panel} title=${t("time")}><${Facts} rows=${rows} /><//>`;
}
