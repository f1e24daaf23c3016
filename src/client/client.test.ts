/** The client library against a real server in this process, called or asked over HTTP. */
import { afterEach, describe, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { Lease } from "#api/coordination/v1/lease.ts";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Event } from "#api/core/v1/event.ts";
import { builtInResources } from "#api/index.ts";
import type { ApiRequest, ApiResponse, Handler } from "#api/request.ts";
import { createApiServer } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import { StatusError } from "#machinery/status-error.ts";
import { type Transport, transports, wayTo } from "#simulation/transport.ts";
import { createClient, pathOf } from "./client.ts";
import { createEventRecorder } from "./events.ts";
import { createInformer } from "./informer.ts";
import { runLeaderElection } from "./leader-election.ts";
import { decodeWatch } from "./remote.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function setUp(transport: Transport) {
  const clock = new SteppedClock({ startMs: 1_900_000_000_000 });
  const random = seededRandom(3);
  const log = memoryLog();
  const store = await openStore({ storage: new MemoryStorage(), clock });
  const server = await createApiServer({
    store,
    clock,
    random: random.fork("server"),
    crypto: memoryCrypto(random.fork("crypto")),
    log,
    resources: builtInResources,
    serviceCidr: "10.96.0.0/12",
    clientCa: () => "",
  });
  ends.push(async () => {
    way.close();
    await server.close(0);
    await store.close();
  });
  const user = { name: "admin", groups: ["system:masters", "system:authenticated"] };
  const way = wayTo(server, transport, { clock, log });
  const handler = way.as(user);
  const client = createClient(handler, { userAgent: "test/v1" });
  return { clock, random, log, handler, client, ports: { clock, random, log } };
}
const configMap = (name: string, value: string) => ({
  metadata: { name, namespace: "default", labels: { value } },
  data: { value },
});
const ref = (name: string) => ({ namespace: "default", name });

test("paths", () => {
  expect(pathOf(ConfigMap, {})).toBe("/api/v1/configmaps");
  expect(pathOf(ConfigMap, ref("a"))).toBe("/api/v1/namespaces/default/configmaps/a");
  expect(pathOf(Lease, { ...ref("a"), subresource: "status" })).toBe(
    "/apis/coordination.k8s.io/v1/namespaces/default/leases/a/status",
  );
});

