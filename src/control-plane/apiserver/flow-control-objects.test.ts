import { afterAll, beforeAll, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { builtInResources } from "#api/index.ts";
import type { JsonObject } from "#machinery/object.ts";
import { openStore } from "../store/store.ts";
import { type AskOwn, ownRequests } from "./own-requests.ts";
import { type ApiServer, createApiServer, serverUser } from "./server.ts";

const clock = new SteppedClock({ startMs: 0 });
const root = "/apis/flowcontrol.apiserver.k8s.io/v1";
let server: ApiServer;
let ask: AskOwn;

beforeAll(async () => {
  const random = seededRandom(3);
  server = await createApiServer({
    store: await openStore({ storage: new MemoryStorage(), clock }),
    clock,
    random,
    crypto: memoryCrypto(random.fork("crypto")),
    log: memoryLog(),
    resources: builtInResources,
    serviceCidr: "10.96.0.0/16",
    clientCa: () => "",
    components: [{ name: "scheduler", problem: () => "it has stopped" }],
  });
  ask = ownRequests(server.as(serverUser));
});
afterAll(() => server.close(0));

async function get(path: string): Promise<JsonObject> {
  await clock.settle();
  const { content } = await ask("GET", path);
  return content.type === "object" ? (content.object as JsonObject) : {};
}
const dangling = async (name: string): Promise<unknown> => {
  const { status } = await get(`${root}/flowschemas/${name}`);
  const [condition] = (status as { conditions: JsonObject[] }).conditions;
  return [condition?.["status"], condition?.["reason"]];
};

test("what is mandatory comes back, what is suggested too", async () => {
  for (const name of ["catch-all", "global-default"]) {
    expect((await ask("DELETE", `${root}/flowschemas/${name}`)).status).toBe(200);
    expect(await get(`${root}/flowschemas/${name}`)).toMatchObject({ kind: "FlowSchema" });
  }
});

test("a suggested spec is put right, unless its annotation says that it is somebody's own", async () => {
  const path = `${root}/flowschemas/probes`;
  const change = (annotation: string) =>
    ask("PATCH", path, {
      metadata: { annotations: { "apf.kubernetes.io/autoupdate-spec": annotation } },
      spec: { matchingPrecedence: 7 },
    });
  await change("true");
  expect(await get(path)).toMatchObject({ spec: { matchingPrecedence: 2 } });
  await change("false");
  expect(await get(path)).toMatchObject({ spec: { matchingPrecedence: 7 } });
});

test("a flow schema says whether its level is there", async () => {
  const metadata = { name: "mine" };
  const spec = { priorityLevelConfiguration: { name: "mine" } };
  await ask("POST", `${root}/flowschemas`, { metadata, spec });
  expect(await dangling("mine")).toEqual(["True", "NotFound"]);
  const limited = { limitResponse: { type: "Reject" } };
  const level = { metadata, spec: { type: "Limited", limited } };
  await ask("POST", `${root}/prioritylevelconfigurations`, level);
  expect(await dangling("mine")).toEqual(["False", "Found"]);
  await ask("DELETE", `${root}/prioritylevelconfigurations/mine`);
  expect(await dangling("mine")).toEqual(["True", "NotFound"]);
});

test("components say how they are", async () => {
  const list = (await get("/api/v1/componentstatuses")) as { items?: JsonObject[] };
  expect(list.items).toEqual([
    {
      apiVersion: "v1",
      kind: "ComponentStatus",
      metadata: { name: "scheduler" },
      conditions: [{ type: "Healthy", status: "False", error: "it has stopped" }],
    },
    {
      apiVersion: "v1",
      kind: "ComponentStatus",
      metadata: { name: "etcd-0" },
      conditions: [{ type: "Healthy", status: "True", message: "ok" }],
    },
  ]);
});
