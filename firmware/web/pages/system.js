// The device as a whole: time, restart, updates, activation, messages, who is in, the log.

import { useEffect, useRef, useState as useLocal } from "../lib/hooks.js";
import { ApiError, Said, get, post } from "../api.js";
import { level, logout } from "../session.js";
import { refresh, state, useState } from "../state.js";
import { duration, fieldsOf, number, startName, t } from "../texts.js";
import { Act, Check, Facts, Input, Mark, Panel, Problem, Progress, Scroll, Select, download, html, useAction } from "../ui.js";
import { RestartButton, waitForRestart } from "../parts/restart.js";

const LOG_MS = 2000;
const LOG_KEPT = 1000;

export default function System() {
  useState("time", "fwUpdate", "activation", "system", "gsm");
  const now = state.value;
  return html`<h1 class="unseen">${t("nav.system")}</h1>
    <div class="grid two">
      <${Time} time=${now.time} />
      <${Device} system=${now.system} />
      <${Update} update=${now.fwUpdate} />
      <${Activation} activation=${now.activation} />
      <${Message} gsm=${now.gsm} />
      <${Sessions} access=${now.access} />
    </div>
    <${Log} />`;
}

function Time({ time }) {
  const [given, setGiven] = useLocal("");
  const set = (datetime) => post("cmd/time/set/", { datetime }).then(refresh);
  const sync = async () => {
    const answer = await post("cmd/time/sync/");
    if (answer.status === "ERROR") throw new Said(t("time.failed", { code: answer.errorCode }));
    refresh();
  };
  return html`<${Panel} title=${t("time")}>
    ${time && html`<${Facts} rows=${[[t("time.local"), time.local.replace("T", " ")], [t("time.source"), t("time.source." + time.source)], [t("time.sync"), time.lastSync?.replace("T", " ") ?? t("never")]]} />`}
    <div class="row"><${Act} label=${t("time.from")} what=${() => set(new Date().toISOString())} done=${t("done")} /><${Act} label=${t("time.servers")} what=${sync} done=${t("done")} /></div>
    <div class="row end"><${Input} label=${t("time.hand")} type="datetime-local" step="1" value=${given} onValue=${setGiven} /><${Act} label=${t("time.set")} disabled=${!given} what=${() => set(given)} done=${t("done")} /></div>
  <//>`;
}

const Device = ({ system }) => html`<${Panel} title=${t("who")}>
  ${system && html`<${Facts} rows=${[[t("who.up"), duration(system.uptimeSec)], [t("who.start"), startName(system)]]} />`}
  <div class="row"><${RestartButton} /></div>
<//>`;

function Update({ update }) {
  const [older, setOlder] = useLocal(false);
  if (!update) return html`<${Panel} title=${t("update")}><p class="dim">${t("update.none")}</p><//>`;
  const ask = async (command) => {
    const answer = await post(`cmd/updates/${command}/`, older ? { allowOlder: true } : {});
    refresh();
    if (answer.status === "BUSY") throw new Said(t("update.busy"));
    if (answer.status === "ERROR") throw new ApiError(answer.errorCode, (await get("state/get/?fwUpdate")).fwUpdate?.message);
    if (command === "program") waitForRestart();
  };
  const rows = [
    [t("update.status"), html`<${Mark} kind=${{ ERROR: "bad", READY: "good" }[update.status] ?? ""}>${t("update." + update.status)}<//>`],
    [t("update.available"), update.availableVer ?? "–"],
    update.message && [t("update.message"), update.message],
    update.lastResult && [t("update.last"), t("update.last." + update.lastResult)],
    update.lastError && [t("update.why"), update.lastError],
  ];
  return html`<${Panel} title=${t("update")}>
    <${Facts} rows=${rows} />
    ${["DOWNLOADING", "PROGRAMMING"].includes(update.status) && html`<${Progress} value=${update.progress} label=${t("update.status")} />`}
    ${level.value === 2 && html`<${Check} label=${t("update.older")} value=${older} onValue=${setOlder} />`}
    <div class="row"><${Act} label=${t("update.download")} what=${() => ask("download")} /><${Act} label=${t("update.program")} sure=${t("update.sure")} disabled=${update.status !== "READY"} what=${() => ask("program")} /></div>
  <//>`;
}

