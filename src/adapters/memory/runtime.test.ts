import { expect, test } from "vitest";
import { pipePair } from "#machinery/byte-pipe.ts";
import type { Network } from "#ports/network.ts";
import { NetworkError } from "#ports/network.ts";
import { runtimeContract } from "#ports/runtime.contract.ts";
import type { ContainerConfig, SandboxConfig } from "#ports/runtime.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import { SteppedClock } from "./clock.ts";
import { MemoryHost } from "./host.ts";
import { seededRandom } from "./random.ts";
import { SimulatedRuntime } from "./runtime.ts";
import type { ProgramRule, SimulatedProcess } from "./runtime-process.ts";
import { parseScript } from "./runtime-programs.ts";
import { SharedLoad } from "./shared-load.ts";

const textOf = (bytes: Bytes | undefined): string => new TextDecoder().decode(bytes);
const bytesOf = (text: string): Bytes => new TextEncoder().encode(text);

/** Just enough of a network for pods to be called: connections by address, one HTTP request each. */
function switchboard(): Network {
  const listeners = new Map<string, (connection: Duplex) => void>();
  const absent = (): never => {
    throw new Error("these tests do not use it");
  };
  const listen = async (host: string, port: number, accept: (connection: Duplex) => void) => {
    const key = `${host}:${port}`;
    if (listeners.has(key)) throw new NetworkError("EADDRINUSE", `${key} is in use`);
    listeners.set(key, accept);
    return { address: { host, port }, close: async () => void listeners.delete(key) };
  };
  return {
    connect: async (to) => {
      const accept = "unix" in to ? undefined : listeners.get(`${to.host}:${to.port}`);
      if (accept === undefined) throw new NetworkError("ECONNREFUSED", "connection refused");
      const [near, far] = pipePair(65_536);
      accept(far);
      return near;
    },
    listen: (at, _options, accept) =>
      "unix" in at ? absent() : listen(at.host, at.port, (peer) => accept(peer, at)),
    serve: (at, _options, handle) => {
      if ("unix" in at) return absent();
      return listen(at.host, at.port, (peer) => {
        void (async () => {
          const [method = "", target = ""] = textOf(await peer.read()).split(" ");
          const gone = new AbortController().signal;
          const response = await handle({ method, target, headers: {}, gone });
          const body = response.body instanceof Uint8Array ? textOf(response.body) : "";
          await peer.write(bytesOf(`HTTP/1.1 ${response.status} OK\r\n\r\n${body}`));
          peer.end();
        })();
      });
    },
    http: absent,
    udp: absent,
    resolve: absent,
  };
}

async function world(programs: readonly ProgramRule[] = [], seed = 1) {
  const clock = new SteppedClock({ startMs: 1_700_000_000_000 });
  const random = seededRandom(seed);
  const network = switchboard();
  const host = new MemoryHost({
    clock,
    random: random.fork("host"),
    hostname: "node-1",
    addresses: ["10.0.0.1"],
    cpus: 4,
    memoryBytes: 8 * 2 ** 30,
    diskBytes: 100 * 2 ** 30,
  });
  const runtime = new SimulatedRuntime({
    clock,
    random: random.fork("runtime"),
    network,
    host,
    hostAddress: "10.0.0.1",
    programs,
    pullMs: 1000,
  });
  await runtime.writeNetwork(["10.244.1.0/29"]);
  /** Lets time pass until the work is done. */
  const during = async <T>(work: Promise<T>): Promise<T> => {
    let over = false;
    const watched = work.finally(() => {
      over = true;
    });
    watched.catch(() => undefined);
    await clock.settle();
    for (let turn = 0; turn < 1000; turn++) {
      const ms = clock.nextMs();
      if (over || ms === undefined) break;
      await clock.advance(ms);
    }
    return watched;
  };
  return { clock, host, runtime, network, during };
}

const hog: ProgramRule = {
  matches: (container) => container.command[0] === "hog",
  program: { start: (process) => process.after(10, () => process.allocate(40 * 1024 * 1024)) },
};

