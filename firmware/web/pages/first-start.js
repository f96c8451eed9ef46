// A device without a password is led through what it needs: name and password, time, network, line.

import { useEffect, useState } from "../lib/hooks.js";
import { get, post } from "../api.js";
import { isNew } from "../session.js";
import { misfit, settingsSchema } from "../schema.js";
import { language, t } from "../texts.js";
import { Check, Input, Mark, Panel, Problem, Progress, Select, html, useAction } from "../ui.js";
import { CHAR_FORMATS, lineName } from "../parts/line.js";
import { newAddress, restart } from "../parts/restart.js";
import { order, useSearch } from "./search.js";

const STEPS = ["access", "time", "network", "line", "finish"];
const TRIED = { baudRates: [9600, 19200, 38400, 115200, 4800, 57600], charFormats: [5, 0, 1], frameMode: 0, fastSearch: true, stopAtFirst: true };
const ZONES = [-480, -420, -360, -300, -240, -180, 0, 60, 120, 180, 240, 300, 330, 480, 540, 600];

export default function FirstStart() {
  const [step, setStep] = useState(0);
  const [form, setForm] = useState(null);
  const [again, setAgain] = useState("");
  const [schema, setSchema] = useState(null);
  const [before, setBefore] = useState(null);
  const [load, , error] = useAction(async () => {
    const saved = await get("settings/saved/get/");
    const east = -new Date(new Date().getFullYear(), 0, 1).getTimezoneOffset();
    setBefore(saved);
    setSchema(await settingsSchema());
    setForm({ protect: { username: saved.protect.username, password: "" }, timeGmt: east, tsMode: switches() ? 1 : 0, ethernet: { ...saved.ethernet }, serial: { ...saved.serial } });
  });
  useEffect(() => void load(), []);
  const [finish, busy, refused] = useAction(async () => {
    const { baudRate, charFormat, frameMode } = form.serial;
    const active = await get("settings/active/get/?ethernet&httpd");
    const { ethernet, ...others } = form;
    const moved = JSON.stringify(ethernet) !== JSON.stringify(before.ethernet); // some boards have no say in it
    const change = { ...others, ...(moved && { ethernet }), serial: { baudRate, charFormat, frameMode }, language: language.value };
    await post("settings/saved/set/", change);
    await post("cmd/time/set/", { datetime: new Date().toISOString() }).catch(() => {});
    isNew.value = false;
    const saved = await get("settings/saved/get/?ethernet&httpd");
    location.hash = "#/overview";
    await restart(newAddress(saved, active));
  });
  if (!form || !schema) return html`<${Problem} error=${error} />`;
  const set = (key, field) => (value) => setForm({ ...form, [key]: field ? { ...form[key], [field]: value } : value });
  const wrong = (key, field) => (form[key][field] === "" ? undefined : misfit(schema[key].properties[field], form[key][field]));
  const given = (key, field, more) => html`<${Input} label=${t("set." + field)} value=${form[key][field]} onValue=${set(key, field)} error=${wrong(key, field)} ...${more} />`;
  const differ = again !== "" && again !== form.protect.password;
  const parts = {
    access: html`<p>${t("first.access")}</p>${given("protect", "username", { autocomplete: "username" })}
      ${given("protect", "password", { type: "password", autocomplete: "new-password", help: t("first.password") })}
      <${Input} label=${t("first.again")} type="password" autocomplete="new-password" value=${again} onValue=${setAgain} error=${differ ? t("first.differ") : undefined} />`,
    time: html`<p>${t("first.time", { time: new Date().toLocaleString(language.value) })}</p>
      <${Select} label=${t("set.timeGmt")} value=${form.timeGmt} onValue=${(value) => set("timeGmt")(Number(value))} options=${[...new Set([...ZONES, form.timeGmt])].sort((one, other) => one - other).map((min) => [min, zoneName(min)])} />
      <${Select} label=${t("set.tsMode")} value=${form.tsMode} onValue=${(value) => set("tsMode")(Number(value))} options=${[0, 1].map((mode) => [mode, t("tsMode." + mode)])} />`,
    network: html`${given("ethernet", "hostname")}<${Check} label=${t("set.dhcp")} value=${form.ethernet.dhcp} onValue=${set("ethernet", "dhcp")} help=${t("first.dhcp")} />
      ${!form.ethernet.dhcp && ["ip", "mask", "gateway", "dns1"].map((field) => given("ethernet", field))}`,
    line: html`<${Line} serial=${form.serial} take=${(line) => setForm({ ...form, serial: { ...form.serial, ...line } })} />`,
    finish: html`<p>${t("first.finish")}</p><ul><li>${form.protect.username}</li><li>${zoneName(form.timeGmt)}</li><li>${form.ethernet.hostname}: ${form.ethernet.dhcp ? "DHCP" : form.ethernet.ip}</li><li>${lineName(form.serial)}</li></ul><${Problem} error=${refused} />`,
  };
  const ready = {
    access: form.protect.password && again === form.protect.password && form.protect.username && !wrong("protect", "password") && !wrong("protect", "username"),
    network: form.ethernet.hostname && (form.ethernet.dhcp || (form.ethernet.ip && form.ethernet.mask)) && !["ip", "mask", "gateway", "hostname"].some((field) => wrong("ethernet", field)),
  };
  const name = STEPS[step];
  const last = step === STEPS.length - 1;
  const next = (event) => (event.preventDefault(), last ? finish() : setStep(step + 1));
  return html`<div class="wizard">
    <h1>${t("nav.start")}</h1>
    <ol class="steps">${STEPS.map((one, at) => html`<li aria-current=${at === step ? "step" : undefined} class=${at < step ? "past" : ""}>${t("first." + one + ".title")}</li>`)}</ol>
    <${Panel} title=${t("first." + name + ".title")}>
      <form key=${name} onSubmit=${next}>${parts[name]}
        <div class="row">
          ${step > 0 && html`<button type="button" onClick=${() => setStep(step - 1)}>${t("first.back")}</button>`}
          <button class="main" aria-busy=${busy} disabled=${busy || (name in ready && !ready[name])}>${t(last ? "first.do" : "first.next")}</button>
        </div>
      </form>
    <//>
  </div>`;
}

