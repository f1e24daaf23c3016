/**
 * VolumeBinding: a Pod goes where its volumes are. Claims that wait for their first consumer get a volume that its node reaches,
 * or are told the node for which one shall be made; the Pod is bound when they are.
 */
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { storageClassOf } from "#api/core/v1/storage-names.ts";
import {
  boundByControllerAnnotation,
  findMatchingVolume,
  isBindCompleted,
  isReachableFrom,
  isReservedFor,
  noProvisioner,
  selectedNodeAnnotation,
} from "#api/core/v1/volume-binding.ts";
import { CSIDriver } from "#api/storage/v1/csidriver.ts";
import { CSIStorageCapacity } from "#api/storage/v1/csistoragecapacity.ts";
import { StorageClass } from "#api/storage/v1/storageclass.ts";
import type { Client } from "#client/client.ts";
import { resourceVersionOf } from "#client/informer.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { cloneJson } from "#machinery/object.ts";
import { compareQuantities, quantityOf } from "#machinery/quantity.ts";
import { compileLabelSelector } from "#machinery/selector.ts";
import type { NodeInfo } from "../node-info.ts";
import { definePlugin, rejectForGood, type SchedulerView } from "../plugin.ts";
import { concernsClaims, type PodClaim, podClaims } from "../pod-claims.ts";
import type { PodInfo } from "../pod-info.ts";

type Claim = Stored<PersistentVolumeClaim>;
type Volume = Stored<PersistentVolume>;

const nodeConflict = "node(s) didn't match PersistentVolume's node affinity";
const bindConflict = "node(s) didn't find available persistent volumes to bind";
const notEnoughSpace = "node(s) did not have enough free storage";
const volumeMissing = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
const unboundImmediate = "pod has unbound immediate PersistentVolumeClaims";

export interface VolumeBindingArgs {
  /** How long a Pod waits for its volumes before it is tried anew. */
  readonly bindTimeoutSeconds: number;
}

/** What is to be done for a Pod on one node. */
interface Bindings {
  readonly reserve: readonly { readonly claim: Claim; readonly volume: Volume }[];
  readonly provision: readonly Claim[];
}
interface State {
  readonly view: SchedulerView;
  readonly bound: readonly Claim[];
  readonly waiting: readonly Claim[];
}

/** What Pods that are being bound hold already, by the Pod's uid. */
type Memory = Map<string, Bindings>;
const memoryOf = (view: SchedulerView): Memory =>
  view.memory("VolumeBinding", () => new Map<string, Bindings>());

function stateOf(claims: readonly PodClaim[], view: SchedulerView): State | "immediate" {
  const bound: Claim[] = [];
  const waiting: Claim[] = [];
  for (const { claim } of claims) {
    const named = (claim.spec.volumeName ?? "") !== "";
    const storageClass = view.cache(StorageClass).get(storageClassOf(claim));
    if (named && isBindCompleted(claim)) bound.push(claim);
    else if (!named && storageClass?.volumeBindingMode === "WaitForFirstConsumer") {
      waiting.push(claim);
    } else return "immediate";
  }
  return { view, bound, waiting };
}

/** Whether a driver that tells how much room it has has enough on the node. */
function hasRoom(claim: Claim, storageClass: StorageClass, node: NodeInfo, view: SchedulerView) {
  const driver = view.cache(CSIDriver).get(storageClass.provisioner);
  if (driver?.spec.storageCapacity !== true) return true;
  const wanted = quantityOf(claim.spec.resources.requests?.["storage"] ?? "0");
  return [...view.cache(CSIStorageCapacity).list()].some(
    ({ storageClassName, capacity, maximumVolumeSize, nodeTopology }) => {
      const limit = maximumVolumeSize ?? capacity;
      if (storageClassName !== storageClass.metadata.name || limit === undefined) return false;
      if (nodeTopology === undefined) return false;
      if (compareQuantities(quantityOf(limit), wanted) < 0) return false;
      return compileLabelSelector(nodeTopology)(node.labels);
    },
  );
}