runtimeContract(async () => {
  const { runtime, host, during } = await world([hog]);
  await during(runtime.pullImage("busybox:1"));
  return {
    runtime,
    image: "busybox:1",
    logDirectory: "/var/log/pods",
    cgroupParent: "/kubepods",
    server: {
      command: ["my-server"],
      annotations: { "io.kubernetes.container.ports": '[{"containerPort":8080}]' },
    },
    hog: ["hog"],
    during,
    readFile: async (path) => textOf(await host.read(path)),
    renameFile: (from, to) => host.rename(from, to),
    done: async () => undefined,
  };
});

const sandboxOf = (name: string): SandboxConfig => ({
  name,
  namespace: "default",
  uid: `uid-${name}`,
  attempt: 0,
  hostname: name,
  logDirectory: `/var/log/pods/${name}`,
  labels: { app: name },
  annotations: {},
  cgroupParent: `/kubepods/pod-${name}`,
  security: { network: "pod", pid: "container", ipc: "pod" },
});
const containerOf = (more: Partial<ContainerConfig>): ContainerConfig => ({
  name: "main",
  attempt: 0,
  image: "web",
  command: [],
  args: [],
  env: [],
  mounts: [],
  labels: {},
  annotations: {},
  logPath: "main.log",
  resources: {},
  security: { pid: "container", ipc: "pod" },
  ...more,
});

async function start(
  { runtime, during }: Awaited<ReturnType<typeof world>>,
  name: string,
  more: Partial<ContainerConfig>,
) {
  const sandbox = sandboxOf(name);
  if ((await runtime.imageStatus("web")) === undefined) await during(runtime.pullImage("web"));
  const sandboxId = await runtime.runSandbox(sandbox);
  const id = await runtime.createContainer(sandboxId, containerOf(more), sandbox);
  await runtime.startContainer(id);
  return { sandboxId, id };
}

test("images take their time to come, known registries or not decide, pulls are shared", async () => {
  const { runtime, clock } = await world();
  let pulled = 0;
  const pulls = [1, 2].map(() => runtime.pullImage("web:2").then(() => pulled++));
  await clock.advance(400);
  expect(pulled).toBe(0);
  await clock.advance(1100);
  await Promise.all(pulls);
  expect((await runtime.imageStatus("web:2"))?.tags).toEqual(["docker.io/library/web:2"]);
  const bad = runtime.pullImage("registry.invalid/x:1");
  const checked = expect(bad).rejects.toThrow("no such host");
  await clock.advance(2000);
  await checked;
  runtime.faults.pull = (reference) => (reference === "web:3" ? "manifest unknown" : undefined);
  const worse = expect(runtime.pullImage("web:3")).rejects.toThrow("manifest unknown");
  await clock.advance(2000);
  await worse;
});

test("an unknown program serves its declared ports and ends well when asked", async () => {
  const here = await world();
  const ports = JSON.stringify([
    { containerPort: 80, protocol: "TCP" },
    { containerPort: 53, protocol: "UDP" },
  ]);
  const annotations = { "io.kubernetes.container.ports": ports };
  const { id, sandboxId } = await start(here, "web", { annotations });
  const { ips } = await here.runtime.sandboxStatus(sandboxId);
  expect(ips).toEqual(["10.244.1.2"]);
  const peer = await here.network.connect({ host: ips[0] ?? "", port: 80 });
  await peer.write(bytesOf("GET /x HTTP/1.1\r\n\r\n"));
  expect(textOf(await peer.read())).toContain("200 OK\r\n\r\nweb GET /x");
  await here.runtime.stopContainer(id, 30);
  expect(await here.runtime.containerStatus(id)).toMatchObject({
    exitCode: 0,
    reason: "Completed",
  });
  await expect(here.network.connect({ host: ips[0] ?? "", port: 80 })).rejects.toThrow("refused");
});

