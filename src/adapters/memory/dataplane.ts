/**
 * The Dataplane port in memory: keeps one node's facts and says where a packet for a Service goes. The memory network asks it for
 * every connection and datagram that the node or one of its pods sends, and for what arrives at the node from elsewhere.
 */
import { type Cidr, cidrContains, parseCidr, parseIp } from "#machinery/ip.ts";
import type { Clock } from "#ports/clock.ts";
import type {
  Backend,
  Dataplane,
  DataplaneFact,
  Direction,
  GateFact,
  HostPortFact,
  PolicyRule,
  Protocol,
  ServiceFact,
} from "#ports/dataplane.ts";
import type { Random } from "#ports/random.ts";
import type { Source } from "#ports/stream.ts";

export interface Place {
  readonly address: string;
  readonly port: number;
}
/** Where it goes instead; refused at once; lost without a word; undefined: it is for no Service. */
export type Translation = Place | "refused" | "dropped" | undefined;

export interface MemoryDataplaneOptions {
  readonly clock: Clock;
  /** Draws the backends. */
  readonly random: Random;
  /** The node's own addresses: node ports and host ports are there, and at 127.0.0.1. */
  readonly addresses: readonly string[];
}

/** As nftables' sets of clients are bounded. */
const affinitiesMax = 65_535;
const noticesMax = 16;

type Kind = "internal" | "external" | "balancer";
interface Match {
  readonly key: string;
  readonly fact: ServiceFact;
  readonly kind: Kind;
}
interface Affinity {
  readonly backend: string;
  readonly usedAtMs: number;
}

const nameOf = ({ address, port }: Place): string => `${address}:${port}`;
const placeKey = (protocol: Protocol, address: string, port: number): string =>
  `${protocol} ${address} ${port}`;
const anywhere = (hostAddress: string): boolean => hostAddress === "" || hostAddress === "0.0.0.0";

export class MemoryDataplane implements Dataplane {
  readonly #options: MemoryDataplaneOptions;
  readonly #facts = new Map<string, DataplaneFact>();
  /** "PROTOCOL address port" → what leads there; rebuilt when facts change. */
  #services = new Map<string, Match>();
  #hostPorts = new Map<string, HostPortFact>();
  /** "fact client" → its backend. */
  readonly #affinities = new Map<string, Affinity>();
  readonly #notices = new Set<Notices>();
  /** "address direction" → its gate. */
  #gates = new Map<string, GateFact>();
  /** Where this machine's pods are. */
  #podRanges: Cidr[] = [];

  constructor(options: MemoryDataplaneOptions) {
    this.#options = options;
  }

  /** What holds now, for whoever checks it. */
  get facts(): ReadonlyMap<string, DataplaneFact> {
    return this.#facts;
  }

  async apply(changes: ReadonlyMap<string, DataplaneFact | undefined>): Promise<void> {
    for (const [key, fact] of changes) {
      if (fact === undefined) this.#facts.delete(key);
      else this.#facts.set(key, fact);
    }
    this.#index();
  }

  async replace(facts: ReadonlyMap<string, DataplaneFact>): Promise<void> {
    this.#facts.clear();
    for (const [key, fact] of facts) this.#facts.set(key, fact);
    this.#index();
  }

