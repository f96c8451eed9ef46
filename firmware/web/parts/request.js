// One request, typed or raw, and its answer in every reading.

import { useEffect, useState } from "../lib/hooks.js";
import { fieldsOf, t } from "../texts.js";
import { Facts, Input, Mark, Panel, Problem, Scroll, Select, Tabs, html, useAction, useKept } from "../ui.js";
import { FUNCTIONS, causeName, causeWords, exchange, functionName, isList, isRead } from "./modbus.js";
import { bitsOf, fromBase64, hex, parseHex, parseNumber, printable, readings, registersOf, toBase64 } from "./values.js";

const FIELDS = ["uid", "func", "addr", "count", "value", "values", "data", "timeoutMs"];

export function Request({ path }) {
  const [kept, keep] = useKept("request", { kind: "typed", uid: "1", func: 3, addr: "0", count: "4", value: "0", data: "", timeoutMs: "" });
  const form = path[0] ? { ...kept, uid: path[0] } : kept;
  const set = (name) => (value) => keep({ ...form, [name]: value });
  useEffect(() => {
    if (!path[0]) return;
    keep(form);
    location.replace("#/bus/request");
  }, [path[0]]);
  const [wrong, setWrong] = useState({});
  const [asked, setAsked] = useState(null);
  const [send, busy, error, result] = useAction(async () => {
    const [request, problems] = built(form);
    setWrong(problems);
    if (Object.keys(problems).length) return null;
    setAsked(request);
    return exchange(request);
  });
  const said = { ...wrong, ...fieldsOf(error, FIELDS) };
  const raw = form.kind === "raw";
  const field = (name, extra) => html`<${Input} label=${t("req." + name)} value=${form[name]} onValue=${set(name)} error=${said[name]} ...${extra} />`;
  return html`<${Panel} title=${t("bus.request")} actions=${html`<${Tabs} label=${t("req.kind")} value=${form.kind} onValue=${set("kind")} options=${[["typed", t("req.typed")], ["raw", t("req.raw")]]} />`}>
      <form onSubmit=${(event) => (event.preventDefault(), send())}>
        <div class="fields narrow">
          ${field("uid", { inputmode: "numeric", maxlength: 5 })}
          ${raw
            ? field("func", { inputmode: "numeric" })
            : html`<${Select} label=${t("req.func")} value=${form.func} onValue=${(value) => set("func")(Number(value))} options=${FUNCTIONS.map((func) => [func, `${func} ${functionName(func)}`])} wide />`}
          ${!raw && field("addr", { help: t("req.addr.help") })}
          ${!raw && isRead(form.func) && field("count", { inputmode: "numeric" })}
          ${!raw && !isRead(form.func) && field("value", { help: isList(form.func) ? t("req.list.help") : undefined, error: said.value ?? said.values })}
          ${raw && field("data", { class: "mono", help: t("req.data.help"), wide: true })}
          ${field("timeoutMs", { unit: "ms", inputmode: "numeric", placeholder: t("req.default") })}
        </div>
        <div class="row"><button class="main" aria-busy=${busy} disabled=${busy}>${t("req.send")}</button></div>
        ${error && (error.code !== "BAD_FIELD" || said[""]) && html`<${Problem} error=${error} />`}
      </form>
    <//>
    ${result && result !== true && html`<${Answer} asked=${asked} result=${result} />`}`;
}

/** [body of the request, what is wrong by field]. */
function built(form) {
  const problems = {};
  const number = (name) => {
    const value = parseNumber(String(form[name]));
    if (Number.isNaN(value)) problems[name] = t("bad.number");
    return value;
  };
  const request = { uid: number("uid"), func: number("func") };
  if (form.timeoutMs) request.timeoutMs = number("timeoutMs");
  if (form.kind === "raw") {
    const bytes = parseHex(form.data);
    if (bytes) request.data = toBase64(bytes);
    else problems.data = t("bad.hex");
    return [request, problems];
  }
  request.addr = number("addr");
  if (isRead(request.func)) request.count = number("count");
  else if (isList(request.func)) request.values = listed(form.value, request.func, problems);
  else request.value = request.func === 5 ? Boolean(number("value")) : number("value");
  return [request, problems];
}

function listed(text, func, problems) {
  const numbers = text.split(/[\s,;]+/).filter(Boolean).map(parseNumber);
  if (!numbers.length || numbers.some(Number.isNaN)) problems.value = t("bad.list");
  return func === 15 ? numbers.map(Boolean) : numbers;
}

function Answer({ asked, result }) {
  const data = fromBase64(result.data ?? "");
  const failed = result.errorCode;
  const raw = result.raw ? fromBase64(result.raw) : null;
  const rows = [
    [t("ans.result"), html`<${Mark} kind=${failed ? "bad" : "good"}>${failed ? causeName(result) : t("ans.ok")}<//> ${failed && causeWords(result)}`],
    [t("ans.elapsed"), `${result.elapsedMs} ms`],
    data.length > 0 && [t("ans.data"), html`<code>${hex(data)}</code>`],
    raw && [t("ans.raw"), html`<code>${hex(raw)}</code>`],
  ];
  const registers = registersOf(result.func, data);
  const bits = bitsOf(result.func, data, asked?.count);
  return html`<${Panel} title=${t("ans.title", { uid: result.uid, func: functionName(result.func) })}>
    <div role="status"><${Facts} rows=${rows} /></div>
    ${registers && html`<${Readings} bytes=${registers} first=${asked?.addr ?? 0} />`}
    ${bits && html`<${Bits} bits=${bits} first=${asked?.addr ?? 0} />`}
  <//>`;
}

function Readings({ bytes, first }) {
  const [words, setWords] = useKept("words", 1);
  const { types, found } = readings(bytes, words);
  return html`<div class="row">
      <${Tabs} label=${t("ans.width")} value=${words} onValue=${setWords} options=${[[1, "16 bit"], [2, "32 bit"], [4, "64 bit"]]} />
    </div>
    <${Scroll} label=${t("ans.values")} kind="tall">
      <table>
        <thead><tr>
          <th class="n">${t("ans.addr")}</th>${words > 1 && html`<th>${t("ans.order")}</th>`}<th>${t("ans.hex")}</th>
          ${types.map((type) => html`<th class="n">${type}</th>`)}
          ${words === 1 && html`<th class="n">BA</th><th>${t("ans.bits")}</th>`}<th>${t("ans.text")}</th>
        </tr></thead>
        <tbody>${found.map(
          ({ at, order, bytes: part, values }) => html`<tr>
            <td class="n">${first + at}</td>${words > 1 && html`<td><code>${order}</code></td>`}<td><code>${hex(part)}</code></td>
            ${values.map((value) => html`<td class="n">${String(value)}</td>`)}
            ${words === 1 && html`<td class="n">${part[0] | (part[1] << 8)}</td><td><code>${[...part].map((byte) => byte.toString(2).padStart(8, "0")).join(" ")}</code></td>`}
            <td><code>${printable(part)}</code></td>
          </tr>`,
        )}</tbody>
      </table>
    <//>
    ${!found.length && html`<p class="empty">${t("ans.short")}</p>`}`;
}

const Bits = ({ bits, first }) => html`<${Scroll} label=${t("ans.values")} kind="tall">
  <table>
    <thead><tr><th class="n">${t("ans.addr")}</th><th>${t("ans.bit")}</th></tr></thead>
    <tbody>${bits.map((bit, at) => html`<tr><td class="n">${first + at}</td><td><${Mark} kind=${bit ? "good" : ""}>${bit ? "1" : "0"}<//></td></tr>`)}</tbody>
  </table>
<//>`;