test("addresses go round and run out", async () => {
  const { runtime } = await world();
  const address = async (name: string) => {
    const id = await runtime.runSandbox(sandboxOf(name));
    return [id, (await runtime.sandboxStatus(id)).ips[0]] as const;
  };
  const [first] = await address("a");
  expect((await address("b"))[1]).toBe("10.244.1.3");
  await runtime.removeSandbox(first);
  expect((await address("c"))[1]).toBe("10.244.1.4");
  for (const name of ["d", "e", "f"]) await address(name);
  await expect(runtime.runSandbox(sandboxOf("g"))).rejects.toThrow("no IP addresses available");
  const status = runtime.runSandbox({
    ...sandboxOf("h"),
    security: { network: "node", pid: "container", ipc: "pod" },
  });
  expect((await runtime.sandboxStatus(await status)).ips).toEqual([]);
});

test("the examples of liveness probes work: a file comes and goes", async () => {
  const here = await world();
  const script = "touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; sleep 600";
  const { id } = await start(here, "live", { command: ["/bin/sh", "-c"], args: [script] });
  const probe = async () => (await here.runtime.execSync(id, ["cat", "/tmp/healthy"], 1)).exitCode;
  await here.clock.settle();
  expect(await probe()).toBe(0);
  await here.clock.advance(31_000);
  expect(await probe()).toBe(1);
  await here.clock.advance(600_000);
  expect(await here.runtime.containerStatus(id)).toMatchObject({ state: "exited", exitCode: 0 });
});

test("mounted files are the host's", async () => {
  const here = await world();
  await here.host.makeDirectory("/volumes/config", 0o755);
  await here.host.write("/volumes/config/key", bytesOf("value\n"), { mode: 0o644 });
  const mounts = [{ containerPath: "/etc/config", hostPath: "/volumes/config" }];
  const { id } = await start(here, "mounts", { command: ["sleep", "infinity"], mounts });
  const result = await here.runtime.execSync(id, ["cat", "/etc/config/key"], 1);
  expect(textOf(result.stdout)).toBe("value\n");
  await here.runtime.execSync(id, ["sh", "-c", "echo done > /etc/config/out"], 1);
  expect(textOf(await here.host.read("/volumes/config/out"))).toBe("done\n");
});

test("programs of a table decide how a container behaves", async () => {
  let asked: SimulatedProcess | undefined;
  const here = await world([
    {
      matches: (container) => container.image === "web",
      program: {
        start: (process) => {
          asked = process;
          process.print("up");
          process.onTerminate(() => process.after(2000, () => process.exit(5)));
        },
        exec: (process) => process.exit(process.command.length),
      },
    },
  ]);
  const { id } = await start(here, "table", { env: [{ name: "A", value: "b" }] });
  expect(asked?.variable("A")).toBe("b");
  expect((await here.runtime.execSync(id, ["a", "b"], 1)).exitCode).toBe(2);
  const stopped = here.runtime.stopContainer(id, 30);
  await here.clock.advance(1999);
  expect((await here.runtime.containerStatus(id)).state).toBe("running");
  await here.clock.advance(1);
  await stopped;
  expect((await here.runtime.containerStatus(id)).exitCode).toBe(5);
});

test("a pod's own limit kills, its cgroup shows its use", async () => {
  const here = await world([hog]);
  await here.host.cgroup("/kubepods/pod-limited").make({ memoryLimitBytes: 16 * 1024 * 1024 });
  const { id } = await start(here, "limited", { command: ["hog"] });
  expect(await here.host.cgroup("/kubepods/pod-limited").usage()).toMatchObject({ processes: 1 });
  await here.clock.advance(10);
  expect(await here.runtime.containerStatus(id)).toMatchObject({ reason: "OOMKilled" });
  expect(await here.host.cgroup("/kubepods/pod-limited").usage()).toMatchObject({ processes: 0 });
});

