// A plot of some values over time, in the page's colours.

import { useEffect, useRef } from "../lib/hooks.js";
import uPlot from "../lib/uplot.js";
import { html } from "../ui.js";

const SERIES = ["--plot1", "--plot2", "--plot3", "--plot4", "--plot5", "--plot6"];
const HEIGHT = 180;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** `series` are the labels, `data` [seconds, values, ...]; `unit` stands at the axis; `label` says it all in words. */
export function Plot({ series, data, unit = "", range, label, height = HEIGHT }) {
  const box = useRef(null);
  const plot = useRef(null);
  const key = series.join("\n");
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined; // gone again before it was drawn
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(series, unit, range, element.clientWidth, height), data, element);
    };
    make();
    const watcher = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    watcher.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", make);
    return () => {
      watcher.disconnect();
      scheme.removeEventListener("change", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [key]);
  useEffect(() => plot.current?.setData(data), [data]);
  return html`<figure class="plot">
    <div ref=${box} role="img" aria-label=${label}></div>
    <figcaption>${series.map((name, at) => html`<span><i class="series${(at % SERIES.length) + 1}"></i>${name}</span>`)}</figcaption>
  </figure>`;
}

function options(series, unit, range, width, height) {
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    scales: { y: range ? { range } : { range: (self, low, high) => padded(low, high) } },
    axes: [
      { ...axis, space: 70, values: (self, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString()) },
      { ...axis, size: 52, values: (self, ticks) => ticks.map((tick) => `${+tick.toPrecision(6)}${unit}`) },
    ],
    series: [
      {},
      ...series.map((name, at) => ({ label: name, stroke: colour(SERIES[at % SERIES.length]), width: 1.5, points: { show: false } })),
    ],
  };
}

function padded(low, high) {
  if (low === null || high === null) return [0, 1];
  const pad = (high - low) * 0.1 || Math.abs(high) * 0.1 || 1;
  return [low - pad, high + pad];
}
