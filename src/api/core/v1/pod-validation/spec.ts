/** The spec of a pod or of a pod template, field by field in upstream's order. */
import { type FieldError, forbidden, invalid, required } from "#machinery/field-error.ts";
import type { ObjectMeta } from "#machinery/meta.ts";
import { validateAnnotations } from "#machinery/meta-validation.ts";
import { validateLabels } from "#machinery/selector.ts";
import {
  isDns1123Subdomain,
  isDns1123SubdomainWithUnderscore,
  rangeMessage,
} from "#machinery/validation.ts";
import type {
  HostAlias,
  PodDNSConfig,
  PodSpec,
  PodTemplateSpec,
} from "../../../generated/core/v1.ts";
import { validatePreemptionPolicy } from "../../../scheduling/v1/priorityclass.ts";
import { visitContainers } from "../pod-containers.ts";
import { mirrorAnnotation, validatePodAnnotations, validateProfilesMatch } from "./annotations.ts";
import {
  validateContainers,
  validateEphemeralContainers,
  validateInitContainers,
} from "./containers.ts";
import { validateFileKeyVolumes } from "./env.ts";
import { dnsLabel, dnsSubdomain, each, ipAddress, qualifiedName, requiredOneOf } from "./fields.ts";
import { validateOverhead, validatePodClaims, validatePodResources } from "./resources.ts";
import type { PodRules } from "./rules.ts";
import {
  validateAffinity,
  validateSchedulingGates,
  validateSpreadConstraints,
} from "./scheduling.ts";
import { validatePodSecurityContext } from "./security.ts";
import { validateTolerations } from "./tolerations.ts";
import { validateVolumes } from "./volumes.ts";
import { validateHostProcess, validateOs } from "./windows.ts";

const nameserversMax = 3;
const searchesMax = 32;
const searchListLengthMax = 2048;
const hostnameLengthMax = 64;
const int32Max = 2 ** 31 - 1;

function validateDnsConfig(spec: PodSpec, path: string): FieldError[] {
  const { dnsConfig, dnsPolicy } = spec;
  if (dnsPolicy === "None") {
    if (dnsConfig === undefined) {
      return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")];
    }
    if ((dnsConfig.nameservers ?? []).length === 0) {
      const detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
      return [required(`${path}.nameservers`, detail)];
    }
  }
  return dnsConfig === undefined ? [] : validateDnsFields(dnsConfig, path);
}

function validateDnsFields(
  { nameservers = [], searches = [], options = [] }: PodDNSConfig,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  if (nameservers.length > nameserversMax) {
    const detail = `must not have more than ${nameserversMax} nameservers`;
    errors.push(invalid(`${path}.nameservers`, nameservers, detail));
  }
  for (const [index, server] of nameservers.entries()) {
    errors.push(...ipAddress(`${path}.nameservers[${index}]`, server));
  }
  const searchesAt = `${path}.searches`;
  if (searches.length > searchesMax) {
    const detail = `must not have more than ${searchesMax} search paths`;
    errors.push(invalid(searchesAt, searches, detail));
  }
  if (searches.join(" ").length > searchListLengthMax) {
    const detail = `must not have more than ${searchListLengthMax} characters (including spaces) in the search list`;
    errors.push(invalid(searchesAt, searches, detail));
  }
  for (const [index, search] of searches.entries()) {
    if (search === ".") continue;
    const name = search.endsWith(".") ? search.slice(0, -1) : search;
    errors.push(...each(`${searchesAt}[${index}]`, name, isDns1123SubdomainWithUnderscore(name)));
  }
  for (const [index, { name = "" }] of options.entries()) {
    if (name === "") errors.push(required(`${path}.options[${index}]`, "must not be empty"));
  }
  return errors;
}

/**
 * On the host's network a port is the host's. In templates the host's port may be left open: the
 * pod's defaults fill it.
 */
