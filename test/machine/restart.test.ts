/**
 * Nothing acknowledged is lost: down and up bring everything back, and kill -9 of all of wherry's processes at random moments under a
 * stream of writes loses no acknowledged write, takes no revision back, and makes nothing vanish that a watcher saw.
 */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiClient, type WatchedEvent } from "./api-client.ts";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const kills = 50;
const writers = 8;
const path = "/api/v1/namespaces/default/configmaps";

/** Every process whose command line names this cluster's data: the shell, the daemon. */
function processesOf(cluster: TestCluster): number[] {
  const listed = execFileSync("ps", ["-eo", "pid=,args="], {
    encoding: "utf8",
    maxBuffer: 1 << 24,
  });
  return listed
    .split("\n")
    .filter((line) => line.includes("wherry.mjs up") && line.includes(cluster.dataDirectory))
    .map((line) => Number.parseInt(line, 10));
}

/** What the test knows for sure, and what may or may not have been done. */
class Ledger {
  readonly acknowledged = new Map<string, { value: number; revision: number }>();
  readonly attempted = new Map<string, number>();
  readonly seen = new Map<string, number>();
  revisionMax = 0;
  writes = 0;

  note(revision: number): void {
    this.revisionMax = Math.max(this.revisionMax, revision);
  }
  event = ({ type, object }: WatchedEvent): void => {
    const revision = Number(object.metadata.resourceVersion);
    if (type === "ERROR" || Number.isNaN(revision)) return;
    this.note(revision);
    const { name } = object.metadata;
    if (name !== undefined && type !== "BOOKMARK") {
      this.seen.set(name, Math.max(revision, this.seen.get(name) ?? 0));
    }
  };
}

/** One writer: replaces its own ConfigMap with rising numbers until the connection breaks. */
async function write(client: ApiClient, ledger: Ledger, name: string): Promise<void> {
  for (;;) {
    const value = (ledger.attempted.get(name) ?? 0) + 1;
    ledger.attempted.set(name, value);
    const object = { metadata: { name }, data: { value: String(value) } };
    const known = ledger.acknowledged.has(name);
    let answer: Awaited<ReturnType<ApiClient["send"]>>;
    try {
      answer = known
        ? await client.send("PUT", `${path}/${name}`, object)
        : await client.send("POST", path, object);
    } catch {
      return;
    }
    if (answer.status === 409 && !known) {
      // The first attempt had been done after all, without an answer.
      ledger.acknowledged.set(name, { value: 0, revision: 0 });
      continue;
    }
    // Shutting down or not up yet: nothing was promised.
    if (answer.status >= 500) return;
    expect([200, 201], JSON.stringify(answer.body)).toContain(answer.status);
    const revision = Number(
      (answer.body as { metadata: { resourceVersion: string } }).metadata.resourceVersion,
    );
    expect(revision, "revisions never go back").toBeGreaterThan(
      ledger.acknowledged.get(name)?.revision ?? 0,
    );
    ledger.acknowledged.set(name, { value, revision });
    ledger.note(revision);
    ledger.writes++;
  }
}

interface Listed {
  metadata: { resourceVersion: string };
  items: { metadata: { name: string; resourceVersion: string }; data?: { value?: string } }[];
}

async function verify(client: ApiClient, ledger: Ledger): Promise<void> {
  const list = (await client.send("GET", path)).body as Listed;
  expect(Number(list.metadata.resourceVersion)).toBeGreaterThanOrEqual(ledger.revisionMax);
  const byName = new Map(list.items.map((item) => [item.metadata.name, item]));
  for (const [name, { value, revision }] of ledger.acknowledged) {
    const found = byName.get(name);
    const stored = Number(found?.data?.["value"]);
    expect(stored, `${name}: acknowledged ${value}`).toBeGreaterThanOrEqual(value);
    expect(stored, `${name}: never more than was asked`).toBeLessThanOrEqual(
      ledger.attempted.get(name) ?? 0,
    );
    expect(Number(found?.metadata.resourceVersion)).toBeGreaterThanOrEqual(revision);
  }
  for (const [name, revision] of ledger.seen) {
    const found = byName.get(name);
    if (name.startsWith("w")) {
      expect(
        Number(found?.metadata.resourceVersion ?? 0),
        `${name}: a watcher saw revision ${revision}`,
      ).toBeGreaterThanOrEqual(revision);
    }
  }
}

describeWith(["root", "containerd", "runc", "cni", "nft"], "restarts", () => {
  const cluster = new TestCluster("restart");
  beforeAll(() => cluster.start());
  afterAll(() => cluster.purge(), 120_000);

  test("down and up: the same objects, the same cluster IPs, the node ready again", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Service
metadata: { name: one }
spec: { selector: { app: one }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: kept }
data: { a: b }
`);
    const state = async () =>
      JSON.parse(await cluster.ok("get", "services,configmaps,namespaces", "-A", "-o", "json")) as {
        items: {
          kind: string;
          metadata: { name: string; uid: string };
          spec?: { clusterIP?: string };
        }[];
      };
    const before = await state();
    const down = await cluster.down();
    expect(down.code, down.stderr).toBe(0);
    expect(processesOf(cluster)).toEqual([]);
    expect((await cluster.kubectl(["get", "nodes"])).code).not.toBe(0);
    await cluster.start();
    const after = await state();
    const facts = ({ items }: typeof before) =>
      items.map(({ kind, metadata, spec }) => [kind, metadata.name, metadata.uid, spec?.clusterIP]);
    expect(facts(after)).toEqual(facts(before));
    expect(await cluster.ok("get", "nodes")).toMatch(/\sReady\s/);
  });

  test(`kill -9 at ${kills} random moments under a stream of writes`, async () => {
    const ledger = new Ledger();
    for (let round = 0; round < kills; round++) {
      const client = new ApiClient(cluster.kubeconfig);
      const from = ledger.revisionMax === 0 ? "" : `&resourceVersion=${ledger.revisionMax}`;
      const watch = client.watch(`${path}?watch=1&allowWatchBookmarks=true${from}`, ledger.event);
      const enough = ledger.writes + Math.floor(Math.random() * 400);
      const running = Array.from({ length: writers }, (_, n) => write(client, ledger, `w${n}`));
      const reached = (async () => {
        while (ledger.writes < enough) await new Promise((resolve) => setImmediate(resolve));
      })();
      await Promise.race([reached, Promise.all(running)]);
      expect(ledger.writes, "the writers ended before the kill").toBeGreaterThanOrEqual(enough);
      const victims = processesOf(cluster);
      expect(victims.length).toBeGreaterThan(0);
      for (const pid of victims) process.kill(pid, "SIGKILL");
      await Promise.all([...running, watch.ended]);
      client.close();
      await cluster.start();
      const again = new ApiClient(cluster.kubeconfig);
      await verify(again, ledger);
      again.close();
    }
    expect(ledger.writes).toBeGreaterThan(kills);
  }, 600_000);
});
