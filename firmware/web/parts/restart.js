// The device restarts, and the page finds it again.

import { useEffect, useState } from "../lib/hooks.js";
import { signal } from "../lib/signals.js";
import { get, post } from "../api.js";
import { leave } from "../session.js";
import { t } from "../texts.js";
import { Act, html } from "../ui.js";

const ASK_MS = 400;
const GONE_MS = 3000;
const FASTEST_MS = 15000; // a device that has not been away for so long has restarted between two questions

/** What the restart is for while one is under way: {address} where the device will be elsewhere, else null. */
export const restarting = signal(null);

/** Wait until the device has gone and come back, then begin anew. */
export async function waitForRestart(address = null) {
  restarting.value = { address };
  leave("RESTARTED");
  const began = Date.now();
  let away = false;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    try {
      await get("version/", { signal: AbortSignal.timeout(GONE_MS) });
      if (away || Date.now() - began > FASTEST_MS) break;
    } catch {
      away = true;
    }
  }
  sessionStorage.setItem("ended", "RESTARTED");
  location.reload();
}

/** Restart the device. */
export async function restart(address) {
  await post("cmd/reboot/");
  waitForRestart(address);
}

/** Where a browser will find the device once settings are in use; null where that does not change. */
export function newAddress(saved, active) {
  const { ip, dhcp } = saved.ethernet;
  const moved = ip && !dhcp && (ip !== active.ethernet.ip || active.ethernet.dhcp);
  const port = saved.httpd.port !== active.httpd.port ? saved.httpd.port : null;
  if (!moved && !port) return null;
  const number = port ?? Number(location.port || 80);
  return `http://${moved ? ip : location.hostname}${number === 80 ? "" : ":" + number}/`;
}

/** Says that the device restarts, for how long, and where it will be. */
export function Restarting() {
  const [sec, setSec] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSec((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const { address } = restarting.value;
  return html`<div class="entrance" role="status">
    <h1>${t("restart.title")}</h1>
    <p class="waiting"><span class="pulse" aria-hidden="true"></span>${t("restart.waiting", { sec })}</p>
    ${address && html`<p>${t("restart.elsewhere")} <a href=${address}>${address}</a></p>`}
  </div>`;
}

export const RestartButton = ({ address, kind = "" }) =>
  html`<${Act} kind=${kind} label=${t("restart")} sure=${t("restart.sure")} what=${() => restart(address)} />`;
