/**
 * Service allocators: cluster IPs and node ports. What is taken is derived from the stored Services and from the writes under way;
 * nothing of it is stored elsewhere. A write reserves first, and keeps or gives back when it is through.
 */
import type { Service } from "#api/generated/core/v1.ts";
import { type FieldError, invalid } from "#machinery/field-error.ts";
import {
  type Cidr,
  cidrContains,
  cidrSize,
  formatCidr,
  formatIp,
  nthAddress,
  parseCidr,
  parseIp,
} from "#machinery/ip.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { internalError, invalidObject } from "#machinery/status-error.ts";
import type { Random } from "#ports/random.ts";
import type { RegistryHooks } from "./registry.ts";
import type { CacheObserver } from "./watch-cache.ts";

/** Counts: a thing may be taken by a stored Service and, while it is rewritten, by the write as well. */
class Taken<T> {
  readonly #counts = new Map<T, number>();
  has(one: T): boolean {
    return this.#counts.has(one);
  }
  take(one: T): void {
    this.#counts.set(one, (this.#counts.get(one) ?? 0) + 1);
  }
  release(one: T): void {
    const left = (this.#counts.get(one) ?? 0) - 1;
    if (left > 0) this.#counts.set(one, left);
    else this.#counts.delete(one);
  }
  clear(): void {
    this.#counts.clear();
  }
}

/** Upstream: the first addresses are left to those who ask for one: a sixteenth of the range, at least 16, at most 256. */
function staticBand(size: number): number {
  if (size <= 16) return 0;
  return Math.min(Math.max(16, Math.floor(size / 16)), 256);
}

/** One of `from` … `to - 1` that is free, starting anywhere. */
function findFree(
  random: Random,
  from: number,
  to: number,
  isFree: (index: number) => boolean,
): number | undefined {
  const size = to - from;
  if (size <= 0) return undefined;
  const start = random.uint32() % size;
  for (let step = 0; step < size; step++) {
    const index = from + ((start + step) % size);
    if (isFree(index)) return index;
  }
  return undefined;
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** What a Service holds, or wants to hold. */
interface Holdings {
  readonly ips: readonly string[];
  readonly ports: readonly number[];
}

const isHeadless = ({ spec }: Service): boolean =>
  spec.clusterIP === "None" || spec.clusterIPs?.[0] === "None";
const needsIp = ({ spec }: Service): boolean => spec.type !== "ExternalName";
const needsPorts = ({ spec }: Service): boolean =>
  spec.type === "NodePort" ||
  (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
const mayHavePorts = ({ spec }: Service): boolean =>
  spec.type === "NodePort" || spec.type === "LoadBalancer";
const needsHealthPort = ({ spec }: Service): boolean =>
  spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";

function holdingsOf({ spec }: Service): Holdings {
  const ips = (spec.clusterIPs ?? [spec.clusterIP ?? ""]).filter(
    (ip) => ip !== "" && ip !== "None",
  );
  const ports = new Set<number>();
  for (const { nodePort } of spec.ports ?? []) if ((nodePort ?? 0) !== 0) ports.add(nodePort ?? 0);
  if ((spec.healthCheckNodePort ?? 0) !== 0) ports.add(spec.healthCheckNodePort ?? 0);
  return { ips, ports: [...ports] };
}

export class ServiceAllocator {
  readonly #cidr: Cidr;
  readonly #size: number;
  readonly #portRange: PortRange;
  readonly #random: Random;
  readonly #stored = { ips: new Taken<string>(), ports: new Taken<number>() };
  readonly #reserved = { ips: new Taken<string>(), ports: new Taken<number>() };

  constructor(serviceCidr: string, portRange: PortRange, random: Random) {
    const parsed = parseCidr(serviceCidr);
    if (parsed === undefined)
      throw new Error(
        `the service CIDR ${JSON.stringify(serviceCidr)} is none: give one such as 10.96.0.0/12`,
      );
    this.#cidr = parsed.cidr;
    this.#size = Number(cidrSize(parsed.cidr));
    if (this.#size < 8)
      throw new Error(
        `the service CIDR ${serviceCidr} is too small: it needs at least 8 addresses`,
      );
    this.#portRange = portRange;
    this.#random = random;
  }

  /** The address of the Service default/kubernetes. */
  get firstAddress(): string {
    return this.#address(1);
  }

  #address(index: number): string {
    const address = nthAddress(this.#cidr, index);
    if (address === undefined) throw new Error(`there is no address ${index} in the service CIDR`);
    return formatIp(address);
  }

  get family(): "IPv4" | "IPv6" {
    return this.#cidr.base.family === 4 ? "IPv4" : "IPv6";
  }

  readonly observe: CacheObserver = (now, before) => {
    if (now === undefined && before === undefined) {
      this.#stored.ips.clear();
      this.#stored.ports.clear();
      return;
    }
    if (before !== undefined) this.#count(before.object, "release");
    if (now !== undefined) this.#count(now.object, "take");
  };

  #count(object: ApiObject, how: "take" | "release"): void {
    const { ips, ports } = holdingsOf(object as Service);
    for (const ip of ips) this.#stored.ips[how](ip);
    for (const port of ports) this.#stored.ports[how](port);
  }

  readonly hooks: RegistryHooks = {
    beginCreate: (object) => this.#begin(object as Service, undefined),
    beginUpdate: (object, old) => this.#begin(object as Service, old as Service),
  };

  /** Fills in what the Service needs. The result ends the reservation: by then the stored Service holds it, or nobody. */
  #begin(service: Service, old: Service | undefined): (done: boolean) => void {
    const ips: string[] = [];
    const ports: number[] = [];
    const finish = (): void => {
      for (const ip of ips) this.#reserved.ips.release(ip);
      for (const port of ports) this.#reserved.ports.release(port);
    };
    try {
      if (old !== undefined) keepAllocated(service, old);
      const held = old === undefined ? { ips: [], ports: [] } : holdingsOf(old);
      this.#settleFamilies(service, old);
      this.#settleIps(service, held, ips);
      this.#settlePorts(service, held, ports);
      return finish;
    } catch (error) {
      finish();
      throw error;
    }
  }

  #settleFamilies(service: Service, old: Service | undefined): void {
    const { spec, metadata } = service;
    if (!needsIp(service)) {
      delete spec.ipFamilies;
      delete spec.ipFamilyPolicy;
      delete spec.clusterIP;
      delete spec.clusterIPs;
      return;
    }
    if (spec.clusterIPs === undefined || spec.clusterIPs.length === 0) {
      if ((spec.clusterIP ?? "") !== "") spec.clusterIPs = [spec.clusterIP ?? ""];
    } else if ((spec.clusterIP ?? "") === "" && old === undefined)
      spec.clusterIP = spec.clusterIPs[0] ?? "";
    const errors: FieldError[] = [];
    const free = isHeadless(service) && Object.keys(spec.selector ?? {}).length === 0;
    if (free) {
      spec.ipFamilyPolicy ??= "RequireDualStack";
      const first = spec.ipFamilies?.[0] ?? this.family;
      const second = first === "IPv4" ? "IPv6" : "IPv4";
      spec.ipFamilies = spec.ipFamilyPolicy === "SingleStack" ? [first] : [first, second];
      return;
    }
    spec.ipFamilyPolicy ??= "SingleStack";
    if (spec.ipFamilyPolicy === "RequireDualStack") {
      errors.push(
        invalid(
          "spec.ipFamilyPolicy",
          spec.ipFamilyPolicy,
          "this cluster is not configured for dual-stack services",
        ),
      );
    }
    for (const [index, family] of (spec.ipFamilies ?? []).entries()) {
      if (family !== this.family)
        errors.push(invalid(`spec.ipFamilies[${index}]`, family, "not configured on this cluster"));
    }
    if (errors.length > 0)
      throw invalidObject({ group: "", kind: "Service" }, metadata.name ?? "", errors);
    spec.ipFamilies = [this.family];
  }

  #settleIps(service: Service, held: Holdings, reserved: string[]): void {
    const { spec, metadata } = service;
    if (!needsIp(service) || isHeadless(service)) return;
    const asked = spec.clusterIPs?.[0] ?? "";
    if (asked !== "" && held.ips.includes(asked)) return;
    if (asked === "") {
      const address = this.#freeAddress();
      spec.clusterIP = address;
      spec.clusterIPs = [address];
    } else {
      const problem = this.#ipProblem(asked);
      if (problem !== undefined) {
        const detail = `failed to allocate IP ${asked}: ${problem}`;
        throw invalidObject({ group: "", kind: "Service" }, metadata.name ?? "", [
          invalid("spec.clusterIPs", spec.clusterIPs, detail),
        ]);
      }
    }
    const ip = spec.clusterIPs?.[0] ?? "";
    this.#reserved.ips.take(ip);
    reserved.push(ip);
  }

