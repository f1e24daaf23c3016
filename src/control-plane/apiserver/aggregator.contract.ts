/** Stories of extension servers that every way to the API server must tell alike; the extension answers where nodes are reached. */
import { describe, expect, test } from "vitest";
import type { ApiRequest, Handler } from "#api/request.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import type { JsonObject } from "#machinery/object.ts";
import {
  admin,
  ask,
  makeWorld,
  objectOf,
  refusal,
  type Transport,
  type World,
} from "./api.contract.ts";
import type { NodeProxy, ProxyTarget } from "./node-proxy.ts";

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const services = "/apis/apiregistration.k8s.io/v1/apiservices";
const group = "wardle.example.com";
const frontProxy = {
  ca: "FRONT PROXY CA",
  identity: () => ({ chain: "front proxy", key: "secret" }),
};

const flunders = {
  kind: "APIResourceList",
  apiVersion: "v1",
  groupVersion: `${group}/v1alpha1`,
  resources: [
    {
      name: "flunders",
      singularName: "flunder",
      namespaced: true,
      kind: "Flunder",
      verbs: ["create", "get", "list", "watch"],
      shortNames: ["fl"],
    },
    {
      name: "flunders/status",
      singularName: "",
      namespaced: true,
      kind: "Flunder",
      verbs: ["get"],
    },
  ],
};

interface Asked {
  readonly target: ProxyTarget;
  readonly path: string;
  readonly request: ApiRequest;
}

/** What answers at the Service; `down`: nothing does. */
class Wardle implements NodeProxy {
  readonly asked: Asked[] = [];
  down = false;

  forward: NodeProxy["forward"] = (target, path, request) => {
    this.asked.push({ target, path, request });
    const status = this.down ? 500 : 200;
    const body = this.#answer(path);
    const found = body === undefined ? { status: 404, body: {} } : { status, body };
    const bytes = encode(found.body);
    const content = { type: "bytes", mediaType: "application/json", bytes } as const;
    return Promise.resolve({ status: found.status, headers: {}, content });
  };

  #answer(path: string): object | undefined {
    const root = `/apis/${group}/v1alpha1`;
    if (path === root) return flunders;
    if (path === "/openapi/v3")
      return { paths: { [root.slice(1)]: { serverRelativeURL: `/openapi/v3${root}?hash=ABC` } } };
    if (path === "/openapi/v2")
      return { paths: { [`${root}/flunders`]: { get: {} } }, definitions: { Flunder: {} } };
    if (path.startsWith(`${root}/namespaces/default/flunders/`))
      return { kind: "Flunder", apiVersion: `${group}/v1alpha1`, metadata: { name: "one" } };
    return undefined;
  }
}

const apiService = (spec: JsonObject): JsonObject => ({
  metadata: { name: `v1alpha1.${group}` },
  spec: {
    group,
    version: "v1alpha1",
    groupPriorityMinimum: 2000,
    versionPriority: 200,
    caBundle: encodeBase64(new TextEncoder().encode("CA")),
    service: { namespace: "default", name: "wardle" },
    ...spec,
  },
});

async function makeService(
  call: (method: string, target: string, body: object) => Promise<unknown>,
) {
  const core = "/api/v1/namespaces/default";
  const ports = [{ port: 443, targetPort: 8443 }];
  await call("POST", `${core}/services`, { metadata: { name: "wardle" }, spec: { ports } });
  await call("POST", `${core}/endpoints`, {
    metadata: { name: "wardle" },
    subsets: [{ addresses: [{ ip: "192.0.2.9" }], ports: [{ port: 8443 }] }],
  });
  await call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
    metadata: { name: "wardle-1", labels: { "kubernetes.io/service-name": "wardle" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["192.0.2.9"] }],
    ports: [{ name: "", port: 8443 }],
  });
}

