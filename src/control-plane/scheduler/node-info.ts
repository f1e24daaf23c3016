/**
 * The scheduler's picture of the cluster: every node with its Pods and what they use, kept up to
 * date change by change. A cycle runs to its decision without pause, so the live picture is its own
 * snapshot. Pods that were decided on but not yet seen bound are assumed: they count at once.
 */

import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { Taint } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { toWhole } from "#machinery/quantity.ts";
import type { LabelMatcher } from "#machinery/selector.ts";
import {
  add,
  addList,
  type HostPort,
  noResources,
  type PodInfo,
  podInfoOf,
  type Resources,
} from "./pod-info.ts";

export class NodeInfo {
  readonly name: string;
  /** Undefined: Pods were seen on it before it, or after it is gone. */
  node: Stored<Node> | undefined;
  readonly pods = new Map<string, PodInfo>();
  /** Those that care for other Pods, and those that keep some away. */
  readonly affinePods = new Map<string, PodInfo>();
  readonly repellingPods = new Map<string, PodInfo>();
  readonly requested: Resources = noResources();
  likelyMilliCpu = 0;
  likelyMemory = 0;
  allocatable: Resources = noResources();
  podsMax = 0;
  hardTaints: readonly Taint[] = [];
  softTaints: readonly Taint[] = [];
  /** Size in bytes by normalized image name. */
  images: ReadonlyMap<string, number> = new Map();
  readonly #ports = new Map<string, number>();
  /** Counts of Pods by selection; forgotten whenever a Pod comes, goes or changes. */
  readonly #counts = new Map<string, number>();

