/** What is wrong with a Service, in upstream's words and order. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { parseIpSloppy } from "#machinery/ip.ts";
import { validateLabels } from "#machinery/selector.ts";
import {
  isDns1123Label,
  isDns1123Subdomain,
  isPortName,
  isPortNumber,
  isQualifiedName,
  isValidCidrForLegacyField,
  isValidIpForLegacyField,
} from "#machinery/validation.ts";
import type { LoadBalancerIngress, Service, ServicePort } from "../../generated/core/v1.ts";
import { validateEndpointIp } from "./endpoint-ip.ts";
import { validateClusterIps } from "./service-addresses.ts";
import { isExternallyAccessible, isHeadless, needsHealthCheckNodePort } from "./service-rules.ts";

const types: readonly string[] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const affinities: readonly string[] = ["ClientIP", "None"];
export const portProtocols: readonly string[] = ["SCTP", "TCP", "UDP"];
const trafficPolicies: readonly string[] = ["Cluster", "Local"];
const distributions: readonly string[] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
const ipModes: readonly string[] = ["Proxy", "VIP"];
const affinitySecondsMax = 86_400;

export const topologyHintsAnnotation = "service.kubernetes.io/topology-aware-hints";
export const topologyModeAnnotation = "service.kubernetes.io/topology-mode";
const sourceRangesAnnotation = "service.beta.kubernetes.io/load-balancer-source-ranges";
const onlyLoadBalancers = "may only be used when `type` is 'LoadBalancer'";

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

/** One of a few, and never none. */
export function oneOf(path: string, value: string, supported: readonly string[]): FieldError[] {
  if (value === "") return [required(path)];
  return supported.includes(value) ? [] : [notSupported(path, value, supported)];
}

function validateTopology({ metadata }: Service): FieldError[] {
  const mode = metadata.annotations?.[topologyModeAnnotation];
  const hints = metadata.annotations?.[topologyHintsAnnotation];
  if (mode === undefined || hints === undefined || mode === hints) return [];
  const detail = `must match annotations[${topologyHintsAnnotation}] when both are specified`;
  return [invalid(`metadata.annotations[${topologyModeAnnotation}]`, mode, detail)];
}

function validateExternalName({ spec }: Service): FieldError[] {
  const errors: FieldError[] = [];
  const detail = "may not be set for ExternalName services";
  if ((spec.clusterIPs ?? []).length > 0) errors.push(forbidden("spec.clusterIPs", detail));
  if ((spec.ipFamilies ?? []).length > 0) errors.push(forbidden("spec.ipFamilies", detail));
  if (spec.ipFamilyPolicy !== undefined) errors.push(forbidden("spec.ipFamilyPolicy", detail));
  // A dot at the end says that the name is complete.
  const name = (spec.externalName ?? "").replace(/\.$/, "");
  const path = "spec.externalName";
  if (name === "") errors.push(required(path));
  else errors.push(...each(path, name, isDns1123Subdomain(name)));
  return errors;
}

function validateByType(service: Service): FieldError[] {
  const { spec } = service;
  const errors: FieldError[] = [];
  const headless = isHeadless(service);
  if ((spec.ports ?? []).length === 0 && !headless && spec.type !== "ExternalName") {
    errors.push(required("spec.ports"));
  }
  if (spec.type === "ExternalName") errors.push(...validateExternalName(service));
  if (headless && (spec.type === "LoadBalancer" || spec.type === "NodePort")) {
    const detail = `may not be set to 'None' for ${spec.type} services`;
    errors.push(invalid("spec.clusterIPs[0]", spec.clusterIPs?.[0], detail));
  }
  return errors;
}

function validatePort(port: ServicePort, path: string, names: Set<string>, alone: boolean) {
  const errors: FieldError[] = [];
  const { name = "", protocol = "", targetPort, appProtocol } = port;
  if (name !== "") {
    errors.push(...each(`${path}.name`, name, isDns1123Label(name)));
    if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    names.add(name);
  } else if (!alone) errors.push(required(`${path}.name`));
  errors.push(...each(`${path}.port`, port.port, isPortNumber(port.port)));
  errors.push(...oneOf(`${path}.protocol`, protocol, portProtocols));
  const targetMessages =
    typeof targetPort === "number" ? isPortNumber(targetPort) : isPortName(targetPort);
  errors.push(...each(`${path}.targetPort`, targetPort, targetMessages));
  if (appProtocol !== undefined) {
    errors.push(...each(`${path}.appProtocol`, appProtocol, isQualifiedName(appProtocol)));
  }
  return errors;
}

