// The device's event stream: one for the whole page, read with fetch, since EventSource cannot send the token.

import { effect, signal } from "./lib/signals.js";
import { authorized, failure, fetched } from "./api.js";
import { level } from "./session.js";

const AGAIN_MS = 3000;
const GATHER_MS = 20; // a page goes and another one comes: one change
const SILENT_MS = 6000; // the device's uptime is told every second, so a stream without it is a dead one
const ALWAYS = ["access", "system"];

/** Whether events come at the moment: where they do not, whoever wants to know has to ask. */
export const streaming = signal(false);

const followers = new Set();
let open = null; // {query, abort} of the stream that is wanted
let lastId = null; // of the trace, so that a new stream goes on where the one before ended
let timer = null;

/** Have on(event, data) called for what the stream tells of some keys; call the result to end it. */
export function follow(keys, on) {
  const own = { keys, on };
  followers.add(own);
  turn();
  return () => (followers.delete(own), turn());
}

/** Have the stream that fits who follows: none while nobody looks, since a browser has few connections for a device. */
function turn() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const keys = new Set([...followers].flatMap((one) => one.keys));
    if (!keys.has("trace")) lastId = null;
    const query = level.value > 0 && !document.hidden && keys.size ? [...new Set([...ALWAYS, ...keys])].sort().join("&") : null;
    if (query !== (open?.query ?? null)) begin(query);
  }, GATHER_MS);
}

function begin(query) {
  open?.abort.abort();
  streaming.value = false;
  open = query && { query, abort: new AbortController() };
  if (open) keep(query, open.abort.signal);
}

effect(() => (level.value ? turn() : begin(null)));
document.addEventListener("visibilitychange", turn);

/** Read the stream, anew whenever it ends. */
async function keep(query, signal) {
  while (!signal.aborted) {
    await listen(query, signal).catch(() => {}); // whoever asks meanwhile finds out what is wrong
    if (signal.aborted) return;
    streaming.value = false;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function listen(query, signal) {
  const headers = { ...authorized(), ...(lastId ? { "Last-Event-ID": lastId } : {}) };
  const response = await fetched(`events/?${query}`, { headers, signal, cache: "no-store" });
  if (!response.ok) throw failure(response, await response.text());
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const silent = setTimeout(() => reader.cancel(), SILENT_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(silent));
    if (done) return;
    streaming.value = true;
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    blocks.forEach(tell);
  }
}

function tell(block) {
  const event = { event: "message", data: "" };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name) event[name] = value;
  }
  if (event.id) lastId = event.id;
  if (event.data) for (const { on } of [...followers]) on(event.event, JSON.parse(event.data));
}
