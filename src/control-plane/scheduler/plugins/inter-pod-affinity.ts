/**
 * InterPodAffinity: Pods that must or would rather run near others, or away from them: what the Pod says of those that are there,
 * and what those say of it.
 */
import { Namespace } from "#api/core/v1/namespace.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { equalObjects } from "#machinery/object.ts";
import type { Labels } from "#machinery/selector.ts";
import type { NodeInfo } from "../node-info.ts";
import {
  type ClusterEvent,
  definePlugin,
  reject,
  rejectForGood,
  type SchedulerView,
  scoreMax,
} from "../plugin.ts";
import {
  type AffinityTerm,
  allTermsSelect,
  type NamespaceLabels,
  type PodAffinities,
  termSelects,
  type WeightedTerm,
} from "../pod-affinities.ts";
import type { PodInfo } from "../pod-info.ts";

export interface InterPodAffinityArgs {
  /** What counts, in scores, a demand of a Pod that is there. */
  readonly hardPodAffinityWeight: number;
  readonly ignorePreferredTermsOfExistingPods: boolean;
}

const affinityMismatch = "node(s) didn't match pod affinity rules";
const antiAffinityMismatch = "node(s) didn't match pod anti-affinity rules";
const existingAntiAffinityMismatch = "node(s) didn't satisfy existing pods anti-affinity rules";

