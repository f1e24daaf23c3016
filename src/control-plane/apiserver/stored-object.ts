/**
 * StoredObject: one object as of one revision, as the server shows it: the stored bytes, and from them, made when asked for, the
 * frozen object and the encodings. Answers splice the resourceVersion into the stored JSON, so that most reads neither parse nor print.
 */
import type { ApiObject } from "#machinery/meta.ts";
import type { Bytes } from "#ports/stream.ts";

/** How one kind's stored values are read and printed. */
export interface StoredShape {
  /** The bytes with which every value of the storage version begins: `{"kind":"Pod","apiVersion":"v1","metadata":{`. */
  readonly head: Bytes;
  /** Decoded, today's defaults applied, with the resourceVersion, not yet frozen. */
  readonly decode: (value: Bytes, revision: number) => ApiObject;
  /** The value as it is stored: without the resourceVersion. */
  readonly encode: (object: ApiObject) => Bytes;
  readonly freeze: (object: ApiObject) => ApiObject;
  /** Whether decoded objects are worth keeping: somebody in this process works with them. */
  keepsObjects(): boolean;
}

const encoder = new TextEncoder();
const encodedComma = encoder.encode(",");

/** A view of an object in another served version. */
export interface ConvertedView {
  readonly object: ApiObject;
  readonly json: readonly Bytes[];
}

export class StoredObject {
  readonly key: string;
  /** The revision shown as resourceVersion: of the last write, or of the deletion. */
  readonly revision: number;
  readonly value: Bytes;
  readonly #shape: StoredShape;
  #object: ApiObject | undefined;
  #json: readonly Bytes[] | undefined;
  #views: Map<string, ConvertedView> | undefined;
  /** The value was printed by this process, from today's schema. */
  #own: boolean;

  constructor(
    shape: StoredShape,
    stored: { readonly key: string; readonly revision: number; readonly value: Bytes },
    own: boolean,
    object?: ApiObject,
  ) {
    this.#shape = shape;
    this.key = stored.key;
    this.revision = stored.revision;
    this.value = stored.value;
    this.#own = own;
    if (object !== undefined) {
      object.metadata.resourceVersion = String(this.revision);
      this.#object = shape.freeze(object);
    }
  }

  /** Frozen. */
  get object(): ApiObject {
    if (this.#object !== undefined) return this.#object;
    const object = this.#shape.freeze(this.#shape.decode(this.value, this.revision));
    if (this.#shape.keepsObjects()) this.#object = object;
    return object;
  }

  /** Like `object`, but kept until release(): for an event that many watchers match against their selectors. */
  get held(): ApiObject {
    this.#object ??= this.#shape.freeze(this.#shape.decode(this.value, this.revision));
    return this.#object;
  }

  /** A fresh object, not frozen: for a write that starts from this one. */
  thaw(): ApiObject {
    return this.#shape.decode(this.value, this.revision);
  }

  /** Lets the decoded object go if nobody in this process works with the kind; the bytes stay. */
  release(): void {
    if (!this.#shape.keepsObjects()) this.#object = undefined;
  }

  /** JSON in the storage version, in pieces. */
  get json(): readonly Bytes[] {
    this.#json ??= this.#encode();
    return this.#json;
  }

  /** This object in another served version, made once. */
  view(version: string, make: (object: ApiObject) => ConvertedView): ConvertedView {
    this.#views ??= new Map();
    const known = this.#views.get(version);
    if (known !== undefined) return known;
    const made = make(this.object);
    if (this.#shape.keepsObjects()) this.#views.set(version, made);
    return made;
  }

  /** The same state shown with another revision: the last state of a deleted object carries the revision of its deletion. */
  at(revision: number): StoredObject {
    return new StoredObject(this.#shape, { key: this.key, revision, value: this.value }, this.#own);
  }

  #encode(): readonly Bytes[] {
    const { head } = this.#shape;
    let value = this.value;
    if (!this.#own) {
      value = this.#shape.encode(this.#shape.decode(value, this.revision));
      // What an older or another server wrote is printed anew only where it differs from what we would write.
      if (sameBytes(value, this.value)) value = this.value;
    }
    const version = encoder.encode(`"resourceVersion":"${this.revision}"`);
    const rest = value.subarray(head.length);
    return rest[0] === 0x7d ? [head, version, rest] : [head, version, encodedComma, rest];
  }
}

function sameBytes(a: Bytes, b: Bytes): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
