/**
 * Which Pods are to go to which node once room is made for them: written by the scheduler when it decides so and when others say so
 * in a Pod's status. Bounded by the number of waiting Pods.
 */
import type { PodInfo } from "./pod-info.ts";

export class Nominations {
  readonly #nodeOf = new Map<string, string>();
  readonly #byNode = new Map<string, Map<string, PodInfo>>();

  set(info: PodInfo, nodeName: string): void {
    this.delete(info.uid);
    this.#nodeOf.set(info.uid, nodeName);
    const there = this.#byNode.get(nodeName);
    if (there === undefined) this.#byNode.set(nodeName, new Map([[info.uid, info]]));
    else there.set(info.uid, info);
  }
  delete(uid: string): void {
    const nodeName = this.#nodeOf.get(uid);
    if (nodeName === undefined) return;
    this.#nodeOf.delete(uid);
    const there = this.#byNode.get(nodeName);
    there?.delete(uid);
    if (there?.size === 0) this.#byNode.delete(nodeName);
  }
  nodeOf(uid: string): string | undefined {
    return this.#nodeOf.get(uid);
  }
  on(nodeName: string): readonly PodInfo[] {
    const there = this.#byNode.get(nodeName);
    return there === undefined ? [] : [...there.values()];
  }
}