function Activation({ activation }) {
  const [code, setCode] = useLocal("");
  const rows = activation && [
    [t("activation"), html`<${Mark} kind=${activation.activated ? "good" : ""}>${t(activation.activated ? "yes" : "no")}<//>`],
    activation.code && [t("activation.code"), html`<code>${activation.code}</code>`],
    activation.features?.length > 0 && [t("activation.features"), activation.features.join(", ")],
    activation.expires && [t("activation.expires"), activation.expires],
  ];
  return html`<${Panel} title=${t("activation.title")}>
    ${rows && html`<${Facts} rows=${rows} />`}
    <div class="row"><${Act} label=${t("activation.ask")} what=${() => post("activation/", { requestCode: true }).then(refresh)} done=${t("activation.asked")} /></div>
    <div class="row end"><${Input} label=${t("activation.licence")} value=${code} onValue=${setCode} maxlength="4096" class="mono" /><${Act} label=${t("activation.take")} disabled=${!code} what=${() => post("activation/", { code: code.trim() }).then(refresh)} done=${t("done")} /></div>
  <//>`;
}

function Message({ gsm }) {
  const [phone, setPhone] = useLocal("");
  const [text, setText] = useLocal("");
  const [send, busy, error, done] = useAction(async () => {
    const answer = await post("cmd/gsm/sms-test/", { ...(phone && { phone }), ...(text && { text }) });
    if (answer.status === "ERROR") throw new ApiError(answer.errorCode, answer.message ?? "");
  });
  const said = fieldsOf(error, ["phone", "text"]);
  return html`<${Panel} title=${t("sms")}>
    ${!gsm && html`<p class="dim">${t("gsm.off")}</p>`}
    ${gsm && html`<form onSubmit=${(event) => (event.preventDefault(), send())}>
      <div class="fields"><${Input} label=${t("sms.phone")} value=${phone} onValue=${setPhone} error=${said.phone} type="tel" placeholder="+380…" help=${t("sms.help")} /><${Input} label=${t("sms.text")} value=${text} onValue=${setText} error=${said.text} maxlength="1530" /></div>
      <div class="row"><button aria-busy=${busy} disabled=${busy}>${t("sms.send")}</button>${done && html`<span class="done" role="status">${t("sms.sent")}</span>`}</div>
      ${!said.phone && !said.text && html`<${Problem} error=${error} />`}
    </form>`}
  <//>`;
}

const Sessions = ({ access }) => html`<${Panel} title=${t("sessions")}>
  ${access && html`<${Facts} rows=${[
    [t("sessions.open"), number(access.sessions)],
    [t("sessions.button"), access.buttonSecLeft ? duration(access.buttonSecLeft) : t("no")],
    [t("sessions.failed"), number(access.failedLogins)],
    access.lastFailedLogin && [t("sessions.last"), `${access.lastFailedLogin.address}, ${t("ago", { time: duration(access.lastFailedLogin.secAgo) })}`],
  ]} />`}
  <div class="row"><button onClick=${() => logout()}>${t("login.out")}</button></div>
<//>`;

function Log() {
  const [lines, setLines] = useLocal([]);
  const [lost, setLost] = useLocal(0);
  const [worst, setWorst] = useLocal("7");
  const [text, setText] = useLocal("");
  const [error, setError] = useLocal(null);
  const last = useRef(0);
  useEffect(() => {
    const abort = new AbortController();
    let timer = null;
    const look = async () => {
      try {
        const news = await get(`log/?since=${last.current}`, { signal: abort.signal });
        last.current = news.last;
        setLost((count) => count + news.lost);
        if (news.lines.length) setLines((old) => [...old, ...news.lines].slice(-LOG_KEPT));
        setError(null);
      } catch (failed) {
        if (abort.signal.aborted) return;
        setError(failed);
      }
      timer = setTimeout(look, LOG_MS);
    };
    look();
    return () => (abort.abort(), clearTimeout(timer));
  }, []);
  const found = lines.filter((line) => line.priority <= Number(worst) && line.text.toLowerCase().includes(text.toLowerCase()));
  const plain = () => lines.map((line) => `${line.utc ?? ""} <${line.priority}> ${line.text}`).join("\n") + "\n";
  return html`<${Panel} title=${t("log")} actions=${html`<button onClick=${() => download("mc252-log.txt", plain(), "text/plain")}>${t("log.save")}</button>`}>
    <div class="fields narrow"><${Select} label=${t("log.worst")} value=${worst} onValue=${setWorst} options=${[["7", t("log.all")], ["4", t("log.warnings")], ["3", t("log.errors")]]} /><${Input} label=${t("log.text")} value=${text} onValue=${setText} /></div>
    <${Problem} error=${error} />
    ${lost > 0 && html`<p class="warn">${t("log.lost", { lost })}</p>`}
    <${Scroll} label=${t("log")} kind="tall"><table class="log"><tbody>
      ${found.slice().reverse().map((line) => html`<tr key=${line.number} class=${line.priority <= 3 ? "bad" : ""}><td><time>${line.utc?.replace("T", " ") ?? t("ago", { time: duration(line.secAgo) })}</time></td><td><pre>${line.text}</pre></td></tr>`)}
    </tbody></table><//>
    ${!found.length && html`<p class="empty">${t("log.none")}</p>`}
  <//>`;
}
