/** `wherry up --containerd SOCKET`: a containerd that was there already, whose own pods stay untouched. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Engine, startEngine } from "#adapters/containerd/engine.ts";
import { containerdRuntime } from "#adapters/containerd/runtime.ts";
import { linuxHost } from "#adapters/linux/host.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRpc } from "#adapters/nodejs/rpc.ts";
import { pauseImageArchive, pauseReference } from "#node/image/archive.ts";
import type { Log } from "#ports/log.ts";
import type { Runtime } from "#ports/runtime.ts";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const quiet: Log = { write: () => undefined, child: () => quiet };
/** A range that nothing else here uses; each process its own. */
const podNetwork = `10.${150 + (process.pid % 50)}.${process.pid % 250}`;

describeWith(["root", "containerd", "runc", "cni", "nft"], "wherry up --containerd", () => {
  const folder = mkdtempSync(join(tmpdir(), "wh-ctd-"));
  const cgroup = `/wherry-test-socket-${process.pid}`;
  const cluster = new TestCluster("socket");
  let engine: Engine;
  let runtime: Runtime & { close(): void };
  let foreign: string;

  beforeAll(async () => {
    engine = await startEngine({
      dataDirectory: join(folder, "data"),
      runDirectory: join(folder, "run"),
      networkName: `others-${process.pid}`,
      registryDirectories: [],
      sandboxImage: pauseReference,
      path: process.env["PATH"] ?? "",
      readyMsMax: 30_000,
    });
    await engine.writeNetwork([`${podNetwork}.0/24`]);
    const network = systemNetwork(quiet);
    runtime = containerdRuntime({
      rpc: systemRpc,
      network,
      socket: engine.socket,
      ctr: engine.ctr,
      imageVolumes: join(folder, "image-volumes"),
    });
    const architecture = process.arch === "arm64" ? "arm64" : "amd64";
    const pause = pauseImageArchive(
      architecture,
      (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest()),
    );
    writeFileSync(join(folder, "pause.tar"), pause);
    await runtime.loadImage(join(folder, "pause.tar"));
    foreign = await runtime.runSandbox({
      name: "theirs",
      namespace: "somebody",
      uid: "theirs",
      attempt: 0,
      hostname: "theirs",
      logDirectory: join(folder, "logs"),
      labels: {},
      annotations: {},
      cgroupParent: cgroup,
      security: { network: "pod", pid: "container", ipc: "pod" },
    });
  });
  afterAll(async () => {
    await cluster.purge();
    for (const { id } of await runtime.listSandboxes({})) {
      await runtime.stopSandbox(id);
      await runtime.removeSandbox(id);
    }
    runtime.close();
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
    await (await linuxHost()).cgroup(cgroup).remove();
  });

  test("its pods have that containerd's images and network", async () => {
    await cluster.start("--containerd", engine.socket);
    expect((await cluster.wherry(["image", "list", "--name", "socket"])).stdout).toContain(
      pauseReference,
    );
    await cluster.ok("run", "mine", `--image=${pauseReference}`, "--restart=Always");
    await cluster.until("pod/mine", ".status.phase", /Running/);
    const ip = await cluster.ok("get", "pod", "mine", "-o", "jsonpath={.status.podIP}");
    expect(ip.startsWith(`${podNetwork}.`)).toBe(true);
  });

  test("up again without the flag stays with it; another one is refused", async () => {
    expect((await cluster.down()).code).toBe(0);
    expect(await runtime.listSandboxes({})).toMatchObject([{ id: foreign }]);
    const refused = await cluster.up("--containerd", "/run/other.sock");
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain(`was made with containerdSocket ${engine.socket}`);
    await cluster.start();
    await cluster.until("pod/mine", ".status.containerStatuses[0].restartCount", /1/);
  });

  test("down --purge leaves it running, with what others have in it", async () => {
    expect((await cluster.down("--purge")).code).toBe(0);
    expect(await runtime.listSandboxes({})).toMatchObject([{ id: foreign, ready: true }]);
  });
});
