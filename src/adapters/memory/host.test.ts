import { expect, test } from "vitest";
import { hostContract } from "#ports/host.contract.ts";
import { SteppedClock } from "./clock.ts";
import { MemoryHost } from "./host.ts";
import { seededRandom } from "./random.ts";

const make = () =>
  new MemoryHost({
    clock: new SteppedClock({ startMs: 1_700_000_000_000 }),
    random: seededRandom(7),
    hostname: "node-1",
    addresses: ["10.0.0.1"],
    cpus: 4,
    memoryBytes: 8 * 2 ** 30,
    diskBytes: 100 * 2 ** 30,
  });

hostContract(async () => {
  const host = make();
  await host.makeDirectory("/work", 0o755);
  return {
    host,
    directory: "/work",
    cgroup: "/kubepods",
    mounts: true,
    done: async () => undefined,
  };
});

test("equal seeds give equal machines", async () => {
  expect(await make().facts()).toEqual(await make().facts());
});

test("a full disk refuses to be written, memory of others is in use", async () => {
  const host = make();
  host.otherDiskBytes = 100 * 2 ** 30;
  await expect(host.write("/tmp/x", new Uint8Array(1), { mode: 0o600 })).rejects.toThrow("ENOSPC");
  host.otherMemoryBytes = 6 * 2 ** 30;
  expect((await host.usage()).memoryWorkingSetBytes).toBe(6 * 2 ** 30);
});

test("a file that was opened for appending goes on after it was renamed away", async () => {
  const host = make();
  const append = host.openAppend("/var/log/a.log", 0o640);
  append(Uint8Array.of(65));
  await host.rename("/var/log/a.log", "/var/log/a.log.1");
  append(Uint8Array.of(66));
  expect(await host.read("/var/log/a.log")).toBeUndefined();
  expect(await host.read("/var/log/a.log.1")).toEqual(Uint8Array.of(65, 66));
});
