/**
 * Node lifecycle controller: notices when a node falls silent (no Lease renewed, no status posted),
 * says so in its conditions, and taints it so that nobody goes there and, at a bounded rate, those
 * who are there leave. Reads Nodes, their Leases and Pods; writes Nodes' conditions and taints, and
 * the Ready condition of Pods on silent nodes. Silence is measured by this process's own monotonic
 * clock.
 */
import { Lease } from "#api/coordination/v1/lease.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { NodeCondition } from "#api/generated/core/v1.ts";
import type { Lister } from "#client/cache.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import {
  type Controller,
  type ControllerSettings,
  index,
  type Outcome,
  type ReconcileContext,
  requeueAfter,
  watch,
} from "./controller.ts";
import {
  changeTaints,
  hasTaint,
  notReadyKey,
  planNoSchedule,
  unreachableKey,
} from "./node-taints.ts";
import { nodeNameIndex } from "./pod-gc.ts";
import { defineController } from "./runner.ts";

const leaseNamespace = "kube-node-lease";
/** Upstream's rates of NoExecute taints, in nodes a second for each zone. */
const taintsPerSecond = 0.1;
const taintsPerSecondReduced = 0.01;
const largeClusterNodesMin = 51;
const disruptedShare = 0.55;

/** When a node was last heard of. */
interface Sign {
  readonly heartbeat: string;
  readonly renewed: string;
  readonly atMs: number;
}

export const nodeLifecycleController: Controller = {
  name: "node-lifecycle",
  start: (world) => monitor(world.settings).start(world),
};

function monitor(settings: ControllerSettings): Controller {
  const signs = new Map<string, Sign>();
  const known = new Set<string>();
  const zones = new Map<string, number>();
  return defineController<Node>({
    name: "node-lifecycle",
    account: "node-controller",
    reconciles: Node,
    reads: [Pod],
    indexes: [index(Pod, nodeNameIndex, (pod) => [pod.spec.nodeName ?? ""])],
    watches: [
      watch(Lease, ({ metadata: { namespace, name } }) =>
        namespace === leaseNamespace ? [name] : [],
      ),
    ],
    async reconcile(node, context): Promise<Outcome> {
      const { name } = node.metadata;
      if (!known.has(name)) {
        known.add(name);
        nodeEvent(node, "RegisteredNode", `Registered Node ${name} in Controller`, context);
      }
      const quietMs = listen(node, signs, context);
      const startup = readyOf(node) === undefined;
      const graceMs = startup ? settings.nodeStartupGraceMs : settings.nodeMonitorGraceMs;
      let current = node;
      if (quietMs > graceMs) {
        const conditions = silentConditions(node, context.now);
        if (conditions !== undefined) {
          const status = { ...node.status, conditions: [...conditions] };
          current = await context.client.updateStatus(Node, { ...node, status });
        }
      }
      current = await changeTaints(current, planNoSchedule(current), context);
      const before = readyOf(node)?.status;
      const ready = readyOf(current)?.status;
      if (ready !== undefined && ready !== "True" && before === "True") {
        const message = `Node ${name} status is now: NodeNotReady`;
        context.event(refTo(current), "Normal", "NodeNotReady", message);
      }
      if (ready === "Unknown") await markPodsNotReady(name, context);
      const waitMs = await evictByTaint(current, zones, settings, context);
      const untilSilentMs = quietMs > graceMs ? Infinity : graceMs - quietMs + 1;
      return requeueAfter(Math.min(waitMs, untilSilentMs));
    },
    gone: async (name, context) => {
      signs.delete(name);
      if (!known.delete(name)) return;
      const node = { apiVersion: "v1", kind: "Node", name };
      const message = `Node ${name} event: Removing Node ${name} from Controller`;
      context.event(node, "Normal", "RemovingNode", message);
    },
  });
}

const refTo = (node: Stored<Node>) => ({
  apiVersion: "v1",
  kind: "Node",
  name: node.metadata.name,
  uid: node.metadata.uid,
});
function nodeEvent(
  node: Stored<Node>,
  reason: string,
  text: string,
  context: ReconcileContext,
): void {
  const message = `Node ${node.metadata.name} event: ${text}`;
  context.event(refTo(node), "Normal", reason, message);
}

const readyOf = (node: Node): NodeCondition | undefined =>
  node.status.conditions?.find((condition) => condition.type === "Ready");

/** How long nothing was heard of the node. */
function listen(node: Stored<Node>, signs: Map<string, Sign>, context: ReconcileContext): number {
  const { name } = node.metadata;
  const nowMs = context.clock.monotonicMs();
  const heartbeat = readyOf(node)?.lastHeartbeatTime ?? "";
  const renewed = context.cache(Lease).get(`${leaseNamespace}/${name}`)?.spec?.renewTime ?? "";
  const old = signs.get(name);
  if (old?.heartbeat === heartbeat && old.renewed === renewed) return nowMs - old.atMs;
  // A node that never said anything counts from its creation.
  const created = parseTime(node.metadata.creationTimestamp) ?? context.now;
  const silentMs =
    old === undefined && heartbeat === "" && renewed === "" ? context.now - created : 0;
  signs.set(name, { heartbeat, renewed, atMs: nowMs - Math.max(0, silentMs) });
  return Math.max(0, silentMs);
}