function validatePorts({ spec }: Service): FieldError[] {
  const { ports = [] } = spec;
  const names = new Set<string>();
  return ports.flatMap((port, index) =>
    validatePort(port, `spec.ports[${index}]`, names, ports.length === 1),
  );
}

function validateAffinity({ spec }: Service): FieldError[] {
  const { sessionAffinity = "", sessionAffinityConfig: config } = spec;
  const errors = oneOf("spec.sessionAffinity", sessionAffinity, affinities);
  const path = "spec.sessionAffinityConfig";
  if (sessionAffinity === "None" && config !== undefined) {
    errors.push(forbidden(path, "must not be set when session affinity is None"));
  }
  if (sessionAffinity !== "ClientIP") return errors;
  const seconds = config?.clientIP?.timeoutSeconds;
  const detail = "when session affinity type is ClientIP";
  if (config === undefined) errors.push(required(path, detail));
  else if (config.clientIP === undefined) errors.push(required(`${path}.clientIP`, detail));
  else if (seconds === undefined) errors.push(required(`${path}.clientIP.timeoutSeconds`, detail));
  else if (seconds <= 0 || seconds > affinitySecondsMax) {
    const range = `must be greater than 0 and less than ${affinitySecondsMax}`;
    errors.push(invalid(`${path}.clientIP.timeoutSeconds`, seconds, range));
  }
  return errors;
}

/** What stood there before may stay, whatever the rules have become. */
function validateExternalIps({ spec }: Service, old: Service | undefined): FieldError[] {
  return (spec.externalIPs ?? []).flatMap((ip, index) => {
    const path = `spec.externalIPs[${index}]`;
    const known = old?.spec.externalIPs?.includes(ip) === true;
    const errors = known ? [] : isValidIpForLegacyField(path, ip, true);
    return errors.length > 0 ? errors : validateEndpointIp(path, ip);
  });
}

/** A port as upstream's server shows it in an error: by its internal names. */
const shownPort = ({ protocol, port }: ServicePort): object => ({
  Name: "",
  Protocol: protocol ?? "",
  AppProtocol: null,
  Port: port,
  TargetPort: 0,
  NodePort: 0,
});

function validateUniquePorts({ spec }: Service): FieldError[] {
  const { ports = [], type } = spec;
  const unwanted: FieldError[] = [];
  const twiceOnNodes: FieldError[] = [];
  const twice: FieldError[] = [];
  const nodePorts = new Set<string>();
  const seen = new Set<string>();
  for (const [index, one] of ports.entries()) {
    const path = `spec.ports[${index}]`;
    const { port, nodePort = 0, protocol = "" } = one;
    if (nodePort !== 0) {
      if (type === "ClusterIP") {
        const detail = "may not be used when `type` is 'ClusterIP'";
        unwanted.push(forbidden(`${path}.nodePort`, detail));
      }
      const key = `${protocol}/${nodePort}`;
      if (nodePorts.has(key)) twiceOnNodes.push(duplicate(`${path}.nodePort`, nodePort));
      nodePorts.add(key);
    }
    const key = `${protocol}/${port}`;
    if (seen.has(key)) twice.push(duplicate(path, shownPort(one)));
    seen.add(key);
  }
  return [...unwanted, ...twiceOnNodes, ...twice];
}

/** Upstream: blanks around a block are tolerated; the path is written with a capital letter. */
function validateSourceRanges({ metadata, spec }: Service, old: Service | undefined): FieldError[] {
  const { loadBalancerSourceRanges: ranges = [], type } = spec;
  const text = metadata.annotations?.[sourceRangesAnnotation];
  const path =
    ranges.length > 0
      ? "spec.LoadBalancerSourceRanges"
      : `metadata.annotations[${sourceRangesAnnotation}]`;
  if (ranges.length === 0 && text === undefined) return [];
  const errors = type === "LoadBalancer" ? [] : [forbidden(path, onlyLoadBalancers)];
  if (ranges.length > 0) {
    const known = (old?.spec.loadBalancerSourceRanges ?? []).map((range) => range.trim());
    for (const [index, range] of ranges.map((one) => one.trim()).entries()) {
      if (known.includes(range)) continue;
      errors.push(...isValidCidrForLegacyField(`${path}[${index}]`, range, true));
    }
    return errors;
  }
  const changed = old?.metadata.annotations?.[sourceRangesAnnotation] !== text;
  if (changed && text !== undefined && text.trim() !== "") {
    for (const range of text.trim().split(",")) {
      errors.push(...isValidCidrForLegacyField(path, range.trim(), true));
    }
  }
  return errors;
}

