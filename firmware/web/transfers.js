// Files to and from the card in blocks, carried on where a connection was lost.

import { ApiError, post } from "./api.js";
import { fromBase64, toBase64 } from "./parts/values.js";

const BLOCK = 1024; // bytes, as the API has it
const AGAIN_MS = 1500;
const TRIES = 40; // a minute without the device

const waits = (error) => error instanceof ApiError && (error.code === "OFFLINE" || ["BUSY", "CARD_BUSY", "TIMEOUT"].includes(error.code));

/** What an action gives, tried again while the device cannot be reached; `stalled` is told so. */
async function persistently(action, signal, stalled) {
  for (let tries = 1; ; tries++) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted || !waits(error) || tries === TRIES) throw error;
      stalled(true);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/**
 * Write a file on the card; `told({done, total, stalled})` after each block. Where it `resumes`, what an earlier upload
 * has brought stays: the device says which block it waits for, the first one where it has forgotten.
 */
export async function upload(file, path, resumes, signal, told) {
  const blockCount = Math.max(1, Math.ceil(file.size / BLOCK));
  const stalled = (is) => told({ done: blockIdx, total: blockCount, stalled: is });
  let blockIdx = resumes && blockCount > 1 ? 1 : 0;
  while (blockIdx < blockCount) {
    const bytes = new Uint8Array(await file.slice(blockIdx * BLOCK, (blockIdx + 1) * BLOCK).arrayBuffer());
    const body = { path, blockIdx, blockCount, data: toBase64(bytes) };
    blockIdx = await persistently(() => write(body, signal), signal, stalled);
    stalled(false);
  }
}

/** Write one block; the number of the next. A block that is not the one awaited says which one is. */
async function write(body, signal) {
  try {
    await post("card/file/write/", body, { signal });
    return body.blockIdx + 1;
  } catch (error) {
    const expected = error.code === "BAD_BLOCK" && /block (\d+) is expected/.exec(error.detail);
    if (!expected || Number(expected[1]) === body.blockIdx) throw error;
    return Number(expected[1]);
  }
}

/** A file of the card as a Blob. */
export async function fetchFile(path, signal, told) {
  const parts = [];
  let total = 1;
  while (parts.length < total) {
    const stalled = (is) => told({ done: parts.length, total, stalled: is });
    const ask = () => post("card/file/read/", { path, blockIdx: parts.length }, { signal });
    const block = await persistently(ask, signal, stalled);
    total = block.blockCount;
    parts.push(fromBase64(block.data));
    stalled(false);
  }
  return new Blob(parts);
}
