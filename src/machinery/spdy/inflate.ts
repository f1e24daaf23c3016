/**
 * zlib for SPDY header blocks: one stream per direction, primed with the dictionary, a sync flush
 * after every block. Inflating is whole; deflating stores, since a header block is some hundred bytes.
 * Pure and synchronous, so that both ends of a connection run anywhere.
 */
import { adler32, headerDictionary } from "./dictionary.ts";

/** The peer's compressed header block is not what zlib allows; the connection cannot go on. */
export class InflateError extends Error {
  constructor(message: string) {
    super(`cannot decompress SPDY headers: ${message}`);
    this.name = "InflateError";
  }
}

const windowBytes = 32_768;
const storedBytesMax = 65_535;
const codeBitsMax = 15;

interface Huffman {
  /** Codes of each length. */
  readonly counts: Uint16Array;
  /** Symbols in the order of their codes. */
  readonly symbols: Uint16Array;
}

function huffman(lengths: readonly number[]): Huffman {
  const counts = new Uint16Array(codeBitsMax + 1);
  for (const length of lengths) counts[length] = (counts[length] ?? 0) + 1;
  let left = 1;
  for (let bits = 1; bits <= codeBitsMax; bits++) {
    left = left * 2 - (counts[bits] ?? 0);
    if (left < 0) throw new InflateError("over-subscribed code");
  }
  const offsets = new Uint16Array(codeBitsMax + 2);
  for (let bits = 1; bits <= codeBitsMax; bits++) {
    offsets[bits + 1] = (offsets[bits] ?? 0) + (counts[bits] ?? 0);
  }
  const symbols = new Uint16Array(lengths.length);
  lengths.forEach((length, symbol) => {
    if (length === 0) return;
    const at = offsets[length] ?? 0;
    symbols[at] = symbol;
    offsets[length] = at + 1;
  });
  counts[0] = 0;
  return { counts, symbols };
}

const repeated = (count: number, value: number): number[] => Array<number>(count).fill(value);
const fixedLiterals = huffman([
  ...repeated(144, 8),
  ...repeated(112, 9),
  ...repeated(24, 7),
  ...repeated(8, 8),
]);
const fixedDistances = huffman(repeated(30, 5));

const lengthBase = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
  163, 195, 227, 258,
];
const lengthExtra = [
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const distanceBase = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
  3073, 4097, 6145, 8193, 12_289, 16_385, 24_577,
];
const codeLengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

class BitReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #bits = 0;
  #count = 0;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }
  get exhausted(): boolean {
    return this.#at >= this.#bytes.length;
  }
  take(count: number): number {
    while (this.#count < count) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw new InflateError("block cut short");
      this.#at += 1;
      this.#bits |= byte << this.#count;
      this.#count += 8;
    }
    const value = this.#bits & ((1 << count) - 1);
    this.#bits >>>= count;
    this.#count -= count;
    return value;
  }
  alignToByte(): void {
    this.#bits = 0;
    this.#count = 0;
  }
  bytes(count: number): Uint8Array {
    if (this.#at + count > this.#bytes.length) throw new InflateError("stored block cut short");
    const bytes = this.#bytes.subarray(this.#at, this.#at + count);
    this.#at += count;
    return bytes;
  }
  symbol(code: Huffman): number {
    let value = 0;
    let first = 0;
    let index = 0;
    for (let bits = 1; bits <= codeBitsMax; bits++) {
      value |= this.take(1);
      const count = code.counts[bits] ?? 0;
      if (value - first < count) return code.symbols[index + value - first] ?? 0;
      index += count;
      first = (first + count) << 1;
      value <<= 1;
    }
    throw new InflateError("unknown code");
  }
}

/** What was inflated so far (its last 32 KiB) and what is being inflated now. */
class Output {
  #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;
  #at: number;

