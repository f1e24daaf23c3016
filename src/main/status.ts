/** What `wherry status` shows, gathered in the cluster's process. */
import { readFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { ControlPlane } from "#cluster/control-plane.ts";
import { findCondition } from "#machinery/conditions.ts";
import { formatTime } from "#machinery/time.ts";
import type { ClusterStatus, ComponentHealth } from "./control.ts";
import type { DaemonWorld } from "./daemon.ts";
import type { Nodes } from "./nodes.ts";
import { kubernetesVersion, version } from "./version.ts";

/** What runs so far. */
export interface StatusParts {
  readonly controlPlane: ControlPlane | undefined;
  readonly nodes: Nodes | undefined;
  readonly port: number;
}

type NodeShown = ClusterStatus["nodes"][number];

export async function clusterStatus(
  { allotment, settings, paths }: DaemonWorld,
  { controlPlane, nodes, port }: StatusParts,
  startedAtMs: number,
): Promise<ClusterStatus> {
  const shown = controlPlane === undefined ? nothingYet : await whatRuns(controlPlane);
  const components = await componentHealth(controlPlane, shown.nodes);
  const cpu = process.cpuUsage();
  return {
    name: allotment.name,
    version,
    kubernetesVersion,
    server: `https://127.0.0.1:${port}`,
    runtime: settings.runtime,
    dataDirectory: paths.data,
    pid: process.pid,
    startedAt: formatTime(startedAtMs),
    ready: nodes !== undefined && components.every(({ healthy }) => healthy),
    components,
    ...shown,
    memoryBytes: process.memoryUsage.rss(),
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    eventLoopUtilization: performance.eventLoopUtilization().utilization,
    ...(await engineStatus(nodes?.engine)),
  };
}

type Shown = Pick<ClusterStatus, "nodes" | "pods" | "revision">;
const nothingYet: Shown = { nodes: [], pods: { total: 0, running: 0 }, revision: 0 };

async function whatRuns(controlPlane: ControlPlane): Promise<Shown> {
  const client = controlPlane.clientFor("system:kube-scheduler");
  const [nodes, pods] = await Promise.all([client.list(Node), client.list(Pod)]);
  return {
    nodes: nodes.items.map(({ metadata: { name }, status }) => ({
      name,
      ready: findCondition(status.conditions ?? [], "Ready")?.status === "True",
      pods: pods.items.filter((pod) => pod.spec.nodeName === name).length,
    })),
    pods: {
      total: pods.items.length,
      running: pods.items.filter((pod) => pod.status.phase === "Running").length,
    },
    revision: await controlPlane.store.revision(),
  };
}

async function componentHealth(
  controlPlane: ControlPlane | undefined,
  nodes: readonly NodeShown[],
): Promise<ComponentHealth[]> {
  if (controlPlane === undefined) {
    return [{ name: "apiserver", healthy: false, message: "starting" }];
  }
  const answer = await controlPlane.apiServer.handler({
    method: "GET",
    path: "/readyz",
    query: [["verbose", "true"]],
    headers: {},
    gone: new AbortController().signal,
    direct: false,
  });
  const bytes = answer.content.type === "bytes" ? answer.content.bytes : new Uint8Array();
  const text = new TextDecoder().decode(bytes);
  const failing = text.split("\n").filter((line) => line.startsWith("[-]"));
  const unready = nodes.filter(({ ready }) => !ready).map(({ name }) => name);
  return [
    { name: "apiserver", healthy: answer.status === 200, message: failing.join("; ") },
    {
      name: "nodes",
      healthy: unready.length === 0 && nodes.length > 0,
      message: nodes.length === 0 ? "there is none" : `not ready: ${unready.join(", ")}`,
    },
  ];
}

async function engineStatus(engine: Nodes["engine"]): Promise<Pick<ClusterStatus, "containerd">> {
  if (engine === undefined) return {};
  const status = await readFile(`/proc/${engine.pid}/status`, "utf8").catch(() => "");
  const kibibytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  return {
    containerd: { pid: engine.pid, version: engine.version.text, memoryBytes: kibibytes * 1024 },
  };
}