  #isIpFree(ip: string): boolean {
    return !this.#stored.ips.has(ip) && !this.#reserved.ips.has(ip);
  }

  #ipProblem(ip: string): string | undefined {
    const address = parseIp(ip);
    // What is no address at all is told by the kind's validation.
    if (address === undefined) return undefined;
    if (!cidrContains(this.#cidr, address))
      return `the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${formatCidr(this.#cidr)}`;
    return this.#isIpFree(ip) ? undefined : "provided IP is already allocated";
  }

  #freeAddress(): string {
    const isFree = (index: number): boolean => this.#isIpFree(this.#address(index));
    const band = staticBand(this.#size);
    // Neither the network's own address nor the broadcast address.
    const found =
      findFree(this.#random, 1 + band, this.#size - 1, isFree) ??
      findFree(this.#random, 1, 1 + band, isFree);
    if (found === undefined) throw internalError("failed to allocate a serviceIP: range is full");
    return this.#address(found);
  }

  #settlePorts(service: Service, held: Holdings, reserved: number[]): void {
    const { spec } = service;
    const { ports = [] } = spec;
    if (!mayHavePorts(service)) {
      for (const port of ports) delete port.nodePort;
      delete spec.healthCheckNodePort;
      return;
    }
    const chosen = new Map<number, number>();
    for (const [index, port] of ports.entries()) {
      const asked = port.nodePort ?? 0;
      if (asked === 0 && !needsPorts(service)) continue;
      const shared = chosen.get(port.port);
      if (shared !== undefined && (asked === 0 || asked === shared)) {
        port.nodePort = shared;
        continue;
      }
      // The same port with another protocol, further on, may name the node port for both.
      const named =
        asked || (ports.find((one) => one.port === port.port && one.nodePort)?.nodePort ?? 0);
      const nodePort =
        named === 0
          ? this.#freePort(reserved)
          : this.#claimPort(service, named, `spec.ports[${index}].nodePort`, held, reserved);
      port.nodePort = nodePort;
      if (shared === undefined) chosen.set(port.port, nodePort);
    }
    if (!needsHealthPort(service)) {
      delete spec.healthCheckNodePort;
      return;
    }
    const health = spec.healthCheckNodePort ?? 0;
    spec.healthCheckNodePort =
      health === 0
        ? this.#freePort(reserved)
        : this.#claimPort(service, health, "spec.healthCheckNodePort", held, reserved);
  }

  #claimPort(
    service: Service,
    port: number,
    path: string,
    held: Holdings,
    reserved: number[],
  ): number {
    if (held.ports.includes(port) || reserved.includes(port)) return port;
    const { first, last } = this.#portRange;
    let problem: string | undefined;
    if (port < first || port > last)
      problem = `provided port is not in the valid range. The range of valid ports is ${first}-${last}`;
    else if (!this.#isPortFree(port)) problem = "provided port is already allocated";
    if (problem !== undefined) {
      const name = service.metadata.name ?? "";
      throw invalidObject({ group: "", kind: "Service" }, name, [invalid(path, port, problem)]);
    }
    this.#reserved.ports.take(port);
    reserved.push(port);
    return port;
  }

  #isPortFree(port: number): boolean {
    return !this.#stored.ports.has(port) && !this.#reserved.ports.has(port);
  }

  #freePort(reserved: number[]): number {
    const { first, last } = this.#portRange;
    const size = last - first + 1;
    // As with addresses, the lowest ports are left to those who ask for one.
    const band = Math.min(Math.max(16, Math.floor(size / 32)), 128);
    const from = size > 32 ? first + band : first;
    const isFree = (port: number): boolean => this.#isPortFree(port);
    const found =
      findFree(this.#random, from, last + 1, isFree) ?? findFree(this.#random, first, from, isFree);
    if (found === undefined) throw internalError("failed to allocate a nodePort: range is full");
    this.#reserved.ports.take(found);
    reserved.push(found);
    return found;
  }
}