  constructor(window: Uint8Array, lengthMax: number) {
    this.#bytes = new Uint8Array(window.length + 4096);
    this.#bytes.set(window);
    this.#start = window.length;
    this.#at = window.length;
    this.#end = window.length + lengthMax;
  }
  #grow(by: number): void {
    if (this.#at + by > this.#end) throw new InflateError("header block too large");
    if (this.#at + by <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + by));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
  put(bytes: Uint8Array): void {
    this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }
  putByte(byte: number): void {
    this.#grow(1);
    this.#bytes[this.#at] = byte;
    this.#at += 1;
  }
  copy(distance: number, length: number): void {
    if (distance > this.#at) throw new InflateError("distance too far back");
    this.#grow(length);
    for (let i = 0; i < length; i++) {
      this.#bytes[this.#at] = this.#bytes[this.#at - distance] ?? 0;
      this.#at += 1;
    }
  }
  result(): Uint8Array {
    return this.#bytes.slice(this.#start, this.#at);
  }
  window(): Uint8Array {
    return this.#bytes.slice(Math.max(0, this.#at - windowBytes), this.#at);
  }
}

function readDynamicCodes(input: BitReader): readonly [Huffman, Huffman] {
  const literals = input.take(5) + 257;
  const distances = input.take(5) + 1;
  const codes = input.take(4) + 4;
  const codeLengths = repeated(19, 0);
  for (let i = 0; i < codes; i++) codeLengths[codeLengthOrder[i] ?? 0] = input.take(3);
  const code = huffman(codeLengths);
  const lengths: number[] = [];
  while (lengths.length < literals + distances) {
    const symbol = input.symbol(code);
    if (symbol < 16) {
      lengths.push(symbol);
      continue;
    }
    const value = symbol === 16 ? lengths.at(-1) : 0;
    if (value === undefined) throw new InflateError("repeat of nothing");
    const [bits, base] = symbol === 16 ? [2, 3] : symbol === 17 ? [3, 3] : [7, 11];
    lengths.push(...repeated(base + input.take(bits), value));
  }
  if (lengths.length > literals + distances) throw new InflateError("too many code lengths");
  return [huffman(lengths.slice(0, literals)), huffman(lengths.slice(literals))];
}

function inflateCodes(input: BitReader, output: Output, literals: Huffman, distances: Huffman) {
  for (;;) {
    const symbol = input.symbol(literals);
    if (symbol < 256) {
      output.putByte(symbol);
      continue;
    }
    if (symbol === 256) return;
    const base = lengthBase[symbol - 257];
    if (base === undefined) throw new InflateError("unknown length code");
    const length = base + input.take(lengthExtra[symbol - 257] ?? 0);
    const code = input.symbol(distances);
    const from = distanceBase[code];
    if (from === undefined) throw new InflateError("unknown distance code");
    output.copy(from + input.take(code < 4 ? 0 : (code >> 1) - 1), length);
  }
}

function inflateBlock(input: BitReader, output: Output): void {
  const last = input.take(1);
  const type = input.take(2);
  if (last === 1) throw new InflateError("the stream ended");
  if (type === 0) {
    input.alignToByte();
    const [a = 0, b = 0, c = 0, d = 0] = input.bytes(4);
    const length = a + b * 256;
    if (length !== 65_535 - c - d * 256) throw new InflateError("stored length is damaged");
    output.put(input.bytes(length));
  } else if (type === 1) {
    inflateCodes(input, output, fixedLiterals, fixedDistances);
  } else if (type === 2) {
    const [literals, distances] = readDynamicCodes(input);
    inflateCodes(input, output, literals, distances);
  } else {
    throw new InflateError("unknown block type");
  }
}

/** One direction of a connection; each call takes one whole, sync-flushed header block. */
export class HeaderInflater {
  #window: Uint8Array | undefined;

  inflate(block: Uint8Array, lengthMax: number): Uint8Array {
    let at = 0;
    if (this.#window === undefined) {
      at = this.#readZlibHeader(block);
      this.#window = headerDictionary;
    }
    const input = new BitReader(block, at);
    const output = new Output(this.#window, lengthMax);
    while (!input.exhausted) inflateBlock(input, output);
    this.#window = output.window();
    return output.result();
  }

  #readZlibHeader(block: Uint8Array): number {
    const [method = 0, flags = 0, a = 0, b = 0, c = 0, d = 0] = block;
    if ((method & 15) !== 8 || (method * 256 + flags) % 31 !== 0) {
      throw new InflateError("no zlib header");
    }
    if ((flags & 32) === 0) return 2;
    const named = ((a * 256 + b) * 256 + c) * 256 + d;
    if (named !== adler32(headerDictionary)) throw new InflateError("unknown dictionary");
    return 6;
  }
}

/** The other direction: stored blocks, ended by the empty one that a sync flush ends with. */
export class HeaderDeflater {
  #started = false;

  deflate(block: Uint8Array): Uint8Array {
    if (block.length > storedBytesMax) throw new Error("a SPDY header block is at most 64 KiB");
    const head: number[] = [];
    if (!this.#started) {
      this.#started = true;
      const sum = adler32(headerDictionary);
      head.push(0x78, 0x20, sum >>> 24, (sum >>> 16) & 255, (sum >>> 8) & 255, sum & 255);
    }
    const { length } = block;
    head.push(0, length & 255, length >> 8, ~length & 255, (~length >> 8) & 255);
    const out = new Uint8Array(head.length + length + 5);
    out.set(head);
    out.set(block, head.length);
    // Upstream: Go's reader hands out a stored block only when the following empty one flushes it.
    out.set([0, 0, 0, 255, 255], head.length + length);
    return out;
  }
}
