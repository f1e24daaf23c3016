/**
 * What Services need of this machine besides packets: the ports of load balancers at its own addresses, held so that no other program
 * gets them later and none that has one loses it; and the health checks of Services that are served only where their endpoints are.
 */
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { EventRecorder } from "#client/events.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import type { Clock } from "#ports/clock.ts";
import type { ServiceFact } from "#ports/dataplane.ts";
import type { Listener, Network } from "#ports/network.ts";

export interface ClaimsOptions {
  readonly nodeName: string;
  /** This machine's own. */
  readonly addresses: readonly string[];
  readonly network: Network;
  readonly clock: Clock;
  readonly recorder: EventRecorder;
  /** That Service should be looked at anew: what it did not get may be free by now. */
  readonly again: (serviceKey: string) => void;
}

interface Claim {
  /** Undefined: another program has the port. */
  readonly listener: Listener | undefined;
}
interface Health {
  readonly port: number;
  readonly listener: Listener | undefined;
  localEndpoints: number;
}
type Facts = ReadonlyMap<string, ServiceFact>;

const againMs = 60_000;
const loopback = "127.0.0.1";
const unavailable = 503;

export class Claims {
  readonly #options: ClaimsOptions;
  /** By Service, then by "protocol address port". */
  readonly #claims = new Map<string, Map<string, Claim>>();
  readonly #health = new Map<string, Health>();
  readonly #retries = new Map<string, () => void>();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** The facts without what cannot be had here; undefined: the Service is gone. */
  settle(
    key: string,
    service: Stored<Service> | undefined,
    slices: readonly EndpointSlice[],
    facts: Facts,
  ): Facts | Promise<Facts> {
    const healthPort = service?.spec.healthCheckNodePort ?? 0;
    const balanced = [...facts.values()].some((fact) => this.#own(fact).length > 0);
    const knows = this.#claims.has(key) || this.#health.has(key);
    if (service === undefined || (healthPort === 0 && !balanced)) {
      return knows ? this.#drop(key).then(() => facts) : facts;
    }
    return this.#take(key, service, slices, facts);
  }

  async stop(): Promise<void> {
    for (const cancel of this.#retries.values()) cancel();
    await Promise.all(
      [...this.#claims.keys(), ...this.#health.keys()].map((key) => this.#drop(key)),
    );
  }

  /** Who sits at this machine asks 127.0.0.1: what is served at its address is served there, too. */
  #own({ balancerAddresses }: ServiceFact): string[] {
    const own = balancerAddresses.filter((one) => this.#options.addresses.includes(one));
    return own.length === 0 ? own : [...own, loopback];
  }

  async #drop(key: string): Promise<void> {
    this.#retries.get(key)?.();
    this.#retries.delete(key);
    const held = [...(this.#claims.get(key)?.values() ?? []), this.#health.get(key)];
    this.#claims.delete(key);
    this.#health.delete(key);
    const listeners = held.flatMap((one) => (one?.listener === undefined ? [] : [one.listener]));
    await Promise.all(listeners.map((listener) => listener.close(0)));
  }

  async #take(
    key: string,
    service: Stored<Service>,
    slices: readonly EndpointSlice[],
    facts: Facts,
  ): Promise<Facts> {
    const before = this.#claims.get(key) ?? new Map<string, Claim>();
    const now = new Map<string, Claim>();
    const settled = new Map<string, ServiceFact>();
    const refused: string[] = [];
    for (const [id, fact] of facts) {
      const lost = new Set<string>();
      const own = this.#own(fact);
      for (const address of own) {
        const place = `${fact.protocol} ${address} ${fact.port}`;
        const known = before.get(place);
        const claim = known?.listener === undefined ? await this.#hold(fact, address) : known;
        now.set(place, claim);
        if (claim.listener !== undefined) continue;
        lost.add(address);
        if (known === undefined) refused.push(`${address}:${fact.port}/${fact.protocol}`);
      }
      const wanted = new Set([...fact.balancerAddresses, ...own]);
      const balancerAddresses = [...wanted].filter((one) => !lost.has(one));
      settled.set(id, { ...fact, balancerAddresses });
    }
    for (const [place, { listener }] of before) if (!now.has(place)) await listener?.close(0);
    this.#claims.set(key, now);
    if (refused.length > 0)
      this.#tell(service, "PortInUse", inUse(this.#options.nodeName, refused));
    await this.#settleHealth(key, service, slices);
    const isMissing = [...now.values()].some(({ listener }) => listener === undefined);
    this.#retryLater(key, isMissing);
    return settled;
  }

  /** Nobody connects to what we hold: the dataplane leads it elsewhere. */
  async #hold({ protocol, port }: ServiceFact, host: string): Promise<Claim> {
    const { network } = this.#options;
    try {
      if (protocol === "UDP") return { listener: await network.udp({ host, port }, () => {}) };
      if (protocol === "SCTP") return { listener: nothing };
      const listener = await network.listen({ host, port }, {}, (connection) =>
        connection.abort(new Error("this port is a load balancer's")),
      );
      return { listener };
    } catch {
      // Whatever the reason: it is not ours.
      return { listener: undefined };
    }
  }

  #retryLater(key: string, isMissing: boolean): void {
    this.#retries.get(key)?.();
    this.#retries.delete(key);
    if (!isMissing) return;
    const cancel = this.#options.clock.after(againMs, () => this.#options.again(key));
    this.#retries.set(key, cancel);
  }

  async #settleHealth(
    key: string,
    service: Stored<Service>,
    slices: readonly EndpointSlice[],
  ): Promise<void> {
    const port = service.spec.healthCheckNodePort ?? 0;
    const localEndpoints = localReady(slices, this.#options.nodeName);
    const known = this.#health.get(key);
    if (known?.port === port) {
      known.localEndpoints = localEndpoints;
      return;
    }
    await known?.listener?.close(0);
    this.#health.delete(key);
    if (port === 0) return;
    const health: Health = {
      port,
      listener: await this.#serveHealth(key, service),
      localEndpoints,
    };
    this.#health.set(key, health);
  }

  async #serveHealth(key: string, service: Stored<Service>): Promise<Listener | undefined> {
    const { network, nodeName } = this.#options;
    const port = service.spec.healthCheckNodePort ?? 0;
    const { namespace = "", name } = service.metadata;
    try {
      return await network.serve({ host: "0.0.0.0", port }, { bodyBytesMax: 0 }, async () => {
        const count = this.#health.get(key)?.localEndpoints ?? 0;
        const body = {
          service: { namespace, name },
          localEndpoints: count,
          serviceProxyHealthy: true,
        };
        return {
          status: count > 0 ? 200 : unavailable,
          headers: {
            "content-type": "application/json",
            "x-content-type-options": "nosniff",
            "x-load-balancing-endpoint-weight": String(count),
          },
          body: new TextEncoder().encode(JSON.stringify(body, undefined, "\t")),
        };
      });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const what = `node ${nodeName} failed to start healthcheck "${keyOf(service)}" on port ${port}: ${why}`;
      this.#tell(service, "FailedToStartServiceHealthcheck", what);
      return undefined;
    }
  }

  #tell(service: Stored<Service>, reason: string, message: string): void {
    this.#options.recorder.event(service, "Warning", reason, message);
  }
}

const nothing: Listener = { address: { unix: "" }, close: async () => {} };

const inUse = (nodeName: string, places: readonly string[]): string =>
  `another program on node ${nodeName} listens on ${places.join(", ")}; the load balancer leaves it alone there until it is free`;

/** How many of the Service's ready endpoints are on this node. */
function localReady(slices: readonly EndpointSlice[], nodeName: string): number {
  const addresses = slices.flatMap(({ endpoints }) =>
    (endpoints ?? [])
      .filter((one) => one.nodeName === nodeName && one.conditions.ready !== false)
      .flatMap((one) => one.addresses),
  );
  return new Set(addresses).size;
}