function validateHostNetworkPorts(spec: PodSpec, path: string, isPod: boolean): FieldError[] {
  if (spec.hostNetwork !== true) return [];
  return (spec.containers ?? []).flatMap(({ ports }, index) =>
    (ports ?? []).flatMap(({ hostPort = 0, containerPort }, portIndex) => {
      if (hostPort === containerPort || (hostPort === 0 && !isPod)) return [];
      const at = `${path}.containers[${index}].ports[${portIndex}].hostPort`;
      const detail = "must match `containerPort` when `hostNetwork` is true";
      return [invalid(at, hostPort, detail)];
    }),
  );
}

function validateHostUsers(spec: PodSpec, path: string, rules: PodRules): FieldError[] {
  if (spec.hostUsers !== false) return [];
  const detail = "when `hostUsers` is false";
  const errors: FieldError[] = [];
  if (spec.hostNetwork === true && !rules.allowUserNamespacesOnHostNetwork) {
    errors.push(forbidden(`${path}.hostNetwork`, detail));
  }
  if (spec.hostPID === true) errors.push(forbidden(`${path}.HostPID`, detail));
  if (spec.hostIPC === true) errors.push(forbidden(`${path}.HostIPC`, detail));
  if (rules.allowUserNamespacesWithDevices) return errors;
  for (const { container, path: at } of visitContainers(spec, path)) {
    const count = (container.volumeDevices ?? []).length;
    if (count > 0) errors.push(forbidden(`${at}.volumeDevices`, detail));
  }
  return errors;
}

function validateHostnameOverride(spec: PodSpec, path: string): FieldError[] {
  const { hostnameOverride, setHostnameAsFQDN, hostNetwork } = spec;
  if (hostnameOverride === undefined) return [];
  const errors: FieldError[] = [];
  if (setHostnameAsFQDN === true) {
    errors.push(forbidden(path, "may not be specified when setHostnameAsFQDN is true"));
  }
  if (hostNetwork === true) {
    errors.push(forbidden(path, "may not be specified when hostNetwork is true"));
  }
  if (hostnameOverride.length > hostnameLengthMax) {
    const message = `Too long: may not be more than ${hostnameLengthMax} bytes`;
    errors.push({ path, type: "FieldValueTooLong", message });
  }
  return [...errors, ...dnsSubdomain(path, hostnameOverride)];
}

const validateHostAliases = (aliases: readonly HostAlias[], path: string): FieldError[] =>
  aliases.flatMap(({ ip, hostnames }, index) => [
    ...ipAddress(`${path}[${index}].ip`, ip),
    ...(hostnames ?? []).flatMap((name, nameIndex) =>
      dnsSubdomain(`${path}[${index}].hostnames[${nameIndex}]`, name),
    ),
  ]);

/** Names of other objects, and the host's own. */
function validateNames(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const named = (
    field: "serviceAccountName" | "nodeName" | "priorityClassName" | "hostname" | "subdomain",
    check: (path: string, value: string) => FieldError[],
  ): FieldError[] => {
    const value = spec[field] ?? "";
    return value === "" ? [] : check(`${path}.${field}`, value);
  };
  errors.push(...named("serviceAccountName", dnsSubdomain));
  errors.push(...named("nodeName", dnsSubdomain));
  const { activeDeadlineSeconds: deadline } = spec;
  if (deadline !== undefined && (deadline < 1 || deadline > int32Max)) {
    errors.push(invalid(`${path}.activeDeadlineSeconds`, deadline, rangeMessage(1, int32Max)));
  }
  return [...errors, ...named("hostname", dnsLabel), ...named("subdomain", dnsLabel)];
}

function validateRest(spec: PodSpec, path: string, rules: PodRules): FieldError[] {
  const { tolerations, hostAliases, priorityClassName = "", runtimeClassName, overhead } = spec;
  const errors = validateTolerations(tolerations ?? [], `${path}.tolerations`, rules);
  errors.push(...validateHostAliases(hostAliases ?? [], `${path}.hostAliases`));
  if (priorityClassName !== "") {
    errors.push(...dnsSubdomain(`${path}.priorityClassName`, priorityClassName));
  }
  if (runtimeClassName !== undefined) {
    const messages = isDns1123Subdomain(runtimeClassName);
    errors.push(...each(`${path}.runtimeClassName`, runtimeClassName, messages));
  }
  errors.push(...validatePreemptionPolicy(spec.preemptionPolicy, `${path}.preemptionPolicy`));
  if (overhead !== undefined) {
    errors.push(...validateOverhead(overhead, `${path}.overhead`, rules));
  }
  return [...errors, ...validateOs(spec, path), ...validateFileKeyVolumes(spec, path)];
}

