/**
 * The containerd adapter on a real containerd of our own: the Runtime port's contract, the engine's
 * start, adoption and stop, image archives, and the kubelet's streams all the way through.
 */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine, EngineOptions } from "#adapters/containerd/engine.ts";
import { startEngine } from "#adapters/containerd/engine.ts";
import { containerdRuntime } from "#adapters/containerd/runtime.ts";
import { linuxHost } from "#adapters/linux/host.ts";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRpc } from "#adapters/nodejs/rpc.ts";
import { SpdyConnection } from "#machinery/spdy/connection.ts";
import { resetStatus } from "#machinery/spdy/frames.ts";
import { servePortForward } from "#node/kubelet/streaming/port-forward.ts";
import { serveRemoteCommand } from "#node/kubelet/streaming/remote-command.ts";
import type { Log } from "#ports/log.ts";
import { runtimeContract } from "#ports/runtime.contract.ts";
import type { ContainerConfig, Runtime, SandboxConfig } from "#ports/runtime.ts";
import { describeWith } from "./requirements.ts";

const image = "wherry.test/busybox:1";
/** What a stream that was not opened gives. */
const nothing = { read: async () => undefined };
const quiet: Log = { write: () => undefined, child: () => quiet };
const network = systemNetwork(quiet);
const cgroupRoot = `/wherry-test-${process.pid}`;
const directory = mkdtempSync(join(tmpdir(), "wherry-engine-"));

