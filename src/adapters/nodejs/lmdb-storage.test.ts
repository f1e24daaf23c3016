import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { type EmbeddedStore, openStore } from "#control-plane/store/store.ts";
import { storageContract } from "#ports/storage.contract.ts";
import { storeContract } from "#ports/store.contract.ts";
import { lockDirectory } from "./directory-lock.ts";
import { openLmdbStorage } from "./lmdb-storage.ts";

const newDirectory = (): string => mkdtempSync(join(tmpdir(), "wherry-lmdb-"));

storageContract("LMDB", async () => {
  const directory = newDirectory();
  const storage = await openLmdbStorage(directory);
  return {
    storage,
    reopen: () => openLmdbStorage(directory),
    dispose: async () => {
      await storage.close();
      rmSync(directory, { recursive: true });
    },
  };
});

storeContract("embedded over LMDB", async () => {
  const directory = newDirectory();
  const clock = new SteppedClock({ startMs: 0 });
  const open = async (): Promise<EmbeddedStore> =>
    openStore({ storage: await openLmdbStorage(directory), clock });
  let store = await open();
  return {
    store,
    advance: (ms) => clock.advance(ms),
    reopen: async () => {
      await store.close();
      store = await open();
      return store;
    },
    dispose: async () => {
      await store.close();
      rmSync(directory, { recursive: true });
    },
  };
});

/** Another process that holds the directory until it is killed. */
async function holder(directory: string): Promise<{ pid: number; kill(): Promise<void> }> {
  const script = `
    const server = require("node:net").createServer();
    server.listen(process.argv[1] + "/in-use." + process.pid + ".abc", () => console.log("held"));
    setInterval(() => {}, 1e6);
  `;
  const child = spawn(process.execPath, ["-e", script, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return {
    pid: child.pid as number,
    kill: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

test("a directory has one owner at a time, and a dead one gives way", async () => {
  const directory = newDirectory();
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const other = await holder(directory);
  await expect(openLmdbStorage(directory)).rejects.toThrow(
    `the data directory ${directory} is in use by process ${other.pid}: stop it first`,
  );
  expect(readdirSync(directory)).toHaveLength(1);
  await other.kill();
  const storage = await openLmdbStorage(directory);
  await expect(openLmdbStorage(directory)).rejects.toThrow(`in use by process ${process.pid}`);
  expect(readdirSync(directory).filter((name) => name.startsWith("in-use."))).toHaveLength(1);
  await storage.close();
  expect(readdirSync(directory).filter((name) => name.includes("in-use."))).toEqual([]);
  await (await openLmdbStorage(directory)).close();
});

test("of many that come at once at most one stays", async () => {
  const directory = newDirectory();
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (let round = 0; round < 10; round += 1) {
    const came = await Promise.allSettled(
      Array.from({ length: 5 }, () => lockDirectory(directory)),
    );
    const stayed = came.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    expect(stayed.length).toBeLessThanOrEqual(1);
    for (const lock of stayed) await lock.release();
  }
  await (await lockDirectory(directory)).release();
});

test("a directory that lies deep, and one that cannot be written", async () => {
  const root = newDirectory();
  onTestFinished(() => rmSync(root, { recursive: true }));
  const deep = join(root, "x".repeat(120), "y".repeat(120));
  await (await openLmdbStorage(deep)).close();
  expect(statSync(deep).mode & 0o777).toBe(0o700);
  expect(statSync(join(deep, "store.lmdb")).mode & 0o777).toBe(0o600);
  const file = join(root, "file");
  writeFileSync(file, "x");
  await expect(openLmdbStorage(file)).rejects.toThrow(/EEXIST|ENOTDIR/);
});

test("values that LMDB reads later are not disturbed by later commits", async () => {
  const directory = newDirectory();
  const storage = await openLmdbStorage(directory);
  onTestFinished(async () => {
    await storage.close();
    rmSync(directory, { recursive: true });
  });
  const value = (n: number): Uint8Array => new Uint8Array(3000).fill(n);
  await Promise.all(
    Array.from({ length: 200 }, (_, n) => storage.commit([[Uint8Array.of(1, n), value(n)]])),
  );
  for (let n = 0; n < 200; n += 1) {
    const found = await storage.get(Uint8Array.of(1, n));
    expect(found && Buffer.compare(found, value(n))).toBe(0);
  }
});
