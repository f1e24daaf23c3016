/**
 * Simulated nodes of a running cluster: real kubelets, proxies and DNS on machines that exist only in this process, on the real clock.
 * Nodes and pods live on a memory network; the API server reaches them through a network that knows both worlds. Needs no root and
 * touches nothing of the machine.
 */
import { MemoryNetwork } from "#adapters/memory/network.ts";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { systemRandom } from "#adapters/nodejs/random.ts";
import type { ControlPlane } from "#cluster/control-plane.ts";
import { untilDnsAnswers } from "#cluster/dns-check.ts";
import { dnsAddress } from "#cluster/dns-service.ts";
import { formatIp, nthAddress, parseCidr } from "#machinery/ip.ts";
import type { Log } from "#ports/log.ts";
import type { Address, Network } from "#ports/network.ts";
import { type SimulatedNode, startSimulatedNode } from "#simulation/node.ts";
import { allReady } from "./all-ready.ts";
import type { DaemonWorld } from "./daemon.ts";
import type { Nodes } from "./nodes.ts";
import { kubernetesVersion } from "./version.ts";

/** For benchmarks among networks (RFC 2544): no machine that matters to anyone has these addresses. */
const machines = "198.18.0.0/15";
const firstNodeIndex = 256;
/** The place from which the API server reaches nodes and pods. */
const serverIndex = 1;

function machineAddress(index: number): string {
  const parsed = parseCidr(machines);
  const address = parsed === undefined ? undefined : nthAddress(parsed.cidr, index);
  if (address === undefined) throw new Error(`${machines} has no address number ${index}`);
  return formatIp(address);
}

export interface SimulatedNetwork {
  readonly memory: MemoryNetwork;
  /** Leads to simulated nodes and pods where an address is theirs, else to the machine's network. */
  readonly network: Network;
}

export function simulatedNetwork(real: Network, log: Log): SimulatedNetwork {
  const memory = new MemoryNetwork({
    clock: systemClock,
    log: log.child("simulated network"),
    crypto: systemCrypto,
  });
  const server = memory.host(machineAddress(serverIndex));
  const isSimulated = (to: Address): boolean =>
    "host" in to && memory.hostAt(to.host) !== undefined;
  return {
    memory,
    network: {
      ...real,
      connect: (to, options) => (isSimulated(to) ? server : real).connect(to, options),
      http: (to, options) => (isSimulated(to) ? server : real).http(to, options),
    },
  };
}

const nodeNames = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `node-${i + 1}`);

export async function startSimulatedNodes(
  world: DaemonWorld,
  controlPlane: ControlPlane,
): Promise<Nodes> {
  const { settings, simulated } = world;
  if (simulated === undefined) throw new Error("simulated nodes need a simulated network");
  const startedAtMs = systemClock.now();
  const names = nodeNames(settings.nodes);
  const nodes = await Promise.all(
    names.map((name, i) => {
      const address = machineAddress(firstNodeIndex + i);
      return startNode(world, simulated.memory, controlPlane, name, address);
    }),
  );
  return {
    ready: Promise.all([
      allReady(controlPlane, names, startedAtMs),
      ...nodes.map(({ address }) =>
        untilDnsAnswers({
          network: simulated.memory.host(address),
          clock: systemClock,
          address: dnsAddress(settings.serviceCidr),
          domain: settings.domain,
        }),
      ),
    ]).then(() => undefined),
    engine: undefined,
    // Their pods are in this process: they end with it.
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

async function startNode(
  { settings, certificates, log }: DaemonWorld,
  network: MemoryNetwork,
  controlPlane: ControlPlane,
  name: string,
  address: string,
): Promise<SimulatedNode> {
  const serving = await certificates.kept(`kubelet-server-${name}`, {
    user: `system:node:${name}`,
    groups: ["system:nodes"],
    names: [name, address],
    uses: ["server auth"],
  });
  return startSimulatedNode({
    name,
    address,
    version: kubernetesVersion,
    network,
    clock: systemClock,
    random: systemRandom,
    crypto: systemCrypto,
    log: log.child("nodes"),
    podCidr: settings.podCidr,
    serviceCidr: settings.serviceCidr,
    domain: settings.domain,
    connect: (component) => ({ handler: controlPlane.as(component), close: () => {} }),
    serving: () => ({ chain: serving().certificate, key: serving().privateKey }),
    clientRoots: await certificates.authority(),
    kubelet: settings.kubelet,
  });
}