  constructor(name: string) {
    this.name = name;
  }
  get labels(): Readonly<Record<string, string>> {
    return this.node?.metadata.labels ?? {};
  }
  setNode(node: Stored<Node> | undefined): void {
    this.node = node;
    const { allocatable = {}, images = [] } = node?.status ?? {};
    this.allocatable = addList(noResources(), allocatable);
    this.podsMax = toWhole(allocatable["pods"] ?? "0");
    const taints = node?.spec.taints ?? [];
    this.hardTaints = taints.filter((taint) => taint.effect !== "PreferNoSchedule");
    this.softTaints = taints.filter((taint) => taint.effect === "PreferNoSchedule");
    this.images = new Map(
      images.flatMap((image) =>
        (image.names ?? []).map((name) => [normalizedImage(name), image.sizeBytes ?? 0] as const),
      ),
    );
  }
  /** For a trial: what happens to the copy does not happen here. */
  copy(): NodeInfo {
    const copy = new NodeInfo(this.name);
    copy.setNode(this.node);
    for (const info of this.pods.values()) copy.add(info);
    return copy;
  }
  add(info: PodInfo): void {
    this.pods.set(info.uid, info);
    if (info.affinities !== undefined) {
      this.affinePods.set(info.uid, info);
      if (info.affinities.requiredAnti.length > 0) this.repellingPods.set(info.uid, info);
    }
    this.#count(info, 1);
  }
  remove(uid: string): void {
    const info = this.pods.get(uid);
    if (info === undefined) return;
    this.pods.delete(uid);
    this.affinePods.delete(uid);
    this.repellingPods.delete(uid);
    this.#count(info, -1);
  }
  /**
   * How many Pods of a namespace have matching labels, without those on their way out. `selection`
   * names namespace and selector: equal names must select the same.
   */
  countMatching(selection: string, namespace: string, selects: LabelMatcher): number {
    const known = this.#counts.get(selection);
    if (known !== undefined) return known;
    let count = 0;
    for (const { pod } of this.pods.values()) {
      const { metadata } = pod;
      if (metadata.namespace !== namespace || metadata.deletionTimestamp !== undefined) continue;
      if (selects(metadata.labels)) count += 1;
    }
    if (this.#counts.size >= countsMax) this.#counts.clear();
    this.#counts.set(selection, count);
    return count;
  }
  #count(info: PodInfo, sign: 1 | -1): void {
    this.#counts.clear();
    add(this.requested, info.requests, sign);
    this.likelyMilliCpu += sign * info.likelyMilliCpu;
    this.likelyMemory += sign * info.likelyMemory;
    for (const { ip, protocol, port } of info.hostPorts) {
      const key = `${protocol}/${port}/${ip || anyAddress}`;
      const count = (this.#ports.get(key) ?? 0) + sign;
      if (count === 0) this.#ports.delete(key);
      else this.#ports.set(key, count);
    }
  }
  /** A port is taken by the same address, or by any if either side is the wildcard. */
  isPortFree({ ip, protocol, port }: HostPort): boolean {
    if (this.#ports.size === 0) return true;
    const prefix = `${protocol}/${port}/`;
    if (this.#ports.has(`${prefix}${anyAddress}`)) return false;
    const address = ip || anyAddress;
    if (address !== anyAddress) return !this.#ports.has(prefix + address);
    for (const key of this.#ports.keys()) if (key.startsWith(prefix)) return false;
    return true;
  }
}
/** How many selections a node remembers its counts for. */
const countsMax = 256;
const anyAddress = "0.0.0.0";

/** Upstream: a name without a tag means :latest. */
export const normalizedImage = (name: string): string =>
  name.lastIndexOf(":") <= name.lastIndexOf("/") ? `${name}:latest` : name;

export class ClusterPicture {
  readonly #nodes = new Map<string, NodeInfo>();
  /** Node of every Pod that is counted, by uid. */
  readonly #placed = new Map<string, string>();
  readonly #assumed = new Set<string>();
  readonly #imageNodes = new Map<string, number>();
  /** Nodes with Pods that care for others. */
  readonly #affine = new Set<NodeInfo>();
  #ordered: readonly NodeInfo[] | undefined;

  /**
   * Nodes that exist, zones taking turns, so that the first half of the list is not all in one
   * zone.
   */
  get nodes(): readonly NodeInfo[] {
    if (this.#ordered !== undefined) return this.#ordered;
    const zones = new Map<string, NodeInfo[]>();
    for (const info of this.#nodes.values()) {
      if (info.node === undefined) continue;
      const labels = info.labels;
      const zone = `${labels["topology.kubernetes.io/region"] ?? ""}/${labels["topology.kubernetes.io/zone"] ?? ""}`;
      const known = zones.get(zone);
      if (known === undefined) zones.set(zone, [info]);
      else known.push(info);
    }
    const lists = [...zones.values()];
    const ordered: NodeInfo[] = [];
    const longest = Math.max(0, ...lists.map((list) => list.length));
    for (let at = 0; at < longest; at += 1) {
      for (const list of lists) {
        const info = list[at];
        if (info !== undefined) ordered.push(info);
      }
    }
    this.#ordered = ordered;
    return ordered;
  }
  node(name: string): NodeInfo | undefined {
    const info = this.#nodes.get(name);
    return info?.node === undefined ? undefined : info;
  }
  nodesWith(trait: "affinity" | "requiredAntiAffinity"): readonly NodeInfo[] {
    return [...this.#affine].filter(
      ({ node, repellingPods }) =>
        node !== undefined && (trait === "affinity" || repellingPods.size > 0),
    );
  }
  imageNodes(image: string): number {
    return this.#imageNodes.get(image) ?? 0;
  }
  #info(name: string): NodeInfo {
    let info = this.#nodes.get(name);
    if (info === undefined) {
      info = new NodeInfo(name);
      this.#nodes.set(name, info);
    }
    return info;
  }
  setNode(node: Stored<Node>): void {
    const info = this.#info(node.metadata.name);
    this.#countImages(info, -1);
    info.setNode(node);
    this.#countImages(info, 1);
    this.#ordered = undefined;
  }
  removeNode(name: string): void {
    const info = this.#nodes.get(name);
    if (info === undefined) return;
    this.#countImages(info, -1);
    info.setNode(undefined);
    if (info.pods.size === 0) this.#nodes.delete(name);
    this.#ordered = undefined;
  }
  #countImages(info: NodeInfo, sign: 1 | -1): void {
    for (const image of info.images.keys()) {
      const count = (this.#imageNodes.get(image) ?? 0) + sign;
      if (count === 0) this.#imageNodes.delete(image);
      else this.#imageNodes.set(image, count);
    }
  }

  /** Whether it is on some node. */
  has(uid: string): boolean {
    return this.#placed.has(uid);
  }
  isAssumed(uid: string): boolean {
    return this.#assumed.has(uid);
  }
  assume(info: PodInfo, nodeName: string): void {
    this.#assumed.add(info.uid);
    this.#place(info, nodeName);
  }
  forget(uid: string): void {
    if (this.#assumed.delete(uid)) this.#displace(uid);
  }
  /** What the server says of a bound Pod replaces what was assumed. */
  setPod(pod: Stored<Pod>): void {
    const { uid } = pod.metadata;
    this.#assumed.delete(uid);
    this.#displace(uid);
    this.#place(podInfoOf(pod), pod.spec.nodeName ?? "");
  }
  removePod(uid: string): void {
    this.#assumed.delete(uid);
    this.#displace(uid);
  }
  #place(info: PodInfo, nodeName: string): void {
    this.#placed.set(info.uid, nodeName);
    const node = this.#info(nodeName);
    node.add(info);
    if (node.affinePods.size > 0) this.#affine.add(node);
  }
  #displace(uid: string): void {
    const name = this.#placed.get(uid);
    if (name === undefined) return;
    this.#placed.delete(uid);
    const info = this.#nodes.get(name);
    info?.remove(uid);
    if (info?.affinePods.size === 0) this.#affine.delete(info);
    if (info?.node === undefined && info?.pods.size === 0) this.#nodes.delete(name);
  }
}
