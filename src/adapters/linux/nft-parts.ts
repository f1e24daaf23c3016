/** What a fact of the dataplane becomes in nftables: the pieces, and how they are named. Pure. */
import { createHash } from "node:crypto";

/** What one fact puts into the table. */
export interface Rendered {
  /** Name → its rules. In the order in which they may refer to each other. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Where a chain hangs on a hook of its own; it never changes for a name. */
  readonly hooks: ReadonlyMap<string, string>;
  /** Sets of its own: name → definition, which never changes for a name. */
  readonly sets: ReadonlyMap<string, string>;
  /** "map key" → the value behind the colon, or "" for a set's element. */
  readonly elements: ReadonlyMap<string, string>;
}

export class Parts implements Rendered {
  readonly chains = new Map<string, readonly string[]>();
  readonly hooks = new Map<string, string>();
  readonly sets = new Map<string, string>();
  readonly elements = new Map<string, string>();
}

export const idOf = (text: string): string =>
  createHash("sha256").update(text).digest("hex").slice(0, 12);
export const element = (map: string, key: string): string => `${map} ${key}`;

/** IPv4 only: the table's family. */
export const isIpv4 = (address: string): boolean => !address.includes(":");
