/** What our scheduler says of a cluster's waiting Pod, in the form in which the original's answers are kept. */
import { seededRandom } from "#adapters/memory/random.ts";
import type { Kind } from "#api/resource.ts";
import { Cache } from "#client/cache.ts";
import { decide, findNodes, scoreNodes } from "#control-plane/scheduler/cycle.ts";
import { ClusterPicture } from "#control-plane/scheduler/node-info.ts";
import { Nominations } from "#control-plane/scheduler/nominations.ts";
import type { Rejection, SchedulerView } from "#control-plane/scheduler/plugin.ts";
import { podInfoOf } from "#control-plane/scheduler/pod-info.ts";
import { defaultProfile } from "#control-plane/scheduler/profile.ts";
import type { ApiObject } from "#machinery/meta.ts";
import type { Cluster } from "./clusters.ts";

export interface Answer {
  readonly id: string;
  /** Why not, by node, "!" in front where removing Pods would not help; nothing: it fits. */
  readonly nodes?: Readonly<Record<string, readonly string[]>>;
  readonly preFilter?: readonly string[];
  /** Weighted, by plugin and node, but for zeros. */
  readonly scores?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly message?: string;
  /** The node for which it preempts; "": none any more. */
  readonly nominated?: string;
  readonly victims?: readonly string[];
}

function viewOf(cluster: Cluster): SchedulerView {
  const picture = new ClusterPicture();
  const nominations = new Nominations();
  const caches = new Map<string, Cache<ApiObject>>();
  const cacheOf = (kind: string) => {
    const known = caches.get(kind) ?? new Cache<ApiObject>();
    caches.set(kind, known);
    return known;
  };
  for (const node of cluster.nodes) picture.setNode(node);
  for (const pod of cluster.pods) picture.setPod(pod);
  for (const pod of [...cluster.nominated, cluster.pod]) {
    const { nominatedNodeName = "" } = pod.status;
    if (nominatedNodeName !== "") nominations.set(podInfoOf(pod), nominatedNodeName);
  }
  for (const object of cluster.objects) cacheOf(object.kind).put(object);
  return {
    nodes: picture.nodes,
    cache: <T extends ApiObject>(kind: Kind<T>) => cacheOf(kind.kind) as unknown as Cache<T>,
    nodesWith: (trait) => picture.nodesWith(trait),
    nominatedTo: (name) => nominations.on(name),
    nominationOf: (uid) => nominations.nodeOf(uid),
    imageNodes: (image) => picture.imageNodes(image),
    memory: (_plugin, make) => make(),
    waitFor: () => Promise.reject(new Error("nothing changes here")),
  };
}

const words = ({ reasons, unresolvable }: Rejection): readonly string[] =>
  unresolvable ? ["!", ...reasons] : reasons;

function scoresOf(cluster: Cluster, view: SchedulerView, feasible: readonly string[]) {
  const nodes = view.nodes.filter((node) => feasible.includes(node.name));
  const scores = scoreNodes(defaultProfile, podInfoOf(cluster.pod), nodes, view);
  return Object.fromEntries(
    [...scores].map(([plugin, values]) => [
      plugin,
      Object.fromEntries(nodes.map((node, at) => [node.name, values[at] ?? 0])),
    ]),
  );
}

export function answerOf(cluster: Cluster): Answer {
  const view = viewOf(cluster);
  const info = podInfoOf(cluster.pod);
  // Who is nominated is asked first; here all are asked.
  const anywhere = { ...view, nominationOf: () => undefined };
  const { feasible, rejections, refused } = findNodes(defaultProfile, info, anywhere, 0);
  const names = feasible.map((node) => node.name);
  const nodes = Object.fromEntries([
    ...names.map((name) => [name, []] as const),
    ...[...rejections].map(([name, rejection]) => [name, words(rejection)] as const),
  ]);
  const said = { id: cluster.id, nodes };
  if (names.length > 0) return tidy({ ...said, scores: scoresOf(cluster, view, names) });
  const decision = decide(defaultProfile, info, view, seededRandom(1), 0);
  if (decision.fits) throw new Error(`${cluster.id} fits nowhere and somewhere`);
  const { nominate, victims } = decision.outcome;
  return tidy({
    ...said,
    ...(refused === undefined ? {} : { preFilter: words(refused) }),
    message: decision.message,
    ...(nominate === undefined ? {} : { nominated: nominate }),
    // Those on their way out need not be told.
    victims: victims
      .filter(({ pod }) => pod.metadata.deletionTimestamp === undefined)
      .map(({ key }) => key)
      .sort(),
  });
}

/** Without what says nothing: scores of zero, no victims; in a fixed order. */
export function tidy(answer: Answer): Answer {
  const { id, nodes = {}, preFilter, scores = {}, message, nominated, victims = [] } = answer;
  const sorted = <V>(entries: readonly (readonly [string, V])[]) =>
    Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
  const kept = Object.entries(scores)
    .map(([plugin, of]) => [plugin, sorted(Object.entries(of).filter(([, n]) => n !== 0))] as const)
    .filter(([, of]) => Object.keys(of).length > 0);
  return {
    id,
    nodes: sorted(Object.entries(nodes)),
    ...(preFilter === undefined ? {} : { preFilter }),
    ...(kept.length === 0 ? {} : { scores: sorted(kept) }),
    ...(message === undefined ? {} : { message }),
    ...(nominated === undefined ? {} : { nominated }),
    ...(victims.length === 0 ? {} : { victims }),
  };
}