const digestOf = (bytes: Uint8Array): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** A file, directory or link as a tar entry. */
function tarEntry(name: string, content: Uint8Array, link?: string): Uint8Array[] {
  const head = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    head.write(value.toString(8).padStart(length - 1, "0"), at);
  head.write(name, 0);
  octal(0o755, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(content.length, 124, 12);
  octal(0, 136, 12);
  head.write("        ", 148);
  head.write(link !== undefined ? "2" : name.endsWith("/") ? "5" : "0", 156);
  if (link !== undefined) head.write(link, 157);
  head.write("ustar\0", 257);
  head.write("00", 263);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return [head, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
}
const tar = (entries: Uint8Array[][]): Buffer =>
  Buffer.concat([...entries.flat(), Buffer.alloc(1024)]);

const none = new Uint8Array(0);
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** busybox with a link for each of its tools. */
function busyboxLayer(): Buffer {
  const program = execFileSync("sh", ["-c", "readlink -f $(command -v busybox)"], {
    encoding: "utf8",
  }).trim();
  const tools = execFileSync("busybox", ["--list"], { encoding: "utf8" }).trim().split("\n");
  const directories = ["bin/", "etc/", "tmp/", "proc/", "sys/", "dev/", "root/"];
  return tar([
    ...directories.map((name) => tarEntry(name, none)),
    tarEntry("bin/busybox", readFileSync(program)),
    ...tools
      .filter((name) => name !== "busybox")
      .map((name) => tarEntry(`bin/${name}`, none, "busybox")),
    tarEntry("etc/passwd", Buffer.from("root:x:0:0::/root:/bin/sh\n")),
  ]);
}

function archive(layer: Buffer, reference: string, kind: "oci" | "docker"): Buffer {
  const platform = { architecture: process.arch === "arm64" ? "arm64" : "amd64", os: "linux" };
  const config = json({
    ...platform,
    config: { Env: ["PATH=/bin"], Cmd: ["sleep", "1000000"] },
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  });
  if (kind === "docker") {
    const manifest = [{ Config: "config.json", RepoTags: [reference], Layers: ["layer.tar"] }];
    return tar([
      tarEntry("config.json", config),
      tarEntry("layer.tar", layer),
      tarEntry("manifest.json", json(manifest)),
    ]);
  }
  const described = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: described("application/vnd.oci.image.config.v1+json", config),
    layers: [described("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  const index = json({
    schemaVersion: 2,
    manifests: [
      {
        ...described("application/vnd.oci.image.manifest.v1+json", manifest),
        platform,
        annotations: { "org.opencontainers.image.ref.name": reference },
      },
    ],
  });
  const blob = (bytes: Buffer) => tarEntry(`blobs/${digestOf(bytes).replace(":", "/")}`, bytes);
  return tar([
    tarEntry("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    tarEntry("index.json", index),
    ...[config, layer, manifest].map(blob),
  ]);
}

const options: EngineOptions = {
  dataDirectory: join(directory, "data"),
  runDirectory: join(directory, "run"),
  networkName: "wherry-test",
  registryDirectories: [],
  sandboxImage: image,
  path: process.env["PATH"] ?? "",
  readyMsMax: 30_000,
};
/** A range that nothing else here uses; each process its own. */
const podCidr = `10.${200 + (process.pid % 50)}.${process.pid % 250}.0/24`;

let engine: Engine;
let runtime: Runtime & { close(): void };

const sandboxOf = (name: string): SandboxConfig => ({
  name,
  namespace: "default",
  uid: `${name}-${randomBytes(4).toString("hex")}`,
  attempt: 0,
  hostname: name,
  logDirectory: join(directory, "pods", name),
  labels: { "test/life": name },
  annotations: {},
  cgroupParent: `${cgroupRoot}/${name}`,
  dns: { servers: ["10.96.0.10"], searches: ["svc.cluster.local"], options: ["ndots:5"] },
  security: { network: "pod", pid: "container", ipc: "pod" },
});
const containerOf = (command: string[], more: Partial<ContainerConfig> = {}): ContainerConfig => ({
  name: "main",
  attempt: 0,
  image,
  command,
  args: [],
  env: [],
  mounts: [],
  labels: {},
  annotations: {},
  logPath: "main.log",
  resources: {},
  security: { pid: "container", ipc: "pod", seccomp: { type: "RuntimeDefault" } },
  ...more,
});

async function removeAllPods(): Promise<void> {
  for (const { id } of await runtime.listSandboxes({})) {
    await runtime.stopSandbox(id);
    await runtime.removeSandbox(id);
  }
}

describeWith(["root", "containerd", "runc", "cni", "busybox"], "containerd", () => {
  beforeAll(async () => {
    engine = await startEngine(options);
    runtime = containerdRuntime({
      rpc: systemRpc,
      network,
      socket: engine.socket,
      ctr: engine.ctr,
      imageVolumes: join(directory, "image-volumes"),
    });
    expect((await runtime.status()).networkReady).toBe(false);
    await engine.writeNetwork([podCidr]);
    const file = join(directory, "busybox.oci.tar.gz");
    writeFileSync(file, gzipSync(archive(busyboxLayer(), image, "oci"), { level: 1 }));
    expect(await runtime.loadImage(file)).toEqual([image]);
  }, 60_000);

  afterAll(async () => {
    await removeAllPods();
    runtime.close();
    await engine.stop();
    const host = await linuxHost();
    await host.cgroup(cgroupRoot).remove();
    for (const { target } of (await host.mounts()).filter((m) => m.target.startsWith(directory))) {
      await host.unmount(target);
    }
    rmSync(directory, { recursive: true, force: true });
  }, 60_000);

  describe("the Runtime port's contract", () => {
    runtimeContract(async () => ({
      runtime,
      image,
      logDirectory: join(directory, "logs"),
      cgroupParent: cgroupRoot,
      server: { command: ["httpd", "-f", "-p", "8080", "-h", "/etc"], annotations: {} },
      hog: ["sh", "-c", "x=a; while true; do x=$x$x; done"],
      during: (work) => work,
      readFile: async (path) => readFileSync(path, "utf8"),
      renameFile: async (from, to) => renameSync(from, to),
      done: async () => undefined,
    }));
  });

  test("the second start adopts the engine that runs", async () => {
    const again = await startEngine(options);
    expect(again).toMatchObject({ adopted: true, pid: engine.pid });
  });

  test("a new engine finds the pods of the one before, which ran on meanwhile", async () => {
    const sandbox = sandboxOf("survivor");
    const sandboxId = await runtime.runSandbox(sandbox);
    const command = ["sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done"];
    const id = await runtime.createContainer(sandboxId, containerOf(command), sandbox);
    await runtime.startContainer(id);
    const doomed = containerOf(["sh", "-c", "sleep 0.3; exit 21"], { name: "doomed" });
    const doomedId = await runtime.createContainer(sandboxId, doomed, sandbox);
    await runtime.startContainer(doomedId);
    const events = runtime.events();
    process.kill(engine.pid, "SIGKILL");
    // The events end or reject; either way there is nothing more to read.
    const ended = (async () => {
      while ((await events.next()) !== undefined);
    })();
    await ended.catch(() => undefined);
    runtime.close();
    engine = await startEngine(options);
    expect(engine.adopted).toBe(false);
    runtime = containerdRuntime({
      rpc: systemRpc,
      network,
      socket: engine.socket,
      ctr: engine.ctr,
      imageVolumes: join(directory, "image-volumes"),
    });
    expect((await runtime.containerStatus(id)).state).toBe("running");
    expect((await runtime.sandboxStatus(sandboxId)).ready).toBe(true);
    // Its end may lie before our new subscription: it is looked for, not listened for.
    while ((await runtime.containerStatus(doomedId)).state !== "exited");
    expect(await runtime.containerStatus(doomedId)).toMatchObject({ exitCode: 21 });
    const numbers = readFileSync(join(sandbox.logDirectory, "main.log"), "utf8")
      .trim()
      .split("\n")
      .map((line) => Number(line.split(" ")[3]));
    expect(numbers).toEqual(numbers.map((_, i) => i));
    await runtime.removeSandbox(sandboxId);
  });

  test("image archives come under the names that pods ask for", async () => {
    const layer = tar([tarEntry("etc/", none)]);
    const load = async (name: string, kind: "oci" | "docker", file: string) => {
      const path = join(directory, file);
      writeFileSync(path, archive(layer, name, kind));
      return runtime.loadImage(path);
    };
    expect(await load("shop-web:1", "oci", "a.tar")).toEqual(["docker.io/library/shop-web:1"]);
    expect((await runtime.imageStatus("shop-web:1"))?.tags).toEqual([
      "docker.io/library/shop-web:1",
    ]);
    expect(await load("latest", "oci", "Tool.oci.tar")).toEqual(["docker.io/library/tool:latest"]);
    expect(await load("me/api:2", "docker", "c.tar")).toEqual(["docker.io/me/api:2"]);
    await runtime.removeImage("shop-web:1");
    expect(await runtime.imageStatus("shop-web:1")).toBeUndefined();
    writeFileSync(join(directory, "bad.tar"), "no archive");
    await expect(runtime.loadImage(join(directory, "bad.tar"))).rejects.toThrow();
    await expect(runtime.loadImage(join(directory, "none.tar"))).rejects.toThrow("cannot read");
  });

  test("a command that is not there is a start error, a pull without a registry fails", async () => {
    const sandbox = sandboxOf("broken");
    const sandboxId = await runtime.runSandbox(sandbox);
    const id = await runtime.createContainer(sandboxId, containerOf(["/no/such"]), sandbox);
    await expect(runtime.startContainer(id)).rejects.toThrow("no such file or directory");
    expect(await runtime.containerStatus(id)).toMatchObject({
      state: "exited",
      exitCode: 128,
      reason: "StartError",
    });
    const missing = containerOf(["true"], { name: "other", image: "wherry.test/none:1" });
    await expect(runtime.createContainer(sandboxId, missing, sandbox)).rejects.toMatchObject({
      code: "notFound",
    });
    await expect(runtime.pullImage("127.0.0.1:9/none:1")).rejects.toThrow("127.0.0.1:9");
    await runtime.removeSandbox(sandboxId);
  });

  test("what the configuration says is what the container finds", async () => {
    const sandbox = sandboxOf("configured");
    const sandboxId = await runtime.runSandbox(sandbox);
    writeFileSync(join(directory, "note"), "from the host\n");
    const config = containerOf(["sleep", "1000"], {
      workingDirectory: "/tmp",
      mounts: [{ containerPath: "/etc/note", hostPath: join(directory, "note"), readonly: true }],
      resources: { cpuShares: 512, cpuQuota: 50_000, cpuPeriod: 100_000, oomScoreAdj: 1000 },
      security: {
        pid: "container",
        ipc: "pod",
        runAsUser: 1000,
        runAsGroup: 1001,
        supplementalGroups: [2000],
        noNewPrivileges: true,
        readonlyRootFilesystem: true,
        capabilities: { add: ["NET_BIND_SERVICE"], drop: ["ALL"] },
      },
    });
    const id = await runtime.createContainer(sandboxId, config, sandbox);
    await runtime.startContainer(id);
    const says = async (script: string) => {
      const result = await runtime.execSync(id, ["sh", "-c", script], 10);
      return new TextDecoder().decode(result.stdout).trim();
    };
    expect(await says("id -u; id -g; id -G; pwd; hostname; cat /etc/note")).toBe(
      "1000\n1001\n1001 2000\n/tmp\nconfigured\nfrom the host",
    );
    expect(await says("touch /x 2>&1")).toContain("Read-only");
    expect(await says("cat /proc/1/oom_score_adj")).toBe("1000");
    expect(await says("grep CapBnd /proc/1/status")).toContain("0000000000000400");
    expect(await says("cat /etc/resolv.conf")).toContain("nameserver 10.96.0.10");
    const host = await linuxHost();
    expect((await host.cgroup(sandbox.cgroupParent).usage())?.processes).toBeGreaterThan(1);
    await runtime.stopSandbox(sandboxId);
    await runtime.removeSandbox(sandboxId);
    await host.cgroup(sandbox.cgroupParent).remove();
  });

  describeWith(["root"], "through the kubelet's streams", () => {
    test("kubectl's framing reaches a real container", () => kubeletStreams());
  });
});

/** Both ends of our framing with a real container behind: a SPDY client, the kubelet's server, CRI. */
async function kubeletStreams(): Promise<void> {
  const sandbox = sandboxOf("streams");
  const sandboxId = await runtime.runSandbox(sandbox);
  const serve = containerOf(["httpd", "-f", "-p", "8080", "-h", "/etc"]);
  const id = await runtime.createContainer(sandboxId, serve, sandbox);
  await runtime.startContainer(id);
  const context = { clock: systemClock, log: quiet };
  const stream = { stdin: true, stdout: true, stderr: true, tty: false };
  const tty = { ...stream, stderr: false, tty: true };
  const listener = await network.serve(
    { host: "127.0.0.1", port: 0 },
    { bodyBytesMax: 1024 },
    async (request) => {
      if (request.target.startsWith("/portForward")) {
        const connect = (port: number) => runtime.forward(sandboxId, port);
        return servePortForward(request, { podName: "p", podUid: "u", connect }, context);
      }
      const isTty = request.target.includes("tty=1");
      const sized = "until stty size | grep '41 123'; do sleep 0.05; done 2>/dev/null";
      const script = isTty ? `${sized}; read x; exit 12` : "md5sum; exit 4";
      const command = ["sh", "-c", script];
      const opts = isTty ? tty : stream;
      const open = () => runtime.exec(id, command, opts);
      return serveRemoteCommand(request, { kind: "exec", command, options: opts, open }, context);
    },
  );
  const { address } = listener;
  const connect = async (target: string, protocol: string) => {
    const client = network.http(address, { version: 1 });
    const headers = {
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
      "x-stream-protocol-version": protocol,
    };
    const reply = await client.send({ method: "POST", target, headers });
    if (reply.raw === undefined) throw new Error(`no upgrade: ${reply.status}`);
    return new SpdyConnection(reply.raw, "client", () => "no");
  };
  const text = async (from: { read(): Promise<Uint8Array | undefined> }) => {
    let all = "";
    for (;;) {
      const bytes = await from.read();
      if (bytes === undefined) return all;
      all += new TextDecoder().decode(bytes);
    }
  };

  const exec = await connect("/exec?input=1", "v4.channel.k8s.io");
  const types = ["error", "stdin", "stdout", "stderr"];
  const [error, stdin, stdout] = await Promise.all(
    types.map((streamtype) => exec.open({ streamtype })),
  );
  const data = randomBytes(5_000_000);
  await stdin?.write(data);
  stdin?.end();
  expect(await text(stdout ?? nothing)).toContain(createHash("md5").update(data).digest("hex"));
  expect(JSON.parse(await text(error ?? nothing))).toMatchObject({
    details: { causes: [{ reason: "ExitCode", message: "4" }] },
  });
  await exec.closed;

  const terminal = await connect("/exec?tty=1", "v4.channel.k8s.io");
  const open = (streamtype: string) => terminal.open({ streamtype });
  const ttyError = await open("error");
  const [ttyIn, ttyOut, resize] = [await open("stdin"), await open("stdout"), await open("resize")];
  await resize.write(new TextEncoder().encode('{"Width":123,"Height":41}'));
  const shown = text(ttyOut);
  await ttyIn.write(new TextEncoder().encode("\n"));
  expect(await shown).toContain("41 123");
  expect(await text(ttyError)).toContain('"message":"12"');

  const forward = await connect("/portForward", "portforward.k8s.io");
  const get = async (requestid: string) => {
    const bad = await forward.open({ streamtype: "error", port: "8080", requestid });
    bad.end();
    const pipe = await forward.open({ streamtype: "data", port: "8080", requestid });
    await pipe.write(new TextEncoder().encode("GET /passwd HTTP/1.0\r\n\r\n"));
    const body = await text(pipe);
    // As kubectl does when its side is done.
    pipe.reset(resetStatus.cancel);
    return [body, await text(bad)];
  };
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => get(String(i))));
  for (const [body, complaint] of answers) {
    expect(body).toContain("root:x:0:0");
    expect(complaint).toBe("");
  }
  forward.close();
  await listener.close(100);
  await runtime.stopSandbox(sandboxId);
  await runtime.removeSandbox(sandboxId);
  expect(existsSync(sandbox.logDirectory)).toBe(true);
}
