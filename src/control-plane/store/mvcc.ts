/**
 * Mvcc: what is known of every key at every revision that is not compacted. In memory: the newest version of each live key
 * with its value, and of older versions only their numbers; old values are read again from the log. Pure bookkeeping: it
 * neither reads nor writes storage.
 *
 * Each revision is one write of one key. `keys` remembers which, for what is not compacted: watches that start in the past,
 * reads at a revision and compaction all walk along it instead of over the whole key space.
 */
import type { KeyValue } from "#ports/store.ts";
import type { Bytes } from "#ports/stream.ts";
import { orderKey } from "./key-order.ts";
import { OrderedMap } from "./ordered-map.ts";
import { encodeLogKey, type LogRow, type Version } from "./row.ts";

/** One write, ready to be applied. Without `now`: a delete. */
export interface Write {
  readonly revision: number;
  readonly key: string;
  readonly order: string;
  readonly now: KeyValue | undefined;
}

/** A version of a key as it was: its value at hand, or in the log. */
export type Found = KeyValue | (Version & { readonly key: string });
export const isAtHand = (found: Found): found is KeyValue => "value" in found;

export interface FoundRange {
  readonly items: readonly Found[];
  readonly remaining: number;
}

/** Numbers of old versions, three each: revision, created, lease; oldest first. */
type Versions = number[];
const width = 3;

export class Mvcc {
  /** Of the newest write. The first put is revision 2, as in etcd. */
  revision = 1;
  /** Reads below it are refused. */
  compacted = 0;
  readonly live = new OrderedMap<KeyValue>();
  /** Keys that are deleted now and yet have history. */
  readonly #dead = new OrderedMap<string>();
  /** Superseded versions, and the tombstone that ends a deleted key. */
  readonly #past = new Map<string, Versions>();
  /** #keys[i] was written at revision #trimmed + 1 + i. */
  #keys: string[] = [];
  /** Up to this revision history has been forgotten in memory, too; at most `compacted`. */
  #trimmed = 1;

  get isTrimmed(): boolean {
    return this.#trimmed >= Math.min(this.compacted, this.revision);
  }