describe.each(transports)("over %s", (transport) => {
  test("verbs, and refusals as StatusError", async () => {
    const { client } = await setUp(transport);
    const made = await client.create(ConfigMap, configMap("a", "1"));
    expect(made).toMatchObject({ apiVersion: "v1", kind: "ConfigMap", data: { value: "1" } });
    expect(Object.isFrozen(made)).toBe(true);
    await expect(client.create(ConfigMap, configMap("a", "1"))).rejects.toMatchObject({
      code: 409,
      reason: "AlreadyExists",
    });
    const next = await client.update(ConfigMap, { ...made, data: { value: "2" } });
    await expect(client.update(ConfigMap, { ...made, data: { value: "3" } })).rejects.toMatchObject(
      {
        reason: "Conflict",
      },
    );
    const patched = await client.patch(ConfigMap, ref("a"), "merge", { data: { more: "x" } });
    expect(patched.data).toEqual({ value: "2", more: "x" });
    const path = { op: "remove", path: "/data/more" };
    expect((await client.patch(ConfigMap, ref("a"), "json", [path])).data).toEqual({ value: "2" });
    const applied = { ...configMap("b", "1"), apiVersion: "v1", kind: "ConfigMap" };
    const owned = await client.patch(ConfigMap, ref("b"), "apply", applied);
    expect(owned.metadata.managedFields?.[0]).toMatchObject({
      manager: "test",
      operation: "Apply",
    });
    const list = await client.list(ConfigMap, { namespace: "default", labelSelector: "value=1" });
    expect(list.items.map((one) => one.metadata.name).sort()).toEqual(["a", "b"]);
    expect(list.items[0]?.kind).toBe("ConfigMap");
    const stale = { preconditions: { resourceVersion: made.metadata.resourceVersion } };
    await expect(client.delete(ConfigMap, ref("a"), stale)).rejects.toThrow(StatusError);
    await client.delete(ConfigMap, ref("a"));
    await expect(client.get(ConfigMap, ref("a"))).rejects.toMatchObject({ reason: "NotFound" });
    expect(next.data).toEqual({ value: "2" });
  });

  test("an informer lists, follows, and finds by index", async () => {
    const { client, clock, ports } = await setUp(transport);
    await client.create(ConfigMap, configMap("a", "1"));
    const informer = createInformer(ConfigMap, client, ports, {
      namespace: "default",
      indexes: { value: (object) => [object.data?.["value"] ?? ""] },
    });
    ends.push(async () => informer.stop());
    const told: string[] = [];
    informer.addHandlers({
      added: (object, initial) => told.push(`+${object.metadata.name}${initial ? "!" : ""}`),
      updated: (object, old) => told.push(`${old.data?.["value"]}>${object.data?.["value"]}`),
      deleted: (object) => told.push(`-${object.metadata.name}`),
    });
    await informer.synced;
    const made = await client.create(ConfigMap, configMap("b", "1"));
    await client.patch(ConfigMap, ref("a"), "merge", { data: { value: "2" } });
    await client.delete(ConfigMap, ref("b"));
    await clock.settle();
    expect(told).toEqual(["+a!", "+b", "1>2", "-b"]);
    expect(informer.byIndex("value", "2").map((one) => one.metadata.name)).toEqual(["a"]);
    expect(informer.byIndex("value", "1")).toEqual([]);
    expect(informer.revision).toBeGreaterThan(BigInt(made.metadata.resourceVersion));
    const late: string[] = [];
    informer.addHandlers({
      added: (object, initial) => late.push(`${object.metadata.name}${initial}`),
    });
    expect(late).toEqual(["atrue"]);
    const [cached, asked] = [informer.get("default/a"), await client.get(ConfigMap, ref("a"))];
    expect(cached).toEqual(asked);
    // In process the cache holds the server's own object.
    expect(cached === asked).toBe(transport === "direct");
  });

  /** Between client and server: lets tests cut watches and answer in the server's place. */
  function cuttable(handler: Handler) {
    const cuts: (() => void)[] = [];
    const asked: string[] = [];
    const state: { refuse: number | undefined } = { refuse: undefined };
    const through: Handler = async (request: ApiRequest): Promise<ApiResponse> => {
      const isWatch = request.query.some(([name]) => name === "watch");
      asked.push(isWatch ? "watch" : request.method.toLowerCase());
      if (state.refuse !== undefined) {
        const code = state.refuse;
        const object = {
          kind: "Status",
          apiVersion: "v1",
          metadata: {},
          status: "Failure",
          reason: code === 410 ? "Expired" : "ServiceUnavailable",
          message: "no",
          code,
        };
        return { status: code, headers: {}, content: { type: "object", object } };
      }
      const response = await handler(request);
      const { content } = response;
      if (content.type === "watch") cuts.push(() => content.events.stop());
      return response;
    };
    return { through, cuts, asked, state };
  }

  test("a cut watch is resumed; a forgotten one is listed anew; what was missed is told as such", async () => {
    const { handler, client, clock, ports } = await setUp(transport);
    const { through, cuts, asked, state } = cuttable(handler);
    await client.create(ConfigMap, configMap("a", "1"));
    await client.create(ConfigMap, configMap("b", "1"));
    const slow = createClient(through, { userAgent: "slow/v1" });
    const informer = createInformer(ConfigMap, slow, ports, { namespace: "default" });
    ends.push(async () => informer.stop());
    await informer.synced;
    const told: string[] = [];
    informer.addHandlers({
      updated: (object) => told.push(`~${object.metadata.name}`),
      deleted: (object) => told.push(`-${object.metadata.name}`),
    });
    await clock.advance(5000);
    cuts.pop()?.();
    await clock.advance(5000);
    expect(asked).toEqual(["get", "watch", "watch"]);
    state.refuse = 410;
    cuts.pop()?.();
    await client.delete(ConfigMap, ref("a"));
    await client.patch(ConfigMap, ref("b"), "merge", { data: { value: "2" } });
    await clock.advance(1);
    expect(told).toEqual([]);
    state.refuse = undefined;
    await clock.advance(60_000);
    expect(told.sort()).toEqual(["-a", "~b"]);
    expect(asked.slice(-2)).toEqual(["get", "watch"]);
  });

  test("while the server fails, an informer asks ever more rarely", async () => {
    const { handler, clock, ports } = await setUp(transport);
    const { through, asked, state } = cuttable(handler);
    state.refuse = 503;
    const informer = createInformer(ConfigMap, createClient(through, { userAgent: "t/v1" }), ports);
    ends.push(async () => informer.stop());
    await clock.advance(120_000);
    expect(asked.length).toBeGreaterThan(5);
    expect(asked.length).toBeLessThan(14);
    state.refuse = undefined;
    await clock.advance(60_000);
    expect(informer.isSynced).toBe(true);
  });

  test("events are written once and then counted", async () => {
    const { client, clock, ports } = await setUp(transport);
    const recorder = createEventRecorder(client, { component: "tester", host: "n" }, ports);
    ends.push(async () => recorder.stop());
    const about = await client.create(ConfigMap, configMap("a", "1"));
    for (let at = 0; at < 3; at += 1) {
      recorder.event(about, "Warning", "Odd", "it is odd");
      await clock.advance(1000);
    }
    await recorder.flushed();
    const { items } = await client.list(Event, { namespace: "default" });
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({
      count: 3,
      reason: "Odd",
      message: "it is odd",
      type: "Warning",
      source: { component: "tester", host: "n" },
      reportingComponent: "tester",
      involvedObject: { kind: "ConfigMap", name: "a", apiVersion: "v1", uid: about.metadata.uid },
    });
    expect(items[0]?.metadata.name).toMatch(/^a\.[0-9a-f]{16}$/);
    expect(items[0]?.lastTimestamp).not.toBe(items[0]?.firstTimestamp);
  });

  test("one leads; when it falls silent another takes over, not before; giving back is at once", async () => {
    const { handler, client, clock, ports } = await setUp(transport);
    const story: string[] = [];
    const run = (identity: string, by: Handler) =>
      runLeaderElection(createClient(by, { userAgent: `${identity}/v1` }), ports, {
        lease: { namespace: "kube-system", name: "loop" },
        identity,
        onStarted: () => story.push(`${identity} starts`),
        onStopped: () => story.push(`${identity} stops`),
      });
    const { through, state } = cuttable(handler);
    const first = run("one", through);
    await clock.advance(1000);
    const second = run("two", handler);
    await clock.advance(30_000);
    expect(story).toEqual(["one starts"]);
    state.refuse = 503;
    await clock.advance(7_000);
    expect(story).toEqual(["one starts"]);
    await clock.advance(30_000);
    expect(story).toEqual(["one starts", "one stops", "two starts"]);
    state.refuse = undefined;
    await second.stop();
    await clock.advance(5_000);
    expect(story).toEqual(["one starts", "one stops", "two starts", "two stops", "one starts"]);
    const lease = await client.get(Lease, { namespace: "kube-system", name: "loop" });
    expect(lease.spec).toMatchObject({ holderIdentity: "one", leaseDurationSeconds: 15 });
    await first.stop();
  });
});

test("watch lines arrive in any pieces", async () => {
  const lines = ["a", "é", "c"].map((name) =>
    JSON.stringify({ type: "ADDED", object: { metadata: { name } } }),
  );
  const bytes = new TextEncoder().encode(`${lines.join("\n")}\n{"type":"cut`);
  for (let size = 1; size < 40; size += 1) {
    let at = 0;
    const source = decodeWatch({
      next: () => {
        const piece = bytes.slice(at, at + size);
        at += size;
        return Promise.resolve(piece.length === 0 ? undefined : [piece]);
      },
      stop: () => {},
    });
    const names: unknown[] = [];
    for (let batch = await source.next(); batch !== undefined; batch = await source.next()) {
      for (const event of batch) {
        names.push((event.object as { metadata: { name: string } }).metadata.name);
      }
    }
    expect(names).toEqual(["a", "é", "c"]);
  }
});
