/** Where a pod wants to run: affinities, spreading, gates. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  required,
} from "#machinery/field-error.ts";
import { type LabelSelector, validateLabelSelector } from "#machinery/selector.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import type {
  Affinity,
  NodeAffinity,
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodAffinityTerm,
  PodSchedulingGate,
  TopologySpreadConstraint,
} from "../../../generated/core/v1.ts";
import {
  dnsSubdomain,
  each,
  labelValue,
  notEmpty,
  oneOf,
  positive,
  qualifiedName,
} from "./fields.ts";
import type { PodRules } from "./rules.ts";

const requiredTerms = "requiredDuringSchedulingIgnoredDuringExecution";
const preferredTerms = "preferredDuringSchedulingIgnoredDuringExecution";

function validateExpression(
  { key, operator, values = [] }: NodeSelectorRequirement,
  path: string,
  anyValue: boolean,
): FieldError[] {
  const errors: FieldError[] = [];
  const at = `${path}.values`;
  if (operator === "In" || operator === "NotIn") {
    const detail = "must be specified when `operator` is 'In' or 'NotIn'";
    if (values.length === 0) errors.push(required(at, detail));
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    const detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
    if (values.length > 0) errors.push(forbidden(at, detail));
  } else if (operator === "Gt" || operator === "Lt") {
    const detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
    if (values.length !== 1) errors.push(required(at, detail));
  } else errors.push(invalid(`${path}.operator`, operator, "not a valid selector operator"));
  errors.push(...qualifiedName(`${path}.key`, key));
  if (anyValue) return errors;
  return [...errors, ...values.flatMap((value, index) => labelValue(`${at}[${index}]`, value))];
}

function validateFieldExpression(
  { key, operator, values = [] }: NodeSelectorRequirement,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  if (operator !== "In" && operator !== "NotIn") {
    errors.push(invalid(`${path}.operator`, operator, "not a valid selector operator"));
  } else if (values.length !== 1) {
    const detail =
      "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
    errors.push(required(`${path}.values`, detail));
  }
  if (key !== "metadata.name") {
    return [...errors, invalid(`${path}.key`, key, "not a valid field selector key")];
  }
  return [
    ...errors,
    ...values.flatMap((value, index) => dnsSubdomain(`${path}.values[${index}]`, value)),
  ];
}

export const validateNodeSelectorTerm = (
  { matchExpressions = [], matchFields = [] }: NodeSelectorTerm,
  path: string,
  anyValue: boolean,
): FieldError[] => [
  ...matchExpressions.flatMap((one, index) =>
    validateExpression(one, `${path}.matchExpressions[${index}]`, anyValue),
  ),
  ...matchFields.flatMap((one, index) =>
    validateFieldExpression(one, `${path}.matchFields[${index}]`),
  ),
];

const weight = (path: string, value: number): FieldError[] =>
  value <= 0 || value > 100 ? [invalid(`${path}.weight`, value, "must be in the range 1-100")] : [];

export function validateNodeSelector(
  selector: NodeSelector,
  path: string,
  anyValue: boolean,
): FieldError[] {
  const at = `${path}.nodeSelectorTerms`;
  const terms = selector.nodeSelectorTerms ?? [];
  if (terms.length === 0) return [required(at, "must have at least one node selector term")];
  return terms.flatMap((term, index) =>
    validateNodeSelectorTerm(term, `${at}[${index}]`, anyValue),
  );
}

function validateNodeAffinity(affinity: NodeAffinity, path: string, rules: PodRules): FieldError[] {
  const errors: FieldError[] = [];
  const selector = affinity[requiredTerms];
  if (selector !== undefined) {
    const anyValue = rules.allowInvalidNodeAffinityValues;
    errors.push(...validateNodeSelector(selector, `${path}.${requiredTerms}`, anyValue));
  }
  for (const [index, term] of (affinity[preferredTerms] ?? []).entries()) {
    const at = `${path}.${preferredTerms}[${index}]`;
    errors.push(...weight(at, term.weight));
    // Upstream: values that are no labels were always allowed here.
    errors.push(...validateNodeSelectorTerm(term.preference, `${at}.preference`, true));
  }
  return errors;
}

const labelKeys = (
  keys: readonly string[],
  selector: LabelSelector | undefined,
  path: string,
): FieldError[] => {
  if (keys.length === 0) return [];
  if (selector !== undefined) {
    return keys.flatMap((key, index) => qualifiedName(`${path}[${index}]`, key));
  }
  return [forbidden(path, "must not be specified when labelSelector is not set")];
};

/** Keys whose values are taken from the pod's own labels must not be in the selector already. */
export function validateMatchLabelKeys(
  matchLabelKeys: readonly string[],
  mismatchLabelKeys: readonly string[],
  selector: LabelSelector | undefined,
  path: string,
): FieldError[] {
  const errors = [
    ...labelKeys(matchLabelKeys, selector, `${path}.matchLabelKeys`),
    ...labelKeys(mismatchLabelKeys, selector, `${path}.mismatchLabelKeys`),
  ];
  const used = new Set(Object.keys(selector?.matchLabels ?? {}));
  for (const { key } of selector?.matchExpressions ?? []) {
    // The keys' own expressions have been added: a second one is the author's.
    const index = matchLabelKeys.lastIndexOf(key);
    if (index >= 0 && used.has(key)) {
      const detail = "exists in both matchLabelKeys and labelSelector";
      errors.push(invalid(`${path}[${index}]`, key, detail));
    }
    used.add(key);
  }
  for (const [index, key] of matchLabelKeys.entries()) {
    if (!mismatchLabelKeys.includes(key)) continue;
    const detail = "exists in both matchLabelKeys and mismatchLabelKeys";
    errors.push(invalid(`${path}.matchLabelKeys[${index}]`, key, detail));
  }
  return errors;
}

