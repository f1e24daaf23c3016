import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { MemoryHost } from "#adapters/memory/host.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { AtomicWriter, type ProjectedFile } from "./atomic-writer.ts";

function world() {
  const clock = new SteppedClock({ startMs: Date.UTC(2026, 10, 22) });
  const random = seededRandom(1);
  const host = new MemoryHost({
    clock,
    random,
    hostname: "n1",
    addresses: ["192.0.2.1"],
    cpus: 2,
    memoryBytes: 2 ** 30,
    diskBytes: 2 ** 34,
  });
  return { host, writer: new AtomicWriter(host, clock, random) };
}
const file = (text: string): ProjectedFile => ({
  bytes: new TextEncoder().encode(text),
  mode: 0o644,
});
const decode = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes);

test("files are seen through ..data, and change all at once", async () => {
  const { host, writer } = world();
  await writer.write(
    "/v",
    new Map([
      ["a", file("1")],
      ["dir/b", file("2")],
    ]),
    undefined,
  );
  expect(decode(await host.read("/v/a"))).toBe("1");
  expect(decode(await host.read("/v/dir/b"))).toBe("2");
  const before = (await host.list("/v"))?.map((one) => `${one.name} ${one.type}`).toSorted();
  expect(before?.filter((one) => one.endsWith("link"))).toEqual([
    "..data link",
    "a link",
    "dir link",
  ]);
  await writer.write("/v", new Map([["a", file("3")]]), undefined);
  expect(decode(await host.read("/v/a"))).toBe("3");
  expect(await host.stat("/v/dir")).toBeUndefined();
  const directories = (await host.list("/v"))?.filter((one) => one.type === "directory");
  expect(directories).toHaveLength(1);
});

test("what is there already is not written again", async () => {
  const { host, writer } = world();
  await writer.write("/v", new Map([["a", file("1")]]), undefined);
  const first = (await host.list("/v"))?.map((one) => one.name);
  await writer.write("/v", new Map([["a", file("1")]]), undefined);
  expect((await host.list("/v"))?.map((one) => one.name)).toEqual(first);
});

test("with an fsGroup the group may read", async () => {
  const { host, writer } = world();
  await writer.write("/v", new Map([["a", { ...file("1"), mode: 0o600 }]]), 2000);
  const stamped = (await host.list("/v"))?.find((one) => one.type === "directory")?.name;
  expect(((await host.stat(`/v/${stamped}/a`))?.mode ?? 0) & 0o777).toBe(0o640);
});
