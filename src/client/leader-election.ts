/**
 * Leader election: of several who run the same loop one at a time holds a Lease and works. Reads
 * and writes that Lease and nothing else. A holder that cannot renew in time stops by itself before
 * anyone else may take over; how long a Lease was seen unchanged is measured by this process's own
 * monotonic clock, so clocks need not agree.
 */
import { Lease } from "#api/coordination/v1/lease.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatMicroTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import type { Client } from "./client.ts";
import type { EventRecorder } from "./events.ts";

export interface LeaderElectionOptions {
  readonly lease: { readonly namespace: string; readonly name: string };
  /** Unique among the candidates. */
  readonly identity: string;
  readonly onStarted: () => void;
  /**
   * Work must have stopped when this returns. Never without onStarted; onStarted may follow again.
   */
  readonly onStopped: () => void;
  readonly onNewLeader?: (identity: string) => void;
  readonly recorder?: EventRecorder;
  /** Upstream's numbers: 15 s, 10 s, 2 s. */
  readonly leaseMs?: number;
  readonly renewMs?: number;
  readonly retryMs?: number;
}

export interface LeaderElection {
  readonly leading: boolean;
  /** Gives the Lease back if it is ours, so that the next need not wait. */
  stop(): Promise<void>;
}

export function runLeaderElection(
  client: Client,
  ports: { readonly clock: Clock; readonly random: Random; readonly log: Log },
  options: LeaderElectionOptions,
): LeaderElection {
  const election = new Election(client, ports, options);
  election.tick();
  return election;
}

class Election implements LeaderElection {
  leading = false;
  readonly #client: Client;
  readonly #ports: { readonly clock: Clock; readonly random: Random; readonly log: Log };
  readonly #options: LeaderElectionOptions;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #retryMs: number;
  /** The Lease as last seen, and when (monotonic) it was first seen so. */
  #seen: { readonly version: string; readonly holder: string; readonly atMs: number } | undefined;
  #renewedMs = 0;
  #cancel: () => void = () => {};
  #cancelDeadline: () => void = () => {};
  #stopped = false;
  #working: Promise<void> | undefined;

  constructor(
    client: Client,
    ports: { readonly clock: Clock; readonly random: Random; readonly log: Log },
    options: LeaderElectionOptions,
  ) {
    this.#client = client;
    this.#ports = ports;
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewMs = options.renewMs ?? 10_000;
    this.#retryMs = options.retryMs ?? 2_000;
  }

  tick(): void {
    this.#working = this.#attempt().finally(() => {
      this.#working = undefined;
      if (this.#stopped) return;
      const { clock, random } = this.#ports;
      const jitter = this.leading ? 1 : 1 + (1.2 * random.uint32()) / 2 ** 32;
      this.#cancel = clock.after(this.#retryMs * jitter, () => this.tick());
    });
  }

  async #attempt(): Promise<void> {
    const startedMs = this.#ports.clock.monotonicMs();
    try {
      if (!(await this.#acquireOrRenew())) {
        if (this.leading) this.#lose("another holds the Lease");
        return;
      }
      this.#renewedMs = startedMs;
      // An answer that took longer than the deadline proves nothing any more.
      if (this.#stopped || this.#ports.clock.monotonicMs() - startedMs >= this.#renewMs) return;
      this.#armDeadline();
      if (!this.leading) this.#win();
    } catch (error) {
      const lost = isStatus(error, "Conflict") || isStatus(error, "AlreadyExists");
      this.#ports.log.write(lost ? "debug" : "warn", "a Lease could not be renewed; will retry", {
        lease: this.#options.lease.name,
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }
  /** The holder steps down on time even while a request hangs. */
  #armDeadline(): void {
    this.#cancelDeadline();
    const left = this.#renewedMs + this.#renewMs - this.#ports.clock.monotonicMs();
    this.#cancelDeadline = this.#ports.clock.after(left, () => {
      if (this.leading) this.#lose("the Lease could not be renewed in time");
    });
  }
  #win(): void {
    const { identity, lease, recorder, onStarted } = this.#options;
    this.leading = true;
    this.#ports.log.write("info", "became leader", { lease: lease.name, identity });
    recorder?.event(
      { apiVersion: "coordination.k8s.io/v1", kind: "Lease", ...lease },
      "Normal",
      "LeaderElection",
      `${identity} became leader`,
    );
    onStarted();
  }
  #lose(why: string): void {
    const { identity, lease, recorder, onStopped } = this.#options;
    this.leading = false;
    this.#cancelDeadline();
    this.#ports.log.write("warn", "stopped leading", { lease: lease.name, identity, why });
    recorder?.event(
      { apiVersion: "coordination.k8s.io/v1", kind: "Lease", ...lease },
      "Normal",
      "LeaderElection",
      `${identity} stopped leading`,
    );
    onStopped();
  }

  async #acquireOrRenew(): Promise<boolean> {
    const { lease, identity } = this.#options;
    const { clock } = this.#ports;
    const now = formatMicroTime(clock.now());
    const spec = {
      holderIdentity: identity,
      leaseDurationSeconds: Math.round(this.#leaseMs / 1000),
      renewTime: now,
    };
    let old: Stored<Lease>;
    try {
      old = await this.#client.get(Lease, lease);
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
      const created = { ...spec, acquireTime: now, leaseTransitions: 0 };
      this.#observe(await this.#client.create(Lease, { metadata: { ...lease }, spec: created }));
      return true;
    }
    this.#observe(old);
    const holder = old.spec?.holderIdentity ?? "";
    const mine = holder === identity;
    const free = holder === "" || clock.monotonicMs() - (this.#seen?.atMs ?? 0) >= this.#leaseMs;
    if (!mine && !free) return false;
    const transitions = old.spec?.leaseTransitions ?? 0;
    this.#observe(
      await this.#client.update(Lease, {
        ...old,
        spec: {
          ...spec,
          acquireTime: mine ? (old.spec?.acquireTime ?? now) : now,
          leaseTransitions: mine ? transitions : transitions + 1,
        },
      }),
    );
    return true;
  }
  #observe(lease: Stored<Lease>): void {
    const version = lease.metadata.resourceVersion;
    const holder = lease.spec?.holderIdentity ?? "";
    if (this.#seen?.version === version) return;
    const changed = this.#seen?.holder !== holder;
    this.#seen = { version, holder, atMs: this.#ports.clock.monotonicMs() };
    if (changed && holder !== "") this.#options.onNewLeader?.(holder);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancel();
    this.#cancelDeadline();
    await this.#working;
    if (!this.leading) return;
    this.leading = false;
    this.#options.onStopped();
    await this.#release();
  }
  async #release(): Promise<void> {
    const { lease, identity } = this.#options;
    try {
      const old = await this.#client.get(Lease, lease);
      if (old.spec?.holderIdentity !== identity) return;
      const now = formatMicroTime(this.#ports.clock.now());
      await this.#client.update(Lease, {
        ...old,
        spec: {
          ...old.spec,
          holderIdentity: "",
          leaseDurationSeconds: 1,
          renewTime: now,
          acquireTime: now,
        },
      });
    } catch (error) {
      // Then the next waits until it runs out.
      this.#ports.log.write("warn", "a Lease could not be given back", {
        lease: lease.name,
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }
}
