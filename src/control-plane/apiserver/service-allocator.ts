/**
 * Service allocators: cluster IPs and node ports. What is taken is derived from the stored Services and from the writes under way;
 * nothing of it is stored elsewhere. A write reserves first, and keeps or gives back when it is through.
 */

import {
  keepAllocatedValues,
  normalizeClusterIps,
  settleIpFamilies,
} from "#api/core/v1/service-addresses.ts";
import {
  isHeadless,
  mayHaveNodePorts,
  needsClusterIp,
  needsHealthCheckNodePort,
} from "#api/core/v1/service-rules.ts";
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

/** What one write has taken so far. */
interface Taking {
  readonly ports: number[];
  readonly isDry: boolean;
}

function refuseIf({ metadata }: Service, errors: readonly FieldError[]): void {
  if (errors.length === 0) return;
  throw invalidObject({ group: "", kind: "Service" }, metadata.name ?? "", errors);
}

/** What a Service holds, or wants to hold. */
interface Holdings {
  readonly ips: readonly string[];
  readonly ports: readonly number[];
}

const needsPorts = ({ spec }: Service): boolean =>
  spec.type === "NodePort" ||
  (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);

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

  get range(): string {
    return formatCidr(this.#cidr);
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
    beginCreate: (object, isDry) => this.#begin(object as Service, undefined, isDry),
    beginUpdate: (object, old, isDry) => this.#begin(object as Service, old as Service, isDry),
  };

  /** Fills in what the Service needs. The result ends the reservation: by then the stored Service holds it, or nobody. */
  #begin(service: Service, old: Service | undefined, isDry: boolean): (done: boolean) => void {
    const ips: string[] = [];
    const ports: number[] = [];
    const taking = { ports, isDry };
    const finish = (): void => {
      for (const ip of ips) this.#reserved.ips.release(ip);
      for (const port of ports) this.#reserved.ports.release(port);
    };
    try {
      if (old !== undefined) keepAllocatedValues(service, old);
      normalizeClusterIps(service, old);
      refuseIf(service, settleIpFamilies(service, old, [this.family]));
      // Later the address stays what it is: what else an update says of it, validation refuses.
      if (old === undefined || !needsClusterIp(old)) this.#settleIps(service, ips);
      const held = old === undefined ? [] : holdingsOf(old).ports;
      if (mayHaveNodePorts(service)) {
        if (old === undefined) this.#settlePorts(service, taking);
        else this.#settleNewPorts(service, held, taking);
      }
      const hadHealthPort = old !== undefined && needsHealthCheckNodePort(old);
      if (needsHealthCheckNodePort(service) && !hadHealthPort)
        this.#settleHealthPort(service, taking);
      return finish;
    } catch (error) {
      finish();
      throw error;
    }
  }

  #settleIps(service: Service, reserved: string[]): void {
    const { spec, metadata } = service;
    if (!needsClusterIp(service) || isHeadless(service)) return;
    const asked = spec.clusterIPs?.[0] ?? "";
    if (asked === "") {
      const address = this.#freeAddress(metadata.name ?? "");
      spec.clusterIP = address;
      spec.clusterIPs = [address];
    } else {
      const problem = this.#ipProblem(asked);
      if (problem !== undefined) {
        const detail = `failed to allocate IP ${asked}: ${problem}`;
        refuseIf(service, [invalid("spec.clusterIPs", spec.clusterIPs, detail)]);
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

  #freeAddress(name: string): string {
    const isFree = (index: number): boolean => this.#isIpFree(this.#address(index));
    const band = staticBand(this.#size);
    // Neither the network's own address nor the broadcast address.
    const found =
      findFree(this.#random, 1 + band, this.#size - 1, isFree) ??
      findFree(this.#random, 1, 1 + band, isFree);
    if (found === undefined)
      throw internalError(
        `failed to allocate a serviceIP for Service ${JSON.stringify(name)}: range is full`,
      );
    return this.#address(found);
  }

  /** Of a new Service. The same port with two protocols shares a node port. */
  #settlePorts(service: Service, taking: Taking): void {
    const { ports = [] } = service.spec;
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
          ? this.#freePort(taking)
          : this.#askPort(service, named, `spec.ports[${index}].nodePort`, taking);
      port.nodePort = nodePort;
      if (shared === undefined) chosen.set(port.port, nodePort);
    }
  }

  /** Of a Service that is changed: what it holds already it keeps. */
  #settleNewPorts(service: Service, held: readonly number[], taking: Taking): void {
    for (const [index, port] of (service.spec.ports ?? []).entries()) {
      const asked = port.nodePort ?? 0;
      if (asked === 0) {
        if (needsPorts(service)) port.nodePort = this.#freePort(taking);
      } else if (!held.includes(asked) && !taking.ports.includes(asked)) {
        this.#askPort(service, asked, `spec.ports[${index}].nodePort`, taking);
      }
    }
  }

  #settleHealthPort({ spec }: Service, taking: Taking): void {
    const asked = spec.healthCheckNodePort ?? 0;
    if (asked === 0) {
      spec.healthCheckNodePort = this.#freePort(taking);
      return;
    }
    const problem = this.#portProblem(asked, taking);
    if (problem !== undefined) {
      throw internalError(`failed to allocate requested HealthCheck NodePort ${asked}: ${problem}`);
    }
    this.#reservePort(asked, taking);
  }

  #portProblem(port: number, { isDry }: Taking): string | undefined {
    const { first, last } = this.#portRange;
    // Upstream: in a dry run any port is in range.
    if (!isDry && (port < first || port > last))
      return `provided port is not in the valid range. The range of valid ports is ${first}-${last}`;
    return this.#isPortFree(port) ? undefined : "provided port is already allocated";
  }

  #reservePort(port: number, taking: Taking): number {
    this.#reserved.ports.take(port);
    taking.ports.push(port);
    return port;
  }

  #askPort(service: Service, port: number, path: string, taking: Taking): number {
    const problem = this.#portProblem(port, taking);
    if (problem !== undefined) refuseIf(service, [invalid(path, port, problem)]);
    return this.#reservePort(port, taking);
  }

  #isPortFree(port: number): boolean {
    return !this.#stored.ports.has(port) && !this.#reserved.ports.has(port);
  }

  #freePort(taking: Taking): number {
    const { first, last } = this.#portRange;
    const size = last - first + 1;
    // As with addresses, the lowest ports are left to those who ask for one.
    const band = Math.min(Math.max(16, Math.floor(size / 32)), 128);
    const from = size > 32 ? first + band : first;
    const isFree = (port: number): boolean => this.#isPortFree(port);
    const found =
      findFree(this.#random, from, last + 1, isFree) ?? findFree(this.#random, first, from, isFree);
    if (found === undefined) throw internalError("failed to allocate a nodePort: range is full");
    return this.#reservePort(found, taking);
  }
}