/** `metadata` of the pod; undefined for a template, whose pods have names of their own. */
export function validatePodSpec(
  spec: PodSpec,
  metadata: ObjectMeta | undefined,
  path: string,
  rules: PodRules,
): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.terminationGracePeriodSeconds === undefined) {
    errors.push(required(`${path}.terminationGracePeriodSeconds`));
  }
  const podName = metadata?.name ?? "";
  const checked = validateVolumes(spec.volumes ?? [], podName, `${path}.volumes`, rules);
  const podClaims = spec.resourceClaims ?? [];
  const isStatic = metadata?.annotations?.[mirrorAnnotation] !== undefined;
  const claims = new Set(podClaims.map(({ name }) => name).filter((name) => name !== ""));
  const context = { spec, volumes: checked.volumes, claims, rules };
  return [
    ...errors,
    ...checked.errors,
    ...validatePodClaims(podClaims, isStatic, `${path}.resourceClaims`),
    ...validateContainers(context, `${path}.containers`),
    ...validateInitContainers(context, `${path}.initContainers`),
    ...validateEphemeralContainers(context, `${path}.ephemeralContainers`),
    ...validatePodResources(spec, claims, `${path}.resources`, rules),
    ...validateHostNetworkPorts(spec, path, rules.isPod),
    ...requiredOneOf(`${path}.restartPolicy`, spec.restartPolicy, ["Always", "OnFailure", "Never"]),
    ...requiredOneOf(`${path}.dnsPolicy`, spec.dnsPolicy, [
      "ClusterFirstWithHostNet",
      "ClusterFirst",
      "Default",
      "None",
    ]),
    ...validateLabels(spec.nodeSelector, `${path}.nodeSelector`),
    ...validatePodSecurityContext(spec, `${path}.securityContext`, rules),
    ...validateSharedProcesses(spec, path),
    ...validateAffinity(spec.affinity, `${path}.affinity`, rules),
    ...validateDnsConfig(spec, `${path}.dnsConfig`),
    ...(spec.readinessGates ?? []).flatMap(({ conditionType }, index) =>
      qualifiedName(`${path}.readinessGates[${index}].conditionType`, conditionType),
    ),
    ...validateSchedulingGates(spec.schedulingGates, `${path}.schedulingGates`),
    ...validateSpreadConstraints(
      spec.topologySpreadConstraints,
      `${path}.topologySpreadConstraints`,
      rules,
    ),
    ...validateHostProcess(spec, path),
    ...validateHostUsers(spec, path, rules),
    ...validateHostnameOverride(spec, `${path}.hostnameOverride`),
    ...validateNames(spec, path),
    ...validateRest(spec, path, rules),
  ];
}

function validateSharedProcesses({ shareProcessNamespace, hostPID }: PodSpec, path: string) {
  if (shareProcessNamespace !== true || hostPID !== true) return [];
  const detail = "ShareProcessNamespace and HostPID cannot both be enabled";
  return [invalid(`${path}.shareProcessNamespace`, true, detail)];
}

/** For every workload that has a template. */
export function validatePodTemplate(
  { metadata, spec }: PodTemplateSpec,
  path: string,
  rules: PodRules,
): FieldError[] {
  const { labels, annotations } = metadata ?? {};
  const errors = [
    ...validateLabels(labels, `${path}.labels`),
    ...validateAnnotations(annotations, `${path}.annotations`),
    ...validatePodAnnotations(annotations, spec, `${path}.annotations`, rules),
    ...validatePodSpec(spec, undefined, `${path}.spec`, rules),
    ...validateProfilesMatch(metadata ?? {}, spec, `${path}.spec`),
  ];
  if ((spec.ephemeralContainers ?? []).length > 0) {
    const detail = "ephemeral containers not allowed in pod template";
    errors.push(forbidden(`${path}.spec.ephemeralContainers`, detail));
  }
  return errors;
}
