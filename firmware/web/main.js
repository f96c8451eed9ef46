// The page's frame: who is at it, where one can go, and the page that is open.

import { createElement, render } from "./lib/preact.js";
import { useEffect, useState as useLocal } from "./lib/hooks.js";
import { signal } from "./lib/signals.js";
import { get, online } from "./api.js";
import { access, endsIn, isNew, level, logout, look, reason, start, used } from "./session.js";
import { refresh } from "./state.js";
import { countdown, language, speak, t } from "./texts.js";
import { Mark, html } from "./ui.js";
import { Login } from "./pages/login.js";
import { Restarting, restarting } from "./parts/restart.js";

const PAGES = {
  overview: () => import("./pages/overview.js"),
  bus: () => import("./pages/bus.js"),
  search: () => import("./pages/search.js"),
  card: () => import("./pages/card.js"),
  settings: () => import("./pages/settings.js"),
  system: () => import("./pages/system.js"),
  start: () => import("./pages/first-start.js"),
};
const MENU = ["overview", "bus", "search", "card", "settings", "system"];
const GUEST_MS = 2000;

const place = () => location.hash.replace(/^#\/?/, "").split("?")[0].split("/");
const where = signal(place());
addEventListener("hashchange", () => (where.value = place()));

function useTicks() {
  const [, tick] = useLocal(0);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, []);
}

let buttonUntil = 0;

function ButtonLeft() {
  useTicks();
  const left = access.value?.buttonSecLeft ?? 0;
  if (Math.abs(buttonUntil - (Date.now() / 1000 + left)) > 2.5) buttonUntil = Date.now() / 1000 + left;
  return html`<time>${countdown(Math.max(0, buttonUntil - Date.now() / 1000))}</time>`;
}

function Level() {
  const why = reason.value;
  const left = access.value?.buttonSecLeft > 0;
  return html`<div class="level" title=${t("level." + why + ".why")}>
    <${Mark} kind=${level.value ? "good" : ""}>${t("level." + level.value)}<//>
    <span>${t("level." + why)}${why === "button" && html` <${ButtonLeft} />`}</span>
    ${why !== "button" && left && html`<span class="warn">${t("level.open")} <${ButtonLeft} /></span>`}
    ${why === "login" && html`<button class="quiet" onClick=${() => logout()}>${t("login.out")}</button>`}
  </div>`;
}

function Languages() {
  const other = language.value === "uk" ? ["en", "ENG", "English"] : ["uk", "УКР", "Українська"];
  return html`<button class="quiet" lang=${other[0]} title=${other[2]} onClick=${() => speak(other[0])}>${other[1]}</button>`;
}

function Menu() {
  useEffect(() => document.querySelector(".top [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" }), [where.value[0]]);
  return html`<nav aria-label=${t("nav")}>
    ${MENU.map((name) => {
      const here = (where.value[0] || MENU[0]) === name;
      return html`<a href="#/${name}" aria-current=${here ? "page" : undefined}>${t("nav." + name)}</a>`;
    })}
  </nav>`;
}

function Notices() {
  return html`<div class="notices" role="status">
    ${!online.value && html`<p class="bad">${t("offline")}</p>`}
    ${endsIn.value !== null &&
    html`<p class="warn">
      ${t("session.ends", { sec: endsIn.value })} <button class="small" onClick=${() => (used(), refresh())}>${t("session.stay")}</button>
    </p>`}
  </div>`;
}

/** Resolves once the device answers. */
async function answers() {
  while (!(await get("version/").catch(() => null))) await new Promise((resolve) => setTimeout(resolve, GUEST_MS));
}

function Open() {
  const name = where.value[0] || MENU[0];
  const [page, setPage] = useLocal(null);
  useEffect(() => {
    let wanted = true;
    setPage(null);
    (PAGES[name] ?? PAGES.overview)().then(
      (module) => {
        if (!wanted) return;
        setPage(() => module.default);
        document.title = `${t("nav." + (name in PAGES ? name : "overview"))} – MC252`;
      },
      () => wanted && answers().then(() => location.reload()), // the firmware, and with it the page's files, is another one
    );
    return () => (wanted = false);
  }, [name, language.value]);
  return page ? createElement(page, { path: where.value.slice(1) }) : html`<p class="loading" aria-busy="true"></p>`;
}

function Frame() {
  const [known, setKnown] = useLocal(false);
  useEffect(() => {
    const ask = () => look().catch(() => {}).then(() => setKnown(true));
    ask();
    const timer = setInterval(() => level.value || ask(), GUEST_MS);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => void (level.value && refresh()), [level.value]);
  if (!known) return html`<p class="loading" aria-busy="true"></p>`;
  const inside = level.value > 0;
  const setUp = inside && isNew.value && where.value[0] === "";
  if (setUp) location.hash = "#/start";
  return html`<a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), document.querySelector("main").focus())}>${t("skip")}</a>
    <header class="top">
      <a class="name" href="#/overview"><img src=${new URL("icon.svg", import.meta.url).href} alt="" width="24" height="24" />MC252</a>
      ${inside && html`<${Menu} />`}
      <div class="who">${inside && html`<${Level} />`}<${Languages} /></div>
    </header>
    <${Notices} />
    <main id="main" tabindex="-1">${restarting.value ? html`<${Restarting} />` : inside ? html`<${Open} />` : html`<${Login} />`}</main>`;
}

start();
render(html`<${Frame} />`, document.body);