/** Whether this computer's zone has daylight saving time. */
function switches() {
  const year = new Date().getFullYear();
  return new Date(year, 0, 1).getTimezoneOffset() !== new Date(year, 6, 1).getTimezoneOffset();
}

const zoneName = (min) => `UTC${min < 0 ? "−" : "+"}${Math.floor(Math.abs(min) / 60)}:${String(Math.abs(min) % 60).padStart(2, "0")}`;

function Line({ serial, take }) {
  const [result, look, error] = useSearch("search");
  const [sought, setSought] = useState(false);
  const [start, busy, refused] = useAction(() => order("modbus/find/start/", TRIED).then(() => (setSought(true), look())));
  const [stop] = useAction(() => order("modbus/find/stop/").then(look));
  const found = sought ? result?.foundDevices?.[0] : null;
  const at = found && `${found.baudRate} ${found.charFormat}`;
  useEffect(() => void (found && take({ baudRate: found.baudRate, charFormat: found.charFormat, frameMode: found.frameMode })), [at]);
  const running = sought && result?.status === "RUNNING";
  return html`<p>${t("first.line")}</p>
    <div class="fields narrow">
      <${Input} label=${t("set.baudRate")} type="number" min="75" max="230400" value=${serial.baudRate} onValue=${(value) => take({ baudRate: Number(value) })} />
      <${Select} label=${t("set.charFormat")} value=${serial.charFormat} onValue=${(value) => take({ charFormat: Number(value) })} options=${CHAR_FORMATS} />
    </div>
    <div class="row">
      ${running ? html`<${Progress} value=${result.progress} label=${t("search.progress")} /><button type="button" onClick=${stop}>${t("search.stop")}</button>` : html`<button type="button" aria-busy=${busy} onClick=${start}>${t("first.search")}</button>`}
      ${found && html`<${Mark} kind="good">${t("first.found", { uid: found.uid, line: lineName(found) })}<//>`}
      ${sought && result?.status === "DONE" && !found && html`<span class="warn">${t("first.nothing")}</span>`}
    </div>
    <${Problem} error=${refused ?? error} />`;
}
