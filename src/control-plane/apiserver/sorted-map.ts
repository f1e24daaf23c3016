/**
 * SortedMap: values by string key, in key order, in chunks small enough that an insertion moves little.
 * The watch cache keeps a kind's objects in one. Keys are compared as JavaScript compares strings; names of API objects are ASCII,
 * so this is also the store's byte order.
 */

const chunkKeysMax = 512;

interface Chunk<V> {
  keys: string[];
  values: V[];
}

export class SortedMap<V> {
  readonly #byKey = new Map<string, V>();
  readonly #chunks: Chunk<V>[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): V | undefined {
    return this.#byKey.get(key);
  }

  set(key: string, value: V): void {
    const known = this.#byKey.has(key);
    this.#byKey.set(key, value);
    if (this.#chunks.length === 0) {
      this.#chunks.push({ keys: [key], values: [value] });
      return;
    }
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at] as Chunk<V>;
    const index = lowerBound(chunk.keys, key);
    if (known) {
      chunk.values[index] = value;
      return;
    }
    chunk.keys.splice(index, 0, key);
    chunk.values.splice(index, 0, value);
    if (chunk.keys.length > chunkKeysMax) {
      const half = chunk.keys.length >> 1;
      const right = { keys: chunk.keys.splice(half), values: chunk.values.splice(half) };
      this.#chunks.splice(at + 1, 0, right);
    }
  }

  delete(key: string): boolean {
    if (!this.#byKey.delete(key)) return false;
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at] as Chunk<V>;
    const index = lowerBound(chunk.keys, key);
    chunk.keys.splice(index, 1);
    chunk.values.splice(index, 1);
    if (chunk.keys.length === 0) this.#chunks.splice(at, 1);
    return true;
  }

  clear(): void {
    this.#byKey.clear();
    this.#chunks.length = 0;
  }

  /** Values with from <= key < to, in order. The map must not change while this is walked. */
  *range(from: string, to: string): Generator<V> {
    if (this.#chunks.length === 0) return;
    for (let at = this.#chunkOf(from); at < this.#chunks.length; at++) {
      const { keys, values } = this.#chunks[at] as Chunk<V>;
      for (let index = lowerBound(keys, from); index < keys.length; index++) {
        if ((keys[index] as string) >= to) return;
        yield values[index] as V;
      }
    }
  }

  /** How many keys there are with from <= key < to. */
  count(from: string, to: string): number {
    if (from >= to) return 0;
    let count = 0;
    for (const { keys } of this.#chunks) {
      const first = keys[0] as string;
      const last = keys[keys.length - 1] as string;
      if (last < from) continue;
      if (first >= to) break;
      count += lowerBound(keys, to) - lowerBound(keys, from);
    }
    return count;
  }

  /** The chunk in which the key is or belongs. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (((this.#chunks[middle] as Chunk<V>).keys[0] as string) <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** The first index whose key is not less than `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
