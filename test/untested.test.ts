/**
 * Golden input for what no test machine here can show (docs/untested.md): the texts and messages that such a machine would be given.
 * What has its golden input beside its file is not repeated here.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { containerMessage } from "#adapters/containerd/cri-messages.ts";
import { renderService } from "#adapters/linux/nft-rules.ts";
import type { PodSpec } from "#api/generated/core/v1.ts";
import { exitRefused } from "#main/supervisor.ts";
import { defaultConfig } from "#node/kubelet/config.ts";
import { type NodeFacts, nodeReport } from "#node/kubelet/node-status.ts";
import { containerSecurity } from "#node/kubelet/security.ts";
import type { SandboxConfig } from "#ports/runtime.ts";

test("AppArmor: a container's profile reaches the runtime as CRI says it", () => {
  const container = { name: "web", image: "web:1", resources: {} };
  const sandbox: SandboxConfig = {
    name: "web",
    namespace: "default",
    uid: "u1",
    attempt: 0,
    hostname: "web",
    logDirectory: "/logs",
    labels: {},
    annotations: {},
    cgroupParent: "/kubepods/besteffort/podu1",
    security: { network: "pod", pid: "container", ipc: "pod" },
  };
  const saidOf = (appArmorProfile: { type: string; localhostProfile?: string }): unknown => {
    const spec: PodSpec = { containers: [container], securityContext: { appArmorProfile } };
    const metadata = { name: "web", namespace: "default", uid: "u1" };
    const pod = { apiVersion: "v1", kind: "Pod", metadata, spec, status: {} };
    const security = containerSecurity(pod, container, undefined, "/seccomp");
    const message = containerMessage(
      {
        name: "web",
        attempt: 0,
        image: "web:1",
        command: [],
        args: [],
        env: [],
        mounts: [],
        labels: {},
        annotations: {},
        logPath: "web/0.log",
        resources: {},
        security,
      },
      sandbox,
    );
    return message;
  };
  const apparmor = (profileType: number, localhostRef: string) => ({
    linux: { securityContext: { apparmor: { profileType, localhostRef } } },
  });
  expect(saidOf({ type: "RuntimeDefault" })).toMatchObject(apparmor(0, ""));
  expect(saidOf({ type: "Unconfined" })).toMatchObject(apparmor(1, ""));
  const own = { type: "Localhost", localhostProfile: "k8s-web" };
  expect(saidOf(own)).toMatchObject(apparmor(2, "k8s-web"));
});

test("SCTP: a Service becomes the rules of any other protocol", () => {
  const { elements, chains } = renderService("service/default/sig:sctp", {
    type: "service",
    protocol: "SCTP",
    port: 2905,
    addresses: ["10.96.0.7"],
    externalAddresses: [],
    balancerAddresses: [],
    nodePort: 30905,
    backends: [{ address: "10.244.0.3", port: 2905, local: true }],
    externalLocal: false,
    internalLocal: false,
    sourceRanges: [],
  });
  const keys = [...elements.keys()];
  expect(keys).toContain("service-ips 10.96.0.7 . sctp . 2905");
  expect(keys).toContain("node-ports sctp . 30905");
  expect([...chains.values()].flat()).toContain("meta l4proto sctp dnat ip to 10.244.0.3:2905");
});

const facts = (swapBytes: number): NodeFacts => ({
  host: {
    hostname: "n1",
    architecture: "amd64",
    kernelVersion: "6.6.0",
    osImage: "Linux",
    machineId: "m",
    systemUuid: "s",
    bootId: "b",
    cpus: 4,
    memoryBytes: 8 * 2 ** 30,
    swapBytes,
    cgroupVersion: 2,
    addresses: ["192.0.2.1"],
  },
  disk: { capacityBytes: 2 ** 36, availableBytes: 2 ** 35, inodes: 1000, inodesFree: 900 },
  memoryAvailableBytes: 4 * 2 ** 30,
  runtime: { name: "containerd", version: "2.1.3", problems: [] },
  images: [],
  kubeletPort: 10250,
  pressures: () => [],
});

test("swap: a node tells how much it has; without any it says nothing", () => {
  const told = (swapBytes: number) =>
    nodeReport(
      { nodeName: "n1", version: "v1.37.2" },
      defaultConfig,
      facts(swapBytes),
      undefined,
      0,
    ).status.nodeInfo?.swap;
  expect(told(2 ** 31)).toEqual({ capacity: 2 ** 31 });
  expect(told(0)).toBeUndefined();
});

test("huge pages: a node offers none, so that no pod that asks for them is placed", () => {
  const { status } = nodeReport(
    { nodeName: "n1", version: "v1.37.2" },
    defaultConfig,
    facts(0),
    undefined,
    0,
  );
  expect(status.allocatable).toMatchObject({ "hugepages-1Gi": "0", "hugepages-2Mi": "0" });
});

test("systemd: the unit runs up in the foreground and stays down when a start is refused", () => {
  const unit = readFileSync("deploy/wherry.service", "utf8");
  const settings = new Map(
    unit
      .split("\n")
      .filter((line) => /^[A-Z]\w*=/.test(line))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  expect(settings.get("ExecStart")).toBe("/usr/bin/env wherry up --foreground");
  expect(settings.get("RestartPreventExitStatus")).toBe(String(exitRefused));
  // containerd and the pods are in the unit's cgroup: they must outlive its restart.
  expect(settings.get("KillMode")).toBe("process");
});
