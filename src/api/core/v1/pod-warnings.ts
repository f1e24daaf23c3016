/**
 * Warnings about pods and pod templates: allowed, but hardly meant. Told once, when the object is
 * made. Pure.
 */

import { formatIp, isMapped, parseIp, parseIpSloppy } from "#machinery/ip.ts";
import { sortedKeys } from "#machinery/object.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { isDns1123Label, isLabelValue } from "#machinery/validation.ts";
import type {
  Container,
  ContainerPort,
  NodeSelectorTerm,
  Pod,
  PodSpec,
  Volume,
} from "../../generated/core/v1.ts";
import { appArmorAnnotationPrefix, appArmorProfileOf } from "./pod-apparmor.ts";
import { type VisitedContainer, visitContainers } from "./pod-containers.ts";
import { overlappingPathWarnings } from "./pod-path-warnings.ts";

const nanosPerOne = 1_000_000_000n;

const deprecatedNodeLabels: Readonly<Record<string, string>> = {
  "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
  "failure-domain.beta.kubernetes.io/region":
    'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  "failure-domain.beta.kubernetes.io/zone":
    'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  "beta.kubernetes.io/instance-type":
    'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  "app.kubernetes.io/created-by": "deprecated since v1.9",
  "scheduler.alpha.kubernetes.io/preferAvoidPods":
    "deprecated since v1.22; use Taints and Tolerations instead",
  "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
};
export const deprecatedLabel = (key: string): string | undefined =>
  Object.hasOwn(deprecatedNodeLabels, key) ? deprecatedNodeLabels[key] : undefined;

const deprecatedAnnotations: readonly (readonly [string, string])[] = [
  [
    "scheduler.alpha.kubernetes.io/critical-pod",
    'non-functional in v1.16+; use the "priorityClassName" field instead',
  ],
  [
    "security.alpha.kubernetes.io/sysctls",
    'non-functional in v1.11+; use the "sysctls" field instead',
  ],
  [
    "security.alpha.kubernetes.io/unsafe-sysctls",
    'non-functional in v1.11+; use the "sysctls" field instead',
  ],
];
const deprecatedVolumes: readonly (readonly [keyof Volume, string])[] = [
  ["photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"],
  ["gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"],
  ["scaleIO", "deprecated in v1.16, non-functional in v1.22+"],
  ["flocker", "deprecated in v1.22, non-functional in v1.25+"],
  ["storageos", "deprecated in v1.22, non-functional in v1.25+"],
  ["quobyte", "deprecated in v1.22, non-functional in v1.25+"],
  ["glusterfs", "deprecated in v1.25, non-functional in v1.26+"],
  ["cephfs", "deprecated in v1.28, non-functional in v1.31+"],
  ["rbd", "deprecated in v1.28, non-functional in v1.31+"],
];

export function selectorTermWarnings(
  term: NodeSelectorTerm,
  path: string,
  checksValues: boolean,
): string[] {
  return (term.matchExpressions ?? []).flatMap(({ key, values }, index) => {
    const at = `${path}.matchExpressions[${index}]`;
    const why = deprecatedLabel(key);
    const warnings = why === undefined ? [] : [`${at}.key: ${key} is ${why}`];
    if (!checksValues) return warnings;
    const invalid = (values ?? []).flatMap((value, valueIndex) =>
      isLabelValue(value).map(
        (message) => `${at}.values[${valueIndex}]: ${value} is invalid, ${message}`,
      ),
    );
    return [...warnings, ...invalid];
  });
}

function nodeWarnings({ nodeSelector = {}, affinity }: PodSpec, path: string): string[] {
  const warnings = sortedKeys(nodeSelector).flatMap((key) => {
    const why = deprecatedLabel(key);
    return why === undefined ? [] : [`${path}.nodeSelector[${key}]: ${why}`];
  });
  const at = `${path}.affinity.nodeAffinity`;
  const node = affinity?.nodeAffinity;
  const terms = node?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  for (const [index, term] of terms.entries()) {
    const where = `${at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[${index}]`;
    warnings.push(...selectorTermWarnings(term, where, false));
  }
  const wishes = node?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  for (const [index, { preference }] of wishes.entries()) {
    const where = `${at}.preferredDuringSchedulingIgnoredDuringExecution[${index}].preference`;
    warnings.push(...selectorTermWarnings(preference, where, true));
  }
  return warnings;
}

