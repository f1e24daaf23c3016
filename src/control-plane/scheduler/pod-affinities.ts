/** What a Pod wants to be near to and far from: its terms of affinity to other Pods, compiled once. Pure. */
import type { Pod } from "#api/core/v1/pod.ts";
import type { PodAffinityTerm, WeightedPodAffinityTerm } from "#api/generated/core/v1.ts";
import { compileLabelSelector, type LabelMatcher, type Labels } from "#machinery/selector.ts";

export interface AffinityTerm {
  readonly topologyKey: string;
  readonly selects: LabelMatcher;
  readonly namespaces: ReadonlySet<string>;
  /** Undefined: no namespaces but those that are named. */
  readonly selectsNamespace: LabelMatcher | undefined;
  /** It selects all of them, those included that are not known yet. */
  readonly isOfAllNamespaces: boolean;
}
export interface WeightedTerm extends AffinityTerm {
  readonly weight: number;
}
export interface PodAffinities {
  readonly required: readonly AffinityTerm[];
  readonly requiredAnti: readonly AffinityTerm[];
  readonly preferred: readonly WeightedTerm[];
  readonly preferredAnti: readonly WeightedTerm[];
}

function compile(pod: Pod, term: PodAffinityTerm): AffinityTerm {
  const { topologyKey, labelSelector, namespaces = [], namespaceSelector } = term;
  const isOwn = namespaces.length === 0 && namespaceSelector === undefined;
  const isOfAllNamespaces =
    namespaceSelector !== undefined &&
    Object.keys(namespaceSelector.matchLabels ?? {}).length === 0 &&
    (namespaceSelector.matchExpressions ?? []).length === 0;
  return {
    topologyKey,
    selects: compileLabelSelector(labelSelector),
    namespaces: new Set(isOwn ? [pod.metadata.namespace ?? ""] : namespaces),
    selectsNamespace:
      namespaceSelector === undefined ? undefined : compileLabelSelector(namespaceSelector),
    isOfAllNamespaces,
  };
}
const compileWeighted = (pod: Pod, one: WeightedPodAffinityTerm): WeightedTerm => ({
  ...compile(pod, one.podAffinityTerm),
  weight: one.weight,
});

export function podAffinities(pod: Pod): PodAffinities | undefined {
  const { podAffinity, podAntiAffinity } = pod.spec.affinity ?? {};
  if (podAffinity === undefined && podAntiAffinity === undefined) return undefined;
  const required = podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const requiredAnti = podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const preferred = podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const preferredAnti = podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return {
    required: required.map((term) => compile(pod, term)),
    requiredAnti: requiredAnti.map((term) => compile(pod, term)),
    preferred: preferred.map((term) => compileWeighted(pod, term)),
    preferredAnti: preferredAnti.map((term) => compileWeighted(pod, term)),
  };
}

/** Labels of a namespace by name; undefined: it is not known. */
export type NamespaceLabels = (namespace: string) => Labels | undefined;

/** Whether a term is about a Pod. */
export function termSelects(term: AffinityTerm, pod: Pod, labelsOf: NamespaceLabels): boolean {
  const { namespace = "", labels } = pod.metadata;
  if (!term.namespaces.has(namespace) && !term.isOfAllNamespaces) {
    if (term.selectsNamespace === undefined) return false;
    const known = labelsOf(namespace);
    if (known === undefined || !term.selectsNamespace(known)) return false;
  }
  return term.selects(labels);
}
export const allTermsSelect = (
  terms: readonly AffinityTerm[],
  pod: Pod,
  labelsOf: NamespaceLabels,
): boolean => terms.length > 0 && terms.every((term) => termSelects(term, pod, labelsOf));