  disturbed(): Source<string> {
    const notices = new Notices(() => this.#notices.delete(notices));
    this.#notices.add(notices);
    return notices;
  }

  async remove(): Promise<void> {
    this.#facts.clear();
    this.#affinities.clear();
    this.#index();
  }

  /** A fault: someone flushes the kernel's rules. */
  flush(): void {
    this.#facts.clear();
    this.#index();
    for (const notices of this.#notices) notices.tell("the facts were flushed");
  }

  /** Where a packet to that place goes; `from` is the address of who sent it. */
  translate(protocol: Protocol, address: string, port: number, from: string): Translation {
    const key = placeKey(protocol, address, port);
    const hostPort = this.#hostPorts.get(key);
    if (hostPort !== undefined) return hostPort.backend;
    const match = this.#services.get(key);
    return match === undefined ? undefined : this.#choose(match, from);
  }

  /** Whether a new connection or flow may leave (`egress`) or reach (`ingress`) that pod of this machine. */
  permits(
    direction: Direction,
    protocol: Protocol,
    from: string,
    to: string,
    port: number,
  ): boolean {
    const [own, other] = direction === "ingress" ? [to, from] : [from, to];
    const gate = this.#gates.get(`${own} ${direction}`);
    if (gate === undefined || own === other) return true;
    return gate.policies.some((key) => {
      const policy = this.#facts.get(key);
      if (policy?.type !== "policy") return false;
      return policy.rules.some((rule) => isPeer(rule, other) && isPort(rule, protocol, to, port));
    });
  }

  #isOwn(from: string): boolean {
    if (from === "127.0.0.1" || this.#options.addresses.includes(from)) return true;
    const address = parseIp(from);
    return address !== undefined && this.#podRanges.some((range) => cidrContains(range, address));
  }

  #choose({ key, fact, kind }: Match, from: string): Translation {
    if (kind === "balancer" && !isWithin(fact.sourceRanges, from)) return "dropped";
    const localOnly =
      kind === "internal" ? fact.internalLocal : fact.externalLocal && !this.#isOwn(from);
    const backends = localOnly ? fact.backends.filter(({ local }) => local) : fact.backends;
    if (backends.length === 0) return fact.backends.length === 0 ? "refused" : "dropped";
    if (fact.affinitySeconds === undefined) return placeOf(this.#draw(backends));
    return placeOf(this.#remembered(`${key} ${from}`, backends, fact.affinitySeconds));
  }

  #draw(backends: readonly Backend[]): Backend {
    const at = Math.floor((this.#options.random.uint32() / 2 ** 32) * backends.length);
    return backends[at] as Backend;
  }

  #remembered(client: string, backends: readonly Backend[], seconds: number): Backend {
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#affinities.get(client);
    const still =
      known !== undefined && nowMs - known.usedAtMs < seconds * 1000
        ? backends.find((one) => nameOf(one) === known.backend)
        : undefined;
    const backend = still ?? this.#draw(backends);
    // Deleted first, so that the map is in the order of use and the first is the one to forget.
    this.#affinities.delete(client);
    this.#affinities.set(client, { backend: nameOf(backend), usedAtMs: nowMs });
    if (this.#affinities.size > affinitiesMax) {
      for (const [oldest] of this.#affinities) {
        this.#affinities.delete(oldest);
        break;
      }
    }
    return backend;
  }

  #index(): void {
    this.#services = new Map();
    this.#hostPorts = new Map();
    this.#gates = new Map();
    this.#podRanges = [];
    const own = ["127.0.0.1", ...this.#options.addresses];
    for (const [key, fact] of this.#facts) {
      if (fact.type === "service") this.#indexService(key, fact, own);
      if (fact.type === "gate") this.#gates.set(`${fact.address} ${fact.direction}`, fact);
      const range = fact.type === "masquerade" ? parseCidr(fact.source)?.cidr : undefined;
      if (range !== undefined) this.#podRanges.push(range);
      if (fact.type !== "hostPort") continue;
      for (const address of anywhere(fact.hostAddress) ? own : [fact.hostAddress]) {
        this.#hostPorts.set(placeKey(fact.protocol, address, fact.hostPort), fact);
      }
    }
  }

  #indexService(key: string, fact: ServiceFact, own: readonly string[]): void {
    const put = (address: string, port: number, kind: Kind): void => {
      this.#services.set(placeKey(fact.protocol, address, port), { key, fact, kind });
    };
    for (const address of fact.addresses) put(address, fact.port, "internal");
    for (const address of fact.externalAddresses) put(address, fact.port, "external");
    for (const address of fact.balancerAddresses) put(address, fact.port, "balancer");
    if (fact.nodePort === undefined) return;
    for (const address of own) put(address, fact.nodePort, "external");
  }
}

const placeOf = ({ address, port }: Backend): Place => ({ address, port });

/** No ranges: everybody. */
function isWithin(ranges: readonly string[], from: string): boolean {
  if (ranges.length === 0) return true;
  const address = parseIp(from);
  if (address === undefined) return false;
  return ranges.some((range) => {
    const parsed = parseCidr(range);
    return parsed !== undefined && cidrContains(parsed.cidr, address);
  });
}

function isPeer({ peers }: PolicyRule, other: string): boolean {
  if (peers === undefined || peers.addresses.includes(other)) return true;
  return peers.blocks.some(
    ({ cidr, except }) =>
      isWithin([cidr], other) && (except.length === 0 || !isWithin(except, other)),
  );
}

function isPort({ ports }: PolicyRule, protocol: Protocol, to: string, port: number): boolean {
  if (ports === undefined) return true;
  return ports.some(({ protocol: own, range, at }) => {
    if (own !== protocol || at?.includes(to) === false) return false;
    return range === undefined || (port >= range[0] && port <= range[1]);
  });
}

/** What one listener for disturbances has not read yet. */
class Notices implements Source<string> {
  readonly #stopped: () => void;
  readonly #waiting: string[] = [];
  #wake: () => void = () => {};
  #ended = false;

  constructor(stopped: () => void) {
    this.#stopped = stopped;
  }
  tell(what: string): void {
    if (this.#waiting.length < noticesMax) this.#waiting.push(what);
    this.#wake();
  }
  async next(): Promise<readonly string[] | undefined> {
    if (this.#waiting.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#waiting.length > 0 ? this.#waiting.splice(0) : undefined;
  }
  stop(): void {
    this.#ended = true;
    this.#stopped();
    this.#wake();
  }
}
