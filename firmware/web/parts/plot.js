// A plot of some values over time, drawn as SVG: small, sharp at any size, in the page's colours.

import { useEffect, useRef, useState } from "../lib/hooks.js";
import { t } from "../texts.js";
import { html } from "../ui.js";

const LEFT = 46;
const BOTTOM = 20;
const TICK_PX = [90, 34]; // least distance of two ticks, across and up
const STEPS_SEC = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];

/** `series` are the names, `data` [seconds, values, ...], null where there is none; `label` says it all in words. */
export function Plot({ series, data, low, high, label, height = 180 }) {
  const box = useRef(null);
  const [width, setWidth] = useState(600);
  const [at, setAt] = useState(null);
  useEffect(() => {
    if (!box.current) return undefined;
    const watcher = new ResizeObserver(([entry]) => setWidth(Math.max(200, entry.contentRect.width)));
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  const [times, ...lists] = data;
  const { x, y, across, up } = scales(times, lists.flat(), low, high, width, height);
  const point = (event) => {
    const px = event.clientX - box.current.getBoundingClientRect().left;
    setAt(times.length ? times.reduce((best, time, index) => (Math.abs(x(time) - px) < Math.abs(x(times[best]) - px) ? index : best), 0) : null);
  };
  const shown = at !== null && at < times.length ? at : times.length - 1;
  return html`<figure class="plot">
    <div ref=${box}><svg width=${width} height=${height} role="img" aria-label=${label} onPointerMove=${point} onPointerLeave=${() => setAt(null)}>
      ${up.map((value) => html`<path class="grid" d="M${LEFT} ${y(value)}H${width}" /><text x=${LEFT - 6} y=${y(value) + 4} text-anchor="end">${+value.toPrecision(6)}</text>`)}
      ${across.map((time) => html`<path class="grid" d="M${x(time)} 4V${height - BOTTOM}" /><text x=${x(time)} y=${height - 4} text-anchor="middle">${clock(time, across[1] - across[0])}</text>`)}
      ${lists.map((list, index) => html`<path class="series s${index % 6}" d=${line(times, list, x, y)} />`)}
      ${at !== null && times.length > 0 && html`<path class="cursor" d="M${x(times[shown])} 4V${height - BOTTOM}" />`}
    </svg></div>
    <figcaption>
      ${series.map((name, index) => html`<span><i class="s${index % 6}"></i>${name}: <b>${value(lists[index][shown])}</b></span>`)}
      ${at !== null && times.length > 0 && html`<time>${new Date(times[shown] * 1000).toLocaleTimeString()}</time>`}
      ${!times.length && t("plot.none")}
    </figcaption>
  </figure>`;
}

const value = (given) => (given === null || given === undefined ? "–" : +given.toPrecision(6));

function clock(time, step) {
  const text = new Date(time * 1000).toTimeString();
  return step < 60 ? text.slice(0, 8) : text.slice(0, 5);
}

function scales(times, values, low, high, width, height) {
  const known = values.filter((one) => one !== null && one !== undefined);
  const top = Math.max(...known, high ?? -Infinity);
  const bottom = Math.min(...known, low ?? Infinity);
  const pad = (top - bottom) * 0.05 || Math.abs(top) * 0.05 || 1;
  const [from, to] = Number.isFinite(top) ? [low ?? bottom - pad, Math.max(high ?? top + pad, top + (known.length ? pad : 0))] : [0, 1];
  const end = times[times.length - 1] ?? 0;
  const start = Math.min(times[0] ?? 0, end - 60);
  const x = (time) => Math.round(LEFT + ((time - start) / (end - start)) * (width - LEFT - 2)) + 0.5;
  const y = (one) => height - BOTTOM - ((one - from) / (to - from)) * (height - BOTTOM - 8);
  const rough = ((to - from) * TICK_PX[1]) / height;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((count) => count * ten).find((one) => one >= rough);
  const least = ((end - start) * TICK_PX[0]) / width;
  const sec = STEPS_SEC.find((one) => one >= least) ?? 14400;
  return { x, y, across: times.length ? ticks(start + sec / 4, end - sec / 4, sec) : [], up: ticks(from, to, step) };
}

function ticks(from, to, step) {
  const found = [];
  for (let tick = Math.ceil(from / step - 1e-9) * step; tick <= to + step * 1e-9; tick += step) found.push(tick);
  return found;
}

/** The path of a line, interrupted where there is no value. */
function line(times, values, x, y) {
  let path = "";
  let broken = true;
  times.forEach((time, at) => {
    const one = values[at];
    if (one === null || one === undefined) return (broken = true);
    path += `${broken ? "M" : "L"}${x(time)} ${y(one).toFixed(1)}`;
    return (broken = false);
  });
  return path;
}
