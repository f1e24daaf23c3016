/** What policies that mutate and those that validate share: whom they concern, and the parameters that their bindings name. */

import type {
  MatchResources,
  ParamKind,
  ParamRef,
} from "#api/generated/admissionregistration/v1.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { compileLabelSelector } from "#machinery/selector.ts";
import type { AdmissionRequest, AdmissionWorld } from "./admission.ts";
import { matchesRule, matchesSelectors } from "./matching.ts";

export const policyGroup = "admissionregistration.k8s.io";

/** Nobody may lock himself out of the policies themselves. */
export const isPolicy = ({ group, plural }: AdmissionRequest): boolean =>
  group === policyGroup && /admissionpolic(?:ies|ybindings)$/.test(plural);

export function matchesResources(
  match: MatchResources | undefined,
  request: AdmissionRequest,
  world: AdmissionWorld,
): boolean {
  if (match === undefined) return true;
  const meets = (rule: NonNullable<MatchResources["resourceRules"]>[number]): boolean =>
    matchesRule(rule, request) &&
    ((rule.resourceNames ?? []).length === 0 ||
      rule.resourceNames?.includes(request.name) === true);
  const { resourceRules = [], excludeResourceRules = [] } = match;
  if (resourceRules.length > 0 && !resourceRules.some(meets)) return false;
  if (excludeResourceRules.some(meets)) return false;
  return matchesSelectors(match, request, world.reader);
}

export type Parameters =
  | { readonly params: readonly (ApiObject | undefined)[] }
  | { readonly problem: string };

/** The parameters that a binding names: objects, or nothing at all. */
export function parametersOf(
  paramKind: ParamKind | undefined,
  ref: ParamRef | undefined,
  request: AdmissionRequest,
  world: AdmissionWorld,
): Parameters {
  if (paramKind === undefined || ref === undefined) return { params: [undefined] };
  const { apiVersion = "", kind = "" } = paramKind;
  const found = world.kindOf(apiVersion, kind);
  if (found === undefined)
    return { problem: `paramKind kind \`${apiVersion}, Kind=${kind}\` not known` };
  const { namespace: asked = "", name = "", selector } = ref;
  if (!found.namespaced && asked !== "")
    return {
      problem: "paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
    };
  const namespace = found.namespaced ? asked || request.namespace : "";
  if (found.namespaced && namespace === "")
    return {
      problem:
        "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
    };
  let params: ApiObject[] = [];
  if (name === "") {
    const isMeant = compileLabelSelector(selector ?? {});
    params = [...world.reader.list(found, namespace === "" ? undefined : namespace)].filter((one) =>
      isMeant(one.metadata.labels),
    );
  } else {
    const one = world.reader.get(found, namespace, name);
    if (one !== undefined) params = [one];
  }
  if (params.length === 0 && ref.parameterNotFoundAction === "Deny")
    return { problem: "no params found for policy binding with `Deny` parameterNotFoundAction" };
  return { params };
}