const nullSelector = (path: string): string =>
  `${path}.labelSelector: a null labelSelector results in matching no pod`;

function spreadWarnings({ topologySpreadConstraints = [] }: PodSpec, path: string): string[] {
  return topologySpreadConstraints.flatMap(({ topologyKey, labelSelector }, index) => {
    const at = `${path}.topologySpreadConstraints[${index}]`;
    const why = deprecatedLabel(topologyKey);
    return [
      ...(why === undefined ? [] : [`${at}.topologyKey: ${topologyKey} is ${why}`]),
      ...(labelSelector === undefined ? [nullSelector(at)] : []),
    ];
  });
}

function affinityWarnings({ affinity }: PodSpec, path: string): string[] {
  return (["podAffinity", "podAntiAffinity"] as const).flatMap((field) => {
    const terms = affinity?.[field];
    const at = `${path}.affinity.${field}`;
    return [
      ...(terms?.requiredDuringSchedulingIgnoredDuringExecution ?? []).flatMap((term, index) => {
        const where = `${at}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`;
        return term.labelSelector === undefined ? [nullSelector(where)] : [];
      }),
      ...(terms?.preferredDuringSchedulingIgnoredDuringExecution ?? []).flatMap((term, index) => {
        const where = `${at}.preferredDuringSchedulingIgnoredDuringExecution[${index}].podAffinityTerm`;
        return term.podAffinityTerm.labelSelector === undefined ? [nullSelector(where)] : [];
      }),
    ];
  });
}

type Amounts = Readonly<Record<string, string>> | undefined;
/** Bytes come whole. */
function fractionWarnings(list: Amounts, names: readonly string[], path: string): string[] {
  return names.flatMap((name) => {
    const text = list?.[name];
    if (text === undefined || quantityOf(text).nanos % nanosPerOne === 0n) return [];
    const value = JSON.stringify(text);
    return [`${path}[${name}]: fractional byte value ${value} is invalid, must be an integer`];
  });
}
const byteNames = ["memory", "ephemeral-storage"];

function volumeWarnings({ volumes = [] }: PodSpec, path: string): string[] {
  const warnings = volumes.flatMap((volume, index) => {
    const at = `${path}.volumes[${index}]`;
    const old = deprecatedVolumes
      .filter(([field]) => volume[field] !== undefined)
      .map(([field, why]) => `${at}.${field === "storageos" ? "storageOS" : field}: ${why}`);
    const claim = volume.ephemeral?.volumeClaimTemplate?.spec?.resources;
    const claimAt = `${at}.ephemeral.volumeClaimTemplate.spec.resources`;
    return [
      ...old,
      ...fractionWarnings(claim?.requests, ["storage"], `${claimAt}.requests`),
      ...fractionWarnings(claim?.limits, ["storage"], `${claimAt}.limits`),
    ];
  });
  return [...warnings, ...overlappingPathWarnings(volumes)];
}

function repeated(
  texts: readonly string[],
  warn: (index: number, text: string) => string,
): string[] {
  const seen = new Set<string>();
  return texts.flatMap((text, index) => {
    if (seen.has(text)) return [warn(index, text)];
    seen.add(text);
    return [];
  });
}

function listWarnings(
  { hostAliases = [], imagePullSecrets = [] }: PodSpec,
  path: string,
): string[] {
  const secrets = imagePullSecrets.map(({ name }) => name ?? "");
  const at = (index: number): string => `${path}.imagePullSecrets[${index}].name`;
  return [
    ...repeated(
      hostAliases.map(({ ip }) => ip),
      (index, ip) => `${path}.hostAliases[${index}].ip: duplicate ip ${JSON.stringify(ip)}`,
    ),
    ...repeated(secrets, (index, name) => `${at(index)}: duplicate name ${JSON.stringify(name)}`),
    ...secrets.flatMap((name, index) =>
      name === "" ? [`${at(index)}: invalid empty name ""`] : [],
    ),
  ];
}

