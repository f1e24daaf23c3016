/** One probe: exec, HTTP, TCP or gRPC, to a verdict in upstream's words. */
import type { Container, Probe } from "#api/generated/core/v1.ts";
import type { Clock } from "#ports/clock.ts";
import type { Network } from "#ports/network.ts";
import { type Runtime, RuntimeError } from "#ports/runtime.ts";
import { expand } from "../expansion.ts";
import { dialFailure, httpGet, httpTarget, resolvePort } from "../http-get.ts";
import { grpcHealth } from "./grpc-health.ts";

export type Verdict =
  | { readonly type: "success" }
  | { readonly type: "warning" | "failure" | "error"; readonly output: string };

export interface ProbeWorld {
  readonly runtime: Runtime;
  readonly network: Network;
  readonly clock: Clock;
  /** "kube-probe/1.37" */
  readonly userAgent: string;
  /** Bounds how many commands run in one pod at once. */
  exec<T>(work: () => Promise<T>): Promise<T>;
}
export interface ProbeTarget {
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
}

const outputBytesMax = 10 * 1024;
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const failure = (output: string): Verdict => ({ type: "failure", output });

export async function runProbe(
  world: ProbeWorld,
  probe: Probe,
  target: ProbeTarget,
): Promise<Verdict> {
  const timeoutSeconds = probe.timeoutSeconds ?? 1;
  if (probe.exec !== undefined) {
    return await runExec(world, probe.exec.command ?? [], timeoutSeconds, target);
  }
  if (probe.httpGet !== undefined) {
    const to = httpTarget(probe.httpGet, target.container, target.podIp, world.userAgent);
    if ("problem" in to) return { type: "error", output: to.problem };
    try {
      const answer = await httpGet(world.network, world.clock, to, timeoutSeconds * 1000);
      if (answer.redirectedAway) {
        return { type: "warning", output: "Probe terminated redirects, Response body: " };
      }
      if (answer.status >= 200 && answer.status < 400) return { type: "success" };
      return failure(`HTTP probe failed with statuscode: ${answer.status}`);
    } catch (error) {
      return failure(textOf(error));
    }
  }
  if (probe.tcpSocket !== undefined) {
    const port = resolvePort(probe.tcpSocket.port, target.container);
    if (typeof port !== "number") return { type: "error", output: port.problem };
    return await runTcp(world, probe.tcpSocket.host || target.podIp, port, timeoutSeconds);
  }
  if (probe.grpc !== undefined) {
    const { port, service } = probe.grpc;
    const output = await grpcHealth(world, {
      host: target.podIp,
      port,
      service: service ?? "",
      tls: probe.grpc.mode === "TLS",
      timeoutSeconds,
    });
    return output === undefined ? { type: "success" } : failure(output);
  }
  return { type: "error", output: "missing probe handler" };
}

async function runExec(
  world: ProbeWorld,
  command: readonly string[],
  timeoutSeconds: number,
  target: ProbeTarget,
): Promise<Verdict> {
  const values = new Map((target.container.env ?? []).map((one) => [one.name, one.value ?? ""]));
  const expanded = command.map((word) => expand(word, (name) => values.get(name)));
  try {
    const done = await world.exec(() =>
      world.runtime.execSync(target.containerId, expanded, timeoutSeconds),
    );
    if (done.exitCode === 0) return { type: "success" };
    const decoder = new TextDecoder();
    const output = decoder.decode(done.stdout) + decoder.decode(done.stderr);
    return failure(output.slice(0, outputBytesMax));
  } catch (error) {
    if (error instanceof RuntimeError && error.code === "timeout") {
      return failure(
        `command timed out: "${expanded.join(" ")}" timed out after ${timeoutSeconds}s`,
      );
    }
    return { type: "error", output: `rpc error: ${textOf(error)}` };
  }
}

async function runTcp(
  world: ProbeWorld,
  host: string,
  port: number,
  timeoutSeconds: number,
): Promise<Verdict> {
  try {
    const connection = await world.network.connect(
      { host, port },
      { timeoutMs: timeoutSeconds * 1000 },
    );
    connection.end();
    connection.abort(new Error("the probe is done"));
    return { type: "success" };
  } catch (error) {
    const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    return failure(dialFailure(error, where));
  }
}
