/**
 * What every Host must do, as tests. `make` gives a host and an empty directory on it; mounts and
 * cgroups are tried only where `make` says they can be.
 */
import { expect, test } from "vitest";
import type { Host } from "./host.ts";

export interface HostUnderTest {
  readonly host: Host;
  /** An empty directory, absolute. */
  readonly directory: string;
  /** A cgroup path that may be made and removed; undefined: none can be. */
  readonly cgroup: string | undefined;
  readonly mounts: boolean;
  done(): Promise<void>;
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes);

export function hostContract(make: () => Promise<HostUnderTest>): void {
  const given = (run: (under: HostUnderTest) => Promise<void>) => async () => {
    const under = await make();
    try {
      await run(under);
    } finally {
      await under.done();
    }
  };

  test(
    "tells what the machine is",
    given(async ({ host }) => {
      const facts = await host.facts();
      expect(facts.hostname).not.toBe("");
      expect(facts.cpus).toBeGreaterThan(0);
      expect(facts.memoryBytes).toBeGreaterThan(1024 * 1024);
      expect(facts.addresses.every((address) => !address.startsWith("127."))).toBe(true);
      expect(facts.bootId).toMatch(/^[0-9a-f]{8}-/);
      const usage = await host.usage();
      expect(usage.memoryWorkingSetBytes).toBeLessThanOrEqual(usage.memoryUsageBytes);
      expect(usage.memoryUsageBytes).toBeLessThanOrEqual(facts.memoryBytes);
    }),
  );

  test(
    "writes whole files with their mode, reads them in parts, knows absent ones",
    given(async ({ host, directory }) => {
      const path = `${directory}/file`;
      expect(await host.read(path)).toBeUndefined();
      expect(await host.stat(path)).toBeUndefined();
      expect(await host.read(`${path}/below`)).toBeUndefined();
      await host.write(path, bytesOf("hello world"), { mode: 0o640 });
      expect(textOf(await host.read(path))).toBe("hello world");
      expect(textOf(await host.read(path, { offset: 6, lengthMax: 3 }))).toBe("wor");
      expect(textOf(await host.read(path, { offset: 100 }))).toBe("");
      const before = await host.stat(path);
      expect(before).toMatchObject({ name: "file", type: "file", sizeBytes: 11, mode: 0o640 });
      await host.write(path, bytesOf("new"), { mode: 0o666, owner: { uid: 0, gid: 0 } });
      const after = await host.stat(path);
      expect(after?.mode).toBe(0o666);
      expect(after?.inode).not.toBe(before?.inode);
      await expect(
        host.write(`${directory}/no/parent`, bytesOf(""), { mode: 0o600 }),
      ).rejects.toThrow("ENOENT");
    }),
  );

  test(
    "makes, lists and removes directories",
    given(async ({ host, directory }) => {
      await host.makeDirectory(`${directory}/a/b`, 0o750);
      await host.makeDirectory(`${directory}/a/b`, 0o700);
      expect((await host.stat(`${directory}/a/b`))?.mode).toBe(0o750);
      await host.write(`${directory}/a/z`, bytesOf("1"), { mode: 0o600 });
      await host.link("b", `${directory}/a/link`);
      const names = (await host.list(`${directory}/a`))?.map(({ name, type }) => [name, type]);
      expect(names).toEqual([
        ["b", "directory"],
        ["link", "link"],
        ["z", "file"],
      ]);
      expect(await host.list(`${directory}/nothing`)).toBeUndefined();
      await host.remove(`${directory}/a`);
      await host.remove(`${directory}/a`);
      expect(await host.stat(`${directory}/a`)).toBeUndefined();
    }),
  );

  test(
    "links are replaced atomically and followed when reading",
    given(async ({ host, directory }) => {
      await host.makeDirectory(`${directory}/one`, 0o755);
      await host.makeDirectory(`${directory}/two`, 0o755);
      await host.write(`${directory}/one/key`, bytesOf("1"), { mode: 0o644 });
      await host.write(`${directory}/two/key`, bytesOf("2"), { mode: 0o644 });
      await host.link("one", `${directory}/..data`);
      await host.link("..data/key", `${directory}/key`);
      expect(textOf(await host.read(`${directory}/key`))).toBe("1");
      await host.link("two", `${directory}/..data`);
      expect(textOf(await host.read(`${directory}/key`))).toBe("2");
      expect((await host.stat(`${directory}/key`))?.type).toBe("link");
      await host.rename(`${directory}/two/key`, `${directory}/moved`);
      expect(await host.read(`${directory}/key`)).toBeUndefined();
      expect(textOf(await host.read(`${directory}/moved`))).toBe("2");
    }),
  );

  test(
    "gives a volume's files to a group",
    given(async ({ host, directory }) => {
      await host.makeDirectory(`${directory}/v/sub`, 0o755);
      await host.write(`${directory}/v/sub/f`, bytesOf("x"), { mode: 0o600 });
      await host.setOwner(`${directory}/v`, 0, { recursive: true, mode: 0o660 });
      expect((await host.stat(`${directory}/v/sub`))?.mode).toBe(0o2775);
      expect((await host.stat(`${directory}/v/sub/f`))?.mode).toBe(0o660);
    }),
  );

  test(
    "sets a mode that no umask cuts",
    given(async ({ host, directory }) => {
      await host.makeDirectory(`${directory}/open`, 0o777);
      await host.setMode(`${directory}/open`, 0o777);
      expect((await host.stat(`${directory}/open`))?.mode).toBe(0o777);
      await expect(host.setMode(`${directory}/none`, 0o777)).rejects.toThrow("ENOENT");
    }),
  );

  test(
    "measures what files take",
    given(async ({ host, directory }) => {
      await host.write(`${directory}/big`, new Uint8Array(100_000), { mode: 0o600 });
      const usage = await host.diskUsage(directory);
      expect(usage.usedBytes).toBeGreaterThanOrEqual(100_000);
      expect(usage.inodes).toBe(2);
      const filesystem = await host.filesystem(directory);
      expect(filesystem.availableBytes).toBeLessThanOrEqual(filesystem.capacityBytes);
      expect(await host.diskUsage(`${directory}/none`)).toEqual({ usedBytes: 0, inodes: 0 });
    }),
  );

  changeTests(given);

  test(
    "mounts hide what is below and come off again",
    given(async ({ host, directory, mounts }) => {
      if (!mounts) return;
      const [data, target] = [`${directory}/data`, `${directory}/target`];
      await host.makeDirectory(data, 0o755);
      await host.makeDirectory(target, 0o755);
      await host.write(`${data}/f`, bytesOf("bound"), { mode: 0o644 });
      await host.mount({ source: data, target, type: "bind", options: [] });
      expect(textOf(await host.read(`${target}/f`))).toBe("bound");
      expect((await host.mounts()).some((mount) => mount.target === target)).toBe(true);
      await expect(host.remove(target)).rejects.toThrow("mount point");
      await host.unmount(target);
      await host.unmount(target);
      expect(await host.read(`${target}/f`)).toBeUndefined();
      const options = ["size=1m", "mode=0755"];
      await host.mount({ source: "tmpfs", target, type: "tmpfs", options });
      await host.write(`${target}/t`, bytesOf("tmp"), { mode: 0o600 });
      await host.unmount(target);
      expect(await host.list(target)).toEqual([]);
    }),
  );

  test(
    "cgroups are made with their parents, limited, measured and removed",
    given(async ({ host, cgroup }) => {
      if (cgroup === undefined) return;
      const group = host.cgroup(`${cgroup}/burstable/pod1`);
      expect(await group.usage()).toBeUndefined();
      await group.make({ cpuShares: 512, memoryLimitBytes: 64 * 1024 * 1024, pidsMax: 100 });
      await group.make({ cpuQuota: 20_000, cpuPeriod: 100_000 });
      expect(await group.usage()).toMatchObject({ processes: 0, memoryRssBytes: 0 });
      expect(await host.cgroup(cgroup).children()).toEqual(["burstable"]);
      expect(await host.cgroup(`${cgroup}/burstable`).children()).toEqual(["pod1"]);
      await host.cgroup(cgroup).remove();
      await host.cgroup(cgroup).remove();
      expect(await group.usage()).toBeUndefined();
      expect(await host.cgroup(cgroup).children()).toEqual([]);
      expect(() => host.cgroup("/")).toThrow("below the root");
    }),
  );
}

