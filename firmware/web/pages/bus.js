// The bus: single requests, a table of registers that is polled, the trace, the units.

import { t } from "../texts.js";
import { html } from "../ui.js";
import { state, useState } from "../state.js";
import { number } from "../texts.js";
import { Mark, Panel, Scroll } from "../ui.js";
import { Registers } from "../parts/registers.js";
import { Request } from "../parts/request.js";
import { Trace } from "../parts/trace.js";

const PARTS = { request: Request, registers: Registers, trace: Trace, units: Units };

export default function Bus({ path }) {
  const open = path[0] in PARTS ? path[0] : "request";
  return html`<h1 class="unseen">${t("nav.bus")}</h1>
    <nav class="pages" aria-label=${t("nav.bus")}>
      ${Object.keys(PARTS).map(
        (name) => html`<a href="#/bus/${name}" aria-current=${name === open ? "page" : undefined}>${t("bus." + name)}</a>`,
      )}
    </nav>
    <${PARTS[open]} path=${path.slice(1)} />`;
}

function Units() {
  useState("devices");
  const units = Object.entries(state.value.devices ?? {});
  return html`<${Panel} title=${t("bus.units.title")}>
    <${Scroll} label=${t("bus.units.title")}>
      <table>
        <thead>
          <tr>${["uid", "state", "ok", "timeouts", "bad", "p50", "p95", "suggested", "seen"].map((name) => html`<th class=${name === "state" || name === "seen" ? "" : "n"}>${t("units." + name)}</th>`)}</tr>
        </thead>
        <tbody>
          ${units.map(
            ([uid, unit]) => html`<tr>
              <td class="n"><a href="#/bus/request/${uid}">${uid}</a></td>
              <td><${Mark} kind=${unit.down ? "bad" : unit.lastSeen ? "good" : ""}>${t(unit.down ? "units.down" : unit.lastSeen ? "units.up" : "units.never")}<//></td>
              <td class="n">${number(unit.ok)}</td>
              <td class="n">${number(unit.timeouts)}</td>
              <td class="n">${number(unit.badFrames)}</td>
              <td class="n">${number(unit.p50Ms, 1)}</td>
              <td class="n">${number(unit.p95Ms, 1)}</td>
              <td class="n">${number(unit.suggestedTimeoutMs)}</td>
              <td>${unit.lastSeen ? html`<time>${unit.lastSeen.replace("T", " ")}</time>` : "–"}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    <//>
    ${!units.length && html`<p class="empty">${t("units.none")}</p>`}
  <//>`;
}
