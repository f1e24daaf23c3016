/** What pods are compared with: the bare CRI calls for a container such as the kubelet would make, with the mounts it would have. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "#ports/host.ts";
import type { ContainerConfig, Mount, Runtime, SandboxConfig } from "#ports/runtime.ts";
import { benchImage } from "./cluster.ts";

/** What the kubelet mounts into such a container, made beforehand: the bare calls are timed without it. */
async function mountsOf(host: Host, folder: string): Promise<readonly Mount[]> {
  const token = join(folder, "token");
  mkdirSync(token, { recursive: true });
  writeFileSync(join(folder, "hosts"), "127.0.0.1\tlocalhost\n");
  writeFileSync(join(folder, "termination-log"), "");
  await host.mount({ source: "tmpfs", target: token, type: "tmpfs", options: [] });
  for (const file of ["ca.crt", "namespace", "token"]) writeFileSync(join(token, file), "x");
  const propagation = "private";
  return [
    { containerPath: "/etc/hosts", hostPath: join(folder, "hosts"), propagation },
    {
      containerPath: "/dev/termination-log",
      hostPath: join(folder, "termination-log"),
      propagation,
    },
    {
      containerPath: "/var/run/secrets/kubernetes.io/serviceaccount",
      hostPath: token,
      readonly: true,
      propagation,
    },
  ];
}

export interface Bare {
  prepare(name: string): Promise<void>;
  start(name: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** What a failed run left: a cluster is taken down only with sandboxes of its own. */
  removeAll(): Promise<void>;
}

export function bareCri(runtime: Runtime, host: Host, folder: string, cgroup: string): Bare {
  const mounts = new Map<string, readonly Mount[]>();
  const sandboxes = new Map<string, string>();
  const sandboxOf = (name: string): SandboxConfig => ({
    name,
    namespace: "bare",
    uid: `uid-${name}`,
    attempt: 0,
    hostname: name,
    logDirectory: join(folder, name),
    dns: { servers: ["10.96.0.10"], searches: ["svc.cluster.local"], options: ["ndots:5"] },
    labels: { bench: name },
    annotations: {},
    cgroupParent: `${cgroup}/besteffort/pod-${name}`,
    security: { network: "pod", pid: "container", ipc: "pod" },
  });
  const containerOf = (name: string): ContainerConfig => ({
    name: "main",
    attempt: 0,
    image: benchImage,
    command: [],
    args: [],
    env: [],
    mounts: mounts.get(name) ?? [],
    labels: { bench: name },
    annotations: {},
    logPath: "main.log",
    resources: { cpuShares: 2, oomScoreAdj: 1000 },
    security: { pid: "container", ipc: "pod" },
  });
  const removeSandbox = async (name: string): Promise<void> => {
    const id = sandboxes.get(name) ?? "";
    await runtime.stopSandbox(id);
    await runtime.removeSandbox(id);
    sandboxes.delete(name);
  };
  return {
    async prepare(name) {
      mounts.set(name, await mountsOf(host, join(folder, name)));
    },
    async start(name) {
      const sandbox = sandboxOf(name);
      const id = await runtime.runSandbox(sandbox);
      sandboxes.set(name, id);
      await runtime.startContainer(await runtime.createContainer(id, containerOf(name), sandbox));
    },
    async remove(name) {
      await removeSandbox(name);
      await host.unmount(join(folder, name, "token"));
      mounts.delete(name);
      await host.cgroup(sandboxOf(name).cgroupParent).remove();
    },
    async removeAll() {
      for (const name of sandboxes.keys()) await removeSandbox(name);
      for (const name of mounts.keys()) await host.unmount(join(folder, name, "token"));
      await host.cgroup(cgroup).remove();
    },
  };
}

/** So many at a time. */
export async function pool(
  inParallel: number,
  names: readonly string[],
  run: (name: string) => Promise<void>,
): Promise<void> {
  const rest = [...names];
  await Promise.all(
    Array.from({ length: inParallel }, async () => {
      for (let name = rest.shift(); name !== undefined; name = rest.shift()) await run(name);
    }),
  );
}
