/**
 * The kubelet's HTTPS API: logs, exec, attach, port-forward, the node's pods, what they use. Who may ask what, the cluster says
 * (authorization.ts). Answers errors as plain text, as the API server expects them.
 */

import { parseTime } from "#machinery/time.ts";
import type { Host } from "#ports/host.ts";
import type { Log } from "#ports/log.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "#ports/network.ts";
import type { Runtime } from "#ports/runtime.ts";
import { Authorization, type AuthorizationWorld } from "./authorization.ts";
import type { LocalVolumes } from "./local-volumes.ts";
import { type LogOptions, readLogs } from "./logs.ts";
import { containerNamed, type NodePod } from "./pod-spec.ts";
import { containerIdForLogs } from "./pod-status.ts";
import type { ReportedStatus } from "./reported-status.ts";
import { activeSandbox, latestOf, type PodRuntimeStatus } from "./runtime-status.ts";
import { resourceMetrics } from "./stats/resource-metrics.ts";
import type { SummaryProvider } from "./stats/summary.ts";
import { writeSummary } from "./stats/summary-form.ts";
import { servePortForward } from "./streaming/port-forward.ts";
import { readStreamOptions, serveRemoteCommand } from "./streaming/remote-command.ts";

export interface ServerWorld extends AuthorizationWorld {
  readonly runtime: Runtime;
  readonly host: Host;
  readonly log: Log;
  readonly summaries: SummaryProvider;
  readonly localVolumes: LocalVolumes;
  pods(): readonly NodePod[];
  statusOf(pod: NodePod): ReportedStatus;
  runtimeStatus(pod: NodePod): Promise<PodRuntimeStatus>;
  whenEnded(containerId: string, run: () => void): () => void;
}

const text = (status: number, message: string): HttpResponse => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: new TextEncoder().encode(message),
});
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function kubeletHandler(world: ServerWorld): HttpHandler {
  const authorization = new Authorization(world);
  return async (request) => {
    const question = request.target.indexOf("?");
    const path = question < 0 ? request.target : request.target.slice(0, question);
    const query = new URL(request.target, "http://kubelet").searchParams;
    let parts: string[];
    try {
      parts = path.split("/").slice(1).map(decodeURIComponent);
    } catch {
      return text(400, "the path is not properly percent-encoded");
    }
    try {
      const verdict = await authorization.judge(request);
      if (!verdict.allowed) return text(verdict.status, verdict.message);
      return await route(world, request, parts, query);
    } catch (error) {
      world.log.write("warn", "a request to the kubelet failed", { path, error: textOf(error) });
      return text(500, textOf(error));
    }
  };
}

async function route(
  world: ServerWorld,
  request: HttpRequest,
  parts: readonly string[],
  query: URLSearchParams,
): Promise<HttpResponse> {
  const [first, ...rest] = parts;
  switch (first) {
    case "healthz":
      return text(200, "ok");
    case "pods":
    case "runningpods":
      return podList(world);
    case "containerLogs":
      return await containerLogs(world, rest, query);
    case "exec":
    case "attach":
      return await remoteCommand(world, request, first, rest, query);
    case "portForward":
      return await portForward(world, request, rest);
    case "localVolumes":
      return await localVolume(world, request, rest);
    case "stats":
      return await stats(world, request, rest, query);
    case "metrics":
      return await metrics(world, rest);
    default:
      return text(404, "404 page not found\n");
  }
}

/** GET (or POST, as upstream takes it) /stats/summary */
async function stats(
  { summaries }: ServerWorld,
  { method }: HttpRequest,
  parts: readonly string[],
  query: URLSearchParams,
): Promise<HttpResponse> {
  if (parts.join("/") !== "summary") return text(404, "404 page not found\n");
  if (method !== "GET" && method !== "POST") return text(405, "Method Not Allowed");
  const asked = query.getAll("only_cpu_and_memory");
  const isShort = asked.length === 1 && asked[0] === "true";
  const summary = await (isShort ? summaries.cpuAndMemory() : summaries.whole());
  return {
    status: 200,
    headers: { "content-type": "application/json" },
    body: new TextEncoder().encode(writeSummary(summary)),
  };
}

const metricsType = "text/plain; version=0.0.4; charset=utf-8";
async function metrics(world: ServerWorld, parts: readonly string[]): Promise<HttpResponse> {
  if (parts.join("/") !== "resource") return text(404, "404 page not found\n");
  const summary = await world.summaries.cpuAndMemory().catch((error: unknown) => {
    const why = textOf(error);
    world.log.write("warn", "what the pods use could not be read", { error: why });
    return undefined;
  });
  return {
    status: 200,
    headers: { "content-type": metricsType },
    body: new TextEncoder().encode(resourceMetrics(summary)),
  };
}

function podList(world: ServerWorld): HttpResponse {
  const items = world.pods().map((pod) => ({ ...pod, status: world.statusOf(pod) }));
  const list = { kind: "PodList", apiVersion: "v1", metadata: {}, items };
  return {
    status: 200,
    headers: { "content-type": "application/json" },
    body: new TextEncoder().encode(JSON.stringify(list)),
  };
}

/** With the uid, if it is said, for a namesake may have come in between. */
function findPod(
  world: ServerWorld,
  namespace: string,
  name: string,
  uid: string | undefined,
): NodePod | undefined {
  return world
    .pods()
    .find(
      ({ metadata }) =>
        metadata.name === name &&
        metadata.namespace === namespace &&
        (uid === undefined || metadata.uid === uid),
    );
}

