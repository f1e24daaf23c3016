/**
 * NodeProxy: carries logs, exec, attach, port-forward and plain HTTP to where they are answered: the kubelet of the pod's node,
 * or the pod or service itself. The API server splices bytes; framing is between the client and the kubelet.
 */

import type { Node } from "#api/generated/core/v1.ts";
import type { ApiRequest, ApiResponse } from "#api/request.ts";
import { StatusError, serviceUnavailable } from "#machinery/status-error.ts";
import {
  type Address,
  type ClientTls,
  type HttpClient,
  type Network,
  NetworkError,
} from "#ports/network.ts";
import type { Bytes, Duplex, Source } from "#ports/stream.ts";

/** Where a proxied request goes. */
export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
  readonly scheme: "http" | "https";
  /** The kubelet: speak as the API server, and check that it is this node. */
  readonly node?: string;
  /** Whom to trust, and as whom the other side must prove itself; without it, an unnamed target's certificate is not judged. */
  readonly tls?: Pick<ClientTls, "roots" | "identity" | "insecure"> & {
    readonly serverName: string;
  };
}

export interface NodeProxy {
  /** Sends the request on with another target (path and query), and gives the answer back as it comes. */
  forward(to: ProxyTarget, target: string, request: ApiRequest): Promise<ApiResponse>;
}

/** Where the kubelet of a node answers. */
export function kubeletOf(node: Node): ProxyTarget {
  const name = node.metadata.name ?? "";
  const addresses = node.status.addresses ?? [];
  const preferred = ["InternalIP", "ExternalIP", "Hostname"];
  const address = preferred
    .map((type) => addresses.find((one) => one.type === type))
    .find((one) => one !== undefined);
  if (address === undefined)
    throw new StatusError(
      500,
      "InternalError",
      `node ${name} has no address that the API server can reach`,
    );
  const port = node.status.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
  return {
    host: address.address,
    port: port > 0 ? port : 10250,
    scheme: "https",
    node: name,
  };
}

export interface NodeProxyOptions {
  readonly network: Network;
  /** The API server's client certificate towards kubelets, and the CA of the kubelets' serving certificates. */
  readonly identity: () => { readonly chain: string; readonly key: string };
  readonly roots: string;
}

/** Headers that concern one hop. */
const hopHeaders = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "authorization",
  "host",
  "content-length",
]);

function forwardedHeaders(request: ApiRequest, upgrade: boolean): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers))
    if (!hopHeaders.has(name) && !name.startsWith(":")) headers[name] = value;
  if (upgrade) {
    headers.connection = "Upgrade";
    headers.upgrade = request.headers.upgrade ?? "";
  }
  return headers;
}

function answeredHeaders(headers: Readonly<Record<string, string>>, upgrade: boolean) {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const isUpgrade = upgrade && (name === "connection" || name === "upgrade");
    if (isUpgrade || !hopHeaders.has(name)) kept[name] = value;
  }
  return kept;
}

/** Copies until this side ends, then half-closes the other. */
async function pump(from: Duplex, to: Duplex): Promise<void> {
  for (;;) {
    const bytes = await from.read();
    if (bytes === undefined) break;
    await to.write(bytes);
  }
  to.end();
}

/** Joins two connections until both have ended. What breaks one breaks the other. */
export async function splice(a: Duplex, b: Duplex): Promise<void> {
  const broken = (error: unknown): void => {
    const reason = error instanceof Error ? error : new Error(String(error));
    a.abort(reason);
    b.abort(reason);
  };
  await Promise.all([pump(a, b).catch(broken), pump(b, a).catch(broken)]);
}

/** Ends the connection when the stream ends, whichever way. */
function closing(source: Source<Bytes>, close: () => void): Source<Bytes> {
  return {
    async next() {
      try {
        const batch = await source.next();
        if (batch === undefined) close();
        return batch;
      } catch (error) {
        close();
        throw error;
      }
    },
    stop() {
      source.stop();
      close();
    },
  };
}

export function nodeProxy({ network, identity, roots }: NodeProxyOptions): NodeProxy {
  const dial = (to: ProxyTarget): HttpClient => {
    const address: Address = { host: to.host, port: to.port };
    if (to.scheme === "http") return network.http(address, { version: 1, connections: 1 });
    if (to.tls !== undefined)
      return network.http(address, { version: 1, connections: 1, tls: to.tls });
    const tls =
      to.node === undefined ? { insecure: true } : { roots, identity, serverName: to.node };
    return network.http(address, { version: 1, connections: 1, tls });
  };
  return {
    async forward(to, target, request) {
      const upgrade = /upgrade/i.test(request.headers.connection ?? "");
      const client = dial(to);
      const body =
        request.body !== undefined && "bytes" in request.body ? request.body.bytes : undefined;
      try {
        const answer = await client.send({
          method: request.method,
          target,
          headers: forwardedHeaders(request, upgrade),
          ...(body === undefined ? {} : { body }),
          signal: request.gone,
        });
        const { raw } = answer;
        const headers = answeredHeaders(answer.headers, raw !== undefined);
        if (raw !== undefined) {
          const run = (mine: Duplex): void => {
            void splice(mine, raw).finally(() => client.close());
          };
          return { status: answer.status, headers, content: { type: "upgrade", run } };
        }
        const bytes = closing(answer.body, () => client.close());
        const mediaType = answer.headers["content-type"] ?? "application/octet-stream";
        delete headers["content-type"];
        return { status: answer.status, headers, content: { type: "stream", mediaType, bytes } };
      } catch (error) {
        client.close();
        if (!(error instanceof NetworkError)) throw error;
        throw unreachable(to, error);
      }
    },
  };
}

function unreachable(to: ProxyTarget, error: NetworkError): StatusError {
  const where = `${to.scheme}://${to.host}:${to.port}`;
  if (to.node === undefined)
    return serviceUnavailable(`error trying to reach service: ${error.message}`);
  return new StatusError(
    500,
    "InternalError",
    `Internal error occurred: the kubelet of node ${to.node} can not be reached at ${where}: ${error.message}`,
  );
}
