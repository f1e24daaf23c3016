import { expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { builtInResources } from "#api/index.ts";
import type { ApiResponse, Handler } from "#api/request.ts";
import { openStore } from "../store/store.ts";
import { createApiServer } from "./server.ts";

const never = new AbortController().signal;

async function world() {
  const clock = new SteppedClock({ startMs: Date.UTC(2026, 0, 1) });
  const random = seededRandom(7);
  const crypto = memoryCrypto(random.fork("crypto"));
  const log = memoryLog();
  const store = await openStore({ storage: new MemoryStorage(), clock });
  const server = await createApiServer({
    store,
    clock,
    random,
    crypto,
    log,
    resources: builtInResources,
    serviceCidr: "10.96.0.0/16",
    clientCa: () => "",
    advertise: { address: "192.0.2.1", port: 6443 },
  });
  const admin = server.as({ name: "admin", groups: ["system:masters"] });
  return { clock, store, server, admin, log };
}

const call = (
  handler: Handler,
  method: string,
  target: string,
  body?: object,
): Promise<ApiResponse> => {
  const [path = "", query = ""] = target.split("?");
  return handler({
    method,
    path,
    query: [...new URLSearchParams(query)],
    headers: { "user-agent": "test/1" },
    ...(body === undefined ? {} : { body: { object: body } }),
    gone: never,
    direct: true,
  });
};

const valueOf = (response: ApiResponse): any => {
  if (response.content.type !== "object") throw new Error(`no object but ${response.content.type}`);
  return response.content.object;
};

test("what every cluster has is there", async () => {
  const { admin, log } = await world();
  const list = await call(admin, "GET", "/api/v1/namespaces");
  expect(list.status).toBe(200);
  expect(valueOf(list).items.map((one: any) => one.metadata.name)).toEqual([
    "default",
    "kube-node-lease",
    "kube-public",
    "kube-system",
  ]);
  const service = await call(admin, "GET", "/api/v1/namespaces/default/services/kubernetes");
  expect(valueOf(service).spec.clusterIP).toBe("10.96.0.1");
  expect(log.lines).toEqual([]);
});
