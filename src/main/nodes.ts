/** The nodes of a cluster on this machine: one real node, or any number of simulated ones. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import type { Engine } from "#adapters/containerd/engine.ts";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { systemRandom } from "#adapters/nodejs/random.ts";
import type { ControlPlane } from "#cluster/control-plane.ts";
import { untilDnsAnswers } from "#cluster/dns-check.ts";
import { dnsAddress } from "#cluster/dns-service.ts";
import { startNode } from "#cluster/node.ts";
import { allReady } from "./all-ready.ts";
import type { DaemonWorld } from "./daemon.ts";
import { clearNode, openRealNode, stopAllPods } from "./real-node.ts";
import { startSimulatedNodes } from "./simulated-nodes.ts";
import { kubernetesVersion } from "./version.ts";

export interface Nodes {
  /** Every node is Ready and DNS answers. */
  readonly ready: Promise<void>;
  readonly engine: Engine | undefined;
  stop(withPods: boolean): Promise<void>;
}

const podStopSeconds = 30;
const kubeletPort = 10_250;

export async function startNodes(world: DaemonWorld, controlPlane: ControlPlane): Promise<Nodes> {
  if (world.settings.runtime === "simulated") return startSimulatedNodes(world, controlPlane);
  return startRealNode(world, controlPlane);
}

async function startRealNode(world: DaemonWorld, controlPlane: ControlPlane): Promise<Nodes> {
  const { paths, settings, network, log, certificates, address, allotment } = world;
  const startedAtMs = systemClock.now();
  const machine = await openRealNode(paths, settings, network, log);
  const nodeName = hostname().toLowerCase();
  const serving = await certificates.identity("kubelet-server", {
    user: `system:node:${nodeName}`,
    groups: ["system:nodes"],
    names: [nodeName, address],
    uses: ["server auth"],
  });
  const node = await startNode({
    handler: controlPlane.as(`system:node:${nodeName}`),
    proxyHandler: controlPlane.as("system:kube-proxy"),
    dnsHandler: controlPlane.as("system:kube-dns"),
    nodeName,
    version: kubernetesVersion,
    runtime: machine.runtime,
    host: machine.host,
    dataplane: machine.dataplane,
    clock: systemClock,
    random: systemRandom,
    network,
    crypto: systemCrypto,
    log: log.child("node"),
    address,
    nodeIps: [address],
    clusterDomain: settings.domain,
    podCidr: settings.podCidr,
    serviceCidr: settings.serviceCidr,
    setPodCidrs: machine.setPodCidrs,
    rootDirectory: paths.kubelet,
    logsDirectory: paths.podLogs,
    ...(allotment.index === 0 ? { logLinksDirectory: "/var/log/containers" } : {}),
    cgroupRoot: paths.cgroupRoot === "/" ? "/kubepods" : `${paths.cgroupRoot}/kubepods`,
    runtimeLabels: machine.runtimeLabels,
    server: {
      host: "0.0.0.0",
      port: allotment.index === 0 ? kubeletPort : 0,
      tls: {
        identity: () => ({ chain: serving.certificate, key: serving.privateKey }),
        askClient: true,
      },
      clientRoots: await certificates.authority(),
    },
    config: {
      clusterDNS: [dnsAddress(settings.serviceCidr)],
      clusterDomain: settings.domain,
      ...settings.kubelet,
    },
  });
  return {
    ready: Promise.all([
      allReady(controlPlane, [nodeName], startedAtMs),
      untilDnsAnswers({
        network,
        clock: systemClock,
        address: dnsAddress(settings.serviceCidr),
        domain: settings.domain,
      }),
    ]).then(() => undefined),
    engine: machine.engine,
    async stop(withPods) {
      await node.stop();
      if (withPods) await stopAllPods(machine, podStopSeconds);
      machine.close();
      if (withPods) {
        await machine.engine?.stop();
        await clearNode(machine, paths, false);
        if (existsSync(paths.engineRun)) await rm(paths.engineRun, { recursive: true });
      }
    },
  };
}
