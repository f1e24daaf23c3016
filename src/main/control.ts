/**
 * The control socket: how `wherry status` and `wherry down` speak to the cluster's process on this machine. HTTP over a unix
 * socket that only its owner may open; nothing of it is reachable from the network.
 */
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { Listener, Network } from "#ports/network.ts";
import { readAll } from "./read-all.ts";

export interface ComponentHealth {
  readonly name: string;
  readonly healthy: boolean;
  readonly message: string;
}
export interface ClusterStatus {
  readonly name: string;
  readonly version: string;
  readonly kubernetesVersion: string;
  readonly server: string;
  readonly runtime: string;
  readonly dataDirectory: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly ready: boolean;
  readonly components: readonly ComponentHealth[];
  readonly nodes: readonly {
    readonly name: string;
    readonly ready: boolean;
    readonly pods: number;
  }[];
  readonly pods: { readonly total: number; readonly running: number };
  readonly revision: number;
  readonly memoryBytes: number;
  readonly cpuSeconds: number;
  readonly eventLoopUtilization: number;
  readonly containerd?: {
    readonly pid: number;
    readonly version: string;
    readonly memoryBytes: number;
  };
}

export interface ControlHandlers {
  readonly status: () => Promise<ClusterStatus>;
  /** Resolves when the cluster is ready, or has stopped. */
  readonly ready: () => Promise<void>;
  /** Resolves when everything has stopped. */
  readonly stop: () => Promise<void>;
}

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

export async function serveControl(
  network: Network,
  socket: string,
  handlers: ControlHandlers,
): Promise<Listener> {
  mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  rmSync(socket, { force: true });
  const listener = await network.serve(
    { unix: socket },
    { bodyBytesMax: 1024 },
    async (request) => {
      const json = { "content-type": "application/json" };
      try {
        if (request.method === "GET" && request.target === "/status") {
          return { status: 200, headers: json, body: encode(await handlers.status()) };
        }
        if (request.method === "GET" && request.target === "/ready") {
          await handlers.ready();
          return { status: 200, headers: json, body: encode(await handlers.status()) };
        }
        if (request.method === "POST" && request.target === "/stop") {
          await handlers.stop();
          return { status: 200, headers: json, body: encode({ stopped: true }) };
        }
        return { status: 404, headers: json, body: encode({ message: "no such thing" }) };
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        return { status: 500, headers: json, body: encode({ message }) };
      }
    },
  );
  chmodSync(socket, 0o600);
  return listener;
}

async function ask(
  network: Network,
  socket: string,
  method: string,
  target: string,
): Promise<unknown> {
  const client = network.http({ unix: socket }, { version: 1 });
  try {
    const { status, body } = await client.send({ method, target });
    const answer = JSON.parse(new TextDecoder().decode(await readAll(body))) as {
      message?: string;
    };
    if (status !== 200)
      throw new Error(answer.message ?? `the cluster's process answered ${status}`);
    return answer;
  } finally {
    client.close();
  }
}

/** Undefined: no process answers there. `wait`: answer when it is ready, or has stopped. */
export async function askStatus(
  network: Network,
  socket: string,
  wait = false,
): Promise<ClusterStatus | undefined> {
  if (!existsSync(socket)) return undefined;
  try {
    return (await ask(network, socket, "GET", wait ? "/ready" : "/status")) as ClusterStatus;
  } catch (error) {
    if (isNobodyThere(error)) return undefined;
    throw error;
  }
}

/** False: no process answers there. */
export async function askStop(network: Network, socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false;
  try {
    await ask(network, socket, "POST", "/stop");
    return true;
  } catch (error) {
    if (isNobodyThere(error)) return false;
    throw error;
  }
}

const isNobodyThere = (error: unknown): boolean =>
  ["ECONNREFUSED", "ENOENT"].includes((error as { code?: string }).code ?? "");