/** A variable that hides an earlier one of the same name without building on it. */
function envWarnings({ env = [] }: Container, path: string): string[] {
  const seen = new Set<string>();
  return env.flatMap(({ name, value = "", valueFrom }, index) => {
    const again = seen.has(name);
    seen.add(name);
    const reference = `$(${name})`;
    const builds = valueFrom === undefined && value !== reference && value.includes(reference);
    if (!again || builds) return [];
    const shown = JSON.stringify(name);
    return [
      `${path}.env[${index}]: hides previous definition of ${shown}, which may be dropped when using apply`,
    ];
  });
}

interface Template extends Pick<Pod, "metadata" | "spec"> {}

function containerWarnings(
  { metadata, spec }: Template,
  { container, path }: VisitedContainer,
  lead: string,
): string[] {
  const { securityContext, resources, name } = container;
  const annotations = metadata?.annotations ?? {};
  const warnings: string[] = [];
  const seccomp = `container.seccomp.security.alpha.kubernetes.io/${name}`;
  if (securityContext?.seccompProfile === undefined && annotations[seccomp] !== undefined) {
    warnings.push(
      `${lead}metadata.annotations[${seccomp}]: non-functional in v1.27+; use the "seccompProfile" field instead`,
    );
  }
  const appArmor = `${appArmorAnnotationPrefix}${name}`;
  const annotation = annotations[appArmor];
  // Of pods this is told while the annotation is copied into the field.
  if (lead !== "" && annotation !== undefined && securityContext?.appArmorProfile === undefined) {
    const ofPod = spec.securityContext?.appArmorProfile;
    const meant = appArmorProfileOf(annotation);
    const same =
      ofPod !== undefined &&
      ofPod.type === meant?.type &&
      ofPod.localhostProfile === meant.localhostProfile;
    if (!same) {
      warnings.push(
        `${lead}metadata.annotations[${appArmor}]: deprecated since v1.30; use the "appArmorProfile" field instead`,
      );
    }
  }
  for (const byteName of byteNames) {
    for (const list of ["limits", "requests"] as const) {
      const at = `${path}.resources.${list}`;
      warnings.push(...fractionWarnings(resources?.[list], [byteName], at));
    }
  }
  return [...warnings, ...envWarnings(container, path)];
}

interface PlacedPort extends ContainerPort {
  readonly path: string;
}
function comparePorts(port: PlacedPort, other: PlacedPort): string[] {
  const [ip, otherIp] = [port.hostIP ?? "", other.hostIP ?? ""];
  const [host, otherHost] = [port.hostPort ?? 0, other.hostPort ?? 0];
  if (ip === otherIp && host === otherHost) {
    return [`${port.path}: duplicate port definition with ${other.path}`];
  }
  if (host === 0 || otherHost === 0) {
    return [`${port.path}: overlapping port definition with ${other.path}`];
  }
  if (host !== otherHost || (ip === "") === (otherIp === "")) return [];
  return [`${port.path}: dangerously ambiguous port definition with ${other.path}`];
}

function portWarnings(visited: readonly VisitedContainer[]): string[] {
  const warnings: string[] = [];
  const ports = visited.flatMap(({ container, path }) =>
    (container.ports ?? []).map(
      (port, index): PlacedPort => ({ ...port, path: `${path}.ports[${index}]` }),
    ),
  );
  const byKey = new Map<string, PlacedPort[]>();
  for (const port of ports) {
    const { name = "", containerPort, protocol = "", hostIP = "", hostPort = 0, path } = port;
    if (hostIP !== "" && hostPort === 0) {
      const shown = `{Name:${name} HostPort:0 ContainerPort:${containerPort} Protocol:${protocol} HostIP:${hostIP}}`;
      warnings.push(`${path}: hostIP set without hostPort: ${shown}`);
    }
    const key = `${containerPort}/${protocol}`;
    const others = byKey.get(key) ?? [];
    warnings.push(...others.flatMap((other) => comparePorts(port, other)));
    byKey.set(key, [...others, port]);
  }
  const named = new Map<string, string>();
  for (const { name = "", path } of ports) {
    const other = named.get(name);
    if (name !== "" && other !== undefined) {
      const shown = JSON.stringify(name);
      warnings.push(
        `${path}: duplicate port name ${shown} with ${other}, services and probes that select ports by name will use ${other}`,
      );
    } else named.set(name, path);
  }
  return warnings;
}

