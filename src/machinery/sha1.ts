/** SHA-1, for the one thing that still asks for it: the answer to a websocket handshake. */

const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by));

function padded(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(((message.length + 8) >> 6) * 64 + 64);
  out.set(message);
  out[message.length] = 0x80;
  const bits = message.length * 8;
  for (let i = 0; i < 4; i++) out[out.length - 1 - i] = (bits >>> (8 * i)) & 255;
  return out;
}

function round(turn: number, b: number, c: number, d: number): readonly [number, number] {
  if (turn < 20) return [(b & c) | (~b & d), 0x5a_82_79_99];
  if (turn < 40) return [b ^ c ^ d, 0x6e_d9_eb_a1];
  if (turn < 60) return [(b & c) | (b & d) | (c & d), 0x8f_1b_bc_dc];
  return [b ^ c ^ d, 0xca_62_c1_d6];
}

export function sha1(message: Uint8Array): Uint8Array {
  const bytes = padded(message);
  const view = new DataView(bytes.buffer);
  const state = new Int32Array([
    0x67_45_23_01, 0xef_cd_ab_89, 0x98_ba_dc_fe, 0x10_32_54_76, 0xc3_d2_e1_f0,
  ]);
  const words = new Int32Array(80);
  for (let block = 0; block < bytes.length; block += 64) {
    for (let i = 0; i < 16; i++) words[i] = view.getInt32(block + i * 4);
    for (let i = 16; i < 80; i++) {
      const mixed =
        (words[i - 3] ?? 0) ^ (words[i - 8] ?? 0) ^ (words[i - 14] ?? 0) ^ (words[i - 16] ?? 0);
      words[i] = rotate(mixed, 1);
    }
    let [a = 0, b = 0, c = 0, d = 0, e = 0] = state;
    for (let i = 0; i < 80; i++) {
      const [mixed, constant] = round(i, b, c, d);
      const next = (rotate(a, 5) + mixed + e + constant + (words[i] ?? 0)) | 0;
      [e, d, c, b, a] = [d, c, rotate(b, 30), a, next];
    }
    [a, b, c, d, e].forEach((value, i) => {
      state[i] = ((state[i] ?? 0) + value) | 0;
    });
  }
  const out = new Uint8Array(20);
  const digest = new DataView(out.buffer);
  state.forEach((word, i) => digest.setInt32(i * 4, word));
  return out;
}
