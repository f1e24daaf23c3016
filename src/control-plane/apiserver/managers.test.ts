/** Managed fields through the API server: which way in manages which fields, and how they are forgotten. */
import { expect, test } from "vitest";
import type { ManagedFieldsEntry } from "#machinery/meta.ts";
import {
  admin,
  ask,
  configMap,
  configMaps,
  directly,
  makeWorld,
  objectOf,
  pods,
} from "./api.contract.ts";

async function start() {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  const account = { metadata: { name: "default" } };
  await ask(handler, "POST", "/api/v1/namespaces/default/serviceaccounts", account);
  return async (method: string, path: string, body?: object, type?: string) => {
    const answer = await ask(handler, method, path, body, type === undefined ? {} : { type });
    return objectOf(answer);
  };
}
type Call = Awaited<ReturnType<typeof start>>;

const merge = "application/merge-patch+json";
const strategic = "application/strategic-merge-patch+json";

const managersOf = ({ metadata }: Awaited<ReturnType<Call>>): ManagedFieldsEntry[] =>
  metadata.managedFields ?? [];
async function fieldsOf(call: Call, path: string, manager: string): Promise<unknown> {
  const entries = managersOf(await call("GET", path));
  return entries.find((entry) => entry.manager === manager)?.fieldsV1;
}

test.each([
  ["PUT", undefined],
  ["PATCH", merge],
  ["PATCH", strategic],
])("%s with an empty list of managers forgets them (%s)", async (method, type) => {
  const call = await start();
  const made = await call("POST", configMaps, configMap("a", { k: "1" }));
  expect(managersOf(made)).toHaveLength(1);
  const asked = { metadata: { name: "a", managedFields: [] }, data: { k: "2" } };
  const reset = await call(method, `${configMaps}/a`, asked, type);
  expect([reset.metadata.managedFields, reset.data]).toEqual([undefined, { k: "2" }]);
  const apply = `${configMaps}/a?fieldManager=m`;
  const applied = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } };
  const after = await call(
    "PATCH",
    apply,
    { ...applied, data: { l: "1" } },
    "application/apply-patch+yaml",
  );
  expect(managersOf(after).map(({ manager }) => manager)).toEqual(["m", "before-first-apply"]);
});

test("a JSON patch and one empty item forget them too; without the field they stay", async () => {
  const call = await start();
  await call("POST", configMaps, configMap("a", { k: "0" }));
  const kept = await call("PUT", `${configMaps}/a`, configMap("a", { k: "1" }));
  expect(managersOf(kept)).toHaveLength(1);
  const patch = [{ op: "replace", path: "/metadata/managedFields", value: [{}] }];
  const reset = await call("PATCH", `${configMaps}/a`, patch, "application/json-patch+json");
  expect(reset.metadata.managedFields).toBeUndefined();
});

const pod = { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "web:1" }] } };

test("nobody forgets managers through a subresource", async () => {
  const call = await start();
  await call("POST", pods, pod);
  const asked = { metadata: { managedFields: [] }, status: { phase: "Running" } };
  const after = await call("PATCH", `${pods}/p/status`, asked, strategic);
  expect(managersOf(after).map(({ subresource }) => subresource)).toEqual([undefined, "status"]);
});

test("a way in manages only what it may change", async () => {
  const call = await start();
  await call("POST", pods, pod);
  const debug = { name: "d", image: "shell:1" };
  const both = { metadata: { labels: { a: "b" } }, status: { phase: "Failed" } };
  const window = { ...both, spec: { ephemeralContainers: [debug], nodeName: "n" } };
  await call("PATCH", `${pods}/p/ephemeralcontainers?fieldManager=w`, window, strategic);
  expect(await fieldsOf(call, `${pods}/p`, "w")).toEqual({
    "f:spec": { "f:ephemeralContainers": expect.any(Object) },
  });
  await call("PATCH", `${pods}/p?fieldManager=o`, both, strategic);
  const labels = { "f:metadata": { "f:labels": { ".": {}, "f:a": {} } } };
  expect(await fieldsOf(call, `${pods}/p`, "o")).toEqual(labels);
  const status = { metadata: { labels: { c: "d" } }, spec: { nodeName: "n" }, status: both.status };
  await call("PATCH", `${pods}/p/status?fieldManager=s`, status, strategic);
  expect(await fieldsOf(call, `${pods}/p`, "s")).toEqual({
    "f:metadata": { "f:labels": { "f:c": {} } },
    "f:status": { "f:phase": {} },
  });
});

test("a deployment's labels are not managed through its status", async () => {
  const call = await start();
  const deployments = "/apis/apps/v1/namespaces/default/deployments";
  const matchLabels = { app: "d" };
  const template = { metadata: { labels: matchLabels }, spec: pod.spec };
  const spec = { selector: { matchLabels }, template };
  await call("POST", deployments, { metadata: { name: "d" }, spec });
  const asked = { metadata: { labels: { a: "b" } }, status: { replicas: 1 } };
  const after = await call("PATCH", `${deployments}/d/status?fieldManager=s`, asked, merge);
  expect(after.metadata.labels).toBeUndefined();
  const managed = { "f:status": { "f:replicas": {} } };
  expect(await fieldsOf(call, `${deployments}/d`, "s")).toEqual(managed);
});
