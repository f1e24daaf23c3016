/**
 * Who owns whom: every object that the collector watches, by uid, with its dependents. Pure data;
 * told of changes, asked for consequences.
 */
import type { ApiObject, OwnerReference, Stored } from "#machinery/meta.ts";
import type { DiscoveredKind } from "./discovery.ts";

export const orphanFinalizer = "orphan";
export const foregroundFinalizer = "foregroundDeletion";

export interface Entry {
  readonly uid: string;
  readonly kind: DiscoveredKind;
  readonly namespace: string | undefined;
  readonly name: string;
  owners: readonly OwnerReference[];
  readonly dependents: Set<Entry>;
  deleting: boolean;
  /** Waits, by foreground deletion, for its dependents. */
  deletingDependents: boolean;
  /** Its dependents are to be set free before it goes. */
  orphaning: boolean;
}

/**
 * Owners of an object that itself was not seen yet: their dependents wait here under the owner's
 * uid.
 */
export class OwnerGraph {
  readonly #entries = new Map<string, Entry>();
  readonly #waiting = new Map<string, Set<Entry>>();

  get(uid: string): Entry | undefined {
    return this.#entries.get(uid);
  }
  get size(): number {
    return this.#entries.size;
  }
  /** All that name this uid as an owner, whether or not it is there. */
  dependentsOf(uid: string): readonly Entry[] {
    return [...(this.#entries.get(uid)?.dependents ?? this.#waiting.get(uid) ?? [])];
  }

  set(
    kind: DiscoveredKind,
    object: Stored<ApiObject>,
  ): { readonly entry: Entry; readonly ownersChanged: boolean } {
    const { uid, name, namespace, ownerReferences = [], finalizers = [] } = object.metadata;
    let entry = this.#entries.get(uid);
    const isNew = entry === undefined;
    if (entry === undefined) {
      const dependents = this.#waiting.get(uid) ?? new Set<Entry>();
      this.#waiting.delete(uid);
      entry = {
        uid,
        kind,
        namespace,
        name,
        owners: [],
        dependents,
        deleting: false,
        deletingDependents: false,
        orphaning: false,
      };
      this.#entries.set(uid, entry);
    }
    entry.deleting = object.metadata.deletionTimestamp !== undefined;
    entry.deletingDependents = entry.deleting && finalizers.includes(foregroundFinalizer);
    entry.orphaning = entry.deleting && finalizers.includes(orphanFinalizer);
    const before = new Set(entry.owners.map((owner) => owner.uid));
    const after = new Set(ownerReferences.map((owner) => owner.uid));
    entry.owners = ownerReferences;
    for (const owner of before) if (!after.has(owner)) this.#unlink(owner, entry);
    for (const owner of after) if (!before.has(owner)) this.#link(owner, entry);
    const ownersChanged = isNew
      ? after.size > 0
      : [...before].some((owner) => !after.has(owner)) ||
        [...after].some((owner) => !before.has(owner));
    return { entry, ownersChanged };
  }
  /** Gives its dependents, which have lost an owner. */
  remove(uid: string): readonly Entry[] {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return this.dependentsOf(uid);
    this.#entries.delete(uid);
    for (const owner of entry.owners) this.#unlink(owner.uid, entry);
    if (entry.dependents.size > 0) this.#waiting.set(uid, entry.dependents);
    return [...entry.dependents];
  }
  #link(owner: string, entry: Entry): void {
    const known = this.#entries.get(owner)?.dependents ?? this.#waiting.get(owner);
    if (known === undefined) this.#waiting.set(owner, new Set([entry]));
    else known.add(entry);
  }
  #unlink(owner: string, entry: Entry): void {
    this.#entries.get(owner)?.dependents.delete(entry);
    const waiting = this.#waiting.get(owner);
    waiting?.delete(entry);
    if (waiting?.size === 0) this.#waiting.delete(owner);
  }
}

/** What is known of each of an object's owners. */
export interface OwnerStates {
  readonly solid: readonly OwnerReference[];
  /** Gone. */
  readonly dangling: readonly OwnerReference[];
  /** Being deleted, and waiting for its dependents. */
  readonly waiting: readonly OwnerReference[];
}

export type Verdict =
  | { readonly keep: true; readonly drop: readonly OwnerReference[] }
  | {
      readonly keep: false;
      readonly policy: "Background" | "Foreground" | "Orphan";
      readonly unblock: boolean;
    };

/** Whether an object outlives its owners. */
export function judge(
  states: OwnerStates,
  entry: Pick<Entry, "dependents">,
  finalizers: readonly string[],
): Verdict {
  if (states.solid.length > 0) {
    return { keep: true, drop: [...states.dangling, ...states.waiting] };
  }
  if (states.waiting.length > 0 && entry.dependents.size > 0) {
    // A dependent that waits for us while we wait for it: let go of one end.
    const unblock = [...entry.dependents].some((dependent) => dependent.deletingDependents);
    return { keep: false, policy: "Foreground", unblock };
  }
  const policy = finalizers.includes(orphanFinalizer)
    ? "Orphan"
    : finalizers.includes(foregroundFinalizer)
      ? "Foreground"
      : "Background";
  return { keep: false, policy, unblock: false };
}
