/** What is wrong with a Node, in upstream's words and order. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  required,
} from "#machinery/field-error.ts";
import { parseCidrSloppy } from "#machinery/ip.ts";
import { negativeMessage } from "#machinery/meta-validation.ts";
import { compareUtf8, sortedKeys } from "#machinery/object.ts";
import { quantityOf, toMilli } from "#machinery/quantity.ts";
import {
  dns1123SubdomainLengthMax,
  isConfigMapKey,
  isDns1123Label,
  isDns1123Subdomain,
  isQualifiedName,
  isValidCidrForLegacyField,
} from "#machinery/validation.ts";
import type { ConfigMapNodeConfigSource, Node, NodeConfigSource } from "../../generated/core/v1.ts";
import { validateNodeAnnotations } from "./node-annotations.ts";
import { validateTaints } from "./node-taints.ts";
import { isNativeResource, type ResourceList } from "./pod-resources.ts";

/** Upstream: the path says metadata, though the taints are the spec's. */
const taintsPath = "metadata.taints";
const podCidrFixed = 'node updates may not change podCIDR except from "" to valid';

const countedNames: readonly string[] = [
  "pods",
  "resourcequotas",
  "services",
  "replicationcontrollers",
  "secrets",
  "configmaps",
  "persistentvolumeclaims",
  "services.nodeports",
  "services.loadbalancers",
];
const isCounted = (name: string): boolean =>
  countedNames.includes(name) ||
  (!isNativeResource(name) &&
    !name.startsWith("requests.") &&
    isQualifiedName(`requests.${name}`).length === 0);

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

function validateAmounts(amounts: ResourceList | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of sortedKeys(amounts ?? {})) {
    const text = amounts?.[name] ?? "0";
    const amount = quantityOf(text);
    const at = `${path}.${name}`;
    if (amount.nanos < 0n) errors.push(invalid(at, amount.text, negativeMessage));
    if (isCounted(name) && toMilli(amount) % 1000 !== 0) {
      errors.push(invalid(at, amount.text, "must be an integer"));
    }
  }
  return errors;
}
const validateResources = ({ status }: Node): FieldError[] => [
  ...validateAmounts(status.capacity, "status.capacity"),
  ...validateAmounts(status.allocatable, "status.allocatable"),
];

const featureName = /^[A-Z][a-zA-Z0-9]*(\/[a-zA-Z][a-zA-Z0-9]*)*$/;
function featureProblem(name: string): string | undefined {
  const lead = `invalid feature name ${JSON.stringify(name)}`;
  if (name.length > dns1123SubdomainLengthMax) {
    return `${lead}: must be no more than ${dns1123SubdomainLengthMax} characters`;
  }
  if (featureName.test(name)) return undefined;
  return `${lead}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes`;
}

function validateFeatures({ status }: Node): FieldError[] {
  const errors: FieldError[] = [];
  const { declaredFeatures: features = [] } = status;
  for (const [index, feature] of features.entries()) {
    const problem = featureProblem(feature);
    const path = `status.declaredFeatures[${index}]`;
    if (problem !== undefined) errors.push(invalid(path, feature, problem));
    const next = features[index + 1];
    if (next === undefined) continue;
    const nextPath = `status.declaredFeatures[${index + 1}]`;
    if (next === feature) errors.push(duplicate(nextPath, next));
    else if (compareUtf8(feature, next) > 0) {
      errors.push(invalid(nextPath, next, "list must be sorted alphabetically"));
    }
  }
  return errors;
}

function validatePodCidrs({ spec }: Node): FieldError[] {
  const { podCIDRs: cidrs = [] } = spec;
  const path = "spec.podCIDRs";
  const errors = cidrs.flatMap((one, index) =>
    isValidCidrForLegacyField(`${path}[${index}]`, one, true),
  );
  if (cidrs.length < 2) return errors;
  const families = cidrs.map((one) => parseCidrSloppy(one)?.address.family);
  const unreadable = families.indexOf(undefined);
  if (unreadable >= 0) {
    const problem = `invalid CIDR[${unreadable}]: <nil> (invalid CIDR address: ${cidrs[unreadable] ?? ""})`;
    errors.push({
      path,
      type: "InternalError",
      message: `Internal error: invalid PodCIDRs. failed to check with dual stack with error:${problem}`,
    });
  }
  const isDual = unreadable < 0 && families.includes(4) && families.includes(6);
  if (!isDual || cidrs.length > 2) {
    errors.push(invalid(path, cidrs, "may specify no more than one CIDR for each IP family"));
  }
  return errors;
}

