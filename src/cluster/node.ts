/**
 * A node: kubelet, proxy and DNS around one connection to the API server, which may be in this process or far away. Pure: what
 * they run on comes in through ports.
 */

import { createDnsServer, type DnsServer } from "#addons/dns/server.ts";
import { createIngress, type IngressServer } from "#addons/ingress/controller.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { Handler } from "#api/request.ts";
import { createClient } from "#client/client.ts";
import { createEventRecorder } from "#client/events.ts";
import { createInformer, createInformers, type Informers } from "#client/informer.ts";
import { formatIp, nthAddress, parseCidr } from "#machinery/ip.ts";
import { parseResolvConf } from "#node/kubelet/dns.ts";
import { createKubelet, type Kubelet, type KubeletOptions } from "#node/kubelet/kubelet.ts";
import { createProxy, type Proxy } from "#node/proxy/proxy.ts";
import type { Dataplane, DataplaneFact } from "#ports/dataplane.ts";
import type { HttpProxy } from "#ports/http-proxy.ts";

export interface NodeOptions extends Omit<KubeletOptions, "client" | "podCidrs"> {
  /** Speaks as system:node:NAME. */
  readonly handler: Handler;
  /** Speaks as system:kube-proxy. */
  readonly proxyHandler: Handler;
  /** Speaks as system:kube-dns; undefined: this node answers no DNS queries. */
  readonly dnsHandler: Handler | undefined;
  /**
   * `handler` speaks as system:wherry-ingress; undefined: this node answers for no Ingress. `forCluster`: nodes without one lead their
   * ports here.
   */
  readonly ingress:
    | { readonly handler: Handler; readonly proxy: HttpProxy; readonly forCluster: boolean }
    | undefined;
  readonly dataplane: Dataplane;
  /** Where pods reach this node. */
  readonly address: string;
  readonly clusterDomain: string;
  readonly podCidr: string;
  readonly serviceCidr: string;
  /** Tells the pods' network which addresses it may give out. */
  readonly setPodCidrs: (cidrs: readonly string[]) => Promise<void>;
  /** Pods on other machines are reached by routes through their nodes. Default: the network knows where they are. */
  readonly routes?: boolean;
}

export interface RunningNode {
  readonly kubelet: Kubelet;
  /** Undefined where this node has none. */
  readonly dns: DnsServer | undefined;
  /** Pods run on. */
  stop(): Promise<void>;
}

export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const { clock, random, log, nodeName, dataplane } = options;
  const ports = { clock, random: random.fork("node"), log };
  const client = createClient(options.handler, { userAgent: "kubelet" });
  const proxyClient = createClient(options.proxyHandler, { userAgent: "kube-proxy" });
  const informers = createInformers(proxyClient, ports);
  const recorder = createEventRecorder(
    proxyClient,
    { component: "kube-proxy", host: nodeName },
    { clock, random: random.fork("proxy events"), log },
  );
  const pods = createInformer(Pod, client, ports, { fieldSelector: `spec.nodeName=${nodeName}` });

  const facts = new Map<string, DataplaneFact>([
    [
      "route/services",
      { type: "route", destination: options.serviceCidr, source: options.address },
    ],
  ]);
  const proxy: Proxy = createProxy({
    nodeName,
    informers,
    pods,
    dataplane,
    network: options.network,
    addresses: options.nodeIps ?? [options.address],
    recorder,
    clock,
    routes: options.routes ?? false,
    log: log.child("proxy"),
    fixedFacts: facts,
  });
  const kubelet = createKubelet({
    ...options,
    client,
    podCidrs: (cidrs) => {
      const masquerade = cidrs.map((source): [string, DataplaneFact] => [
        `masquerade/${source}`,
        { type: "masquerade", source, except: [options.podCidr, options.serviceCidr] },
      ]);
      const tunnel = options.routes === true ? tunnelFacts(options, cidrs) : [];
      proxy.setFixedFacts(new Map([...facts, ...masquerade, ...tunnel]));
      options.setPodCidrs(cidrs).then(
        () => kubelet.refresh(),
        (error: unknown) => {
          log.write("error", "the pods' network could not be set up", {
            error: error instanceof Error ? error.message : String(error),
          });
        },
      );
    },
  });
  const dns = await dnsOf(options);
  const ingress = ingressOf(options);
  await kubelet.start();
  await proxy.start();
  await dns?.server.start();
  await ingress?.server.start();
  return {
    kubelet,
    dns: dns?.server,
    async stop() {
      await ingress?.stop();
      await dns?.server.stop();
      dns?.informers.stop();
      await proxy.stop();
      recorder.stop();
      await kubelet.stop();
      pods.stop();
      informers.stop();
    },
  };
}

/** The first address of a node's range is no pod's. Which cluster's a packet in the tunnel is, its range says. */
export function tunnelFacts(
  { address, podCidr }: Pick<NodeOptions, "address" | "podCidr">,
  cidrs: readonly string[],
): readonly (readonly [string, DataplaneFact])[] {
  const source = cidrs.find((cidr) => !cidr.includes(":"));
  const [own, all] = [parseCidr(source ?? "")?.cidr, parseCidr(podCidr)?.cidr];
  const first = own === undefined ? undefined : nthAddress(own, 0);
  const base = all === undefined ? undefined : nthAddress(all, 0);
  if (source === undefined || first === undefined || base === undefined) return [];
  if (address.includes(":")) return [];
  const network = formatIp(base)
    .split(".")
    .slice(0, 3)
    .reduce((sum, part) => sum * 256 + Number(part), 0);
  const fact = {
    type: "tunnel",
    address: formatIp(first),
    endpoint: address,
    network,
    source,
  } as const;
  return [["tunnel", fact]];
}

async function dnsOf(
  options: NodeOptions,
): Promise<{ readonly server: DnsServer; readonly informers: Informers } | undefined> {
  const { host, network, clock, random, nodeName, address, dnsHandler } = options;
  if (dnsHandler === undefined) return undefined;
  const log = options.log.child("dns");
  const client = createClient(dnsHandler, { userAgent: "wherry-dns" });
  const informers = createInformers(client, { clock, random: random.fork("dns"), log });
  const resolvConf = await host.read(options.config?.resolvConf ?? "/etc/resolv.conf");
  const { servers } = parseResolvConf(new TextDecoder().decode(resolvConf ?? new Uint8Array()));
  const server = createDnsServer({
    nodeName,
    address,
    domain: options.clusterDomain,
    upstreams: servers.map((one) => ({ host: one, port: 53 })),
    client,
    informers,
    network,
    clock,
    log,
  });
  return { server, informers };
}

function ingressOf(
  options: NodeOptions,
): { readonly server: IngressServer; readonly stop: () => Promise<void> } | undefined {
  const { ingress, clock, crypto, nodeName, address } = options;
  if (ingress === undefined) return undefined;
  const log = options.log.child("ingress");
  const random = options.random.fork("ingress");
  const client = createClient(ingress.handler, { userAgent: "wherry-ingress" });
  const informers = createInformers(client, { clock, random, log });
  const recorder = createEventRecorder(
    client,
    { component: "wherry-ingress", host: nodeName },
    { clock, random, log },
  );
  const { proxy, forCluster } = ingress;
  const server = createIngress({
    nodeName,
    address,
    forCluster,
    proxy,
    client,
    informers,
    recorder,
    crypto,
    clock,
    random,
    log,
  });
  return {
    server,
    async stop() {
      await server.stop();
      recorder.stop();
      informers.stop();
    },
  };
}
