import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hostContract } from "#ports/host.contract.ts";
import { cgroupOf, readCgroupMounts, weightOfShares } from "./cgroup.ts";
import { cpuNanosTotal, defaultInterface, hostAddresses, readMounts } from "./facts.ts";
import { linuxHost } from "./host.ts";

const isRoot = process.getuid?.() === 0;
let made = 0;

hostContract(async () => {
  const directory = await mkdtemp(join(tmpdir(), "wherry-host-"));
  return {
    host: await linuxHost(),
    directory,
    cgroup: isRoot ? `/wherry-test-${process.pid}-${made++}` : undefined,
    mounts: isRoot,
    done: () => rm(directory, { recursive: true, force: true }),
  };
});

const hybrid = `24 30 0:22 / /proc rw - proc proc rw
36 28 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
37 28 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
38 28 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
39 28 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`;

test("cgroup mounts: hybrid is version 1, one tree is version 2", () => {
  const one = readCgroupMounts(hybrid);
  expect(one.version).toBe(1);
  expect([...one.hierarchies]).toEqual([
    ["cpu", "/sys/fs/cgroup/cpu"],
    ["memory", "/sys/fs/cgroup/memory"],
    ["name=systemd", "/sys/fs/cgroup/systemd"],
    ["", "/sys/fs/cgroup/unified"],
  ]);
  const two = readCgroupMounts("35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
  expect(two).toEqual({ version: 2, hierarchies: new Map([["", "/sys/fs/cgroup"]]) });
});

test("cgroup version 2 writes what the kernel wants (on a copy of its files)", async () => {
  const root = await mkdtemp(join(tmpdir(), "wherry-cgroup-"));
  const pod = join(root, "kubepods", "pod1");
  await mkdir(pod, { recursive: true });
  for (const directory of [root, join(root, "kubepods"), pod]) {
    await writeFile(join(directory, "cgroup.controllers"), "cpuset cpu io memory pids\n");
    await writeFile(join(directory, "cgroup.subtree_control"), "cpu\n");
  }
  const group = cgroupOf({ version: 2, hierarchies: new Map([["", root]]) }, "/kubepods/pod1");
  await group.make({ cpuShares: 1024, cpuQuota: 50_000, memoryLimitBytes: 1000, pidsMax: -1 });
  const read = async (name: string) => (await readFile(join(pod, name), "utf8")).trim();
  expect(await read("cpu.weight")).toBe("39");
  expect(await read("cpu.max")).toBe("50000 100000");
  expect(await read("memory.max")).toBe("1000");
  expect(await read("pids.max")).toBe("max");
  expect(await readFile(join(root, "kubepods", "cgroup.subtree_control"), "utf8")).toBe(
    "+cpuset +io +memory +pids",
  );
  await writeFile(join(pod, "memory.current"), "5000\n");
  await writeFile(
    join(pod, "memory.stat"),
    "anon 1\ninactive_file 1500\npgfault 7\npgmajfault 2\n",
  );
  await writeFile(join(pod, "cpu.stat"), "usage_usec 77\nuser_usec 1\n");
  await writeFile(join(pod, "cgroup.procs"), "1\n2\n");
  expect(await group.usage()).toEqual({
    cpuNanosTotal: 77_000,
    memoryBytes: 5000,
    memoryWorkingSetBytes: 3500,
    memoryRssBytes: 1,
    pageFaultsTotal: 7,
    majorPageFaultsTotal: 2,
    processes: 2,
  });
  await rm(root, { recursive: true });
});

test("shares become weights as upstream maps them", () => {
  expect([2, 102, 1024, 262_144, 1].map(weightOfShares)).toEqual([1, 4, 39, 10_000, 1]);
});

test("the default route's address comes first; pods' gateways and link-local ones do not count", () => {
  const routes =
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n" +
    "eth1\t00000000\t0101A8C0\t0003\t0\t0\t200\t00000000\n" +
    "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\n";
  expect(defaultInterface(routes)).toBe("eth0");
  const item = (name: string, address: string, internal = false) => ({
    interface: name,
    address,
    family: address.includes(":") ? ("IPv6" as const) : ("IPv4" as const),
    internal,
  });
  const addresses = [
    item("lo", "127.0.0.1", true),
    item("veth1", "10.244.0.1"),
    item("eth1", "192.168.1.5"),
    item("eth0", "fe80::1"),
    item("eth0", "fd00::2"),
    item("eth0", "192.0.2.2"),
  ];
  expect(hostAddresses(addresses, "eth0")).toEqual(["192.0.2.2", "fd00::2", "192.168.1.5"]);
});

test("mount targets with blanks and processor ticks are read as the kernel writes them", () => {
  expect(readMounts("1 2 0:1 / /a\\040b rw - tmpfs tmp\\134fs rw\n")).toEqual([
    { source: "tmp\\fs", target: "/a b", type: "tmpfs" },
  ]);
  expect(cpuNanosTotal("cpu  10 1 5 1000 50 2 3 0 0 0\ncpu0 1 1 1\n")).toBe(21 * 10_000_000);
});