/** Addresses that other implementations read otherwise, or not at all. */
export function ipWarnings(path: string, text: string): string[] {
  const address = parseIpSloppy(text);
  if (address === undefined) return [];
  const [shown, canonical] = [JSON.stringify(text), JSON.stringify(formatIp(address))];
  if (parseIp(text) === undefined || isMapped(address)) {
    return [`${path}: non-standard IP address ${shown} is invalid: use ${canonical}`];
  }
  if (address.family === 4 || shown === canonical) return [];
  return [`${path}: IPv6 address ${shown} should be in RFC 5952 canonical format (${canonical})`];
}

function addressWarnings({ dnsConfig, hostAliases = [] }: PodSpec, path: string): string[] {
  return [
    ...(dnsConfig?.nameservers ?? []).flatMap((server, index) =>
      ipWarnings(`${path}.dnsConfig.nameservers[${index}]`, server),
    ),
    ...hostAliases.flatMap(({ ip }, index) => ipWarnings(`${path}.hostAliases[${index}].ip`, ip)),
  ];
}

/** `lead`: where the template stands in its object, "" or with a point at its end. */
export function templateWarnings(template: Template, lead: string): string[] {
  const { metadata, spec } = template;
  const path = `${lead}spec`;
  const annotations = metadata?.annotations ?? {};
  const visited = visitContainers(spec, path);
  const seccomp = "seccomp.security.alpha.kubernetes.io/pod";
  const warnings = [
    ...nodeWarnings(spec, path),
    ...spreadWarnings(spec, path),
    ...deprecatedAnnotations
      .filter(([key]) => annotations[key] !== undefined)
      .map(([key, why]) => `${lead}metadata.annotations[${key}]: ${why}`),
    ...volumeWarnings(spec, path),
    ...listWarnings(spec, path),
    ...fractionWarnings(spec.overhead, byteNames, `${path}.overhead`),
  ];
  if (spec.securityContext?.seccompProfile === undefined && annotations[seccomp] !== undefined) {
    warnings.push(
      `${lead}metadata.annotations[${seccomp}]: non-functional in v1.27+; use the "seccompProfile" field instead`,
    );
  }
  warnings.push(...visited.flatMap((one) => containerWarnings(template, one, lead)));
  warnings.push(...portWarnings(visited));
  if ((spec.terminationGracePeriodSeconds ?? 0) < 0) {
    const at = `${path}.terminationGracePeriodSeconds`;
    warnings.push(`${at}: must be >= 0; negative values are invalid and will be treated as 1`);
  }
  return [...warnings, ...affinityWarnings(spec, path), ...addressWarnings(spec, path)];
}

/** Upstream: Go prints the list of problems in brackets. */
export const nameWarnings = (name: string, use: string): string[] => {
  const problems = isDns1123Label(name);
  if (problems.length === 0) return [];
  return [
    `metadata.name: this is used in ${use}, which can result in surprising behavior; a DNS label is recommended: [${problems.join(" ")}]`,
  ];
};

/** Pods are seldom changed by hand: only their creation is commented. */
export function podWarnings(pod: Pod, old: Pod | undefined): string[] {
  if (old !== undefined) return [];
  const { name = "" } = pod.metadata;
  return [...nameWarnings(name, "the Pod's hostname"), ...templateWarnings(pod, "")];
}

interface Workload {
  readonly metadata: Pod["metadata"];
  readonly spec: { readonly template: Template };
}
/** Of Deployments, ReplicaSets and their like. */
export function workloadWarnings(workload: Workload, old: Workload | undefined): string[] {
  const { metadata, spec } = workload;
  if (old !== undefined && old.metadata.generation === metadata.generation) return [];
  const named =
    old === undefined ? nameWarnings(metadata.name ?? "", "Pod names and hostnames") : [];
  return [...named, ...templateWarnings(spec.template, "spec.template.")];
}