/** An update that does not mention what was allocated keeps it. */
function keepAllocated(service: Service, old: Service): void {
  const { spec } = service;
  const was = old.spec;
  const bothNeedIp = needsIp(service) && needsIp(old);
  if (bothNeedIp && (spec.clusterIP ?? "") === "" && (spec.clusterIPs ?? []).length === 0) {
    if (was.clusterIP !== undefined) spec.clusterIP = was.clusterIP;
    if (was.clusterIPs !== undefined) spec.clusterIPs = [...was.clusterIPs];
  }
  if (bothNeedIp && (spec.clusterIPs ?? []).length === 0 && (spec.clusterIP ?? "") !== "")
    spec.clusterIPs = [spec.clusterIP ?? ""];
  if (needsPorts(service) && needsPorts(old)) {
    const taken = new Set((spec.ports ?? []).map((port) => port.nodePort ?? 0));
    for (const port of spec.ports ?? []) {
      if ((port.nodePort ?? 0) !== 0) continue;
      const same = was.ports?.find(
        (one) => one.port === port.port && (one.protocol ?? "TCP") === (port.protocol ?? "TCP"),
      );
      const nodePort = same?.nodePort ?? 0;
      if (nodePort === 0 || taken.has(nodePort)) continue;
      port.nodePort = nodePort;
      taken.add(nodePort);
    }
  }
  if (needsHealthPort(service) && needsHealthPort(old) && (spec.healthCheckNodePort ?? 0) === 0)
    if (was.healthCheckNodePort !== undefined) spec.healthCheckNodePort = was.healthCheckNodePort;
}
