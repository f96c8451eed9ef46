// The settings: forms made from the schema, what waits for a restart, files of them.

import { useEffect, useState } from "../lib/hooks.js";
import { Said, get, post } from "../api.js";
import { differing } from "../problems.js";
import { core, misfit, settingsSchema } from "../schema.js";
import { fieldsOf, speak, t } from "../texts.js";
import { Act, Panel, Problem, download, html, useAction } from "../ui.js";
import { RestartButton, newAddress } from "../parts/restart.js";
import { Setting, labelOf } from "../parts/setting.js";

const GROUPS = {
  network: ["ethernet", "gsm", "cbCloud", "ownSrv", "rmSrv", "wgCloud", "wgManual"],
  bus: ["serial", "units", "modbusTcp", "forwarding"],
  access: ["protect", "httpd"],
  time: ["timeGmt", "tsMode", "tsManual", "ntp", "astro"],
  device: ["language", "logFlags", "areset", "download", "firmware", "bodVoltage"],
};

export default function Settings({ path }) {
  const [schema, setSchema] = useState(null);
  const [areas, setAreas] = useState(null);
  const [load, , error] = useAction(async () => {
    const [saved, active] = [await get("settings/saved/get/"), await get("settings/active/get/")];
    setSchema(await settingsSchema());
    setAreas({ saved, active });
    await speak(saved.language);
  });
  useEffect(() => void load(), []);
  const groups = areas ? grouped(Object.keys(areas.saved)) : GROUPS;
  const open = path[0] in groups || path[0] === "files" ? path[0] : (Object.keys(groups).find((name) => groups[name].includes(path[0])) ?? "network");
  useEffect(() => void document.getElementById("key-" + path[0])?.scrollIntoView(), [path[0], areas !== null]);
  return html`<h1 class="unseen">${t("nav.settings")}</h1>
    <nav class="pages" aria-label=${t("nav.settings")}>
      ${[...Object.keys(groups), "files"].map((name) => html`<a href="#/settings/${name}" aria-current=${name === open ? "page" : undefined}>${t("group." + name)}</a>`)}
    </nav>
    <${Problem} error=${error} />
    ${areas && html`<${Waiting} areas=${areas} />`}
    ${areas && schema && (open === "files" ? html`<${Files} areas=${areas} again=${load} />` : groups[open].map((key) => html`<${Key} key=${key} name=${key} schema=${schema[key]} areas=${areas} again=${load} />`))}`;
}

/** The groups, with keys that a newer firmware has in the last one. */
function grouped(keys) {
  const known = Object.values(GROUPS).flat();
  return { ...GROUPS, device: [...GROUPS.device, ...keys.filter((key) => !known.includes(key))] };
}

function Waiting({ areas }) {
  const keys = differing(areas.saved, areas.active);
  if (!keys.length) return null;
  return html`<div class="notice row" role="status"><span>${t("settings.waiting", { keys: keys.map(labelOf).join(", ") })}</span><${RestartButton} address=${newAddress(areas.saved, areas.active)} /></div>`;
}

