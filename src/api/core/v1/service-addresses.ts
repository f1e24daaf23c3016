/**
 * The cluster IPs of a Service and their families: how the singular and the plural field are kept in step, what an update that
 * does not mention them keeps, which families there are, and what is wrong with them. Which addresses are free the allocator knows.
 */
import {
  duplicate,
  type FieldError,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { isValidIpForLegacyField } from "#machinery/validation.ts";
import type { IPFamily, Service } from "../../generated/core/v1.ts";
import { isIpv4Text, isIpv6Text } from "./endpoint-ip.ts";
import {
  isHeadless,
  mayHaveNodePorts,
  needsClusterIp,
  needsHealthCheckNodePort,
  noClusterIp,
  sameClusterIps,
  sameIpFamilies,
} from "./service-rules.ts";

const families: readonly string[] = ["IPv4", "IPv6"];
const policies: readonly string[] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const otherFamily = (family: IPFamily): IPFamily => (family === "IPv4" ? "IPv6" : "IPv4");

function setClusterIps({ spec }: Service, ips: readonly string[] | undefined): void {
  if (ips === undefined) delete spec.clusterIPs;
  else spec.clusterIPs = [...ips];
}

/** Derives clusterIPs from clusterIP for clients that know but the one. Never the other way round. */
export function normalizeClusterIps(service: Service, old: Service | undefined): void {
  const { clusterIP = "", clusterIPs = [] } = service.spec;
  if (old === undefined) {
    if (clusterIP !== "" && clusterIPs.length === 0) setClusterIps(service, [clusterIP]);
    return;
  }
  const was = old.spec.clusterIP ?? "";
  const oldIps = old.spec.clusterIPs ?? [];
  if (oldIps.length > 0 && clusterIPs.length === 0 && was === clusterIP) {
    setClusterIps(service, oldIps);
  }
  if (was === clusterIP || !sameClusterIps(service, old)) return;
  setClusterIps(service, was !== "" && clusterIP === "" ? undefined : [clusterIP]);
}

function keepNodePorts(service: Service, old: Service): void {
  const ports = service.spec.ports ?? [];
  const oldPorts = old.spec.ports ?? [];
  const isUsed = (wanted: number): boolean => ports.some(({ nodePort = 0 }) => nodePort === wanted);
  const byName = new Map(oldPorts.map(({ name = "", nodePort = 0 }) => [name, nodePort]));
  // What the client named itself is known before the first is filled in.
  const used = new Set([...byName.values()].filter((port) => port !== 0 && isUsed(port)));
  for (const port of ports) {
    const nodePort = byName.get(port.name ?? "") ?? 0;
    if ((port.nodePort ?? 0) === 0 && nodePort !== 0 && !used.has(nodePort)) {
      port.nodePort = nodePort;
    }
  }
}

/** An update that does not mention what the server allocated keeps it. */
export function keepAllocatedValues(service: Service, old: Service): void {
  const { spec } = service;
  if (needsClusterIp(service) && needsClusterIp(old)) {
    const { clusterIP, clusterIPs = [] } = old.spec;
    if ((spec.clusterIP ?? "") === "" && clusterIP !== undefined) spec.clusterIP = clusterIP;
    if ((spec.clusterIPs ?? []).length === 0 && clusterIPs.length > 0) {
      setClusterIps(service, clusterIPs);
    }
  }
  if (mayHaveNodePorts(service) && mayHaveNodePorts(old)) keepNodePorts(service, old);
  if (needsHealthCheckNodePort(service) && needsHealthCheckNodePort(old)) {
    const { healthCheckNodePort = 0 } = old.spec;
    if ((spec.healthCheckNodePort ?? 0) === 0 && healthCheckNodePort !== 0) {
      spec.healthCheckNodePort = healthCheckNodePort;
    }
  }
}

/** Whether a service that takes two families where it can get them is left as it is, whatever the cluster has become. */
function keepsPreference(service: Service, old: Service | undefined): boolean {
  if (old === undefined || old.spec.type !== service.spec.type) return false;
  const prefers = service.spec.ipFamilyPolicy === "PreferDualStack";
  const preferred = (old.spec.ipFamilyPolicy ?? "PreferDualStack") === "PreferDualStack";
  return prefers && preferred && sameClusterIps(service, old) && sameIpFamilies(service, old);
}

function defaultPolicy({ spec }: Service, old: Service | undefined): string {
  if (old?.spec.ipFamilyPolicy !== undefined) return old.spec.ipFamilyPolicy;
  const free = spec.clusterIP === noClusterIp && Object.keys(spec.selector ?? {}).length === 0;
  return free ? "RequireDualStack" : "SingleStack";
}

/** Giving up the second of two must be said clearly: by the policy. */
function releaseSecond(service: Service, old: Service): FieldError[] {
  const { spec } = service;
  const { clusterIPs = [], ipFamilies = [] } = spec;
  if (spec.ipFamilyPolicy === "SingleStack") {
    if (clusterIPs.length > 1 && sameClusterIps(service, old)) {
      spec.clusterIPs = clusterIPs.slice(0, 1);
    }
    if (ipFamilies.length > 1 && sameIpFamilies(service, old)) {
      spec.ipFamilies = ipFamilies.slice(0, 1);
    }
    return [];
  }
  const errors: FieldError[] = [];
  const isReduced = (now: readonly string[], was: readonly string[] = []): boolean =>
    now.length > 0 && now.length < was.length;
  const refuse = (what: string): void => {
    const detail = `must be 'SingleStack' to release the secondary ${what}`;
    errors.push(invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, detail));
  };
  if (isReduced(clusterIPs, old.spec.clusterIPs)) refuse("cluster IP");
  if (isReduced(ipFamilies, old.spec.ipFamilies)) refuse("IP family");
  return errors;
}