  /** Revisions must come without a gap. Returns what the key was before. */
  apply(write: Write): KeyValue | undefined {
    const { revision, key, order, now } = write;
    const before = now === undefined ? this.live.delete(order) : this.live.set(order, now);
    if (before !== undefined)
      this.#supersede(key, before.modified, before.created, before.lease ?? 0);
    if (now === undefined) {
      this.#supersede(key, revision, 0, 0);
      this.#dead.set(order, key);
    } else if (before === undefined && this.#past.has(key)) this.#dead.delete(order);
    this.#keys.push(key);
    this.revision = revision;
    return before;
  }

  /**
   * Takes a row of the log back in at start; rows come in the order of their revisions. Returns the storage keys of rows that
   * compaction should have removed and did not come to.
   */
  load(row: LogRow, value: Bytes): readonly Bytes[] {
    const { revision, key } = row;
    const order = orderKey(key);
    const now = row.created === 0 ? undefined : keyValue(row, value);
    if (revision > this.compacted) {
      if (revision !== this.revision + 1)
        throw new Error(
          `the store's log lacks revision ${this.revision + 1}: the data is damaged; restore it from a backup`,
        );
      this.apply({ revision, key, order, now });
      return [];
    }
    const before = now === undefined ? this.live.delete(order) : this.live.set(order, now);
    const garbage: Bytes[] = [];
    if (before !== undefined) garbage.push(logKey(key, versionOf(before)));
    if (now === undefined) garbage.push(logKey(key, row));
    return garbage;
  }

  /** What was compacted is known: call it before the first load(). */
  startAt(compacted: number): void {
    this.compacted = compacted;
    this.revision = Math.max(1, compacted);
    this.#trimmed = this.revision;
  }

  /** The key as of a revision that is not compacted. */
  at(key: string, order: string, revision: number): Found | undefined {
    const now = this.live.get(order);
    if (now !== undefined && now.modified <= revision) return now;
    return pick(key, this.#past.get(key), revision);
  }

  /** The range as of a revision that is not compacted; as of the newest, ask `live`. */
  rangeAt(from: string, to: string, revision: number, limit: number): FoundRange {
    const items: Found[] = [];
    const living = this.live.cursor(from, to);
    const dead = this.#dead.cursor(from, to);
    while (items.length < limit && (living.key !== undefined || dead.key !== undefined)) {
      let found: Found | undefined;
      if (dead.key === undefined || (living.key !== undefined && living.key < dead.key)) {
        const now = living.value as KeyValue;
        found = now.modified <= revision ? now : pick(now.key, this.#past.get(now.key), revision);
        living.next();
      } else {
        const key = dead.value as string;
        found = pick(key, this.#past.get(key), revision);
        dead.next();
      }
      if (found !== undefined) items.push(found);
    }
    if (items.length < limit) return { items, remaining: 0 };
    return { items, remaining: this.#countAt(from, to, revision) - items.length };
  }

  /** The key that a revision wrote; undefined if it is compacted or not there yet. */
  keyWrittenAt(revision: number): string | undefined {
    return this.#keys[revision - this.#trimmed - 1];
  }

  /**
   * Forgets what compaction made unreachable, at most `revisionsMax` revisions of it, and returns the storage keys of the
   * rows that are garbage now: of each revision, what it superseded, and itself if it was a delete.
   */
  trim(revisionsMax: number): readonly Bytes[] {
    const garbage: Bytes[] = [];
    const end = Math.min(this.compacted, this.revision, this.#trimmed + revisionsMax);
    const count = Math.max(0, end - this.#trimmed);
    for (let index = 0; index < count; index += 1)
      this.#trimOne(this.#keys[index] as string, this.#trimmed + 1 + index, garbage);
    this.#keys.splice(0, count);
    this.#trimmed += count;
    return garbage;
  }

  #trimOne(key: string, revision: number, garbage: Bytes[]): void {
    const versions = this.#past.get(key);
    if (versions === undefined) return;
    let at = 0;
    for (; at < versions.length && (versions[at] as number) < revision; at += width)
      garbage.push(logKey(key, versionAt(versions, at)));
    if (versions[at] === revision && versions[at + 1] === 0) {
      garbage.push(logKey(key, versionAt(versions, at)));
      at += width;
    }
    if (at < versions.length) {
      versions.splice(0, at);
      return;
    }
    this.#past.delete(key);
    this.#dead.delete(orderKey(key));
  }

  #supersede(key: string, revision: number, created: number, lease: number): void {
    const versions = this.#past.get(key);
    if (versions === undefined) this.#past.set(key, [revision, created, lease]);
    else versions.push(revision, created, lease);
  }

  /** Counts back from now along what was written since, or over the range if that is shorter. */
  #countAt(from: string, to: string, revision: number): number {
    const now = this.live.count(from, to);
    let count = 0;
    if (this.revision - revision > now + this.#dead.count(from, to)) {
      for (const item of this.live.slice(from, to))
        if (item.modified <= revision || pick(item.key, this.#past.get(item.key), revision))
          count += 1;
      for (const key of this.#dead.slice(from, to))
        if (pick(key, this.#past.get(key), revision)) count += 1;
      return count;
    }
    const seen = new Set<string>();
    count = now;
    for (let at = revision - this.#trimmed; at < this.#keys.length; at += 1) {
      const key = this.#keys[at] as string;
      if (seen.has(key)) continue;
      seen.add(key);
      const order = orderKey(key);
      if (order < from || order >= to) continue;
      const then = pick(key, this.#past.get(key), revision) !== undefined;
      count += Number(then) - Number(this.live.has(order));
    }
    return count;
  }
}

export function keyValue(version: LogRow, value: Bytes): KeyValue {
  const { key, created, revision: modified, lease } = version;
  return lease === 0 ? { key, value, created, modified } : { key, value, created, modified, lease };
}

const versionOf = (item: KeyValue): Version => ({
  revision: item.modified,
  created: item.created,
  lease: item.lease ?? 0,
});

const versionAt = (versions: Versions, at: number): Version => ({
  revision: versions[at] as number,
  created: versions[at + 1] as number,
  lease: versions[at + 2] as number,
});

/** The newest of the old versions at or below a revision; undefined if the key was not there then. */
function pick(key: string, versions: Versions | undefined, revision: number): Found | undefined {
  if (versions === undefined) return undefined;
  let low = 0;
  let high = versions.length / width;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((versions[middle * width] as number) <= revision) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return undefined;
  const version = versionAt(versions, (low - 1) * width);
  return version.created === 0 ? undefined : { key, ...version };
}

/** The storage key of a row whose key was short enough when it was written. */
export function logKey(key: string, version: Version): Bytes {
  const bytes = encodeLogKey(version, key);
  if (bytes === undefined) throw new Error(`the log holds a key that is too long: ${key}`);
  return bytes;
}
