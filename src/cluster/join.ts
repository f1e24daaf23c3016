/**
 * Joining: from a server's address and a token to everything that a node needs: whom to trust (checked by the token's hash before
 * anything secret is said), the cluster's address ranges, and certificates of its own. Pure: the machine's part is the caller's.
 */
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Node } from "#api/core/v1/node.ts";
import type { Handler } from "#api/request.ts";
import { type Client, createClient } from "#client/client.ts";
import { remoteHandler } from "#client/remote.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { findCondition } from "#machinery/conditions.ts";
import { isObject } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { readYaml } from "#machinery/yaml.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { ClientTls, Network } from "#ports/network.ts";
import type { Identity } from "./certificates.ts";
import {
  type ClusterFacts,
  clusterFactsRef,
  clusterInfoRef,
  readClusterFacts,
} from "./join-info.ts";
import { certificateHash, type JoinToken } from "./join-token.ts";
import { orderCertificate } from "./node-certificates.ts";

export interface JoinPorts {
  readonly network: Network;
  readonly crypto: Crypto;
  readonly clock: Clock;
}
export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}
export interface JoinOrder {
  readonly server: ServerAddress;
  readonly token: JoinToken & { readonly caHash: string };
  readonly nodeName: string;
  /** The node's own addresses, for its serving certificate. */
  readonly addresses: readonly string[];
  /** How long each certificate may take. */
  readonly certificateMsMax: number;
  /** Also when a node of that name is Ready: it is the same machine, which has lost what it kept. */
  readonly replaces?: boolean;
}
export interface Joined {
  readonly authority: string;
  readonly facts: ClusterFacts;
  readonly client: Identity;
  readonly server: Identity;
}

const requestMsMax = 10_000;
const userAgent = "wherry-join";

async function withClient<T>(
  { network, clock }: JoinPorts,
  server: ServerAddress,
  how: { readonly tls: ClientTls; readonly bearer?: string },
  use: (client: Client, handler: Handler) => Promise<T>,
): Promise<T> {
  const { tls, bearer } = how;
  const remote = remoteHandler(network, clock, server, {
    tls,
    version: 1,
    timeoutMs: requestMsMax,
    ...(bearer === undefined ? {} : { bearerToken: () => bearer }),
  });
  try {
    return await use(createClient(remote.handler, { userAgent }), remote.handler);
  } finally {
    remote.close();
  }
}

function authorityIn(kubeconfig: string): string | undefined {
  const config = readYaml(kubeconfig);
  const clusters = isObject(config) && Array.isArray(config.clusters) ? config.clusters : [];
  const first: unknown = clusters[0];
  const cluster = isObject(first) && isObject(first.cluster) ? first.cluster : {};
  const encoded = cluster["certificate-authority-data"];
  const decoded = typeof encoded === "string" ? decodeBase64(encoded) : undefined;
  return decoded !== undefined && "bytes" in decoded
    ? new TextDecoder().decode(decoded.bytes)
    : undefined;
}

/** Asked of a server that we cannot trust yet; believed only if the hash is the token's. */
export async function discoverAuthority(
  ports: JoinPorts,
  server: ServerAddress,
  caHash: string,
): Promise<string> {
  const info = await withClient(ports, server, { tls: { insecure: true } }, (client) =>
    client.get(ConfigMap, clusterInfoRef),
  );
  const authority = authorityIn(info.data?.kubeconfig ?? "");
  if (authority === undefined)
    throw new Error("the server's kube-public/cluster-info names no certificate authority");
  if (certificateHash(ports.crypto, authority) !== caHash)
    throw new Error(
      "the server's certificate authority is not the one that the token names: this is another cluster, or somebody stands between. Nothing was sent to it.",
    );
  return authority;
}

export async function join(order: JoinOrder, ports: JoinPorts): Promise<Joined> {
  const { server, token, nodeName, addresses, certificateMsMax } = order;
  const authority = await discoverAuthority(ports, server, token.caHash);
  const bearer = `${token.id}.${token.secret}`;
  const tls = { roots: authority };
  const { facts, client } = await withClient(ports, server, { tls, bearer }, async (asking) => {
    const settings = await asking.get(ConfigMap, clusterFactsRef).catch((error: unknown) => {
      if (!isStatus(error, "Unauthorized")) throw error;
      throw new Error(
        "the cluster does not know this token, or it has expired. Make a new one where the cluster runs: wherry token create",
      );
    });
    const wanted = { nodeName, kind: "client", addresses } as const;
    return {
      facts: readClusterFacts(settings.data),
      client: await orderCertificate(wanted, { ...ports, client: asking }, certificateMsMax),
    };
  });
  if (order.replaces !== true) await refuseTakenName(order, ports, authority, client);
  const serving = await orderServing(order, ports, authority, client);
  return { authority, facts, client, server: serving };
}

/** Two machines under one name would fight over its pods. A node of which nothing is heard may be another life of this machine. */
async function refuseTakenName(
  { server, nodeName }: JoinOrder,
  ports: JoinPorts,
  authority: string,
  now: Identity,
): Promise<void> {
  const identity = () => ({ chain: now.certificate, key: now.privateKey });
  const node = await withClient(ports, server, { tls: { roots: authority, identity } }, (client) =>
    client.get(Node, { name: nodeName }).catch((error: unknown) => {
      if (isStatus(error, "NotFound")) return undefined;
      throw error;
    }),
  );
  if (findCondition(node?.status.conditions ?? [], "Ready")?.status !== "True") return;
  throw new Error(
    `the cluster has a node ${nodeName} already, and it is Ready. Choose another name with --node-name; if that was this machine, take it away first, where kubectl reaches the cluster: kubectl delete node ${nodeName}`,
  );
}

/** As the node itself, with its new certificate. */
export function orderServing(
  order: Pick<JoinOrder, "server" | "nodeName" | "addresses" | "certificateMsMax">,
  ports: JoinPorts,
  authority: string,
  client: Identity,
): Promise<Identity> {
  return orderAsNode("serving", order, ports, authority, client);
}

/** A new certificate for a node that has one: before it expires, or for other addresses. */
export function orderAsNode(
  kind: "client" | "serving",
  order: Pick<JoinOrder, "server" | "nodeName" | "addresses" | "certificateMsMax">,
  ports: JoinPorts,
  authority: string,
  now: Identity,
): Promise<Identity> {
  const { server, nodeName, addresses, certificateMsMax } = order;
  const identity = () => ({ chain: now.certificate, key: now.privateKey });
  return withClient(ports, server, { tls: { roots: authority, identity } }, (client) =>
    orderCertificate({ nodeName, kind, addresses }, { ...ports, client }, certificateMsMax),
  );
}
