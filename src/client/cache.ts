/**
 * Cache: the objects of one kind by key, with indexes. What an informer fills and everybody in the
 * process reads: the same frozen objects as the server's where both share a process. Nobody but its
 * informer writes it.
 */
import { type ApiObject, keyOf, type Stored } from "#machinery/meta.ts";

/** The values under which an object is found in an index. */
export type IndexBy<T extends ApiObject> = (object: Stored<T>) => readonly string[];

/** What readers see. */
export interface Lister<T extends ApiObject> {
  get(key: string): Stored<T> | undefined;
  /** In insertion order; live: do not keep it across an await. */
  list(): Iterable<Stored<T>>;
  /** Throws if there is no such index: that is a bug. */
  byIndex(index: string, value: string): readonly Stored<T>[];
  readonly size: number;
}

/** The index that every cache has. */
export const namespaceIndex = "namespace";

const inNamespace = (object: ApiObject): readonly string[] => [object.metadata.namespace ?? ""];

class Index<T extends ApiObject> {
  readonly #by: IndexBy<T>;
  readonly #keys = new Map<string, Map<string, Stored<T>>>();
  constructor(by: IndexBy<T>) {
    this.#by = by;
  }
  change(key: string, old: Stored<T> | undefined, now: Stored<T> | undefined): void {
    if (old !== undefined) {
      for (const value of this.#by(old)) {
        const at = this.#keys.get(value);
        at?.delete(key);
        if (at?.size === 0) this.#keys.delete(value);
      }
    }
    if (now === undefined) return;
    for (const value of this.#by(now)) {
      const at = this.#keys.get(value);
      if (at === undefined) this.#keys.set(value, new Map([[key, now]]));
      else at.set(key, now);
    }
  }
  get(value: string): readonly Stored<T>[] {
    return [...(this.#keys.get(value)?.values() ?? [])];
  }
}

export class Cache<T extends ApiObject> implements Lister<T> {
  readonly #objects = new Map<string, Stored<T>>();
  readonly #indexes = new Map<string, Index<T>>();

  constructor(indexes: Readonly<Record<string, IndexBy<T>>> = {}) {
    this.addIndex(namespaceIndex, inNamespace);
    for (const [name, by] of Object.entries(indexes)) this.addIndex(name, by);
  }
  /** Fine if it is there already: one name means one function. */
  addIndex(name: string, by: IndexBy<T>): void {
    if (this.#indexes.has(name)) return;
    const index = new Index(by);
    for (const [key, object] of this.#objects) index.change(key, undefined, object);
    this.#indexes.set(name, index);
  }
  get size(): number {
    return this.#objects.size;
  }
  get(key: string): Stored<T> | undefined {
    return this.#objects.get(key);
  }
  list(): Iterable<Stored<T>> {
    return this.#objects.values();
  }
  keys(): Iterable<string> {
    return this.#objects.keys();
  }
  byIndex(index: string, value: string): readonly Stored<T>[] {
    const known = this.#indexes.get(index);
    if (known === undefined) throw new Error(`there is no index "${index}"; add it before use`);
    return known.get(value);
  }
  /** Gives what was there before. */
  put(object: Stored<T>): Stored<T> | undefined {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    this.#objects.set(key, object);
    for (const index of this.#indexes.values()) index.change(key, old, object);
    return old;
  }
  remove(key: string): Stored<T> | undefined {
    const old = this.#objects.get(key);
    if (old === undefined) return undefined;
    this.#objects.delete(key);
    for (const index of this.#indexes.values()) index.change(key, old, undefined);
    return old;
  }
}
