import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { metricsResources } from "#api/index.ts";
import type { NodeMetrics } from "#api/metrics/v1beta1/nodemetrics.ts";
import { unarmour } from "#machinery/pem.ts";
import { notFound } from "#machinery/status-error.ts";
import { aggregatorContract } from "./aggregator.contract.ts";
import { admin, ask, directly, makeWorld, objectOf } from "./api.contract.ts";
import { requestHeaders } from "./authn/request-headers.ts";
import type { Delegate } from "./delegate.ts";
import { overHttp } from "./http-transport.contract.ts";

aggregatorContract("directly", directly);
aggregatorContract("over HTTP", overHttp);

const root = "/apis/metrics.k8s.io/v1beta1";
const metricsOf = (name: string): NodeMetrics => ({
  kind: "NodeMetrics",
  apiVersion: "metrics.k8s.io/v1beta1",
  metadata: { name },
  timestamp: "2026-01-01T00:00:00Z",
  window: "15s",
  usage: { cpu: "250m", memory: "1Mi" },
});
/** Knows two nodes. */
const delegate: Delegate = {
  group: "metrics.k8s.io",
  version: "v1beta1",
  groupPriorityMinimum: 100,
  versionPriority: 100,
  resources: metricsResources,
  get(_, namespace, name) {
    if (name !== "a") throw notFound({ group: "metrics.k8s.io", plural: "nodemetrics" }, name);
    expect(namespace).toBe("");
    return Promise.resolve(metricsOf(name));
  },
  list: (_, __, { labelSelector }) =>
    Promise.resolve(labelSelector === "" ? [metricsOf("a"), metricsOf("b")] : []),
};

test("a program in this process serves a group version: discovery, authorization, forms", async () => {
  const { as, server } = await makeWorld(directly, { delegates: [delegate] });
  const direct = await as(admin);
  const gone = new AbortController().signal;
  /** As bytes. */
  const textFrom = async (path: string, accept = "application/json"): Promise<string> => {
    const request = { method: "GET", path, query: [], headers: { accept }, gone } as const;
    const { content } = await server.handler({ ...request, user: admin, direct: false });
    if (content.type !== "bytes") throw new Error(`bytes were expected, not ${content.type}`);
    return new TextDecoder().decode(content.bytes);
  };
  const groups = objectOf(await ask(direct, "GET", "/apis")) as unknown as {
    groups: { name: string }[];
  };
  expect(groups.groups.map(({ name }) => name)).toContain("metrics.k8s.io");
  const list = objectOf(await ask(direct, "GET", `${root}/nodes`)) as unknown as {
    kind: string;
    items: object[];
  };
  expect(list.kind).toBe("NodeMetricsList");
  expect(list.items).toHaveLength(2);
  expect(objectOf(await ask(direct, "GET", `${root}/nodes/a`)).kind).toBe("NodeMetrics");
  expect((await ask(direct, "GET", `${root}/nodes/c`)).status).toBe(404);
  expect((await ask(direct, "GET", `${root}/pods/a`)).status).toBe(405);
  expect((await ask(direct, "DELETE", `${root}/nodes/a`)).status).toBe(405);
  expect((await ask(direct, "GET", `${root}/nodes/a/status`)).status).toBe(404);
  const refused = await ask(await as({ name: "eve", groups: [] }), "GET", `${root}/nodes`);
  expect(refused.status).toBe(403);

  const table = await textFrom(`${root}/nodes`, "application/json;as=Table;v=v1;g=meta.k8s.io");
  const { rows, columnDefinitions } = JSON.parse(table) as {
    rows: { cells: string[] }[];
    columnDefinitions: { name: string }[];
  };
  expect(columnDefinitions.map(({ name }) => name)).toEqual(["Name", "cpu", "memory", "Window"]);
  expect(rows[0]?.cells).toEqual(["a", "250m", "1Mi", "15s"]);
  const protobuf = await textFrom(`${root}/nodes/a`, "application/vnd.kubernetes.protobuf");
  expect(protobuf.startsWith("k8s\0")).toBe(true);
  const services = "/apis/apiregistration.k8s.io/v1/apiservices";
  expect(await textFrom(`${services}/v1beta1.metrics.k8s.io`)).toContain(
    '"type":"Available","status":"True"',
  );
  expect(await textFrom(`/openapi/v3${root}`)).toContain(
    "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
  );
});

test("an extension server that serves the same goes before it, until it goes", async () => {
  const { as, clock } = await makeWorld(directly, { delegates: [delegate] });
  const handler = await as(admin);
  const service = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io";
  const theirs = { name: "metrics-server", namespace: "kube-system", port: 443 };
  const patch = { spec: { service: theirs, insecureSkipTLSVerify: true } };
  const type = "application/merge-patch+json";
  expect((await ask(handler, "PATCH", service, patch, { type })).status).toBe(200);
  await clock.settle();
  // It is not there: that is said, rather than something else shown.
  expect((await ask(handler, "GET", `${root}/nodes`)).status).toBe(503);
  expect((await ask(handler, "DELETE", service)).status).toBe(200);
  await clock.settle();
  expect((await ask(handler, "GET", `${root}/nodes`)).status).toBe(200);
});

test("headers count from a front proxy only", async () => {
  const clock = new SteppedClock({ startMs: 1000 });
  const crypto = memoryCrypto(seededRandom(5));
  const times = { fromMs: 0, toMs: 1e9 };
  const issue = async (user: string, by?: { certificate: string; privateKey: string }) => {
    const keys = await crypto.generateKey("ES256");
    const uses = [by === undefined ? "ca" : "client auth"] as const;
    const facts = { user, groups: [], names: [], uses, ...times };
    const certificate = await crypto.issue(facts, keys.publicKey, by ?? keys);
    return { certificate, privateKey: keys.privateKey };
  };
  const ca = await issue("front-proxy-ca");
  const other = await issue("other-ca");
  const authenticator = requestHeaders(crypto, clock, ca.certificate);
  const headers = {
    "x-remote-user": "alice",
    "x-remote-group": "devs, ops",
    "x-remote-extra-scopes": "a",
  };
  const asked = async (by: { certificate: string; privateKey: string }, user: string) => {
    const { certificate } = await issue(user, by);
    const peer = { address: "192.0.2.1", certificates: unarmour("CERTIFICATE", certificate) };
    const gone = new AbortController().signal;
    return authenticator.authenticate({
      method: "GET",
      path: "/",
      query: [],
      headers,
      gone,
      direct: false,
      peer,
    });
  };
  expect(await asked(ca, "front-proxy-client")).toEqual({
    name: "alice",
    groups: ["devs", "ops"],
    extra: { scopes: ["a"] },
  });
  expect(await asked(ca, "somebody")).toHaveProperty("refused");
  expect(await asked(other, "front-proxy-client")).toBeUndefined();
});
