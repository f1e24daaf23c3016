/** Which pods an object stands for: itself, or those that its selector chooses; the best one first. */
import type { Pod } from "#api/generated/core/v1.ts";
import { isObject } from "#machinery/object.ts";
import { parseTime } from "#machinery/time.ts";
import { selectorText } from "./describe/page.ts";
import { nameInResults, type Resource } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import { type AnyObject, at, metaOf, objectAt, objectsAt } from "./objects.ts";
import { getTarget, pages } from "./selection.ts";
import type { Session } from "./session.ts";

export async function listPods(
  session: Session,
  namespace: string,
  selector: string,
  fields = "",
): Promise<Pod[]> {
  const path = namespace === "" ? "/api/v1/pods" : `/api/v1/namespaces/${namespace}/pods`;
  const pods: Pod[] = [];
  const query = [
    ...(selector === "" ? [] : [["labelSelector", selector] as const]),
    ...(fields === "" ? [] : [["fieldSelector", fields] as const]),
  ];
  for await (const page of pages(session, path, query, 500)) {
    for (const item of objectsAt(page, "items")) {
      pods.push({ ...(item as unknown as Pod), apiVersion: "v1", kind: "Pod" });
    }
  }
  return pods;
}

/** The selector of a Service, Deployment, ReplicaSet …; undefined: it chooses no pods. */
export function podSelectorOf(object: AnyObject): string | undefined {
  const selector = at(object, "spec", "selector");
  if (!isObject(selector) || Object.keys(selector).length === 0) return undefined;
  const isPlain = Object.values(selector).every((value) => typeof value === "string");
  return selectorText(isPlain ? { matchLabels: selector } : selector);
}

const isReady = (pod: Pod): boolean =>
  (pod.status.conditions ?? []).some(({ type, status }) => type === "Ready" && status === "True");
const restarts = (pod: Pod): number =>
  Math.max(0, ...(pod.status.containerStatuses ?? []).map(({ restartCount }) => restartCount));
const phaseRank: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

/** Active before idle: assigned, running, ready, long ready, few restarts, old. */
export function compareActivity(a: Pod, b: Pod): number {
  const rank = (pod: Pod): number[] => [
    pod.spec.nodeName ? 0 : 1,
    -(phaseRank[pod.status.phase ?? ""] ?? 0),
    isReady(pod) ? 0 : 1,
    readySince(pod),
    restarts(pod),
    parseTime(pod.metadata.creationTimestamp ?? "") ?? 0,
  ];
  const [left, right] = [rank(a), rank(b)];
  for (const [i, value] of left.entries()) {
    const difference = value - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
function readySince(pod: Pod): number {
  const ready = (pod.status.conditions ?? []).find(({ type }) => type === "Ready");
  return isReady(pod) ? (parseTime(ready?.lastTransitionTime ?? "") ?? 0) : 0;
}

/** "pod", "pod/name", "deploy/name", "svc/name": what it is; a bare word is a pod's name. */
export async function targetFor(
  session: Session,
  word: string,
): Promise<{ resource: Resource; object: AnyObject }> {
  const [type = "", name, ...more] = word.includes("/") ? word.split("/") : ["pods", word];
  if (more.length > 0) {
    throw new CommandError("arguments in resource/name form may not have more than one slash");
  }
  if (type === "" || name === undefined || name === "") {
    throw new CommandError("arguments in resource/name form must have a single resource and name");
  }
  const resource = (await session.discovery()).require(type);
  const namespace = resource.namespaced ? await session.namespace() : "";
  return { resource, object: await getTarget(session, { resource, namespace, name }) };
}

export const isPod = (resource: Resource): boolean =>
  resource.group === "" && resource.kind === "Pod";

/** The pods that an object chooses, the most active first. Throws where it chooses none by its kind. */
export async function podsBehind(
  session: Session,
  resource: Resource,
  object: AnyObject,
  what: string,
): Promise<Pod[]> {
  if (isPod(resource)) return [object as unknown as Pod];
  const selector = podSelectorOf(object);
  const { namespace = "", name = "" } = metaOf(object);
  if (selector === undefined) {
    throw new CommandError(
      `cannot ${what} ${nameInResults(resource)}/${name}: ${Object.keys(objectAt(object, "spec")).includes("selector") ? "invalid service: Service is defined without a selector" : `selector for ${resource.kind} not implemented`}`,
    );
  }
  const pods = await listPods(session, namespace, selector);
  return pods.toSorted(compareActivity);
}

export interface FoundContainer {
  readonly name: string;
  /** Where in the pod's spec it stands: "spec.initContainers{x}". */
  readonly path: string;
}
export function containersOf(pod: Pod): FoundContainer[] {
  const lists = [
    ["containers", pod.spec.containers],
    ["initContainers", pod.spec.initContainers ?? []],
    ["ephemeralContainers", pod.spec.ephemeralContainers ?? []],
  ] as const;
  return lists.flatMap(([list, containers]) =>
    containers.map(({ name }) => ({ name, path: `spec.${list}{${name}}` })),
  );
}
/** "a, b, c (init), d (ephem)". */
export function containerNames(pod: Pod): string {
  return [
    ...pod.spec.containers.map(({ name }) => name),
    ...(pod.spec.ephemeralContainers ?? []).map(({ name }) => `${name} (ephem)`),
    ...(pod.spec.initContainers ?? []).map(({ name }) => `${name} (init)`),
  ].join(", ");
}

const defaultAnnotation = "kubectl.kubernetes.io/default-container";

/** The container that is meant when none is named; says which where there are several. */
export function defaultContainer(session: Session, pod: Pod, quiet = false): string {
  const annotated = pod.metadata.annotations?.[defaultAnnotation] ?? "";
  if (annotated !== "") {
    if (containersOf(pod).some(({ name }) => name === annotated)) return annotated;
    session.error(
      `Default container name ${JSON.stringify(annotated)} not found in pod ${pod.metadata.name ?? ""}\n`,
    );
  }
  const first = pod.spec.containers[0]?.name ?? "";
  if (containersOf(pod).length > 1 && !quiet) {
    session.error(`Defaulted container ${JSON.stringify(first)} out of: ${containerNames(pod)}\n`);
  }
  return first;
}
