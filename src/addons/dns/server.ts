/**
 * The cluster's DNS server on one node: answers the cluster's zone from its caches, asks the machine's own resolvers for all
 * else, and publishes itself as an endpoint of the Service kube-system/kube-dns. Reads Services, EndpointSlices and Namespaces;
 * writes one EndpointSlice. It listens on the node's address (never on 0.0.0.0: an answer must leave from the address that
 * was asked) and on a port of its own, so that several clusters share a machine.
 */
import { Namespace } from "#api/core/v1/namespace.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Client } from "#client/client.ts";
import type { Informers } from "#client/informer.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Listener, Network, UdpSocket } from "#ports/network.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import { createForwarder, type Forwarder } from "./forwarder.ts";
import {
  type Answer,
  messageId,
  type Query,
  readAddresses,
  readQuery,
  recordTypes,
  responseCodes,
  writeAnswer,
  writeFailure,
  writeQuery,
} from "./message.ts";
import { answerFromZone, type ZoneData } from "./zone.ts";

export interface DnsOptions {
  readonly nodeName: string;
  /** Where pods reach this node. */
  readonly address: string;
  /** "cluster.local". */
  readonly domain: string;
  /** Resolvers for names outside the cluster, in order. */
  readonly upstreams: readonly { readonly host: string; readonly port: number }[];
  readonly client: Client;
  readonly informers: Informers;
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Log;
}
export interface DnsServer {
  /** Resolves when queries are answered and the Service knows it. */
  start(): Promise<void>;
  readonly port: number;
  stop(): Promise<void>;
}

export const dnsServiceName = "kube-dns";
const dnsNamespace = "kube-system";
const serviceLabel = "kubernetes.io/service-name";
const tcpMessageBytesMax = 65_535;
const tcpConnectionsMax = 256;
const empty = new Uint8Array();

export function createDnsServer(options: DnsOptions): DnsServer {
  return new ClusterDns(options);
}

class ClusterDns implements DnsServer {
  readonly #options: DnsOptions;
  readonly #data: ZoneData;
  readonly #forwarder: Forwarder;
  #udp: UdpSocket | undefined;
  #tcp: Listener | undefined;
  #connections = 0;
  port = 0;

  constructor(options: DnsOptions) {
    this.#options = options;
    this.#data = zoneData(options.informers);
    this.#forwarder = createForwarder(options);
  }

