// Registers and bits, read in every usual type and byte order.

const ORDERS = { 1: ["AB", "BA"], 2: ["ABCD", "CDAB", "BADC", "DCBA"], 4: ["ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"] };
const READERS = {
  uint16: [1, (view) => view.getUint16(0)],
  int16: [1, (view) => view.getInt16(0)],
  uint32: [2, (view) => view.getUint32(0)],
  int32: [2, (view) => view.getInt32(0)],
  float32: [2, (view) => Number(view.getFloat32(0).toPrecision(7))],
  uint64: [4, (view) => view.getBigUint64(0)],
  int64: [4, (view) => view.getBigInt64(0)],
  float64: [4, (view) => view.getFloat64(0)],
};

export const TYPES = Object.keys(READERS);

/** Registers that a type takes. */
export const wordsOf = (type) => READERS[type][0];

/** The byte orders of a type, the highest byte first in the first one. */
export const ordersOf = (type) => ORDERS[wordsOf(type)];

/** A value out of bytes as they came, in a byte order whose letters say where each byte belongs. */
export function read(type, bytes, order) {
  const [words, reader] = READERS[type];
  const sorted = new Uint8Array(words * 2);
  [...(order ?? ORDERS[words][0])].forEach((letter, at) => (sorted[letter.charCodeAt(0) - 65] = bytes[at]));
  return reader(new DataView(sorted.buffer));
}

/** All readings of registers with so many words: [{at, order, bytes, values by type}]. */
export function readings(bytes, words) {
  const types = TYPES.filter((type) => wordsOf(type) === words);
  const found = [];
  for (let at = 0; at + words * 2 <= bytes.length; at += 2)
    for (const order of words === 1 ? ["AB"] : ORDERS[words]) {
      const part = bytes.slice(at, at + words * 2);
      found.push({ at: at / 2, order, bytes: part, values: types.map((type) => read(type, part, order)) });
    }
  return { types, found };
}

/** The bytes of a function's answer that are registers, null where it has none. */
export function registersOf(func, data) {
  return [3, 4, 23].includes(func) && data.length > 1 && data[0] === data.length - 1 ? data.slice(1) : null;
}

/** The bits of a function's answer, null where it has none. */
export function bitsOf(func, data, count) {
  if (![1, 2].includes(func) || data.length < 2) return null;
  const bits = [...data.slice(1)].flatMap((byte) => [...Array(8).keys()].map((bit) => (byte >> bit) & 1));
  return bits.slice(0, count ?? bits.length);
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
export const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(" ");
export const spaced = (text) => (text.match(/../g) ?? []).join(" ").toUpperCase();
export const printable = (bytes) => Array.from(bytes, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");

/** Bytes out of hexadecimal digits with or without spaces; null where they are none. */
export function parseHex(text) {
  const digits = text.replace(/0x|[\s,:-]/gi, "");
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** A number as decimal or as 0x hexadecimal; NaN where it is none. */
export const parseNumber = (text) => (/^\s*(0x[0-9a-f]+|-?\d+)\s*$/i.test(text) ? Number(text) : NaN);
