/** Stories that every way to the API server must tell alike: a whole server in memory, asked directly or over HTTP. */
import { describe, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { builtInResources } from "#api/index.ts";
import type { ApiResponse, Handler, User, WatchEvent } from "#api/request.ts";
import type { ApiObject } from "#machinery/meta.ts";
import type { Source } from "#ports/stream.ts";
import { openStore } from "../store/store.ts";
import { type ApiServer, type ApiServerOptions, createApiServer } from "./server.ts";

export interface World {
  readonly clock: SteppedClock;
  readonly server: ApiServer;
  readonly log: ReturnType<typeof memoryLog>;
  readonly store: Awaited<ReturnType<typeof openStore>>;
  /** Someone who asks, over the transport under test. */
  readonly as: (user: User) => Promise<Handler>;
}
/** What a transport may need: certificates of the CA that the server trusts. */
export interface TransportParts {
  readonly server: ApiServer;
  readonly clock: SteppedClock;
  readonly issue: (user: User) => Promise<string>;
}
export type Transport = (parts: TransportParts) => Promise<World["as"]>;

/** Anything that came back, for looking into. */
export type Loose = ApiObject & Record<string, Record<string, unknown>>;

export async function makeWorld(
  transport: Transport,
  more: Partial<ApiServerOptions> = {},
): Promise<World> {
  const clock = new SteppedClock({ startMs: 1_767_225_600_000 });
  const random = seededRandom(7);
  const crypto = memoryCrypto(random.fork("crypto"));
  const log = memoryLog();
  const store = await openStore({ storage: new MemoryStorage(), clock });
  const key = await crypto.generateKey("ES256");
  const caKey = await crypto.generateKey("ES256");
  const times = { fromMs: clock.now() - 1000, toMs: clock.now() + 1e9 };
  const authority = { user: "ca", groups: [], names: [], uses: ["ca"], ...times } as const;
  const ca = await crypto.issue(authority, caKey.publicKey, caKey);
  const issue = async ({ name, groups }: User): Promise<string> => {
    const own = await crypto.generateKey("ES256");
    const facts = { user: name, groups, names: [], uses: ["client auth"], ...times } as const;
    const by = { certificate: ca, privateKey: caKey.privateKey };
    return await crypto.issue(facts, own.publicKey, by);
  };
  const server = await createApiServer({
    store,
    clock,
    random,
    crypto,
    log,
    resources: builtInResources,
    serviceCidr: "10.96.0.0/16",
    clientCa: () => ca,
    serviceAccounts: {
      keys: [{ algorithm: "ES256", ...key }],
      issuer: "https://kubernetes.default.svc.cluster.local",
    },
    advertise: { address: "192.0.2.1", port: 6443 },
    ...more,
  });
  return { clock, server, log, store, as: await transport({ server, clock, issue }) };
}

export const directly: Transport = ({ server }) =>
  Promise.resolve((user) => Promise.resolve(server.as(user)));

export const admin: User = { name: "admin", groups: ["system:masters"] };

interface Ask {
  readonly type?: string;
  readonly accept?: string;
  readonly gone?: AbortSignal;
}
const never = new AbortController().signal;

export function ask(
  handler: Handler,
  method: string,
  target: string,
  body?: object,
  { type = "application/json", accept, gone = never }: Ask = {},
): Promise<ApiResponse> {
  const [path = "", query = ""] = target.split("?");
  const pairs = query === "" ? [] : query.split("&").map((pair) => pair.split("="));
  return handler({
    method,
    path,
    query: pairs.map(([name = "", value = ""]) => [name, decodeURIComponent(value)] as const),
    headers: {
      "user-agent": "story/1",
      ...(accept === undefined ? {} : { accept }),
      ...(body === undefined ? {} : { "content-type": type }),
    },
    ...(body === undefined ? {} : { body: { object: body } }),
    gone,
    direct: true,
  });
}

export function objectOf(response: ApiResponse): Loose {
  if (response.content.type !== "object")
    throw new Error(`an object was expected, not ${response.content.type}`);
  return response.content.object as Loose;
}
export function itemsOf(response: ApiResponse): Loose[] {
  return (objectOf(response) as unknown as { items: Loose[] }).items;
}
export const namesOf = (response: ApiResponse): (string | undefined)[] =>
  itemsOf(response).map(({ metadata }) => metadata.name);
/** [code, message] */
export function refusal(response: ApiResponse): [number, unknown] {
  const status = objectOf(response) as unknown as { kind: string; message: string };
  expect(status.kind).toBe("Status");
  return [response.status, status.message];
}

/** Pulls events one by one. */
export class Watching {
  readonly #events: Source<WatchEvent>;
  #waiting: WatchEvent[] = [];
  constructor(response: ApiResponse) {
    if (response.content.type !== "watch") throw new Error("a watch was expected");
    this.#events = response.content.events;
  }
  async next(): Promise<WatchEvent<Loose> | undefined> {
    if (this.#waiting.length === 0) {
      const batch = await this.#events.next();
      if (batch === undefined) return undefined;
      this.#waiting = [...batch];
    }
    return this.#waiting.shift() as WatchEvent<Loose>;
  }
  async texts(count: number): Promise<string[]> {
    const texts: string[] = [];
    for (let index = 0; index < count; index++) {
      const event = await this.next();
      if (event === undefined) return [...texts, "END"];
      texts.push(`${event.type} ${event.object.metadata?.name ?? event.object.kind}`);
    }
    return texts;
  }
  stop(): void {
    this.#events.stop();
  }
}

export const configMaps = "/api/v1/namespaces/default/configmaps";
export const configMap = (name: string, data: object = {}, labels?: object): object => ({
  metadata: { name, ...(labels === undefined ? {} : { labels }) },
  data,
});
export const pods = "/api/v1/namespaces/default/pods";
const pod = (name: string): object => ({
  metadata: { name },
  spec: { containers: [{ name: "c", image: "i" }], terminationGracePeriodSeconds: 30 },
});

export function apiContract(name: string, transport: Transport): void {
  const start = async () => {
    const world = await makeWorld(transport);
    const handler = await world.as(admin);
    const call = (method: string, target: string, body?: object, how?: Ask) =>
      ask(handler, method, target, body, how);
    const account = { metadata: { name: "default" } };
    await call("POST", "/api/v1/namespaces/default/serviceaccounts", account);
    return { ...world, call, handler };
  };

  describe(`the API server, ${name}`, () => {
    test("has what every cluster has", async () => {
      const { call, log } = await start();
      expect(namesOf(await call("GET", "/api/v1/namespaces"))).toEqual([
        "default",
        "kube-node-lease",
        "kube-public",
        "kube-system",
      ]);
      const service = objectOf(await call("GET", "/api/v1/namespaces/default/services/kubernetes"));
      expect(service.spec?.clusterIP).toBe("10.96.0.1");
      const slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
      expect(objectOf(await call("GET", slice)).endpoints).toMatchObject([
        { addresses: ["192.0.2.1"] },
      ]);
      expect(log.lines).toEqual([]);
    });

    test("puts the endpoints of default/kubernetes right", async () => {
      const { call, clock } = await start();
      const path = "/api/v1/namespaces/default/endpoints/kubernetes";
      await call("DELETE", path);
      await clock.advance(1);
      expect(objectOf(await call("GET", path)).subsets).toMatchObject([
        { addresses: [{ ip: "192.0.2.1" }] },
      ]);
    });

    test("creates, reads, updates and deletes", async () => {
      const { call } = await start();
      const made = objectOf(await call("POST", configMaps, configMap("a", { x: "1" })));
      expect(made).toMatchObject({
        kind: "ConfigMap",
        apiVersion: "v1",
        metadata: { name: "a", namespace: "default", creationTimestamp: "2026-01-01T00:00:00Z" },
      });
      expect(made.metadata.managedFields).toMatchObject([
        { manager: "story", operation: "Update" },
      ]);
      const read = objectOf(await call("GET", `${configMaps}/a`));
      expect(read).toEqual(made);
      const next = { ...read, data: { x: "2" } };
      const updated = objectOf(await call("PUT", `${configMaps}/a`, next));
      expect(updated.data).toEqual({ x: "2" });
      expect(Number(updated.metadata.resourceVersion)).toBeGreaterThan(
        Number(read.metadata.resourceVersion),
      );
      expect(refusal(await call("PUT", `${configMaps}/a`, next))).toEqual([
        409,
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
      ]);
      const same = objectOf(await call("PUT", `${configMaps}/a`, updated));
      expect(same.metadata.resourceVersion).toBe(updated.metadata.resourceVersion);
      const gone = objectOf(await call("DELETE", `${configMaps}/a`));
      expect(gone).toMatchObject({ status: "Success", details: { name: "a", kind: "configmaps" } });
      expect(refusal(await call("GET", `${configMaps}/a`))).toEqual([
        404,
        'configmaps "a" not found',
      ]);
    });

    test("refuses what is wrong, in upstream's words", async () => {
      const { call, as } = await start();
      await call("POST", configMaps, configMap("a"));
      expect(refusal(await call("POST", configMaps, configMap("a")))).toEqual([
        409,
        'configmaps "a" already exists',
      ]);
      const strict = `${configMaps}?fieldValidation=Strict`;
      expect(refusal(await call("POST", strict, { ...configMap("b"), foo: 1 }))).toEqual([
        400,
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "foo"',
      ]);
      const warned = await call("POST", configMaps, { ...configMap("b"), foo: 1 });
      expect(warned.headers.warning).toBe('299 - "unknown field \\"foo\\""');
      const [code, message] = refusal(await call("POST", configMaps, configMap("B_")));
      expect([code, String(message).slice(0, 70)]).toEqual([
        422,
        'ConfigMap "B_" is invalid: metadata.name: Invalid value: "B_": a lower',
      ]);
      expect(
        refusal(await call("POST", configMaps, { metadata: { name: "c", namespace: "x" } })),
      ).toEqual([
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
      ]);
      const elsewhere = "/api/v1/namespaces/nowhere/configmaps";
      expect(refusal(await call("POST", elsewhere, configMap("c")))).toEqual([
        404,
        'namespaces "nowhere" not found',
      ]);
      expect((await call("GET", "/apis/example.com/v1/things")).status).toBe(404);
      expect(refusal(await call("POST", "/api/v1/configmaps", configMap("c")))[0]).toBe(405);
      const jane = await as({ name: "jane", groups: [] });
      expect(refusal(await ask(jane, "GET", "/api/v1/namespaces/default/pods"))).toEqual([
        403,
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"',
      ]);
      expect(refusal(await ask(jane, "GET", "/api/v1/nodes/n"))).toEqual([
        403,
        'nodes "n" is forbidden: User "jane" cannot get resource "nodes" in API group "" at the cluster scope',
      ]);
      expect((await ask(jane, "GET", "/apis")).status).toBe(200);
    });

    test("a dry run leaves nothing", async () => {
      const { call, store } = await start();
      const before = await store.revision();
      const would = await call("POST", `${configMaps}?dryRun=All`, configMap("a"));
      expect(would.status).toBe(201);
      expect(objectOf(would).metadata.uid).toBeDefined();
      expect(await store.revision()).toBe(before);
    });

    test("generates names", async () => {
      const { call } = await start();
      const made = objectOf(await call("POST", configMaps, { metadata: { generateName: "g-" } }));
      expect(made.metadata.name).toMatch(/^g-[a-z0-9]{5}$/);
    });

    test("patches, by all four types", async () => {
      const { call } = await start();
      await call("POST", configMaps, configMap("a", { x: "1", y: "1" }));
      const patch = (type: string, body: object, query = "") =>
        call("PATCH", `${configMaps}/a${query}`, body, { type });
      const merged = await patch("application/merge-patch+json", { data: { x: null } });
      expect(objectOf(merged).data).toEqual({ y: "1" });
      const strategic = await patch("application/strategic-merge-patch+json", { data: { z: "3" } });
      expect(objectOf(strategic).data).toEqual({ y: "1", z: "3" });
      const operations = [{ op: "replace", path: "/data/z", value: "4" }];
      const json = await patch("application/json-patch+json", operations);
      expect(objectOf(json).data).toEqual({ y: "1", z: "4" });
      const applied = { kind: "ConfigMap", apiVersion: "v1", ...configMap("a", { z: "5" }) };
      const apply = "application/apply-patch+yaml";
      expect(refusal(await patch(apply, applied, "?fieldManager=me"))).toEqual([
        409,
        'Apply failed with 1 conflict: conflict with "story" using v1: .data.z',
      ]);
      const forced = await patch(apply, applied, "?fieldManager=me&force=true");
      expect(objectOf(forced).data).toEqual({ y: "1", z: "5" });
      const made = await call(
        "PATCH",
        `${configMaps}/new?fieldManager=me`,
        {
          ...applied,
          metadata: { name: "new" },
        },
        { type: apply },
      );
      expect(made.status).toBe(201);
      expect(refusal(await patch("text/plain", {}))[0]).toBe(415);
    });

    test("keeps the status apart", async () => {
      const { call } = await start();
      await call("POST", pods, pod("p"));
      const bound = { metadata: { name: "p" }, target: { kind: "Node", name: "n1" } };
      expect((await call("POST", `${pods}/p/binding`, bound)).status).toBe(201);
      expect(refusal(await call("POST", `${pods}/p/binding`, bound))).toEqual([
        409,
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"',
      ]);
      const read = objectOf(await call("GET", `${pods}/p`));
      const both = {
        ...read,
        metadata: { ...read.metadata, labels: { l: "1" } },
        status: { ...read.status, phase: "Running" },
      };
      const main = objectOf(await call("PUT", `${pods}/p`, both));
      expect([main.metadata.labels, main.status?.phase]).toEqual([{ l: "1" }, read.status?.phase]);
      const again = { ...both, metadata: { name: "p" }, spec: { ...read.spec, nodeName: "n2" } };
      const status = objectOf(await call("PUT", `${pods}/p/status`, again));
      expect([status.spec?.nodeName, status.status?.phase]).toEqual(["n1", "Running"]);
    });

    test("deletes gracefully, and when the last finalizer has gone", async () => {
      const { call } = await start();
      const held = { metadata: { name: "a", finalizers: ["example.com/hold"] } };
      await call("POST", configMaps, held);
      const going = objectOf(await call("DELETE", `${configMaps}/a`));
      expect(going.metadata).toMatchObject({
        deletionTimestamp: "2026-01-01T00:00:00Z",
        deletionGracePeriodSeconds: 0,
      });
      expect(refusal(await call("POST", configMaps, held))[1]).toBe(
        'object is being deleted: configmaps "a" already exists',
      );
      const merge = { type: "application/merge-patch+json" };
      const freed = { metadata: { finalizers: null } };
      expect((await call("PATCH", `${configMaps}/a`, freed, merge)).status).toBe(200);
      expect((await call("GET", `${configMaps}/a`)).status).toBe(404);
      await call("POST", configMaps, configMap("b"));
      const wrong = { preconditions: { uid: "x" } };
      expect((await call("DELETE", `${configMaps}/b`, wrong)).status).toBe(409);
      const orphans = { propagationPolicy: "Orphan" };
      const orphaned = objectOf(await call("DELETE", `${configMaps}/b`, orphans));
      expect(orphaned.metadata.finalizers).toEqual(["orphan"]);
    });

    test("ends a namespace when it is empty and finalized", async () => {
      const { call } = await start();
      await call("POST", "/api/v1/namespaces", { metadata: { name: "n" } });
      const going = objectOf(await call("DELETE", "/api/v1/namespaces/n"));
      expect(going.status?.phase).toBe("Terminating");
      const made = await call("POST", "/api/v1/namespaces/n/configmaps", configMap("a"));
      expect(refusal(made)).toEqual([
        403,
        'configmaps "a" is forbidden: unable to create new content in namespace n because it is being terminated',
      ]);
      const finalized = { ...going, spec: { finalizers: [] } };
      expect((await call("PUT", "/api/v1/namespaces/n/finalize", finalized)).status).toBe(200);
      expect((await call("GET", "/api/v1/namespaces/n")).status).toBe(404);
      expect(refusal(await call("DELETE", "/api/v1/namespaces/default"))[0]).toBe(403);
    });

    test("lists in pages of one moment, by selectors", async () => {
      const { call } = await start();
      for (const id of ["a", "b", "c", "d"])
        await call(
          "POST",
          configMaps,
          configMap(id, {}, { odd: id === "a" || id === "c" ? "y" : "n" }),
        );
      const first = objectOf(await call("GET", `${configMaps}?limit=2`)) as unknown as {
        metadata: { continue: string; remainingItemCount: number; resourceVersion: string };
      };
      expect(first.metadata.remainingItemCount).toBe(2);
      await call("DELETE", `${configMaps}/c`);
      const rest = await call("GET", `${configMaps}?limit=2&continue=${first.metadata.continue}`);
      expect(namesOf(rest)).toEqual(["c", "d"]);
      expect(namesOf(await call("GET", configMaps))).toEqual(["a", "b", "d"]);
      const exact = `${configMaps}?resourceVersion=${first.metadata.resourceVersion}&resourceVersionMatch=Exact`;
      expect(namesOf(await call("GET", exact))).toEqual(["a", "b", "c", "d"]);
      expect(namesOf(await call("GET", `${configMaps}?labelSelector=odd%3Dn`))).toEqual(["b", "d"]);
      expect(namesOf(await call("GET", `${configMaps}?fieldSelector=metadata.name%3Db`))).toEqual([
        "b",
      ]);
      const bad = await call("GET", `${configMaps}?fieldSelector=foo%3Db`);
      expect(refusal(bad)[0]).toBe(400);
      expect((await call("DELETE", `${configMaps}?labelSelector=odd%3Dn`)).status).toBe(200);
      expect(namesOf(await call("GET", configMaps))).toEqual(["a"]);
    });

    test("tables and metadata are made by the server", async () => {
      const { call, clock } = await start();
      await call("POST", configMaps, configMap("a"));
      await clock.advance(90_000);
      const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
      const table = objectOf(await call("GET", configMaps, undefined, { accept })) as unknown as {
        columnDefinitions: { name: string }[];
        rows: { cells: unknown[]; object: ApiObject }[];
      };
      expect(table.columnDefinitions.map((one) => one.name).at(0)).toBe("Name");
      expect(table.rows[0]?.cells.at(0)).toBe("a");
      expect(table.rows[0]?.cells.at(-1)).toBe("90s");
      expect(table.rows[0]?.object.kind).toBe("PartialObjectMetadata");
      const partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
      const one = objectOf(await call("GET", `${configMaps}/a`, undefined, { accept: partial }));
      expect(Object.keys(one)).toEqual(["kind", "apiVersion", "metadata"]);
      const none = await call("GET", configMaps, undefined, { accept: "image/png" });
      expect(refusal(none)[0]).toBe(406);
    });

    test("watches: initial events, changes, selectors, bookmarks, the end", async () => {
      const { call, clock } = await start();
      await call("POST", configMaps, configMap("a", {}, { l: "1" }));
      const plain = new Watching(await call("GET", `${configMaps}?watch=1`));
      expect(await plain.texts(1)).toEqual(["ADDED a"]);
      const some = new Watching(await call("GET", `${configMaps}?watch=1&labelSelector=l%3D1`));
      expect(await some.texts(1)).toEqual(["ADDED a"]);
      const merge = { type: "application/merge-patch+json" };
      await call("PATCH", `${configMaps}/a`, { metadata: { labels: { l: "2" } } }, merge);
      await call("PATCH", `${configMaps}/a`, { metadata: { labels: { l: "1" } } }, merge);
      await call("DELETE", `${configMaps}/a`);
      expect(await plain.texts(3)).toEqual(["MODIFIED a", "MODIFIED a", "DELETED a"]);
      expect(await some.texts(3)).toEqual(["DELETED a", "ADDED a", "DELETED a"]);
      const initial =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=100";
      await call("POST", configMaps, configMap("b"));
      const listed = new Watching(await call("GET", `${configMaps}?${initial}`));
      expect(await listed.texts(1)).toEqual(["ADDED b"]);
      const end = await listed.next();
      expect(end?.object.metadata.annotations).toEqual({ "k8s.io/initial-events-end": "true" });
      await call("POST", "/api/v1/namespaces/kube-public/configmaps", configMap("else"));
      const bookmark = listed.next();
      await clock.advance(61_000);
      const told = await bookmark;
      expect(told?.type).toBe("BOOKMARK");
      expect(Number(told?.object.metadata.resourceVersion)).toBeGreaterThan(
        Number(end?.object.metadata.resourceVersion),
      );
      const last = listed.next();
      await clock.advance(60_000);
      expect(await last).toBeUndefined();
      plain.stop();
      some.stop();
    });

    test("says that history is gone", async () => {
      const { call, store } = await start();
      await call("POST", configMaps, configMap("a"));
      const old = objectOf(await call("GET", `${configMaps}/a`)).metadata.resourceVersion ?? "";
      for (let count = 0; count < 1100; count++)
        await call("PUT", `${configMaps}/a`, configMap("a", { count: String(count) }));
      await store.compact(await store.revision());
      const late = new Watching(await call("GET", `${configMaps}?watch=1&resourceVersion=${old}`));
      const event = await late.next();
      expect(event).toMatchObject({ type: "ERROR", object: { code: 410, reason: "Expired" } });
      const exact = `${configMaps}?resourceVersion=${old}&resourceVersionMatch=Exact`;
      expect(refusal(await call("GET", exact))).toEqual([
        410,
        "The resourceVersion for the provided list is too old.",
      ]);
    });

    test("serves events in two groups from one store", async () => {
      const { call } = await start();
      const involvedObject = { kind: "Pod", namespace: "default", name: "p" };
      const path = "/api/v1/namespaces/default/events";
      await call("POST", path, {
        metadata: { name: "e" },
        involvedObject,
        reason: "Started",
        message: "started",
        type: "Normal",
        firstTimestamp: "2026-01-01T00:00:00Z",
        lastTimestamp: "2026-01-01T00:00:00Z",
        count: 1,
      });
      const other = "/apis/events.k8s.io/v1/namespaces/default/events/e";
      expect(objectOf(await call("GET", other))).toMatchObject({
        apiVersion: "events.k8s.io/v1",
        note: "started",
        regarding: involvedObject,
        deprecatedCount: 1,
      });
    });

    test("answers reviews and signs tokens", async () => {
      const { call, server, as } = await start();
      const jane = await as({ name: "jane", groups: ["dev"] });
      const self = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
      expect(objectOf(await ask(jane, "POST", self, {})).status?.userInfo).toMatchObject({
        username: "jane",
        groups: ["dev", "system:authenticated"],
      });
      const access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
      const wanted = { spec: { resourceAttributes: { verb: "list", resource: "pods" } } };
      expect(objectOf(await ask(jane, "POST", access, wanted)).status).toEqual({ allowed: false });
      expect(objectOf(await call("POST", access, wanted)).status).toEqual({ allowed: true });
      const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
      expect((await call("POST", access, wanted, { accept })).status).toBe(406);
      const tokens = "/api/v1/namespaces/default/serviceaccounts/default/token";
      const made = objectOf(await call("POST", tokens, { spec: { expirationSeconds: 600 } }));
      const bearer = (token: string): Promise<ApiResponse> =>
        server.handler({
          method: "GET",
          path: "/apis",
          query: [],
          headers: { authorization: `Bearer ${token}` },
          gone: never,
          direct: false,
        });
      const token = String(made.status?.token);
      expect((await bearer(token)).status).toBe(200);
      expect((await bearer(`${token.slice(0, -4)}AAAA`)).status).toBe(401);
      await call("DELETE", "/api/v1/namespaces/default/serviceaccounts/default");
      expect((await bearer(token)).status).toBe(401);
      expect(refusal(await call("POST", tokens, {}))[0]).toBe(404);
    });

    test("scales through one kind", async () => {
      const { call } = await start();
      const path = "/apis/apps/v1/namespaces/default/deployments";
      const labels = { app: "a" };
      await call("POST", path, {
        metadata: { name: "d" },
        spec: {
          replicas: 1,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
        },
      });
      const scale = objectOf(await call("GET", `${path}/d/scale`));
      expect([scale.kind, scale.spec?.replicas, scale.status?.selector]).toEqual([
        "Scale",
        1,
        "app=a",
      ]);
      const more = objectOf(
        await call("PUT", `${path}/d/scale`, { ...scale, spec: { replicas: 4 } }),
      );
      expect(more.spec?.replicas).toBe(4);
      const [code, message] = refusal(
        await call(
          "PATCH",
          `${path}/d/scale`,
          { spec: { replicas: -1 } },
          {
            type: "application/merge-patch+json",
          },
        ),
      );
      expect([code, message]).toEqual([
        422,
        'Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
      ]);
      expect(objectOf(await call("GET", `${path}/d`)).spec?.replicas).toBe(4);
    });

    test("gives out cluster IPs and node ports, each once", async () => {
      const { call } = await start();
      const path = "/api/v1/namespaces/default/services";
      const service = (id: string, spec: object) => ({
        metadata: { name: id },
        spec: { ports: [{ port: 80 }], ...spec },
      });
      const made = await Promise.all(
        ["a", "b", "c", "d"].map((id) => call("POST", path, service(id, { type: "NodePort" }))),
      );
      const specs = made.map(
        (one) => objectOf(one).spec as { clusterIP: string; ports: { nodePort: number }[] },
      );
      expect(new Set(specs.map((one) => one.clusterIP)).size).toBe(4);
      expect(new Set(specs.map((one) => one.ports[0]?.nodePort)).size).toBe(4);
      const ip = specs[0]?.clusterIP ?? "";
      expect(refusal(await call("POST", path, service("e", { clusterIP: ip })))).toEqual([
        422,
        `Service "e" is invalid: spec.clusterIPs: Invalid value: ["${ip}"]: failed to allocate IP ${ip}: provided IP is already allocated`,
      ]);
      await call("DELETE", `${path}/a`);
      const again = objectOf(await call("POST", path, service("e", { clusterIP: ip })));
      expect(again.spec?.clusterIPs).toEqual([ip]);
      const port = specs[1]?.ports[0]?.nodePort;
      const taken = service("f", { type: "NodePort", ports: [{ port: 1, nodePort: port }] });
      expect(refusal(await call("POST", path, taken))).toEqual([
        422,
        `Service "f" is invalid: spec.ports[0].nodePort: Invalid value: ${port}: provided port is already allocated`,
      ]);
      const headless = objectOf(await call("POST", path, service("g", { clusterIP: "None" })));
      expect(headless.spec?.clusterIPs).toEqual(["None"]);
    });

    test("lets administrators act as others, and nobody else", async () => {
      const { handler, as } = await start();
      const asJane = (through: Handler): Promise<ApiResponse> =>
        through({
          method: "GET",
          path: pods,
          query: [],
          headers: { "impersonate-user": "jane" },
          gone: never,
          direct: true,
        });
      expect(refusal(await asJane(handler))[1]).toContain(
        'User "jane" cannot list resource "pods"',
      );
      expect(refusal(await asJane(await as({ name: "joe", groups: [] })))).toEqual([
        403,
        'users "jane" is forbidden: User "joe" cannot impersonate resource "users" in API group "" at the cluster scope',
      ]);
    });

    test("refuses wrong log options before it asks a node", async () => {
      const { call } = await start();
      await call("POST", pods, pod("p"));
      expect(refusal(await call("GET", `${pods}/p/log?tailLines=-1`))).toEqual([
        422,
        'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0',
      ]);
      expect(refusal(await call("GET", `${pods}/p/log?container=x`))).toEqual([
        400,
        "container x is not valid for pod p",
      ]);
      expect(refusal(await call("POST", `${pods}/p/exec?command=a&stdout=1`))).toEqual([
        400,
        "pod p does not have a host assigned",
      ]);
      expect((await call("GET", `${pods}/p/log`)).status).toBe(200);
    });

    test("closes in order", async () => {
      const { call, server } = await start();
      const watching = new Watching(await call("GET", `${configMaps}?watch=1&resourceVersion=0`));
      const last = watching.next();
      expect((await call("GET", "/readyz")).status).toBe(200);
      await server.close(0);
      expect(await last).toBeUndefined();
    });
  });
}
