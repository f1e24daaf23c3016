import { expect, test } from "vitest";
import type { Pod } from "#api/generated/core/v1.ts";
import type { ApiObject } from "#machinery/meta.ts";
import type { StoredObject } from "../stored-object.ts";
import type { Attributes } from "./authorizer.ts";
import { nodeAuthorizer } from "./node-authorizer.ts";
import { NodeReferences } from "./node-references.ts";

const pod = {
  kind: "Pod",
  apiVersion: "v1",
  metadata: { name: "p", namespace: "default" },
  spec: {
    nodeName: "n1",
    serviceAccountName: "sa",
    volumes: [
      { name: "v", secret: { secretName: "s" } },
      { name: "d", persistentVolumeClaim: { claimName: "c" } },
      { name: "e", ephemeral: {} },
    ],
    containers: [{ name: "c", envFrom: [{ configMapRef: { name: "m" } }] }],
  },
} as unknown as Pod;
const stored = (object: object): StoredObject => ({ object }) as StoredObject;

function authorizerOf(references: NodeReferences) {
  const volume = { spec: { claimRef: { namespace: "default", name: "c" } } };
  return nodeAuthorizer(
    {
      get: (_resource, _namespace, name) =>
        name === "pv" ? (volume as unknown as ApiObject) : undefined,
      list: () => [],
      fresh: () => Promise.resolve(),
    },
    references,
  );
}

function asking(references: NodeReferences) {
  const authorizer = authorizerOf(references);
  return (node: string, verb: string, resource: string, more: Partial<Attributes> = {}) =>
    authorizer.authorize({
      user: { name: `system:node:${node}`, groups: ["system:nodes"] },
      verb,
      isResource: true,
      group: "",
      version: "v1",
      resource,
      subresource: "",
      namespace: "default",
      name: "",
      path: "",
      ...more,
    }).decision === "allow";
}

test("a node sees what its pods refer to, as long as they do", () => {
  const references = new NodeReferences();
  const may = asking(references);
  expect(may("n1", "get", "secrets", { name: "s" })).toBe(false);
  references.observe(stored(pod), undefined);
  for (const [resource, name] of [
    ["secrets", "s"],
    ["configmaps", "m"],
    ["serviceaccounts", "sa"],
    ["persistentvolumeclaims", "c"],
    ["persistentvolumeclaims", "p-e"],
    ["persistentvolumes", "pv"],
    ["pods", "p"],
  ] as const) {
    expect(may("n1", "get", resource, { name })).toBe(true);
    expect(may("n2", "get", resource, { name })).toBe(false);
    expect(may("n1", "get", resource, { name: "other" })).toBe(false);
  }
  expect(may("n1", "get", "secrets", { name: "s", namespace: "kube-system" })).toBe(false);
  const other = { ...pod, metadata: { ...pod.metadata, name: "q" } };
  references.observe(stored(other), undefined);
  references.observe(undefined, stored(pod));
  expect(may("n1", "get", "secrets", { name: "s" })).toBe(true);
  references.observe(undefined, stored(other));
  expect(may("n1", "get", "secrets", { name: "s" })).toBe(false);
});

test("a node lists its own pods only, reads its own node, and asks for tokens of its pods", () => {
  const references = new NodeReferences();
  references.observe(stored(pod), undefined);
  const may = asking(references);
  const on = (value: string) => ({
    namespace: "",
    fieldSelector: [{ field: "spec.nodeName", operator: "=", value } as const],
  });
  expect(may("n1", "watch", "pods", on("n1"))).toBe(true);
  expect(may("n1", "watch", "pods", on("n2"))).toBe(false);
  expect(may("n1", "list", "pods")).toBe(false);
  expect(may("n1", "list", "secrets")).toBe(false);
  expect(may("n1", "get", "nodes", { name: "n1" })).toBe(true);
  expect(may("n1", "get", "nodes", { name: "n2" })).toBe(false);
  const token = { name: "sa", subresource: "token" };
  expect(may("n1", "create", "serviceaccounts", token)).toBe(true);
  expect(may("n2", "create", "serviceaccounts", token)).toBe(false);
  const lease = { group: "coordination.k8s.io", namespace: "kube-node-lease" };
  expect(may("n1", "update", "leases", { ...lease, name: "n1" })).toBe(true);
  expect(may("n1", "update", "leases", { ...lease, name: "n2" })).toBe(false);
  expect(may("n1", "update", "leases", { ...lease, name: "n1", namespace: "x" })).toBe(false);
  expect(may("n1", "list", "services")).toBe(true);
  expect(may("n1", "delete", "services", { name: "s" })).toBe(false);
});
