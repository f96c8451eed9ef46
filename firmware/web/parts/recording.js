// A recording of the trace to the SD card, for the fault that comes at night.

import { useState as useLocal } from "../lib/hooks.js";
import { ApiError, post } from "../api.js";
import { refresh, state, useState } from "../state.js";
import { bytes, duration, fieldsOf, number, t } from "../texts.js";
import { Act, Facts, Input, Mark, Panel, Problem, html, useAction, words } from "../ui.js";

const FIELDS = ["filePath", "seconds", "maxBytes"];
const KINDS = { RUNNING: "good", ERROR: "bad" };

/** A file name of now, as this computer's clock has it. */
function freshName() {
  const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60000);
  return `/trace-${now.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}.pcapng`;
}

export function Recording() {
  useState("recording", "card");
  const now = state.value.recording;
  const running = now?.status === "RUNNING";
  const [form, setForm] = useLocal({ filePath: freshName(), seconds: "43200", maxBytes: "100000000" });
  const set = (name) => (value) => setForm({ ...form, [name]: value });
  const [begin, busy, error] = useAction(async () => {
    const body = { filePath: form.filePath, seconds: Number(form.seconds), maxBytes: Number(form.maxBytes) };
    take(await post("modbus/trace/record/", body));
  });
  const stop = async () => {
    take(await post("modbus/trace/record/", { stop: true }));
    setForm({ ...form, filePath: freshName() });
  };
  const said = fieldsOf(error, FIELDS);
  if (error?.code === "BAD_PATH") said.filePath = words(error);
  const field = (name, more) => html`<${Input} label=${t("rec." + name)} value=${form[name]} onValue=${set(name)} error=${said[name]} required ...${more} />`;
  return html`<${Panel} title=${t("rec")}>
    <p class="dim">${t("rec.help")}</p>
    ${now && now.status !== "IDLE" && html`<div role="status"><${Told} now=${now} /></div>`}
    ${running
      ? html`<div class="row"><${Act} kind="main" label=${t("rec.stop")} what=${stop} /></div>`
      : html`<form onSubmit=${(event) => (event.preventDefault(), begin())}>
          <div class="fields narrow">
            ${field("filePath", { class: "mono", wide: true, maxlength: 255, help: t("rec.filePath.help") })}
            ${field("seconds", { type: "number", min: 1, max: 604800, unit: t("unit.s"), help: duration(Number(form.seconds)) })}
            ${field("maxBytes", { type: "number", min: 1024, max: 4294967295, help: bytes(Number(form.maxBytes)) })}
          </div>
          <div class="row"><button class="main" aria-busy=${busy} disabled=${busy}>${t("rec.start")}</button></div>
          ${!Object.keys(said).some(Boolean) && html`<${Problem} error=${error} />`}
        </form>`}
  <//>`;
}

/** The device's answer is its state; the events bring what comes after it. */
function take(recording) {
  state.value = { ...state.value, recording };
  refresh();
}

const Told = ({ now }) => html`<${Facts} rows=${[
  [t("rec.state"), html`<${Mark} kind=${KINDS[now.status] ?? ""}>${t("rec." + now.status)}<//> ${now.errorCode && words(new ApiError(now.errorCode))}`],
  [t("rec.filePath"), html`<code>${now.filePath}</code>`],
  [t("rec.size"), `${bytes(now.bytes)}, ${t("rec.entries", { count: number(now.entries) })}`],
  now.status === "RUNNING" && [t("rec.left"), duration(now.secLeft)],
  now.lost > 0 && [t("rec.lost"), html`<span class="warn">${number(now.lost)}</span>`],
]} />`;