/** One key: its fields, saved together. */
function Key({ name, schema, areas, again }) {
  const plain = schema.type !== "object";
  const saved = plain ? { [name]: areas.saved[name] } : areas.saved[name];
  const active = plain ? { [name]: areas.active[name] } : areas.active[name];
  const fields = plain ? { [name]: schema } : schema.properties;
  const pathOf = (field) => (plain ? name : `${name}.${field}`);
  const [edits, setEdits] = useState({});
  const changed = Object.keys(edits).filter((field) => JSON.stringify(edits[field]) !== JSON.stringify(saved[field]));
  const [save, busy, error, done] = useAction(async () => {
    const change = Object.fromEntries(changed.map((field) => [field, edits[field]]));
    await post("settings/saved/set/", plain ? change : { [name]: change });
    setEdits({});
    await again();
  });
  const said = fieldsOf(error, Object.keys(fields).map(pathOf));
  const misfits = changed.some((field) => edits[field] === undefined || misfit(fields[field], edits[field]) || (edits[field] === null && ["integer", "number"].includes(core(fields[field]).type) && !fields[field].anyOf));
  const elsewhere = error && (error.code !== "BAD_FIELD" || said[""]);
  return html`<${Panel} title=${labelOf(name)} id="key-${name}">
    <form onSubmit=${(event) => (event.preventDefault(), save())}>
      <div class="fields">
        ${Object.keys(fields).map((field) => html`<${Setting}
          path=${pathOf(field)}
          schema=${fields[field]}
          value=${field in edits ? edits[field] : saved[field]}
          active=${active[field]}
          said=${said[pathOf(field)]}
          onValue=${(value) => setEdits({ ...edits, [field]: value })}
        />`)}
      </div>
      <div class="row">
        <button class="main" aria-busy=${busy} disabled=${busy || !changed.length || misfits}>${t("settings.save")}</button>
        ${changed.length > 0 && html`<button type="button" onClick=${() => setEdits({})}>${t("settings.undo")}</button>`}
        ${done && !changed.length && html`<span class="done" role="status">${t("settings.saved")}</span>`}
      </div>
      ${elsewhere && html`<${Problem} error=${error} />`}
    </form>
  <//>`;
}

function Files({ areas, again }) {
  const [given, setGiven] = useState(null);
  const [notices, setNotices] = useState([]);
  const save = async () => {
    const { settings } = await post("cmd/settings/export/");
    download(`${areas.saved.ethernet.hostname}-settings.json`, JSON.stringify(settings, null, 2), "application/json");
  };
  const [pick, , wrong] = useAction(async (file) => {
    setNotices([]);
    setGiven(null);
    if (!file) return;
    try {
      setGiven(JSON.parse(await file.text()));
    } catch {
      throw new Said(t("import.none"));
    }
  });
  const take = async () => {
    const answer = await post("cmd/settings/import/", { settings: given });
    setGiven(null);
    setNotices(answer.notices ?? []);
    await again();
  };
  const reset = async () => {
    await post("cmd/settings/reset/");
    await again();
  };
  const changes = given ? changesOf(given, areas.saved) : [];
  return html`<${Panel} title=${t("export.title")}><p class="dim">${t("export.help")}</p>
      <div class="row"><${Act} kind="main" label=${t("export.do")} what=${save} done=${t("done")} /></div><//>
    <${Panel} title=${t("import.title")}>
      <label class="drop"><span>${t("import.pick")}</span><input type="file" accept=".json,application/json" onChange=${(event) => pick(event.target.files[0])} /></label>
      <${Problem} error=${wrong} />
      ${given && html`<h3>${t("import.changes", { count: changes.length })}</h3>
        <div class="scroll"><table><thead><tr><th>${t("import.field")}</th><th>${t("import.old")}</th><th>${t("import.new")}</th></tr></thead>
          <tbody>${changes.map(([path, old, now]) => html`<tr><td><code>${path}</code></td><td class="text">${shown(old)}</td><td class="text">${shown(now)}</td></tr>`)}</tbody></table></div>
        <div class="row"><${Act} kind="main" label=${t("import.do")} what=${take} /><button onClick=${() => setGiven(null)}>${t("import.drop")}</button></div>`}
      ${notices.map((notice) => html`<p class="notice warn">${notice}</p>`)}
    <//>
    <${Panel} title=${t("reset.title")}><p class="dim">${t("reset.help")}</p>
      <div class="row"><${Act} kind="danger" label=${t("reset.do")} sure=${t("reset.sure")} what=${reset} done=${t("reset.done")} /></div><//>`;
}

const shown = (value) => (value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

/** [path, old, new] of what an import would change. */
function changesOf(given, saved) {
  const found = [];
  for (const [key, value] of Object.entries(given)) {
    if (key === "format") continue;
    const parts = value && typeof value === "object" && !Array.isArray(value) && saved[key] ? Object.entries(value).map(([field, one]) => [`${key}.${field}`, saved[key][field], one]) : [[key, saved[key], value]];
    found.push(...parts.filter(([, old, now]) => JSON.stringify(old) !== JSON.stringify(now)));
  }
  return found;
}
