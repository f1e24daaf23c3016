import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { processStartTime } from "./engine.ts";
import { engineConfig, networkList, readEngineVersion } from "./engine-config.ts";
import { finalName, importedNames } from "./load-image.ts";
import { findTools, packageManager, packagesFor } from "./tools.ts";

const settings = {
  root: "/data/root",
  state: "/run/x/state",
  socket: "/run/x/containerd.sock",
  optDirectory: "/data/opt",
  cniConfDirectory: "/data/net.d",
  cniBinDirectory: "/usr/lib/cni",
  registryDirectories: ["/data/certs.d", "/etc/containerd/certs.d"],
  sandboxImage: "wherry.local/pause:1",
  restrictOomScore: true,
  streamAddress: "127.0.0.1",
  streamPort: 0,
};

test.each([
  ["containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", 1, 6],
  ["containerd github.com/containerd/containerd v1.7.28 b98a3aac", 1, 7],
  ["containerd github.com/containerd/containerd/v2 v2.1.3 c787fb98911740dd3ff2d0e45ce88cdf", 2, 1],
])("the version in %s", (output, major, minor) => {
  expect(readEngineVersion(output)).toMatchObject({ major, minor });
});

test("containerd 1 gets a version 2 file, containerd 2 a version 3 file, with the same settings", () => {
  const old = engineConfig({ text: "1.6.20", major: 1, minor: 6 }, settings);
  const recent = engineConfig({ text: "2.1.3", major: 2, minor: 1 }, settings);
  expect(old).toContain("version = 2\n");
  expect(old).toContain('[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]');
  expect(old).toContain('sandbox_image = "wherry.local/pause:1"');
  expect(recent).toContain("version = 3\n");
  expect(recent).toContain("[plugins.'io.containerd.cri.v1.images'.pinned_images]");
  expect(recent).toContain('sandbox = "wherry.local/pause:1"');
  for (const text of [old, recent]) {
    expect(text).toContain("restrict_oom_score_adj = true");
    expect(text).toContain("SystemdCgroup = false");
    expect(text).toContain('conf_dir = "/data/net.d"');
    expect(text).toContain('address = "/run/x/containerd.sock.ttrpc"');
  }
});

test("the pods' network: ptp and host-local, a range for each family", () => {
  const text = networkList({
    name: "pods-a",
    podCidrs: ["10.244.1.0/24", "fd00:1::/64"],
    ipamDirectory: "/data/ipam",
  });
  expect(JSON.parse(text)).toEqual({
    cniVersion: "0.4.0",
    name: "pods-a",
    plugins: [
      {
        type: "ptp",
        ipMasq: false,
        ipam: {
          type: "host-local",
          dataDir: "/data/ipam",
          ranges: [[{ subnet: "10.244.1.0/24" }], [{ subnet: "fd00:1::/64" }]],
          routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
        },
      },
    ],
  });
});

test("missing programs are data, with the packages that bring them", async () => {
  const tools = await findTools("/nowhere");
  expect(tools.map((tool) => tool.name)).toEqual(
    expect.arrayContaining(["containerd", "runc", "nft", "cni/ptp"]),
  );
  const missing = tools.map((tool) => ({ ...tool, path: undefined }));
  expect(packagesFor(missing, "apt")).toContain("containernetworking-plugins");
  expect(packagesFor(missing, "apk")).toContain("containerd-ctr");
  expect(packagesFor([], "dnf")).toEqual([]);
});

test("the package manager follows os-release", async () => {
  const directory = await mkdtemp(join(tmpdir(), "wherry-os-"));
  const file = join(directory, "os-release");
  const managerOf = async (text: string) => {
    await writeFile(file, text);
    return packageManager(file);
  };
  expect(await managerOf("ID=debian\n")).toBe("apt");
  expect(await managerOf('ID=linuxmint\nID_LIKE="ubuntu debian"\n')).toBe("apt");
  expect(await managerOf('ID="rocky"\nID_LIKE="rhel centos fedora"\n')).toBe("dnf");
  expect(await managerOf("ID=alpine\n")).toBe("apk");
  expect(await managerOf("ID=plan9\n")).toBeUndefined();
  await rm(directory, { recursive: true });
});

test("a process is known by its id and its start", async () => {
  expect(await processStartTime(process.pid)).toMatch(/^\d+$/);
  expect(await processStartTime(2 ** 22 + 1)).toBeUndefined();
});

test("names of imported images, in full", () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const output = `unpacking shop-web:1 (${digest})...done\nunpacking import-2026-11-22:v1 (${digest})...done\n`;
  expect(importedNames(output)).toEqual(["shop-web:1", "import-2026-11-22:v1"]);
  expect(finalName("shop-web:1", "/x/any.tar")).toBe("docker.io/library/shop-web:1");
  expect(finalName("import-2026-11-22:v1", "/x/Web.oci.tar.gz")).toBe("docker.io/library/web:v1");
});