function refuseTwo({ spec }: Service): FieldError[] {
  if (spec.ipFamilyPolicy !== "SingleStack") return [];
  const errors: FieldError[] = [];
  const refuse = (what: string): void => {
    const detail = `must be 'RequireDualStack' or 'PreferDualStack' when multiple ${what} are specified`;
    errors.push(invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, detail));
  };
  if (spec.clusterIPs?.length === 2) refuse("cluster IPs");
  if (spec.ipFamilies?.length === 2) refuse("IP families");
  return errors;
}

/** Families that the given addresses imply. */
function inferFamilies({ spec }: Service, configured: readonly IPFamily[]): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, ip] of (spec.clusterIPs ?? []).entries()) {
    if (ip === noClusterIp) break;
    if (index < (spec.ipFamilies ?? []).length) continue;
    const family = isIpv4Text(ip) ? "IPv4" : "IPv6";
    if (configured.includes(family)) spec.ipFamilies = [...(spec.ipFamilies ?? []), family];
    else {
      const detail = `${family} is not configured on this cluster`;
      errors.push(invalid(`spec.clusterIPs[${index}]`, spec.clusterIPs, detail));
    }
  }
  return errors;
}

/**
 * Settles ipFamilyPolicy and ipFamilies in a cluster with these families, its first one first. The errors forbid to go on:
 * there is nothing to allocate.
 */
export function settleIpFamilies(
  service: Service,
  old: Service | undefined,
  configured: readonly [IPFamily, ...IPFamily[]],
): FieldError[] {
  const { spec } = service;
  if (!needsClusterIp(service) || keepsPreference(service, old)) return [];
  spec.ipFamilyPolicy ??= defaultPolicy(service, old);
  const malformed = validateClusterIps(service, old);
  if (malformed.length > 0) return malformed;
  const errors = old === undefined ? [] : releaseSecond(service, old);
  errors.push(...refuseTwo(service), ...inferFamilies(service, configured));
  if (errors.length > 0) return errors;
  const [first] = configured;
  if (spec.clusterIP === noClusterIp && Object.keys(spec.selector ?? {}).length === 0) {
    const [own = first, ...rest] = spec.ipFamilies ?? [];
    const alone = rest.length === 0 && spec.ipFamilyPolicy !== "SingleStack";
    spec.ipFamilies = alone ? [own, otherFamily(own)] : [own, ...rest];
    return [];
  }
  if (spec.ipFamilyPolicy === "RequireDualStack" && configured.length < 2) {
    const detail = "this cluster is not configured for dual-stack services";
    errors.push(invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, detail));
  }
  for (const [index, family] of (spec.ipFamilies ?? []).entries()) {
    if (configured.includes(family)) continue;
    errors.push(invalid(`spec.ipFamilies[${index}]`, family, "not configured on this cluster"));
  }
  if (errors.length > 0) return errors;
  const [own = first, ...rest] = spec.ipFamilies ?? [];
  const completes =
    spec.ipFamilyPolicy !== "SingleStack" && rest.length === 0 && configured.length === 2;
  spec.ipFamilies = completes ? [own, otherFamily(own)] : [own, ...rest];
  return [];
}