/** What a silent node's conditions should say; undefined: they do already. */
export function silentConditions(
  node: Stored<Node>,
  now: number,
): readonly NodeCondition[] | undefined {
  const lastTransitionTime = formatTime(now);
  const types = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
  let changed = false;
  const conditions = [...(node.status.conditions ?? [])];
  for (const type of types) {
    const at = conditions.findIndex((condition) => condition.type === type);
    const old = conditions[at];
    if (old === undefined) {
      changed = true;
      conditions.push({
        type,
        status: "Unknown",
        reason: "NodeStatusNeverUpdated",
        message: "Kubelet never posted node status.",
        lastHeartbeatTime: node.metadata.creationTimestamp,
        lastTransitionTime,
      });
    } else if (old.status !== "Unknown") {
      changed = true;
      conditions[at] = {
        ...old,
        status: "Unknown",
        reason: "NodeStatusUnknown",
        message: "Kubelet stopped posting node status.",
        lastTransitionTime,
      };
    }
  }
  return changed ? conditions : undefined;
}

/** Nobody speaks for these Pods any more: Services must not lead to them. */
async function markPodsNotReady(nodeName: string, context: ReconcileContext): Promise<void> {
  for (const pod of context.cache(Pod).byIndex(nodeNameIndex, nodeName)) {
    const ready = pod.status.conditions?.find((condition) => condition.type === "Ready");
    if (ready === undefined || ready.status === "False") continue;
    const { namespace = "", name, uid } = pod.metadata;
    const condition = {
      type: "Ready",
      status: "False",
      lastTransitionTime: formatTime(context.now),
    };
    const body = { metadata: { uid }, status: { conditions: [condition] } };
    try {
      await context.client.patch(Pod, { namespace, name }, "strategic", body, {
        subresource: "status",
      });
    } catch (error) {
      if (isStatus(error, "NotFound") || isStatus(error, "Conflict")) continue;
      throw error;
    }
    context.event(pod, "Warning", "NodeNotReady", "Node is not ready");
  }
}

const zoneOf = (node: Node): string => {
  const labels = node.metadata.labels ?? {};
  return `${labels["topology.kubernetes.io/region"] ?? ""}/${labels["topology.kubernetes.io/zone"] ?? ""}`;
};

/**
 * How fast a zone's nodes may be given up. None at all when every zone is down: then it is more
 * likely we who are cut off.
 */
export function taintRate(nodes: Iterable<Node>, zone: string): number {
  const zones = new Map<string, { ready: number; unready: number }>();
  for (const node of nodes) {
    const key = zoneOf(node);
    const counts = zones.get(key) ?? { ready: 0, unready: 0 };
    zones.set(key, counts);
    if (readyOf(node)?.status === "True") counts.ready += 1;
    else counts.unready += 1;
  }
  const all = [...zones.values()];
  if (all.every(({ ready, unready }) => ready === 0 && unready > 0)) return 0;
  const { ready = 0, unready = 0 } = zones.get(zone) ?? {};
  const total = ready + unready;
  const partly = ready > 0 && unready > 2 && unready / total >= disruptedShare;
  if (!partly) return taintsPerSecond;
  return total >= largeClusterNodesMin ? taintsPerSecondReduced : 0;
}

/** Brings the NoExecute taint in line with Ready. Gives when to look again, in milliseconds. */
async function evictByTaint(
  node: Stored<Node>,
  zones: Map<string, number>,
  settings: ControllerSettings,
  context: ReconcileContext,
): Promise<number> {
  const ready = readyOf(node)?.status;
  if (ready === undefined) return Infinity;
  const effect = "NoExecute" as const;
  const both = [notReadyKey, unreachableKey];
  const wanted = ready === "True" ? undefined : ready === "False" ? notReadyKey : unreachableKey;
  const present = both.filter((key) => hasTaint(node, key, effect));
  const remove = present.filter((key) => key !== wanted).map((key) => ({ key, effect }));
  if (wanted === undefined || present.includes(wanted)) {
    await changeTaints(node, { add: [], remove }, context);
    return Infinity;
  }
  // Swapping one reason for the other gives up nobody anew.
  if (present.length === 0) {
    const waitMs = takeTurn(node, zones, context.cache(Node), settings, context);
    if (waitMs > 0) return waitMs;
  }
  await changeTaints(node, { add: [{ key: wanted, effect }], remove }, context);
  return Infinity;
}

/** 0: this node may be tainted now. */
function takeTurn(
  node: Stored<Node>,
  zones: Map<string, number>,
  nodes: Lister<Node>,
  settings: ControllerSettings,
  context: ReconcileContext,
): number {
  const zone = zoneOf(node);
  const others = [...nodes.list()].filter((one) => one.metadata.name !== node.metadata.name);
  const rate = taintRate([...others, node], zone);
  if (rate === 0) return settings.nodeMonitorPeriodMs;
  const nowMs = context.clock.monotonicMs();
  const nextMs = zones.get(zone) ?? 0;
  if (nowMs < nextMs) return nextMs - nowMs;
  zones.set(zone, nowMs + 1000 / rate);
  return 0;
}
