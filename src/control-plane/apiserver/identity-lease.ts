/**
 * IdentityLease: the Lease in kube-system by which others see that this API server lives (`apiserver-…`, labelled as upstream's). Leases of
 * servers that are gone are removed once they have expired.
 * Upstream renews every ten seconds a lease that lasts an hour; a quarter of its time is often enough, and an idle cluster writes nothing.
 */

import { uuid } from "#machinery/names.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { formatMicroTime, parseTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import { type AskOwn, failureOf } from "./own-requests.ts";
import type { Reader } from "./reader.ts";

const durationSeconds = 3600;
const renewMs = (durationSeconds * 1000) / 4;
const retryMs = 10_000;
const identityLabel = "apiserver.kubernetes.io/identity";
const component = "kube-apiserver";
const leases = { group: "coordination.k8s.io", plural: "leases" };
const namespace = "kube-system";
const root = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
const hashBytes = 16;

function base32(bytes: Uint8Array): string {
  let text = "";
  let [rest, bits] = [0, 0];
  for (const byte of bytes) {
    rest = (rest << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(rest >> (bits - 5)) & 31] ?? "";
    rest &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + (alphabet[(rest << (5 - bits)) & 31] ?? "");
}

/** Upstream: of the machine's name and of what runs there, each with its length before it. */
export function apiServerId(crypto: Pick<Crypto, "digest">, hostname: string): string {
  const parts = [hostname, component].map((text) => new TextEncoder().encode(text));
  const bytes = parts.flatMap((part) => [part.length >> 8, part.length & 255, ...part]);
  return `apiserver-${base32(crypto.digest(new Uint8Array(bytes)).subarray(0, hashBytes))}`;
}

export interface IdentityLeaseParts {
  readonly hostname: string;
  readonly ask: AskOwn;
  readonly reader: Reader;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly random: Random;
  readonly log: Log;
}

export class IdentityLease {
  readonly #parts: IdentityLeaseParts;
  readonly #name: string;
  readonly #holder: string;
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(parts: IdentityLeaseParts) {
    this.#parts = parts;
    this.#name = apiServerId(parts.crypto, parts.hostname);
    this.#holder = `${this.#name}_${uuid(parts.random)}`;
  }

  async start(): Promise<void> {
    await this.#renew();
    await this.#removeExpired();
    this.#next(renewMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #next(ms: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#parts.clock.after(ms, () => {
      this.#round().then(
        () => this.#next(renewMs),
        (error: unknown) => {
          const why = error instanceof Error ? error.message : String(error);
          const told = "The API server's own Lease could not be renewed; trying again.";
          this.#parts.log.write("warn", told, { why });
          this.#next(retryMs);
        },
      );
    });
  }

  async #round(): Promise<void> {
    await this.#renew();
    await this.#removeExpired();
  }

  async #renew(): Promise<void> {
    const { ask, reader, clock, hostname } = this.#parts;
    await reader.fresh();
    const renewTime = formatMicroTime(clock.now());
    const labels = { [identityLabel]: component, "kubernetes.io/hostname": hostname };
    const spec = {
      holderIdentity: this.#holder,
      leaseDurationSeconds: durationSeconds,
      renewTime,
    };
    const known = reader.get(leases, namespace, this.#name) !== undefined;
    const answer = known
      ? await ask("PATCH", `${root}/${this.#name}`, { metadata: { labels }, spec })
      : await ask("POST", root, { metadata: { name: this.#name, namespace, labels }, spec });
    if (answer.status >= 300) throw failureOf(answer);
  }

  async #removeExpired(): Promise<void> {
    const { ask, reader } = this.#parts;
    for (const { metadata, ...lease } of reader.list(leases, namespace)) {
      const { name = "", labels } = metadata;
      if (labels?.[identityLabel] !== component || name === this.#name) continue;
      if (!this.#isExpired(lease)) continue;
      const answer = await ask("DELETE", `${root}/${name}`);
      if (answer.status >= 300 && answer.status !== 404) throw failureOf(answer);
    }
  }

  #isExpired(lease: object): boolean {
    const { spec } = lease as { readonly spec?: unknown };
    const { renewTime, leaseDurationSeconds }: JsonObject = isObject(spec) ? spec : {};
    const renewed = typeof renewTime === "string" ? parseTime(renewTime) : undefined;
    if (renewed === undefined || typeof leaseDurationSeconds !== "number") return true;
    return renewed + leaseDurationSeconds * 1000 < this.#parts.clock.now();
  }
}
