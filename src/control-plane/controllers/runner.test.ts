import { afterEach, describe, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Secret } from "#api/core/v1/secret.ts";
import { builtInResources } from "#api/index.ts";
import type { Handler } from "#api/request.ts";
import { createClient } from "#client/client.ts";
import { createInformers } from "#client/informer.ts";
import { createApiServer } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import { type Transport, transports, wayTo } from "#simulation/transport.ts";
import {
  type ControllerDefinition,
  claimable,
  controllerReference,
  defaultSettings,
} from "./controller.ts";
import { defineController } from "./runner.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function setUp(
  transport: Transport,
  definition: Partial<ControllerDefinition<ConfigMap>> &
    Pick<ControllerDefinition<ConfigMap>, "reconcile">,
) {
  const clock = new SteppedClock({ startMs: 1_900_000_000_000 });
  const random = seededRandom(5);
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
  const way = wayTo(server, transport, { clock, log });
  const handler = way.as({ name: "a", groups: ["system:masters", "system:authenticated"] });
  /** While closed, events of Secrets stay on their way. */
  const gate = { open: Promise.resolve(), openIt: () => {} };
  const late: Handler = async (request) => {
    const response = await handler(request);
    const { content } = response;
    if (content.type !== "watch" || !request.path.endsWith("secrets")) return response;
    const { events } = content;
    const next = async () => {
      const batch = await events.next();
      await gate.open;
      return batch;
    };
    return { ...response, content: { type: "watch", events: { next, stop: () => events.stop() } } };
  };
  const client = createClient(handler, { userAgent: "test/v1" });
  const informers = createInformers(createClient(late, { userAgent: "late/v1" }), {
    clock,
    random,
    log,
  });
  const controller = defineController<ConfigMap>({
    name: "test",
    reconciles: ConfigMap,
    owns: [Secret],
    ...definition,
  });
  const running = controller.start({
    clientFor: () => client,
    informers,
    clock,
    random,
    log,
    settings: defaultSettings,
  });
  ends.push(async () => {
    await running.stop();
    informers.stop();
    way.close();
    await server.close(0);
    await store.close();
  });
  const close = () => {
    gate.open = new Promise((resolve) => {
      gate.openIt = resolve;
    });
  };
  return { clock, client, log, close, open: () => gate.openIt() };
}
const ref = { namespace: "default", name: "owner" };
const owner = { metadata: ref, data: {} };

/** Wants one Secret beneath each ConfigMap named owner. */
const oneChild: ControllerDefinition<ConfigMap>["reconcile"] = async (object, context) => {
  if (object.metadata.name !== "owner") return;
  const candidates = claimable(context.cache(Secret), object);
  const children = await context.claim(
    Secret,
    object,
    candidates,
    (one) => one.metadata.labels?.["app"] === "x",
  );
  if (children.length > 0) return;
  const metadata = {
    generateName: "child-",
    namespace: "default",
    labels: { app: "x" },
    ownerReferences: [controllerReference(ConfigMap, object)],
  };
  await context.createEach(Secret, [{ metadata }]);
};

describe.each(transports)("over %s", (transport) => {
  test("a pass waits until the cache has seen what the last pass wrote", async () => {
    const { client, clock, close, open } = await setUp(transport, { reconcile: oneChild });
    await clock.advance(1000);
    close();
    await client.create(ConfigMap, owner);
    await clock.settle();
    for (let at = 0; at < 5; at += 1) {
      await client.patch(ConfigMap, ref, "merge", { data: { at: String(at) } });
      await clock.advance(100);
    }
    open();
    await clock.advance(1000);
    expect((await client.list(Secret, { namespace: "default" })).items).toHaveLength(1);
  });

  test("orphans that match are adopted, own ones that no longer match are released and replaced", async () => {
    const { client, clock } = await setUp(transport, {
      reconcile: oneChild,
      adopts: (_owner, orphan) => orphan.metadata.labels?.["app"] === "x",
    });
    await clock.advance(1000);
    await client.create(Secret, {
      metadata: { name: "orphan", namespace: "default", labels: { app: "x" } },
    });
    const made = await client.create(ConfigMap, owner);
    await clock.advance(1000);
    const list = async () => (await client.list(Secret, { namespace: "default" })).items;
    expect((await list()).map((one) => one.metadata.ownerReferences?.[0]?.uid)).toEqual([
      made.metadata.uid,
    ]);
    await client.patch(Secret, { namespace: "default", name: "orphan" }, "merge", {
      metadata: { labels: { app: "y" } },
    });
    await clock.advance(1000);
    const after = await list();
    expect(after).toHaveLength(2);
    const released = after.find((one) => one.metadata.name === "orphan");
    expect(released?.metadata.ownerReferences ?? []).toEqual([]);
  });

  test("slow start: one hopeless creation is enough to stop", async () => {
    let created = -1;
    const { client, clock } = await setUp(transport, {
      async reconcile(object, context) {
        if (object.metadata.name !== "owner" || created >= 0) return;
        const good = { metadata: { generateName: "good-", namespace: "default" } };
        const bad = { metadata: { name: "Not_A_Name", namespace: "default" } };
        const result = await context.createEach(Secret, [good, good, bad, bad, bad, bad, bad, bad]);
        created = result.created.length;
        expect(result.error).toMatchObject({ reason: "Invalid" });
      },
    });
    await client.create(ConfigMap, owner);
    await clock.advance(1000);
    expect(created).toBe(2);
    expect((await client.list(Secret, { namespace: "default" })).items).toHaveLength(2);
  });

  test("what fails is tried again, ever later, until it works", async () => {
    const at: number[] = [];
    const clockBox: { clock?: SteppedClock } = {};
    const { client, clock } = await setUp(transport, {
      async reconcile(object) {
        if (object.metadata.name !== "owner") return;
        at.push(clockBox.clock?.monotonicMs() ?? 0);
        if (at.length < 5) throw new Error("not yet");
      },
    });
    clockBox.clock = clock;
    await clock.advance(1000);
    await client.create(ConfigMap, owner);
    await clock.advance(10_000);
    const [first = 0, ...rest] = at;
    expect(rest.map((time) => time - first)).toEqual([5, 15, 35, 75]);
  });
});