/** Why no volume can be made for the node; undefined: one can. */
function provisioningProblem(claim: Claim, node: NodeInfo, view: SchedulerView) {
  const storageClass = view.cache(StorageClass).get(storageClassOf(claim));
  const { provisioner = "", allowedTopologies = [] } = storageClass ?? {};
  if (storageClass === undefined || provisioner === "" || provisioner === noProvisioner) {
    return bindConflict;
  }
  const isAllowed =
    allowedTopologies.length === 0 ||
    allowedTopologies.some(({ matchLabelExpressions = [] }) =>
      matchLabelExpressions.every(({ key, values }) => values.includes(node.labels[key] ?? "")),
    );
  if (!isAllowed) return bindConflict;
  return hasRoom(claim, storageClass, node, view) ? undefined : notEnoughSpace;
}

/** What a node would take, or why it will not do. */
function bindingsOn(
  { waiting, view }: Pick<State, "waiting" | "view">,
  uid: string,
  node: NodeInfo,
): Bindings | string {
  const taken = new Set<string>();
  for (const [holder, { reserve }] of memoryOf(view)) {
    if (holder !== uid) for (const { volume } of reserve) taken.add(volume.metadata.name);
  }
  const reserve: { claim: Claim; volume: Volume }[] = [];
  const provision: Claim[] = [];
  for (const claim of waiting) {
    const selected = claim.metadata.annotations?.[selectedNodeAnnotation];
    if (selected !== undefined && selected !== node.name) return bindConflict;
    const volumes = view.cache(PersistentVolume).list();
    const volume =
      selected === undefined
        ? findMatchingVolume(claim, volumes, { node, waits: true, taken })
        : undefined;
    if (volume !== undefined) {
      taken.add(volume.metadata.name);
      reserve.push({ claim, volume });
      continue;
    }
    const problem = provisioningProblem(claim, node, view);
    if (problem !== undefined) return problem;
    provision.push(claim);
  }
  return { reserve, provision };
}

async function reserveVolume(claim: Claim, volume: Volume, client: Client): Promise<Volume> {
  if (isReservedFor(volume, claim) && volume.spec.claimRef?.uid === claim.metadata.uid) {
    return volume;
  }
  const { name, namespace = "", uid, resourceVersion } = claim.metadata;
  const next = cloneJson(volume);
  if (!isReservedFor(volume, claim)) {
    next.metadata.annotations = {
      ...next.metadata.annotations,
      [boundByControllerAnnotation]: "yes",
    };
  }
  const kind = "PersistentVolumeClaim";
  next.spec.claimRef = { kind, namespace, name, uid, apiVersion: "v1", resourceVersion };
  return await client.update(PersistentVolume, next);
}

async function selectNode(claim: Claim, nodeName: string, client: Client): Promise<Claim> {
  if (claim.metadata.annotations?.[selectedNodeAnnotation] === nodeName) return claim;
  const next = cloneJson(claim);
  next.metadata.annotations = {
    ...next.metadata.annotations,
    [selectedNodeAnnotation]: nodeName,
  };
  return await client.update(PersistentVolumeClaim, next);
}

/** The claim as the cache has it, once that is not older than what was written. */
function seen(written: Claim, view: SchedulerView): Claim | undefined {
  const current = view.cache(PersistentVolumeClaim).get(keyOf(written));
  if (current === undefined) {
    throw new Error(`persistentvolumeclaim ${JSON.stringify(written.metadata.name)} not found`);
  }
  return resourceVersionOf(current) < resourceVersionOf(written) ? undefined : current;
}

