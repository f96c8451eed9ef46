// The device's event stream: read with fetch, since EventSource cannot send the token.

import { authorized, failure, fetched } from "./api.js";

const AGAIN_MS = 2000;

/** Call on(event, data) for each event of some keys until the signal; trouble(error or null) as it comes and goes. */
export async function listen(keys, signal, on, trouble) {
  let last = null;
  while (!signal.aborted) {
    try {
      const headers = { ...authorized(), ...(last ? { "Last-Event-ID": last } : {}) };
      const response = await fetched(`events/?${keys.join("&")}`, { headers, signal, cache: "no-store" });
      if (!response.ok) throw failure(response, await response.text());
      trouble(null);
      last = await readEvents(response.body, on, last);
    } catch (error) {
      if (signal.aborted) return;
      trouble(error);
      if (error.status && error.status < 500) return;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/** Reads to the end of a stream; the id of its last event. */
async function readEvents(body, on, last) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return last;
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) last = told(block, on) ?? last;
    }
  } catch {
    return last;
  }
}

function told(block, on) {
  const event = { event: "message", data: [], id: null };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name === "data") event.data.push(value);
    else if (name) event[name] = value;
  }
  if (event.data.length) on(event.event, JSON.parse(event.data.join("\n")));
  return event.id;
}