test("faults: kill, crash, an engine that is away, a power cut", async () => {
  const here = await world();
  const events = here.runtime.events();
  const one = await start(here, "one", {});
  here.runtime.kill(one.id);
  expect(await here.runtime.containerStatus(one.id)).toMatchObject({ exitCode: 137 });
  const two = await start(here, "two", {});
  here.runtime.crash(two.id, 3);
  expect(await here.runtime.containerStatus(two.id)).toMatchObject({ exitCode: 3 });
  await events.next();
  const three = await start(here, "three", { command: ["sh", "-c", "sleep 5; echo late"] });
  await events.next();
  const broken = expect(events.next()).rejects.toThrow("does not answer");
  here.runtime.setAvailable(false);
  await broken;
  await expect(here.runtime.status()).rejects.toMatchObject({ code: "unavailable" });
  await here.clock.advance(6000);
  here.runtime.setAvailable(true);
  expect(await here.runtime.containerStatus(three.id)).toMatchObject({ exitCode: 0 });
  const four = await start(here, "four", {});
  here.runtime.powerCut();
  expect(await here.runtime.containerStatus(four.id)).toMatchObject({ exitCode: 255 });
  expect((await here.runtime.sandboxStatus(four.sandboxId)).ready).toBe(false);
  here.runtime.faults.start = () => "no such file or directory";
  await expect(start(here, "five", {})).rejects.toThrow("no such file");
});

test("equal seeds give equal ids", async () => {
  const ids = async (seed: number) => (await start(await world([], seed), "same", {})).id;
  expect(await ids(5)).toBe(await ids(5));
  expect(await ids(5)).not.toBe(await ids(6));
});

test("scripts: what the simulation understands, and what it leaves to a real shell", () => {
  const words = (script: string) =>
    parseScript(script, (name) => (name === "X" ? "1 2" : undefined))?.map((step) => [
      step.joint,
      ...step.words,
    ]);
  expect(words("echo a && echo 'b c'\n exit 3")).toEqual([
    [";", "echo", "a"],
    ["&&", "echo", "b c"],
    [";", "exit", "3"],
  ]);
  expect(words('echo "${X}" $X')).toEqual([[";", "echo", "1 2", "1 2"]]);
  expect(parseScript("echo hi >> /tmp/f", () => "")).toMatchObject([
    { words: ["echo", "hi"], redirect: { path: "/tmp/f", append: true } },
  ]);
  for (const script of ["while true; do date; done", "a | b", "run &", "echo $(date)"]) {
    expect(parseScript(script, () => "")).toBeUndefined();
  }
});

test("what a pod has used stays used: the machine's CPU time never goes back", async () => {
  const here = await world();
  const { id, sandboxId } = await start(here, "busy", {});
  await here.clock.advance(10_000);
  const [stats] = await here.runtime.stats({});
  const before = (await here.host.usage()).cpuNanosTotal;
  expect(before).toBe(stats?.cpuNanosTotal);
  expect(before).toBeGreaterThan(0);
  await here.runtime.removeContainer(id);
  expect((await here.host.usage()).cpuNanosTotal).toBe(before);
  await here.runtime.removeSandbox(sandboxId);
  expect((await here.host.usage()).cpuNanosTotal).toBe(before);
  await here.host.cgroup("/kubepods/pod-busy").remove();
  expect((await here.host.usage()).cpuNanosTotal).toBe(before);
});

test("work that comes is shared by those who run; time that was used stays used", async () => {
  const load = new SharedLoad({ idleCores: 0, coresMax: 0.5 });
  const here = await world([{ matches: ({ name }) => name === "main", program: load.program }]);
  const one = await start(here, "one", {});
  const two = await start(here, "two", {});
  const used = async (): Promise<number[]> => {
    const stats = await here.runtime.stats({});
    return stats.map(({ cpuNanosTotal }) => cpuNanosTotal / 1e9);
  };
  const began = await used();
  load.cores = 0.6;
  await here.clock.advance(10_000);
  const shared = await used();
  expect(shared.map((seconds, at) => seconds - (began[at] ?? 0))).toEqual([3, 3]);
  load.cores = 0;
  await here.clock.advance(10_000);
  expect(await used()).toEqual(shared);
  load.cores = 2;
  here.runtime.crash(two.id, 1);
  await here.clock.advance(10_000);
  // The one that is left does what it can.
  expect(await used()).toEqual([(shared[0] ?? 0) + 5]);
  expect((await here.host.usage()).cpuNanosTotal).toBeCloseTo(((shared[0] ?? 0) + 5 + 3) * 1e9);
  await here.runtime.removeContainer(one.id);
});