/** Whether everything that was asked for is there; throws when it never will be. */
function isAllBound(
  pod: PodInfo,
  nodeName: string,
  written: { readonly reserved: readonly Claim[]; readonly provisioned: readonly Claim[] },
  view: SchedulerView,
): true | undefined {
  if (view.cache(Pod).get(pod.key)?.metadata.uid !== pod.uid) {
    throw new Error(`pod does not exist any more: pod ${JSON.stringify(pod.key)} not found`);
  }
  const node = view.nodes.find(({ name }) => name === nodeName);
  if (node === undefined) throw new Error(`node ${JSON.stringify(nodeName)} not found`);
  for (const claim of [...written.reserved, ...written.provisioned]) {
    const current = seen(claim, view);
    if (current === undefined) return undefined;
    const name = current.spec.volumeName ?? "";
    if (name === "") {
      const selected = current.metadata.annotations?.[selectedNodeAnnotation];
      if (written.provisioned.includes(claim) && selected !== nodeName) {
        throw new Error(`provisioning failed for PVC ${JSON.stringify(current.metadata.name)}`);
      }
      return undefined;
    }
    const volume = view.cache(PersistentVolume).get(name);
    if (volume === undefined) return undefined;
    if (!isReachableFrom(volume, node)) {
      throw new Error(
        `pv ${JSON.stringify(name)} node affinity doesn't match node ${JSON.stringify(nodeName)}: no matching NodeSelectorTerms`,
      );
    }
    if (!isBindCompleted(current)) return undefined;
  }
  return true;
}

export const volumeBinding = ({ bindTimeoutSeconds }: VolumeBindingArgs) =>
  definePlugin<State>({
    name: "VolumeBinding",
    preFilter(pod, view) {
      const claims = podClaims(pod, view);
      if (typeof claims === "string") return rejectForGood(claims);
      if (claims.length === 0) return "skip";
      const state = stateOf(claims, view);
      return state === "immediate" ? rejectForGood(unboundImmediate) : { state };
    },
    filter(pod, node, state) {
      const reasons: string[] = [];
      const volumes = state.bound.map((claim) =>
        state.view.cache(PersistentVolume).get(claim.spec.volumeName ?? ""),
      );
      if (volumes.some((volume) => volume !== undefined && !isReachableFrom(volume, node))) {
        reasons.push(nodeConflict);
      }
      const bindings = bindingsOn(state, pod.uid, node);
      if (typeof bindings === "string") reasons.push(bindings);
      if (volumes.includes(undefined)) reasons.push(volumeMissing);
      return reasons.length === 0 ? undefined : rejectForGood(...reasons);
    },
    reserve(pod, nodeName, view) {
      const claims = podClaims(pod, view);
      if (typeof claims === "string") return rejectForGood(claims);
      const node = view.nodes.find(({ name }) => name === nodeName);
      const state = stateOf(claims, view);
      if (state === "immediate") return rejectForGood(unboundImmediate);
      if (state.waiting.length === 0 || node === undefined) return undefined;
      const bindings = bindingsOn(state, pod.uid, node);
      if (typeof bindings === "string") return rejectForGood(bindings);
      memoryOf(view).set(pod.uid, bindings);
      return undefined;
    },
    unreserve(pod, _nodeName, view) {
      memoryOf(view).delete(pod.uid);
    },
    async preBind(pod, nodeName, client, view) {
      const bindings = memoryOf(view).get(pod.uid);
      if (bindings === undefined) return;
      const reserved: Claim[] = [];
      const provisioned: Claim[] = [];
      for (const { claim, volume } of bindings.reserve) {
        await reserveVolume(claim, volume, client);
        reserved.push(claim);
      }
      for (const claim of bindings.provision) {
        provisioned.push(await selectNode(claim, nodeName, client));
      }
      const kinds = [PersistentVolumeClaim, PersistentVolume, Pod];
      const isDone = () => isAllBound(pod, nodeName, { reserved, provisioned }, view);
      await view.waitFor("binding volumes", kinds, isDone, bindTimeoutSeconds * 1000);
      memoryOf(view).delete(pod.uid);
    },
    wakes: concernsClaims,
  });
