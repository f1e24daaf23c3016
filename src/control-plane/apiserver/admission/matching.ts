/** Whether a configuration of admission is meant by a write: its rules, its selectors of objects and namespaces. */

import type { RuleWithOperations } from "#api/generated/admissionregistration/v1.ts";
import { compileLabelSelector, type LabelSelector } from "#machinery/selector.ts";
import type { Reader } from "../reader.ts";
import type { AdmissionRequest } from "./admission.ts";

const namespaces = { group: "", plural: "namespaces" };

export interface Selectors {
  readonly namespaceSelector?: LabelSelector;
  readonly objectSelector?: LabelSelector;
}

function matchesResource(pattern: string, plural: string, subresource: string): boolean {
  const slash = pattern.indexOf("/");
  const resource = slash === -1 ? pattern : pattern.slice(0, slash);
  const sub = slash === -1 ? "" : pattern.slice(slash + 1);
  return (resource === "*" || resource === plural) && (sub === "*" || sub === subresource);
}

export function matchesRule(rule: RuleWithOperations, request: AdmissionRequest): boolean {
  const has = (list: readonly string[] | undefined, value: string): boolean =>
    (list ?? []).some((one) => one === "*" || one === value);
  const { scope = "*" } = rule;
  const isNamespaced = request.namespace !== "";
  return (
    has(rule.operations, request.operation) &&
    has(rule.apiGroups, request.group) &&
    has(rule.apiVersions, request.version) &&
    (scope === "*" || (scope === "Namespaced") === isNamespaced) &&
    (rule.resources ?? []).some((one) => matchesResource(one, request.plural, request.subresource))
  );
}

const isEmpty = (selector: LabelSelector | undefined): boolean =>
  selector === undefined ||
  (Object.keys(selector.matchLabels ?? {}).length === 0 &&
    (selector.matchExpressions ?? []).length === 0);

export function matchesSelectors(
  hook: Selectors,
  request: AdmissionRequest,
  reader: Reader,
): boolean {
  const { namespaceSelector, objectSelector } = hook;
  if (!isEmpty(namespaceSelector)) {
    const isNamespace = request.group === "" && request.plural === "namespaces";
    const space = isNamespace
      ? (request.object ?? request.oldObject)
      : reader.get(namespaces, "", request.namespace);
    const counts = isNamespace || request.namespace !== "";
    if (counts && !compileLabelSelector(namespaceSelector)(space?.metadata.labels)) return false;
  }
  if (isEmpty(objectSelector)) return true;
  const matches = compileLabelSelector(objectSelector);
  return [request.object, request.oldObject].some(
    // The options of what connects have no metadata, and no labels.
    (one) => one?.metadata !== undefined && matches(one.metadata.labels),
  );
}
