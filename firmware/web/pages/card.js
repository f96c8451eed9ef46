// The SD card: its folders and files, in both directions.

import { useEffect, useRef, useState as useLocal } from "../lib/hooks.js";
import { signal } from "../lib/signals.js";
import { post } from "../api.js";
import { hold } from "../session.js";
import { state, useState } from "../state.js";
import { bytes, t } from "../texts.js";
import { fetchFile, upload } from "../transfers.js";
import { Act, Panel, Problem, Progress, Scroll, download, html, useAction, words } from "../ui.js";

const PAGE = 200;

/** The transfers under way and those that failed: they go on while other pages are open. */
const transfers = signal([]);
let lastTransfer = 0;
const listeners = new Set();

/**
 * Uploads that are not whole yet, {path, size, modified}: kept over a reload of the page, which loses the file itself.
 * They live with the tab as its session does, since the device lets nobody else go on with them.
 */
const unfinished = signal(JSON.parse(sessionStorage.getItem("uploads") ?? "[]"));
const remember = (list) => sessionStorage.setItem("uploads", JSON.stringify((unfinished.value = list)));
const forget = (path) => remember(unfinished.value.filter((one) => one.path !== path));

/** Upload a file, from where an earlier upload of the same file to the same place has ended. */
function send(file, path) {
  const own = { path, size: file.size, modified: file.lastModified };
  const resumes = unfinished.value.some((one) => JSON.stringify(one) === JSON.stringify(own));
  remember([...unfinished.value.filter((one) => one.path !== path), own]);
  begin(file.name, async (abort, told) => {
    abort.addEventListener("abort", () => forget(path));
    await upload(file, path, resumes, abort, told);
    forget(path);
  }, path);
}

/** Begin a transfer; `work(signal, told)` does it. An upload has the path that it goes to. */
async function begin(name, work, path = null) {
  const abort = new AbortController();
  const own = { id: ++lastTransfer, name, path, done: 0, total: 1, error: null, stop: () => abort.abort() };
  const change = (news) => {
    Object.assign(own, news);
    transfers.value = transfers.value.map((one) => (one.id === own.id ? { ...own } : one));
  };
  transfers.value = [...transfers.value, own];
  const release = hold();
  const leave = () => (transfers.value = transfers.value.filter((one) => one.id !== own.id));
  own.leave = leave;
  try {
    await work(abort.signal, change);
    leave();
  } catch (error) {
    if (abort.signal.aborted) leave();
    else change({ error });
  }
  release();
  for (const listener of listeners) listener();
}

const joined = (folder, name) => (folder === "/" ? "/" : folder + "/") + name;