export function aggregatorContract(how: string, transport: Transport): void {
  const start = async () => {
    const wardle = new Wardle();
    const world = await makeWorld(transport, { nodeProxy: wardle, frontProxy });
    const handler = await world.as(admin);
    const call = (method: string, target: string, body?: object) =>
      ask(handler, method, target, body);
    return { ...world, wardle, handler, call };
  };
  const available = async ({
    clock,
    call,
  }: {
    clock: World["clock"];
    call: (method: string, target: string) => ReturnType<typeof ask>;
  }) => {
    await clock.settle();
    const found = objectOf(await call("GET", `${services}/v1alpha1.${group}`));
    const status = found.status as { conditions?: JsonObject[] } | undefined;
    const [condition] = status?.conditions ?? [];
    return [condition?.status, condition?.reason];
  };

  describe(`extension servers, ${how}`, () => {
    test("what this server serves itself has an APIService", async () => {
      const { call } = await start();
      const apps = objectOf(await call("GET", `${services}/v1.apps`));
      expect(apps.metadata.labels).toEqual({
        "kube-aggregator.kubernetes.io/automanaged": "onstart",
      });
      expect(apps.spec).toEqual({
        group: "apps",
        version: "v1",
        groupPriorityMinimum: 17800,
        versionPriority: 15,
      });
      expect(apps.status).toMatchObject({ conditions: [{ reason: "Local", status: "True" }] });
    });

    test("an APIService says step by step what is missing", async () => {
      const world = await start();
      const { call } = world;
      await call("POST", services, apiService({}));
      expect(await available(world)).toEqual(["False", "ServiceNotFound"]);
      const unavailable = await call(
        "GET",
        `/apis/${group}/v1alpha1/namespaces/default/flunders/one`,
      );
      expect(refusal(unavailable)).toEqual([503, "service unavailable"]);
      await makeService(call);
      expect(await available(world)).toEqual(["True", "Passed"]);
      world.wardle.down = true;
      await world.clock.advance(31_000);
      expect(await available(world)).toEqual(["False", "FailedDiscoveryCheck"]);
      world.wardle.down = false;
      await world.clock.advance(31_000);
      expect(await available(world)).toEqual(["True", "Passed"]);
      const slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/wardle-1";
      await call("DELETE", slice);
      expect(await available(world)).toEqual(["False", "EndpointsNotFound"]);
    });

    test("requests go there as their user, over TLS, and are answered as they come back", async () => {
      const world = await start();
      await makeService(world.call);
      await world.call("POST", services, apiService({}));
      await world.clock.settle();
      world.wardle.asked.length = 0;
      const alice = { name: "alice", groups: ["devs", "system:masters"] };
      const path = `/apis/${group}/v1alpha1/namespaces/default/flunders/one`;
      const got = await ask(await world.as(alice), "GET", path);
      expect(objectOf(got)).toMatchObject({ kind: "Flunder", metadata: { name: "one" } });
      const [asked] = world.wardle.asked;
      expect(asked?.target).toMatchObject({ host: "192.0.2.9", port: 8443, scheme: "https" });
      expect(asked?.target.tls).toMatchObject({ roots: "CA", serverName: "wardle.default.svc" });
      expect(asked?.target.tls?.identity?.()).toEqual({ chain: "front proxy", key: "secret" });
      expect(asked?.request.headers["x-remote-user"]).toBe("alice");
      const groups = asked?.request.headers["x-remote-group"]?.split("\n");
      expect(groups).toEqual(["devs", "system:masters", "system:authenticated"]);
    });

    test("discovery and OpenAPI tell of it", async () => {
      const world = await start();
      const { call } = world;
      await makeService(call);
      await call("POST", services, apiService({}));
      await world.clock.settle();
      const groups = objectOf(await call("GET", "/apis")) as unknown as { groups: JsonObject[] };
      const preferredVersion = { groupVersion: `${group}/v1alpha1`, version: "v1alpha1" };
      expect(groups.groups.find(({ name }) => name === group)).toMatchObject({ preferredVersion });
      expect(objectOf(await call("GET", `/apis/${group}/v1alpha1`))).toEqual(flunders);
      const text = JSON.stringify(await discovered(world.handler));
      expect(text).toContain('"resource":"flunders"');
      expect(text).toContain('"shortNames":["fl"]');
    });

    test("a custom resource's group has an APIService while it is served", async () => {
      const { call, clock } = await start();
      const definition = {
        metadata: { name: "things.example.com" },
        spec: {
          group: "example.com",
          scope: "Cluster",
          names: { plural: "things", kind: "Thing" },
          versions: [
            {
              name: "v1",
              served: true,
              storage: true,
              schema: { openAPIV3Schema: { type: "object" } },
            },
          ],
        },
      };
      const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
      await call("POST", crds, definition);
      await clock.settle();
      const made = objectOf(await call("GET", `${services}/v1.example.com`));
      expect(made.spec).toMatchObject({ groupPriorityMinimum: 1000, versionPriority: 100 });
      await call("DELETE", `${crds}/things.example.com`);
      await clock.settle();
      expect((await call("GET", `${services}/v1.example.com`)).status).toBe(404);
    });

    test("extension servers find out whom to believe", async () => {
      const { call } = await start();
      const path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
      expect(objectOf(await call("GET", path)).data).toMatchObject({
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-client-ca-file": "FRONT PROXY CA",
        "requestheader-username-headers": '["X-Remote-User"]',
      });
    });
  });
}

async function discovered(handler: Handler): Promise<object> {
  const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  const answer = await ask(handler, "GET", "/apis", undefined, { accept });
  return answer.content.type === "object" ? answer.content.object : {};
}