function logOptions(query: URLSearchParams, nowMs: number): LogOptions | undefined {
  const isTrue = (name: string): boolean => ["true", "1"].includes(query.get(name) ?? "");
  const number = (name: string): number | undefined => {
    const given = query.get(name);
    return given === null || given === "" ? undefined : Number(given);
  };
  const tail = query.get("tail") === "all" ? undefined : number("tail");
  const tailLines = tail ?? number("tailLines");
  const limitBytes = number("limitBytes");
  const sinceSeconds = number("sinceSeconds");
  const sinceTime = query.get("sinceTime");
  const sinceMs =
    sinceTime !== null && sinceTime !== ""
      ? parseTime(sinceTime)
      : sinceSeconds === undefined
        ? undefined
        : nowMs - sinceSeconds * 1000;
  const isWhole = (value: number | undefined, min: number): boolean =>
    value === undefined || (Number.isInteger(value) && value >= min);
  const stream = query.get("stream") ?? "All";
  const valid =
    isWhole(tailLines, 0) &&
    isWhole(limitBytes, 1) &&
    isWhole(sinceSeconds, 1) &&
    (sinceTime === null || sinceTime === "" || sinceMs !== undefined);
  if (!valid || (stream !== "All" && stream !== "Stdout" && stream !== "Stderr")) return undefined;
  return {
    follow: isTrue("follow"),
    timestamps: isTrue("timestamps"),
    stream,
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  };
}

async function containerLogs(
  world: ServerWorld,
  parts: readonly string[],
  query: URLSearchParams,
): Promise<HttpResponse> {
  const [namespace, name, container] = parts;
  if (namespace === undefined || name === undefined || container === undefined) {
    return text(400, '{"message": "Missing container name."}');
  }
  const options = logOptions(query, world.clock.now());
  if (options === undefined) return text(422, '{"message": "Invalid request."}');
  const pod = findPod(world, namespace, name, undefined);
  if (pod === undefined) return text(404, `pod "${name}" does not exist`);
  if (containerNamed(pod, container) === undefined) {
    return text(404, `container "${container}" not found in pod "${name}"`);
  }
  const previous = ["true", "1"].includes(query.get("previous") ?? "");
  const found = containerIdForLogs(name, world.statusOf(pod), container, previous);
  if ("refused" in found) return text(400, found.refused);
  let over = false;
  const cancel = world.whenEnded(found.id, () => {
    over = true;
  });
  let path: string;
  try {
    const status = await world.runtime.containerStatus(found.id);
    path = status.logPath;
    over = over || status.state !== "running";
  } catch (error) {
    cancel();
    return text(
      400,
      `failed to try resolving symlinks in path of container ${found.id}: ${textOf(error)}`,
    );
  }
  const file = {
    path,
    ended: () => over,
    whenEnded: (run: () => void) => world.whenEnded(found.id, run),
  };
  const source = readLogs(world.host, file, options);
  return {
    status: 200,
    headers: { "content-type": "text/plain" },
    body: {
      next: () => source.next(),
      stop: () => {
        cancel();
        source.stop();
      },
    },
  };
}

/** The provisioner's: POST /localVolumes/NAME makes one and answers with its path, DELETE removes it with its data. */
async function localVolume(
  { localVolumes }: ServerWorld,
  { method }: HttpRequest,
  [name = "", ...more]: readonly string[],
): Promise<HttpResponse> {
  const path = localVolumes.pathOf(name);
  if (path === undefined || more.length > 0) return text(404, "404 page not found\n");
  if (method === "POST") await localVolumes.make(path);
  else if (method === "DELETE") await localVolumes.remove(path);
  else return text(405, "Method Not Allowed");
  return text(200, path);
}

interface Target {
  readonly pod: NodePod;
  readonly container: string | undefined;
}

/** /namespace/pod[/uid]/container */
function targetOf(
  world: ServerWorld,
  parts: readonly string[],
  withContainer: boolean,
): Target | HttpResponse {
  const [namespace = "", name = "", ...rest] = parts;
  const uid = rest.length > (withContainer ? 1 : 0) ? rest[0] : undefined;
  const pod = findPod(world, namespace, name, uid);
  if (pod === undefined) return text(404, "pod does not exist");
  return { pod, container: withContainer ? rest.at(-1) : undefined };
}

async function remoteCommand(
  world: ServerWorld,
  request: HttpRequest,
  kind: "exec" | "attach",
  parts: readonly string[],
  query: URLSearchParams,
): Promise<HttpResponse> {
  const target = targetOf(world, parts, true);
  if ("status" in target) return target;
  const { pod, container = "" } = target;
  const options = readStreamOptions(request.target);
  if (typeof options === "string") return text(400, options);
  const status = await world.runtimeStatus(pod);
  const record = latestOf(status, container);
  if (record === undefined) {
    return text(500, `container not found ("${container}")`);
  }
  const command = query.getAll("command");
  return serveRemoteCommand(
    request,
    {
      kind,
      command: kind === "exec" ? command : [],
      options,
      open: () =>
        kind === "exec"
          ? world.runtime.exec(record.id, command, options)
          : world.runtime.attach(record.id, options),
    },
    world,
  );
}

async function portForward(
  world: ServerWorld,
  request: HttpRequest,
  parts: readonly string[],
): Promise<HttpResponse> {
  const target = targetOf(world, parts, false);
  if ("status" in target) return target;
  const { name, uid } = target.pod.metadata;
  const sandbox = activeSandbox(await world.runtimeStatus(target.pod));
  if (sandbox === undefined) return text(500, `pod not found ("${name}")`);
  return servePortForward(
    request,
    {
      podName: name,
      podUid: uid,
      connect: (port) => world.runtime.forward(sandbox.id, port),
    },
    world,
  );
}
