// SHA-1 (FIPS 180-4) in the page: browsers give crypto.subtle to secure contexts only, and the device speaks plain HTTP.

const rotated = (word, bits) => (word << bits) | (word >>> (32 - bits));

/** Lower-case hexadecimal SHA-1 of a text's UTF-8 bytes. */
export function sha1(text) {
  const bytes = new TextEncoder().encode(text);
  const blocks = new Uint8Array(((bytes.length + 72) >> 6) << 6);
  blocks.set(bytes);
  blocks[bytes.length] = 0x80;
  const view = new DataView(blocks.buffer);
  view.setUint32(blocks.length - 4, bytes.length * 8);
  let state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  for (let at = 0; at < blocks.length; at += 64) state = mixed(state, view, at);
  return state.map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

function mixed(state, view, at) {
  const words = [];
  let [a, b, c, d, e] = state;
  for (let round = 0; round < 80; round++) {
    words.push(
      round < 16
        ? view.getInt32(at + round * 4)
        : rotated(words[round - 3] ^ words[round - 8] ^ words[round - 14] ^ words[round - 16], 1),
    );
    const [f, k] =
      round < 20
        ? [(b & c) | (~b & d), 0x5a827999]
        : round < 40
          ? [b ^ c ^ d, 0x6ed9eba1]
          : round < 60
            ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
            : [b ^ c ^ d, 0xca62c1d6];
    [a, b, c, d, e] = [(rotated(a, 5) + f + e + k + words[round]) | 0, a, rotated(b, 30), c, d];
  }
  return [a, b, c, d, e].map((word, index) => (word + state[index]) | 0);
}