export default function Card() {
  useState("card");
  const [folder, setFolder] = useLocal("/");
  const [items, setItems] = useLocal(null);
  const [total, setTotal] = useLocal(0);
  const [load, busy, error] = useAction(async (from = 0) => {
    const answer = await post("card/dir/", { path: folder, fromIdx: from, toIdx: from + PAGE - 1 });
    setTotal(answer.total);
    setItems(from ? [...(items ?? []), ...answer.items] : answer.items);
  });
  const again = useRef(null);
  again.current = () => load();
  useEffect(() => void (setItems(null), load()), [folder]);
  useEffect(() => {
    const listener = () => again.current();
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  const take = (files) => {
    for (const file of files) send(file, joined(folder, file.name));
  };
  const card = state.value.card;
  return html`<h1 class="unseen">${t("nav.card")}</h1>
    <${Panel} title=${t("nav.card")} actions=${html`
        ${card?.mounted && html`<span class="dim">${t("card.room", { free: bytes(card.freeBytes), total: bytes(card.totalBytes) })}</span>`}
        <${Act} label=${t("card.eject")} sure=${t("card.eject.sure")} what=${() => post("cmd/memory/card_eject").then(() => setItems([]))} done=${t("card.eject.done")} />
        <button onClick=${() => load()} aria-busy=${busy}>${t("card.again")}</button>`}>
      <${Crumbs} folder=${folder} go=${setFolder} />
      <${Problem} error=${error} />
      <${Drop} take=${take} />
      ${unfinished.value.filter(({ path }) => !transfers.value.some((one) => one.path === path)).map((one) => html`<${Unfinished} key=${one.path} one=${one} go=${setFolder} />`)}
      <${Scroll} label=${t("card.list")}>
        <table class="cards">
          <thead><tr><th>${t("card.name")}</th><th class="n">${t("card.bytes")}</th><th>${t("card.date")}</th><th></th></tr></thead>
          <tbody>${(items ?? []).map((item) => html`<${Item} key=${item.name} item=${item} folder=${folder} go=${setFolder} again=${load} />`)}</tbody>
        </table>
      <//>
      ${items?.length === 0 && html`<p class="empty">${t("card.empty")}</p>`}
      ${items && items.length < total && html`<div class="row"><button onClick=${() => load(items.length)}>${t("card.more", { count: total - items.length })}</button></div>`}
    <//>
    ${transfers.value.length > 0 && html`<${Panel} title=${t("card.transfers")}>${transfers.value.map((one) => html`<${Transfer} key=${one.id} one=${one} />`)}<//>`}`;
}

function Crumbs({ folder, go }) {
  const parts = folder.split("/").filter(Boolean);
  return html`<nav class="crumbs" aria-label=${t("card.path")}>
    <button class="quiet" onClick=${() => go("/")}>/</button>
    ${parts.map((part, at) => html`<button class="quiet" onClick=${() => go("/" + parts.slice(0, at + 1).join("/"))}>${part}</button>${at < parts.length - 1 && "/"}`)}
  </nav>`;
}

function Drop({ take }) {
  const [over, setOver] = useLocal(false);
  const stop = (event) => (event.preventDefault(), setOver(event.type === "dragover"));
  const drop = (event) => (stop(event), take([...event.dataTransfer.files]));
  return html`<label class="drop ${over ? "over" : ""}" onDragOver=${stop} onDragLeave=${stop} onDrop=${drop}>
    <span>${t("card.drop")}</span>
    <input type="file" multiple onChange=${(event) => (take([...event.target.files]), (event.target.value = ""))} />
  </label>`;
}

function Unfinished({ one, go }) {
  const folder = one.path.slice(0, one.path.lastIndexOf("/")) || "/";
  return html`<div class="notice row" role="status">
    <span class="text">${t("card.unfinished", { path: one.path, size: bytes(one.size) })}</span>
    <button class="small" onClick=${() => go(folder)}>${t("card.there")}</button>
    <button class="small" onClick=${() => forget(one.path)}>${t("card.giveup")}</button>
  </div>`;
}

function Item({ item, folder, go, again }) {
  const path = joined(folder, item.name);
  const isFolder = item.attrib[0] === "d";
  const get = () => begin(item.name, async (abort, told) => download(item.name, await fetchFile(path, abort, told)));
  const remove = async () => {
    await post("card/remove/", { path, recursive: isFolder });
    again();
  };
  return html`<tr>
    <td class="all"><button class="quiet name" onClick=${() => (isFolder ? go(path) : get())}>${isFolder ? item.name + "/" : item.name}</button></td>
    <td class="n">${isFolder ? "" : bytes(item.size)}</td>
    <td>${item.datetime.replace("T", " ")}</td>
    <td class="last"><${Act} small label=${t("card.delete")} sure=${t(isFolder ? "card.delete.folder" : "card.delete.file", { name: item.name })} what=${remove} /></td>
  </tr>`;
}

const Transfer = ({ one }) => html`<div class="row transfer">
  <span class="text">${one.name}</span>
  <${Progress} value=${(100 * one.done) / one.total} label=${one.name} />
  ${one.stalled && html`<span class="warn">${t("card.stalled")}</span>`}
  ${one.error && html`<span class="problem" role="alert">${words(one.error)} <small>${one.error.detail}</small></span>`}
  <button class="small" onClick=${one.error ? one.leave : one.stop}>${t(one.error ? "card.forget" : "card.stop")}</button>
</div>`;