function changeTests(
  given: (run: (under: HostUnderTest) => Promise<void>) => () => Promise<void>,
): void {
  /** Reads until a batch names it: a host may tell more than once, and of the empty name. */
  const until = async (
    source: { next(): Promise<readonly string[] | undefined> },
    name: string,
  ): Promise<void> => {
    for (;;) {
      const batch = await source.next();
      if (batch === undefined) throw new Error(`the changes ended before ${name}`);
      if (batch.includes(name) || batch.includes("")) return;
    }
  };

  test(
    "tells changes in a directory, and ends when stopped",
    given(async ({ host, directory }) => {
      const changes = host.changes(directory);
      const first = until(changes, "a");
      await host.write(`${directory}/a`, bytesOf("1"), { mode: 0o600 });
      await first;
      await host.remove(`${directory}/a`);
      await until(changes, "a");
      const last = (async () => {
        while ((await changes.next()) !== undefined);
      })();
      changes.stop();
      changes.stop();
      await last;
    }),
  );

  test(
    "tells of a file that is not there yet, grows, is replaced and comes back",
    given(async ({ host, directory }) => {
      const path = `${directory}/later/deep/file`;
      const changes = host.changes(path);
      const appears = until(changes, "file");
      await host.makeDirectory(`${directory}/later/deep`, 0o755);
      await host.write(path, bytesOf("1"), { mode: 0o600 });
      await appears;
      const replaced = until(changes, "file");
      await host.write(path, bytesOf("2"), { mode: 0o600 });
      await replaced;
      await host.remove(`${directory}/later`);
      await until(changes, "file");
      const back = until(changes, "file");
      await host.makeDirectory(`${directory}/later/deep`, 0o755);
      await host.write(path, bytesOf("3"), { mode: 0o600 });
      await back;
      changes.stop();
    }),
  );
}