function validateAffinityTerm(term: PodAffinityTerm, path: string, rules: PodRules): FieldError[] {
  const { labelSelector, namespaceSelector, namespaces = [], topologyKey } = term;
  const errors = rules.allowInvalidAffinitySelectors
    ? []
    : [
        ...validateLabelSelector(labelSelector, `${path}.labelSelector`),
        ...validateLabelSelector(namespaceSelector, `${path}.namespaceSelector`),
      ];
  for (const name of namespaces) {
    errors.push(...each(`${path}.namespace`, name, isDns1123Label(name)));
  }
  const { matchLabelKeys = [], mismatchLabelKeys = [] } = term;
  errors.push(...validateMatchLabelKeys(matchLabelKeys, mismatchLabelKeys, labelSelector, path));
  errors.push(...notEmpty(`${path}.topologyKey`, topologyKey, "can not be empty"));
  return [...errors, ...qualifiedName(`${path}.topologyKey`, topologyKey)];
}

export function validateAffinity(
  affinity: Affinity | undefined,
  path: string,
  rules: PodRules,
): FieldError[] {
  if (affinity === undefined) return [];
  const errors: FieldError[] = [];
  if (affinity.nodeAffinity !== undefined) {
    errors.push(...validateNodeAffinity(affinity.nodeAffinity, `${path}.nodeAffinity`, rules));
  }
  for (const field of ["podAffinity", "podAntiAffinity"] as const) {
    const at = `${path}.${field}`;
    for (const [index, term] of (affinity[field]?.[requiredTerms] ?? []).entries()) {
      errors.push(...validateAffinityTerm(term, `${at}.${requiredTerms}[${index}]`, rules));
    }
    for (const [index, term] of (affinity[field]?.[preferredTerms] ?? []).entries()) {
      const termAt = `${at}.${preferredTerms}[${index}]`;
      errors.push(...weight(termAt, term.weight));
      const inner = `${termAt}.podAffinityTerm`;
      errors.push(...validateAffinityTerm(term.podAffinityTerm, inner, rules));
    }
  }
  return errors;
}

function validateConstraint(
  constraint: TopologySpreadConstraint,
  later: readonly TopologySpreadConstraint[],
  path: string,
  rules: PodRules,
): FieldError[] {
  const { maxSkew, topologyKey, whenUnsatisfiable, minDomains, labelSelector } = constraint;
  const errors = [
    ...positive(`${path}.maxSkew`, maxSkew),
    ...notEmpty(`${path}.topologyKey`, topologyKey, "can not be empty"),
    ...oneOf(`${path}.whenUnsatisfiable`, whenUnsatisfiable, ["DoNotSchedule", "ScheduleAnyway"]),
  ];
  const again = later.some(
    (one) => one.topologyKey === topologyKey && one.whenUnsatisfiable === whenUnsatisfiable,
  );
  if (again) {
    const shown = `{${topologyKey}, ${whenUnsatisfiable}}`;
    errors.push(duplicate(`${path}.{topologyKey, whenUnsatisfiable}`, shown));
  }
  if (minDomains !== undefined) {
    errors.push(...positive(`${path}.minDomains`, minDomains));
    if (whenUnsatisfiable !== "DoNotSchedule") {
      const detail = `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${whenUnsatisfiable}`;
      errors.push(invalid(`${path}.minDomains`, minDomains, detail));
    }
  }
  for (const field of ["nodeAffinityPolicy", "nodeTaintsPolicy"] as const) {
    const policy = constraint[field];
    if (policy !== undefined)
      errors.push(...oneOf(`${path}.${field}`, policy, ["Honor", "Ignore"]));
  }
  const keys = constraint.matchLabelKeys ?? [];
  if (!rules.allowInvalidSpreadKeys) {
    errors.push(...validateMatchLabelKeys(keys, [], labelSelector, path));
  }
  if (rules.allowInvalidSpreadSelectors) return errors;
  return [...errors, ...validateLabelSelector(labelSelector, `${path}.labelSelector`)];
}

export const validateSpreadConstraints = (
  constraints: readonly TopologySpreadConstraint[] | undefined,
  path: string,
  rules: PodRules,
): FieldError[] =>
  (constraints ?? []).flatMap((constraint, index, all) =>
    validateConstraint(constraint, all.slice(index + 1), `${path}[${index}]`, rules),
  );

export function validateSchedulingGates(
  gates: readonly PodSchedulingGate[] | undefined,
  path: string,
): FieldError[] {
  const seen = new Set<string>();
  return (gates ?? []).flatMap(({ name }, index) => {
    const at = `${path}[${index}]`;
    const errors = qualifiedName(at, name);
    if (seen.has(name)) errors.push(duplicate(at, name));
    seen.add(name);
    return errors;
  });
}
