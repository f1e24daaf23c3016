/** `kubectl port-forward`: local ports onto ports of a pod. */
import type { Pod, Service } from "#api/generated/core/v1.ts";
import { SpdyConnection } from "#machinery/spdy/connection.ts";
import type { Listener } from "#ports/network.ts";
import type { Duplex } from "#ports/stream.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import type { Resource } from "./discovery.ts";
import { asError, CommandError } from "./errors.ts";
import { duration, list } from "./flags.ts";
import type { AnyObject } from "./objects.ts";
import { isPod, podsBehind, targetFor } from "./pods.ts";
import { upgrade } from "./streaming.ts";

export const portForwardCommand: KubectlCommand = {
  name: "port-forward",
  summary: "Forward one or more local ports to a pod",
  usage: "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
  flags: [
    list("address", "Addresses to listen on (comma separated)", { default: "localhost" }),
    duration("pod-running-timeout", "How long to wait until at least one pod is running", {
      default: "1m0s",
    }),
  ],
  run: portForward,
};

interface Forward {
  readonly local: number;
  readonly remote: number;
}

function namedPort(pod: Pod, name: string): number {
  const found = pod.spec.containers
    .flatMap(({ ports = [] }) => ports)
    .find((port) => port.name === name);
  if (found === undefined)
    throw new CommandError(`pod '${pod.metadata.name ?? ""}' does not have a named port '${name}'`);
  return found.containerPort;
}

/** A Service's port stands for the port behind it. */
function remotePort(pod: Pod, service: Service | undefined, text: string): number {
  const isNumber = /^\d+$/.test(text);
  if (service === undefined) return isNumber ? Number(text) : namedPort(pod, text);
  const port = service.spec.ports?.find((one) =>
    isNumber ? one.port === Number(text) : one.name === text,
  );
  if (port === undefined) {
    throw new CommandError(
      isNumber
        ? `Service ${service.metadata.name ?? ""} does not have a service port ${text}`
        : `service '${service.metadata.name ?? ""}' does not have a named port '${text}'`,
    );
  }
  if (service.spec.clusterIP === "None") return port.port;
  const { targetPort } = port;
  if (typeof targetPort === "string") return namedPort(pod, targetPort);
  return targetPort || port.port;
}

function readForward(spec: string, pod: Pod, service: Service | undefined): Forward {
  const parts = spec.split(":");
  if (parts.length > 2) throw new CommandError(`invalid port format '${spec}'`);
  const [first = "", second] = parts;
  const remoteText = second ?? first;
  const remote = remotePort(pod, service, remoteText);
  const localText =
    second === undefined ? (/^\d+$/.test(first) ? first : String(remote)) : first || "0";
  if (!/^\d+$/.test(localText) || Number(localText) > 65535) {
    throw new CommandError(
      `error parsing local port '${localText}': strconv.ParseUint: parsing ${JSON.stringify(localText)}: invalid syntax`,
    );
  }
  if (remote === 0) throw new CommandError("remote port must be > 0");
  return { local: Number(localText), remote };
}

async function copy(from: Pick<Duplex, "read">, to: Pick<Duplex, "write" | "end">): Promise<void> {
  for (;;) {
    const bytes = await from.read();
    if (bytes === undefined) break;
    await to.write(bytes);
  }
  to.end();
}

async function portForward(given: Invocation): Promise<void> {
  const { session, args, flags } = given;
  const [word, ...specs] = args;
  if (word === undefined || specs.length === 0)
    throw usageFailure(given, "TYPE/NAME and list of ports are required for port-forward");
  const { resource, object } = await targetFor(session, word);
  const pod = await podBehind(given, resource, object);
  if (pod.status.phase !== "Running") {
    throw new CommandError(
      `unable to forward port because pod is not running. Current status=${pod.status.phase ?? ""}`,
    );
  }
  const service =
    resource.kind === "Service" && resource.group === ""
      ? (object as unknown as Service)
      : undefined;
  const forwards = specs.map((spec) => readForward(spec, pod, service));
  const { name = "", namespace = "" } = pod.metadata;
  const raw = await upgrade(
    session,
    `/api/v1/namespaces/${namespace}/pods/${name}/portforward`,
    [],
    "portforward.k8s.io",
  );
  const connection = new SpdyConnection(raw, "client", () => "the server opens no streams");
  const listeners: Listener[] = [];
  try {
    let request = 0;
    for (const forward of forwards) {
      listeners.push(
        ...(await listenFor(given, forward, flags.list("address"), (client, local) => {
          session.out(`Handling connection for ${local}\n`);
          void carry(given, connection, client, local, forward.remote, request++);
        })),
      );
    }
    await connection.closed;
    throw new CommandError("lost connection to pod");
  } finally {
    for (const listener of listeners) await listener.close(0);
    connection.close();
  }
}

async function podBehind(given: Invocation, resource: Resource, object: AnyObject): Promise<Pod> {
  if (isPod(resource)) return object as unknown as Pod;
  const [pod] = await podsBehind(given.session, resource, object, "forward ports to");
  if (pod === undefined) throw new CommandError("timed out waiting for the condition");
  return pod;
}

const shown = (host: string): string => (host.includes(":") ? `[${host}]` : host);

async function listenFor(
  given: Invocation,
  forward: Forward,
  addresses: readonly string[],
  accept: (client: Duplex, local: number) => void,
): Promise<Listener[]> {
  const { session } = given;
  const { network } = session.around;
  const hosts = addresses.flatMap((one) => (one === "localhost" ? ["127.0.0.1", "::1"] : [one]));
  const listeners: Listener[] = [];
  let { local } = forward;
  const failures: Error[] = [];
  for (const host of hosts) {
    try {
      const listener = await network.listen({ host, port: local }, {}, (client) =>
        accept(client, local),
      );
      listeners.push(listener);
      if ("port" in listener.address) local = listener.address.port;
      session.out(`Forwarding from ${shown(host)}:${local} -> ${forward.remote}\n`);
    } catch (error) {
      failures.push(asError(error));
    }
  }
  if (listeners.length > 0) return listeners;
  const whys = failures
    .map(({ message }) => `unable to create listener: Error ${message}`)
    .join(" ");
  session.error(
    `Unable to listen on port ${local}: Listeners failed to create with the following errors: [${whys}]\n`,
  );
  throw new CommandError(
    `unable to listen on any of the requested ports: [{${forward.local} ${forward.remote}}]`,
  );
}

async function carry(
  given: Invocation,
  connection: SpdyConnection,
  client: Duplex,
  local: number,
  remote: number,
  request: number,
): Promise<void> {
  const headers = { port: String(remote), requestid: String(request) };
  try {
    const failed = await connection.open({ streamtype: "error", ...headers });
    failed.end();
    const data = await connection.open({ streamtype: "data", ...headers });
    const said = (async () => {
      let text = "";
      const decoder = new TextDecoder();
      for (let bytes = await failed.read(); bytes !== undefined; bytes = await failed.read())
        text += decoder.decode(bytes);
      if (text !== "")
        given.session.error(`error: an error occurred forwarding ${local} -> ${remote}: ${text}\n`);
    })();
    const upward = copy(client, data).catch(() => data.end());
    await copy(data, client).catch((error: unknown) => client.abort(asError(error)));
    await Promise.race([upward, said]);
    client.end();
  } catch (error) {
    given.session.error(
      `error: error creating forwarding stream for port ${local} -> ${remote}: ${asError(error).message}\n`,
    );
    client.abort(asError(error));
  }
}