function validateFamilies({ spec }: Service): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, family] of (spec.ipFamilies ?? []).entries()) {
    const path = `spec.ipFamilies[${index}]`;
    if (!families.includes(family)) errors.push(notSupported(path, family, families));
    if (seen.has(family)) errors.push(duplicate(path, family));
    seen.add(family);
  }
  const { ipFamilyPolicy } = spec;
  if (ipFamilyPolicy !== undefined && !policies.includes(ipFamilyPolicy)) {
    errors.push(notSupported("spec.ipFamilyPolicy", ipFamilyPolicy, policies));
  }
  return errors;
}

function validateEachIp({ spec }: Service, old: Service | undefined): FieldError[] {
  const { clusterIPs = [] } = spec;
  return clusterIPs.flatMap((ip, index) => {
    if (index === 0 && ip === noClusterIp) {
      const detail = "'None' must be the first and only value";
      return clusterIPs.length > 1 ? [invalid("spec.clusterIPs", clusterIPs, detail)] : [];
    }
    if (old?.spec.clusterIPs?.includes(ip) === true) return [];
    return isValidIpForLegacyField(`spec.clusterIPs[${index}]`, ip, true);
  });
}

function validateStacks(service: Service): FieldError[] {
  const { clusterIPs = [], ipFamilies = [] } = service.spec;
  const errors: FieldError[] = [];
  const isDual = clusterIPs.some(isIpv4Text) && clusterIPs.some(isIpv6Text);
  if (clusterIPs.length > 1 && !isDual) {
    const detail = "may specify no more than one IP for each IP family";
    errors.push(invalid("spec.clusterIPs", clusterIPs, detail));
  }
  if (isHeadless(service)) return errors;
  for (const [index, ip] of clusterIPs.slice(0, ipFamilies.length).entries()) {
    const family = ipFamilies[index] ?? "";
    const fits = family === "IPv4" ? !isIpv6Text(ip) : family !== "IPv6" || isIpv6Text(ip);
    if (fits) continue;
    const detail = `expected an ${family} value as indicated by \`ipFamilies[${index}]\``;
    errors.push(invalid(`spec.clusterIPs[${index}]`, ip, detail));
  }
  return errors;
}

/** clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy, each alone and together. */
export function validateClusterIps(service: Service, old: Service | undefined): FieldError[] {
  const { spec } = service;
  if (!needsClusterIp(service)) return [];
  const path = "spec.clusterIPs";
  const { clusterIP = "", clusterIPs = [] } = spec;
  const errors: FieldError[] = [];
  if (clusterIP === "" && clusterIPs.length > 0) {
    errors.push(invalid(path, clusterIPs, "must be empty when `clusterIP` is not specified"));
  } else if (clusterIP !== "" && clusterIPs.length === 0) errors.push(required(path));
  else if (clusterIP !== "" && clusterIPs[0] !== clusterIP) {
    errors.push(invalid(path, clusterIPs, "first value must match `clusterIP`"));
  }
  errors.push(...validateFamilies(service));
  const malformed = validateEachIp(service, old);
  errors.push(...malformed);
  if (clusterIPs.length > 2) errors.push(invalid(path, clusterIPs, "may only hold up to 2 values"));
  return malformed.length > 0 ? errors : [...errors, ...validateStacks(service)];
}