/** Numbers by topology key and value. */
class Topologies {
  readonly #numbers = new Map<string, Map<string, number>>();
  add(labels: Labels, key: string, number: number): void {
    const value = labels[key];
    if (value === undefined) return;
    let values = this.#numbers.get(key);
    if (values === undefined) {
      values = new Map();
      this.#numbers.set(key, values);
    }
    values.set(value, (values.get(value) ?? 0) + number);
  }
  /** Of the topology of this key that a node is in. */
  at(labels: Labels, key: string): number {
    const value = labels[key];
    return value === undefined ? 0 : (this.#numbers.get(key)?.get(value) ?? 0);
  }
  /** Of all topologies that a node is in. */
  sum(labels: Labels): number {
    let sum = 0;
    for (const key of this.#numbers.keys()) sum += this.at(labels, key);
    return sum;
  }
  isPositiveAt(labels: Labels): boolean {
    for (const key of this.#numbers.keys()) if (this.at(labels, key) > 0) return true;
    return false;
  }
  /** Nothing was ever found, or all of it is gone. */
  get isZero(): boolean {
    for (const values of this.#numbers.values()) {
      for (const number of values.values()) if (number !== 0) return false;
    }
    return true;
  }
  get isUntouched(): boolean {
    return this.#numbers.size === 0;
  }
  copy(): Topologies {
    const copy = new Topologies();
    for (const [key, values] of this.#numbers) copy.#numbers.set(key, new Map(values));
    return copy;
  }
}

interface State {
  readonly labelsOf: NamespaceLabels;
  /** Where Pods are that keep this one away, that it must be near to, that it must be away from. */
  readonly repelled: Topologies;
  readonly near: Topologies;
  readonly away: Topologies;
}

const labelsOfNamespaces =
  (view: SchedulerView): NamespaceLabels =>
  (name) => {
    const namespace = view.cache(Namespace).get(name);
    return namespace === undefined ? undefined : (namespace.metadata.labels ?? {});
  };

/** What a Pod on a node says of the one to be placed, and the other way round. */
function countPod(
  { repelled, near, away, labelsOf }: State,
  { pod, affinities }: PodInfo,
  other: PodInfo,
  node: NodeInfo,
  sign: 1 | -1,
): void {
  for (const term of other.affinities?.requiredAnti ?? []) {
    if (termSelects(term, pod, labelsOf)) repelled.add(node.labels, term.topologyKey, sign);
  }
  if (affinities === undefined) return;
  if (allTermsSelect(affinities.required, other.pod, labelsOf)) {
    for (const term of affinities.required) near.add(node.labels, term.topologyKey, sign);
  }
  for (const term of affinities.requiredAnti) {
    if (termSelects(term, other.pod, labelsOf)) away.add(node.labels, term.topologyKey, sign);
  }
}

const isDemanding = (affinities: PodAffinities | undefined): affinities is PodAffinities =>
  affinities !== undefined &&
  (affinities.required.length > 0 || affinities.requiredAnti.length > 0);

function isNearEnough(
  { pod }: PodInfo,
  terms: readonly AffinityTerm[],
  labels: Labels,
  { near, labelsOf }: State,
): boolean {
  if (terms.some((term) => labels[term.topologyKey] === undefined)) return false;
  if (terms.every(({ topologyKey }) => near.at(labels, topologyKey) > 0)) return true;
  // The first of its like: nobody is there yet whom it could be near to, but itself.
  return near.isZero && allTermsSelect(terms, pod, labelsOf);
}

interface ScoreState {
  readonly topologies: Topologies;
}

function addWeights(
  topologies: Topologies,
  terms: readonly WeightedTerm[],
  pod: Pod,
  node: NodeInfo,
  sign: 1 | -1,
  labelsOf: NamespaceLabels,
): void {
  for (const term of terms) {
    if (!termSelects(term, pod, labelsOf)) continue;
    topologies.add(node.labels, term.topologyKey, sign * term.weight);
  }
}

function wantsChange(pod: PodInfo, event: ClusterEvent): boolean {
  const affinities = pod.affinities;
  switch (event.on) {
    case "itselfUpdated":
      return !equalObjects(event.pod.metadata.labels, event.old.metadata.labels);
    // Whom a namespace's labels make a match is not known here: rather once too often.
    case "podAssigned":
      return affinities !== undefined && affinities.required.length > 0;
    case "podUpdated":
      return !equalObjects(event.pod.metadata.labels, event.old.metadata.labels);
    case "podRemoved":
      return (
        (affinities?.requiredAnti.length ?? 0) > 0 ||
        event.old.spec.affinity?.podAntiAffinity !== undefined
      );
    case "nodeAdded":
      return true;
    case "nodeUpdated":
      return !equalObjects(event.node.metadata.labels, event.old.metadata.labels);
    default:
      return false;
  }
}

export const interPodAffinity = (args: InterPodAffinityArgs) =>
  definePlugin<State, ScoreState>({
    name: "InterPodAffinity",
    preFilter(info, view) {
      const state: State = {
        labelsOf: labelsOfNamespaces(view),
        repelled: new Topologies(),
        near: new Topologies(),
        away: new Topologies(),
      };
      const demands = isDemanding(info.affinities);
      for (const node of demands ? view.nodes : view.nodesWith("requiredAntiAffinity")) {
        const pods = demands ? node.pods : node.repellingPods;
        for (const other of pods.values()) countPod(state, info, other, node, 1);
      }
      return !demands && state.repelled.isUntouched ? "skip" : { state };
    },
    filter(info, node, state) {
      const { required = [], requiredAnti = [] } = info.affinities ?? {};
      if (required.length > 0 && !isNearEnough(info, required, node.labels, state)) {
        return rejectForGood(affinityMismatch);
      }
      const isTooNear = requiredAnti.some(
        ({ topologyKey }) => state.away.at(node.labels, topologyKey) > 0,
      );
      if (isTooNear) return reject(antiAffinityMismatch);
      if (state.repelled.isPositiveAt(node.labels)) return reject(existingAntiAffinityMismatch);
      return undefined;
    },
    whatIf: {
      copy: ({ labelsOf, repelled, near, away }) => ({
        labelsOf,
        repelled: repelled.copy(),
        near: near.copy(),
        away: away.copy(),
      }),
      change: countPod,
    },
    preScore({ pod, affinities }, _nodes, view) {
      const { preferred = [], preferredAnti = [] } = affinities ?? {};
      const prefers = preferred.length > 0 || preferredAnti.length > 0;
      if (args.ignorePreferredTermsOfExistingPods && !prefers) return "skip";
      const topologies = new Topologies();
      const labelsOf = labelsOfNamespaces(view);
      for (const node of prefers ? view.nodes : view.nodesWith("affinity")) {
        for (const other of (prefers ? node.pods : node.affinePods).values()) {
          addWeights(topologies, preferred, other.pod, node, 1, labelsOf);
          addWeights(topologies, preferredAnti, other.pod, node, -1, labelsOf);
          const theirs = other.affinities;
          if (theirs === undefined) continue;
          const weight = args.hardPodAffinityWeight;
          const demanded = theirs.required.map((term) => ({ ...term, weight }));
          if (weight > 0) addWeights(topologies, demanded, pod, node, 1, labelsOf);
          addWeights(topologies, theirs.preferred, pod, node, 1, labelsOf);
          addWeights(topologies, theirs.preferredAnti, pod, node, -1, labelsOf);
        }
      }
      return topologies.isUntouched ? "skip" : { state: { topologies } };
    },
    score: (_info, node, { topologies }) => topologies.sum(node.labels),
    normalize(scores) {
      const least = Math.min(...scores);
      const range = Math.max(...scores) - least;
      for (const [at, score] of scores.entries()) {
        scores[at] = range > 0 ? Math.trunc(scoreMax * ((score - least) / range)) : 0;
      }
    },
    wakes: wantsChange,
  });
