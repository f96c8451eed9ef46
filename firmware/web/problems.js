// What is wrong with a device, worst first, each with its remedy: from its state and its settings.

const WRONG_CLOCK_SEC = 60;
const OLD_HANDSHAKE_SEC = 300;
const WEAK_SIGNAL = 20;
const MANY_PERCENT = 5;
const ENOUGH = 20;
const RANKS = { bad: 0, warn: 1, note: 2 };

/** A list of {kind: bad|warn|note, id, values, to}: texts problem.ID and remedy.ID, and the page where it is mended. */
export function problemsOf(state, { saved, active, now }) {
  const found = [];
  const add = (kind, id, values = {}, to = null) => found.push({ kind, id, values, to });
  const { ethernet, gsm, vpn, card, time, bus, system, access, fwUpdate } = state;
  if (saved?.protect.password === null) add("bad", "noPassword", {}, "start");
  if (bus && !bus.portOpen) add("bad", "noPort");
  if (ethernet && !ethernet.linkUp) add("warn", "noLink");
  else if (ethernet && !ethernet.ip) add("warn", "noIp", {}, "settings/ethernet");
  if (gsm && !gsm.simReady) add("bad", "sim", {}, "settings/gsm");
  else if (gsm && !gsm.registered) add("warn", "notRegistered", {}, "settings/gsm");
  else if (gsm && gsm.signalLevel !== null && gsm.signalLevel < WEAK_SIGNAL) add("warn", "weak", { percent: gsm.signalLevel });
  servers(state.mbTcpCallback, add);
  if (vpn && !vpn.up) add("warn", "vpnDown", { name: vpn.interface }, "settings/wgManual");
  else if (vpn && (vpn.peerHandshakeSec === null || vpn.peerHandshakeSec > OLD_HANDSHAKE_SEC))
    add("warn", "vpnSilent", { name: vpn.interface }, "settings/wgManual");
  if (card?.present && !card.mounted) add("warn", "cardNotMounted", {}, "card");
  else if (card?.mounted && card.freeBytes < card.totalBytes / 50) add("warn", "cardFull", {}, "card");
  if (time) clock(time, now, add);
  if (bus) line(bus, add);
  for (const [uid, device] of Object.entries(state.devices ?? {}))
    if (device.down) add("bad", "unitDown", { uid, lastSeen: device.lastSeen }, `bus/request/${uid}`);
  if (fwUpdate?.status === "ERROR") add("warn", "updateFailed", { why: fwUpdate.message ?? fwUpdate.errorCode }, "system");
  if (fwUpdate?.lastResult === "ROLLED_BACK")
    add("warn", "rolledBack", { version: fwUpdate.rolledBackFrom ?? "?", why: fwUpdate.lastError ?? "" }, "system");
  if (fwUpdate?.trial) add("note", "trial");
  if (fwUpdate?.status === "READY") add("note", "updateReady", { version: fwUpdate.availableVer ?? "" }, "system");
  if (saved && active && differing(saved, active).length)
    add("note", "waiting", { keys: differing(saved, active) }, "settings");
  if (access?.lastFailedLogin && access.lastFailedLogin.secAgo < 3600)
    add("note", "failedLogins", { count: access.failedLogins, address: access.lastFailedLogin.address }, "system");
  for (const error of system?.errors ?? []) add("warn", "told", { what: error }, "system");
  return found.sort((one, other) => RANKS[one.kind] - RANKS[other.kind]);
}

function servers(callback, add) {
  const all = [
    ["cbCloud", callback],
    ["ownSrv", callback?.ownSrv],
    ["rmSrv", callback?.rmSrv],
  ];
  for (const [key, server] of all)
    if (server?.server && !server.connected)
      add("warn", "server", { server: server.server, why: server.lastError ?? "" }, `settings/${key}`);
}

function clock(time, now, add) {
  const offSec = Math.round(Math.abs(now - Date.parse(time.utc)) / 1000);
  if (offSec > WRONG_CLOCK_SEC) add("warn", "clock", { offSec }, "system");
}

function line(bus, add) {
  if (bus.sent < ENOUGH) return;
  const percent = (count) => Math.round((100 * count) / bus.sent);
  if (percent(bus.timeouts) >= MANY_PERCENT) add("warn", "timeouts", { percent: percent(bus.timeouts) }, "bus/trace");
  if (percent(bus.crcErrors) >= MANY_PERCENT) add("warn", "crc", { percent: percent(bus.crcErrors) }, "bus/trace");
  if (bus.loadPercent >= 90) add("warn", "load", { percent: bus.loadPercent });
}

/** The keys in which two areas of settings differ. */
export const differing = (one, other) =>
  Object.keys(one).filter((key) => JSON.stringify(one[key]) !== JSON.stringify(other[key]));