  async start(): Promise<void> {
    const before = await this.#publishedPort();
    await this.#listen(before);
    await this.#options.informers.synced();
    await this.#publish();
  }
  async stop(): Promise<void> {
    this.#forwarder.stop();
    await Promise.all([this.#udp?.close(0), this.#tcp?.close(0)]);
  }

  /** The port of the last life, so that what the kernel and the pods remember stays true. */
  async #publishedPort(): Promise<number> {
    try {
      const slice = await this.#options.client.get(EndpointSlice, this.#sliceRef());
      return slice.ports?.[0]?.port ?? 0;
    } catch (error) {
      if (isStatus(error, "NotFound")) return 0;
      throw error;
    }
  }
  async #listen(wanted: number): Promise<void> {
    const { network, address } = this.#options;
    for (const port of wanted === 0 ? [0] : [wanted, 0]) {
      try {
        this.#tcp = await network.listen({ host: address, port }, {}, (connection) => {
          void this.#serveTcp(connection);
        });
        const at = this.#tcp.address;
        if (!("port" in at)) throw new Error("a DNS server listens on an address with a port");
        this.port = at.port;
        this.#udp = await network.udp({ host: address, port: at.port }, (bytes, from) => {
          void this.#serveUdp(bytes, from);
        });
        return;
      } catch (error) {
        await this.#tcp?.close(0);
        if (port === 0) throw error;
      }
    }
  }

  readonly #sliceRef = () => ({
    namespace: dnsNamespace,
    name: `${dnsServiceName}-${this.#options.nodeName}`,
  });
  async #publish(): Promise<void> {
    const { client, nodeName, address } = this.#options;
    const port = (name: string, protocol: string) => ({ name, protocol, port: this.port });
    await client.patch(
      EndpointSlice,
      this.#sliceRef(),
      "apply",
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          ...this.#sliceRef(),
          labels: {
            [serviceLabel]: dnsServiceName,
            "endpointslice.kubernetes.io/managed-by": "dns.wherry",
          },
        },
        addressType: "IPv4",
        ports: [port("dns", "UDP"), port("dns-tcp", "TCP")],
        endpoints: [
          {
            addresses: [address],
            conditions: { ready: true, serving: true, terminating: false },
            nodeName,
          },
        ],
      },
      { fieldManager: "wherry-dns", force: true },
    );
  }

  async #serveUdp(bytes: Bytes, from: { host: string; port: number }): Promise<void> {
    const reply = await this.#answer(bytes, "udp");
    if (reply !== undefined) this.#udp?.send(reply, from);
  }
  /** Length-prefixed messages, answered in order, until the client closes. */
  async #serveTcp(connection: Duplex): Promise<void> {
    if (this.#connections >= tcpConnectionsMax) {
      connection.abort(new Error("too many connections"));
      return;
    }
    this.#connections++;
    try {
      let pending: Bytes = new Uint8Array();
      for (;;) {
        const chunk = await connection.read();
        if (chunk === undefined) break;
        pending = joined(pending, chunk);
        while (pending.length >= 2) {
          const size = ((pending[0] ?? 0) << 8) | (pending[1] ?? 0);
          if (pending.length < 2 + size) break;
          const reply = await this.#answer(pending.subarray(2, 2 + size), "tcp");
          pending = pending.subarray(2 + size);
          if (reply === undefined) continue;
          await connection.write(
            joined(new Uint8Array([reply.length >> 8, reply.length & 255]), reply),
          );
        }
      }
      connection.end();
    } catch (error) {
      connection.abort(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#connections--;
    }
  }

  async #answer(bytes: Bytes, by: "udp" | "tcp"): Promise<Bytes | undefined> {
    const query = readQuery(bytes);
    if (query === undefined) return formatError(bytes);
    if (query.opcode !== 0) return writeFailure(query, responseCodes.NOTIMP);
    if (query.question.class !== 1) return writeFailure(query, responseCodes.REFUSED);
    const bytesMax = by === "udp" ? query.udpBytesMax : tcpMessageBytesMax;
    const answer = answerFromZone(
      this.#data,
      this.#options.domain,
      query.question.name,
      query.question.type,
    );
    if (answer === undefined) return this.#forward(query, bytes, by);
    return writeAnswer(query, await this.#withTarget(query, answer), bytesMax);
  }
  /** Resolvers expect an alias (ExternalName) to come with what it stands for. */
  async #withTarget(query: Query, answer: Answer): Promise<Answer> {
    const [alias] = answer.answers;
    const { type } = query.question;
    if (alias?.type !== "CNAME" || type === recordTypes.CNAME) return answer;
    const target = answerFromZone(this.#data, this.#options.domain, alias.target, type);
    const followed =
      target?.answers ??
      readAddresses((await this.#forwarder.ask(writeQuery(alias.target, type), "udp")) ?? empty);
    return { ...answer, answers: [...answer.answers, ...followed] };
  }
  async #forward(query: Query, bytes: Bytes, by: "udp" | "tcp"): Promise<Bytes> {
    const reply = await this.#forwarder.ask(bytes, by);
    return reply ?? writeFailure(query, responseCodes.SERVFAIL);
  }
}

function formatError(bytes: Bytes): Bytes | undefined {
  const id = messageId(bytes);
  // Never answer an answer: two servers would talk to each other for ever.
  if (id === undefined || ((bytes[2] ?? 0) & 0x80) !== 0) return undefined;
  const reply = new Uint8Array(12);
  reply.set([id >> 8, id & 255, 0x80, responseCodes.FORMERR]);
  return reply;
}

function joined(a: Bytes, b: Bytes): Bytes {
  if (a.length === 0) return b;
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

function zoneData(informers: Informers): ZoneData {
  const services = informers.get(Service, {
    address: (service) => service.spec.clusterIPs ?? [],
  });
  const slices = informers.get(EndpointSlice, {
    service: (slice) => [
      `${slice.metadata.namespace}/${slice.metadata.labels?.[serviceLabel] ?? ""}`,
    ],
    address: (slice: Stored<EndpointSlice>) =>
      (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses),
  });
  const namespaces = informers.get(Namespace);
  return {
    service: (namespace, name) => services.get(`${namespace}/${name}`),
    slices: (namespace, service) => slices.byIndex("service", `${namespace}/${service}`),
    namespaceExists: (name) => namespaces.get(name) !== undefined,
    servicesAt: (address) => services.byIndex("address", address),
    slicesAt: (address) => slices.byIndex("address", address),
  };
}