function validateLoadBalancerFields({ spec }: Service): FieldError[] {
  const { type, allocateLoadBalancerNodePorts, loadBalancerClass } = spec;
  const errors: FieldError[] = [];
  const balances = type === "LoadBalancer";
  if (allocateLoadBalancerNodePorts !== undefined && !balances) {
    errors.push(forbidden("spec.allocateLoadBalancerNodePorts", onlyLoadBalancers));
  }
  if (allocateLoadBalancerNodePorts === undefined && balances) {
    errors.push(required("allocateLoadBalancerNodePorts"));
  }
  if (loadBalancerClass === undefined) return errors;
  const path = "spec.loadBalancerClass";
  if (!balances) return [...errors, forbidden(path, onlyLoadBalancers)];
  return [...errors, ...each(path, loadBalancerClass, isQualifiedName(loadBalancerClass))];
}

function validateTrafficPolicies(service: Service): FieldError[] {
  const { spec } = service;
  const { externalTrafficPolicy = "", healthCheckNodePort = 0, internalTrafficPolicy } = spec;
  const errors: FieldError[] = [];
  const path = "spec.externalTrafficPolicy";
  if (isExternallyAccessible(service)) {
    errors.push(...oneOf(path, externalTrafficPolicy, trafficPolicies));
  } else if (externalTrafficPolicy !== "") {
    const detail = "may only be set for externally-accessible services";
    errors.push(invalid(path, externalTrafficPolicy, detail));
  }
  const healthPath = "spec.healthCheckNodePort";
  if (needsHealthCheckNodePort(service)) {
    if (healthCheckNodePort === 0) errors.push(required(healthPath));
    else errors.push(...each(healthPath, healthCheckNodePort, isPortNumber(healthCheckNodePort)));
  } else if (healthCheckNodePort !== 0) {
    const detail =
      "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    errors.push(invalid(healthPath, healthCheckNodePort, detail));
  }
  const internalPath = "spec.internalTrafficPolicy";
  if (internalTrafficPolicy === undefined) {
    if (types.includes(spec.type ?? "") && spec.type !== "ExternalName") {
      errors.push(required(internalPath));
    }
  } else if (!trafficPolicies.includes(internalTrafficPolicy)) {
    errors.push(notSupported(internalPath, internalTrafficPolicy, trafficPolicies));
  }
  const { trafficDistribution } = spec;
  if (trafficDistribution !== undefined && !distributions.includes(trafficDistribution)) {
    const distributionPath = "spec.trafficDistribution";
    errors.push(notSupported(distributionPath, trafficDistribution, distributions));
  }
  return errors;
}

export function validateService(service: Service, old: Service | undefined): FieldError[] {
  const { spec } = service;
  return [
    ...validateTopology(service),
    ...validateByType(service),
    ...validatePorts(service),
    ...validateLabels(spec.selector, "spec.selector"),
    ...validateAffinity(service),
    ...validateClusterIps(service, old),
    ...validateExternalIps(service, old),
    ...oneOf("spec.type", spec.type ?? "", types),
    ...validateUniquePorts(service),
    ...validateSourceRanges(service, old),
    ...validateLoadBalancerFields(service),
    ...validateTrafficPolicies(service),
  ];
}

function validateIngress(
  ingress: LoadBalancerIngress,
  path: string,
  knownIps: readonly string[],
): FieldError[] {
  const { ip = "", ipMode, hostname = "" } = ingress;
  const errors =
    ip === "" || knownIps.includes(ip) ? [] : isValidIpForLegacyField(`${path}.ip`, ip, true);
  if (ipMode === undefined) {
    if (ip !== "") errors.push(required(`${path}.ipMode`, "must be specified when `ip` is set"));
  } else if (ip === "") {
    errors.push(forbidden(`${path}.ipMode`, "may not be specified when `ip` is not set"));
  } else if (!ipModes.includes(ipMode)) {
    errors.push(notSupported(`${path}.ipMode`, ipMode, ipModes));
  }
  if (hostname === "") return errors;
  errors.push(...each(`${path}.hostname`, hostname, isDns1123Subdomain(hostname)));
  if (parseIpSloppy(hostname) !== undefined) {
    errors.push(invalid(`${path}.hostname`, hostname, "must be a DNS name, not an IP address"));
  }
  return errors;
}

export function validateServiceStatus({ spec, status }: Service, old: Service): FieldError[] {
  const { ingress = [] } = status.loadBalancer;
  const path = "status.loadBalancer.ingress";
  if (spec.type !== "LoadBalancer" && ingress.length > 0) {
    return [forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")];
  }
  const knownIps = (old.status.loadBalancer.ingress ?? []).map(({ ip = "" }) => ip);
  return ingress.flatMap((one, index) => validateIngress(one, `${path}[${index}]`, knownIps));
}
