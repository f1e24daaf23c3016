/**
 * What the two endpoint controllers share: which Services a Pod concerns, what of a Pod matters to
 * them, when it changed.
 */
import { isPodTerminal } from "#api/core/v1/pod-status.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { namespaceIndex } from "#client/cache.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { compileLabelMap } from "#machinery/selector.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import type { Lookup } from "./controller.ts";
import { readySince } from "./pod-state.ts";

/** Keys of the Services that select a Pod. */
export const servicesOf = (pod: Pod, lookup: Lookup): string[] =>
  lookup
    .cache(Service)
    .byIndex(namespaceIndex, pod.metadata.namespace ?? "")
    .filter((service) => compileLabelMap(service.spec.selector)(pod.metadata.labels))
    .map(keyOf);

const matters = (pod: Pod) => ({
  labels: pod.metadata.labels,
  deleting: pod.metadata.deletionTimestamp !== undefined,
  ended: isPodTerminal(pod),
  ready: readySince(pod),
  ips: pod.status.podIPs,
  node: pod.spec.nodeName,
});
export const changesEndpoints = (pod: Pod, old: Pod): boolean =>
  !equalObjects(matters(pod), matters(old));

/**
 * When things last changed, by Service: so that the annotation names only changes that no earlier
 * pass has answered to.
 */
export class Triggers {
  readonly #seen = new Map<string, ReadonlyMap<string, number>>();
  /** The earliest change that is new. */
  latest(key: string, service: Stored<Service>, pods: readonly Stored<Pod>[]): string | undefined {
    const times = new Map([["", parseTime(service.metadata.creationTimestamp) ?? 0]]);
    for (const pod of pods) {
      const since = readySince(pod);
      if (since !== undefined) times.set(pod.metadata.uid, since);
    }
    const old = this.#seen.get(key);
    this.#seen.set(key, times);
    const fresh = [...times].filter(([id, at]) => at > (old?.get(id) ?? 0)).map(([, at]) => at);
    return fresh.length === 0 ? undefined : formatTime(Math.min(...fresh));
  }
  forget(key: string): void {
    this.#seen.delete(key);
  }
}