export function validateNode(node: Node): FieldError[] {
  const { swap } = node.status.nodeInfo;
  const errors = [
    ...validateNodeAnnotations(node),
    ...validateTaints(node.spec.taints ?? [], taintsPath),
    ...validateResources(node),
  ];
  if (swap?.capacity !== undefined && swap.capacity <= 0) {
    const path = "metadata.nodeSwapStatus.capacity";
    errors.push(invalid(path, swap.capacity, "must be greater than zero"));
  }
  return [...errors, ...validateFeatures(node), ...validatePodCidrs(node)];
}

function validateAddresses({ status }: Node): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, { type, address }] of (status.addresses ?? []).entries()) {
    const key = `${type} ${address}`;
    if (seen.has(key)) {
      const shown = { Type: type, Address: address };
      errors.push(duplicate(`status.addresses[${index}]`, shown));
    }
    seen.add(key);
  }
  return errors;
}

function validatePodCidrChange(node: Node, old: Node): FieldError[] {
  const now = node.spec.podCIDRs ?? [];
  const was = old.spec.podCIDRs ?? [];
  const refusal = forbidden("spec.podCIDRs", podCidrFixed);
  if (was.length === 0) return [];
  if (was.length !== now.length) return [refusal];
  return was.flatMap((cidr, index) => (cidr === now[index] ? [] : [refusal]));
}

function validateProviderIdChange(node: Node, old: Node): FieldError[] {
  const { providerID: now = "" } = node.spec;
  const { providerID: was = "" } = old.spec;
  if (was === "" || now === was) return [];
  const how = now === "" ? "cleared" : "modified";
  return [invalid("spec.providerID", null, `field cannot be ${how} once set`)];
}

function validateConfigMapSource(source: ConfigMapNodeConfigSource, path: string): FieldError[] {
  const { namespace, name, kubeletConfigKey } = source;
  const part = (field: string, value: string, messages: (value: string) => string[]) =>
    value === ""
      ? [required(`${path}.${field}`)]
      : each(`${path}.${field}`, value, messages(value));
  return [
    ...part("namespace", namespace, isDns1123Label),
    ...part("name", name, isDns1123Subdomain),
    ...part("kubeletConfigKey", kubeletConfigKey, isConfigMapKey),
  ];
}

/** The spec may not say which state of the ConfigMap; the status must. */
function validateConfigSource(
  { configMap }: NodeConfigSource,
  path: string,
  where: "spec" | "status",
): FieldError[] {
  if (configMap === undefined) {
    const detail = "exactly one reference subfield must be non-nil";
    return [invalid(path, { ConfigMap: null }, detail)];
  }
  const at = `${path}.configMap`;
  const errors: FieldError[] = [];
  for (const field of ["uid", "resourceVersion"] as const) {
    const isSet = (configMap[field] ?? "") !== "";
    if (where === "status" && !isSet) errors.push(required(`${at}.${field}`));
    if (where === "spec" && isSet) {
      errors.push(forbidden(`${at}.${field}`, `${field} must not be set in spec`));
    }
  }
  return [...errors, ...validateConfigMapSource(configMap, at)];
}

function validateConfig({ spec, status }: Node): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.configSource !== undefined) {
    errors.push(...validateConfigSource(spec.configSource, "spec.configSource", "spec"));
  }
  for (const field of ["assigned", "active", "lastKnownGood"] as const) {
    const source = status.config?.[field];
    if (source === undefined) continue;
    errors.push(...validateConfigSource(source, `status.config.${field}`, "status"));
  }
  return errors;
}

/** Of the object or of its status. */
export function validateNodeChange(node: Node, old: Node): FieldError[] {
  const errors = [
    ...validateNodeAnnotations(node),
    ...validateResources(node),
    ...validateFeatures(node),
    ...validateAddresses(node),
    ...validatePodCidrChange(node, old),
    ...validateProviderIdChange(node, old),
    ...validateConfig(node),
    ...validateTaints(node.spec.taints ?? [], taintsPath),
  ];
  if ((node.spec.externalID ?? "") !== (old.spec.externalID ?? "")) {
    errors.push(forbidden("spec.externalID", "may not be updated"));
  }
  return errors;
}
