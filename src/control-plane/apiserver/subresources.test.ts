/** Subresources that are windows on an object: kinds are told through which one a change comes. */
import { expect, test } from "vitest";
import type { Pod } from "#api/core/v1/pod.ts";
import type { ApiResponse } from "#api/request.ts";
import { admin, ask, directly, makeWorld, objectOf, refusal } from "./api.contract.ts";

const pods = "/api/v1/namespaces/default/pods";
const strategic = { type: "application/strategic-merge-patch+json" };

const pod = (spec: object = {}, annotations: Record<string, string> = {}): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", annotations },
  spec: { containers: [{ name: "c", image: "web:1" }], ...spec },
});

async function start() {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  const account = { kind: "ServiceAccount", apiVersion: "v1", metadata: { name: "default" } };
  await ask(handler, "POST", "/api/v1/namespaces/default/serviceaccounts", account);
  return (method: string, path: string, body?: object, options?: { type: string }) =>
    ask(handler, method, path, body, options);
}
const podOf = (response: ApiResponse): Pod => {
  expect([response.status, objectOf(response).kind]).toEqual([200, "Pod"]);
  return objectOf(response) as unknown as Pod;
};

test("an ephemeral container comes in by its subresource only, as kubectl debug sends it", async () => {
  const call = await start();
  await call("POST", pods, pod());
  const debug = { name: "debugger", image: "shell:1", targetContainerName: "c", stdin: true };
  const patch = { spec: { ephemeralContainers: [debug] } };
  const [code, why] = refusal(await call("PATCH", `${pods}/p`, patch, strategic));
  expect(code).toBe(422);
  expect(why).toContain("pod updates may not change fields other than");
  const path = `${pods}/p/ephemeralcontainers`;
  const both = { ...patch, metadata: { labels: { a: "b" } } };
  const { spec, metadata } = podOf(await call("PATCH", path, both, strategic));
  expect(spec.ephemeralContainers).toMatchObject([debug]);
  expect(spec.ephemeralContainers?.[0]?.terminationMessagePolicy).toBe("File");
  expect([metadata.labels, metadata.generation]).toEqual([undefined, 2]);
  const read = podOf(await call("GET", `${pods}/p`));
  const { ephemeralContainers: _, ...without } = read.spec;
  expect(refusal(await call("PUT", path, { ...read, spec: without }))).toEqual([
    422,
    expect.stringContaining("existing ephemeral containers"),
  ]);
});

test("a resize changes resources and nothing else", async () => {
  const call = await start();
  const resources = { requests: { cpu: "100m" }, limits: { cpu: "200m" } };
  const sidecar = { name: "s", image: "proxy:1", restartPolicy: "Always", resources };
  const containers = [{ name: "c", image: "web:1", resources }];
  await call("POST", pods, pod({ initContainers: [sidecar], containers }));
  const more = { requests: { cpu: "150m" }, limits: { cpu: "200m" } };
  const container = { name: "c", image: "web:2", resources: more };
  const patch = {
    spec: { containers: [container], initContainers: [{ name: "s", resources: more }] },
  };
  const [code, why] = refusal(await call("PATCH", `${pods}/p`, patch, strategic));
  expect(code).toBe(422);
  expect(why).toContain("pod updates may not change fields other than");
  const { spec, metadata } = podOf(await call("PATCH", `${pods}/p/resize`, patch, strategic));
  expect(spec.containers[0]).toMatchObject({ image: "web:1", resources: more });
  expect(spec.initContainers?.[0]).toMatchObject({ image: "proxy:1", resources: more });
  expect(metadata.generation).toBe(2);
  const resizePolicy = [{ resourceName: "cpu", restartPolicy: "RestartContainer" }];
  const policy = { spec: { containers: [{ name: "c", resizePolicy }] } };
  expect(refusal(await call("PATCH", `${pods}/p/resize`, policy, strategic))).toEqual([
    422,
    'Pod "p" is invalid: spec: Forbidden: only cpu and memory resources are mutable',
  ]);
  const another = { spec: { containers: [{ name: "d", image: "web:1" }] } };
  expect(refusal(await call("PATCH", `${pods}/p/resize`, another, strategic))).toEqual([
    422,
    expect.stringContaining("containers may not be added or removed on resize"),
  ]);
});

test("a namespace's own finalizers change through /finalize only", async () => {
  const call = await start();
  const made = { apiVersion: "v1", kind: "Namespace", metadata: { name: "n" } };
  await call("POST", "/api/v1/namespaces", made);
  const path = "/api/v1/namespaces/n";
  const read = objectOf(await call("GET", path));
  const asked = { ...read, spec: { finalizers: [] } };
  expect(objectOf(await call("PUT", path, asked)).spec).toEqual({ finalizers: ["kubernetes"] });
  const labelled = { ...asked, metadata: { ...read.metadata, labels: { a: "b" } } };
  const put = objectOf(await call("PUT", path, labelled));
  expect([put.spec, put.metadata.labels?.["a"]]).toEqual([{ finalizers: ["kubernetes"] }, "b"]);
  const unversioned = { ...asked, metadata: { name: "n" } };
  const finalized = objectOf(await call("PUT", `${path}/finalize`, unversioned));
  expect([finalized.spec, finalized.metadata.labels?.["a"]]).toEqual([{}, "b"]);
});

test("warnings that only preparing knows are sent", async () => {
  const call = await start();
  const annotation = "container.apparmor.security.beta.kubernetes.io/c";
  const made = await call("POST", pods, pod({}, { [annotation]: "unconfined" }));
  expect(made.status).toBe(201);
  expect(made.headers.warning).toContain(annotation);
});
