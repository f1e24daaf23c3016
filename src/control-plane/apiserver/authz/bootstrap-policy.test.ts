import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { ClusterRole } from "#api/rbac/v1/clusterrole.ts";
import type { ClusterRoleBinding } from "#api/rbac/v1/clusterrolebinding.ts";
import { cloneJson } from "#machinery/object.ts";
import {
  ownPolicy,
  type PolicyObject,
  reconcilePolicy,
  upstreamPolicy,
} from "./bootstrap-policy.ts";

const idOf = ({ kind, metadata }: PolicyObject): string =>
  `${kind}/${metadata.namespace ?? ""}/${metadata.name ?? ""}`;

/** Upstream's own objects of the target version at default feature gates; it writes empty lists as null. */
function golden(): PolicyObject[] {
  const file = new URL("testdata/bootstrap-policy.json", import.meta.url);
  const objects = JSON.parse(readFileSync(file, "utf8")) as (ClusterRole & { rules: unknown })[];
  return objects.map((one) => (one.rules === null ? { ...one, rules: [] } : one));
}

test("the roles and bindings are upstream's, object for object", () => {
  const ours = new Map(upstreamPolicy().map((one) => [idOf(one), one]));
  const theirs = golden();
  expect([...ours.keys()].sort()).toEqual(theirs.map(idOf).sort());
  for (const expected of theirs) expect(ours.get(idOf(expected))).toEqual(expected);
});

test("what is only ours has names of its own", () => {
  const theirs = new Set(upstreamPolicy().map(idOf));
  for (const one of ownPolicy()) expect(theirs.has(idOf(one))).toBe(false);
});

const find = <T extends PolicyObject>(kind: string, name: string): T =>
  cloneJson(upstreamPolicy().find((one) => one.kind === kind && one.metadata.name === name)) as T;

test("reconciling adds what is missing, keeps what was added, and leaves alone what asks for it", () => {
  const view = find<ClusterRole>("ClusterRole", "view");
  expect(reconcilePolicy(view, view)).toEqual({ step: "none" });
  const discovery = find<ClusterRole>("ClusterRole", "system:discovery");
  const poorer = cloneJson(discovery);
  poorer.rules = [{ verbs: ["get"], nonResourceURLs: ["/api", "/mine"] }];
  poorer.metadata.labels = { mine: "yes" };
  const richer = reconcilePolicy(poorer, discovery) as { step: string; object: ClusterRole };
  expect(richer.step).toBe("update");
  expect(richer.object.metadata.labels).toEqual({
    mine: "yes",
    "kubernetes.io/bootstrapping": "rbac-defaults",
  });
  const urls = richer.object.rules.flatMap(({ nonResourceURLs }) => nonResourceURLs ?? []);
  expect(urls).toContain("/mine");
  expect(new Set(urls)).toEqual(new Set([...(discovery.rules[0]?.nonResourceURLs ?? []), "/mine"]));
  poorer.metadata.annotations = { "rbac.authorization.kubernetes.io/autoupdate": "false" };
  expect(reconcilePolicy(poorer, discovery)).toEqual({ step: "none" });
});

test("a binding that leads elsewhere is made anew; lost subjects come back", () => {
  const binding = find<ClusterRoleBinding>("ClusterRoleBinding", "system:basic-user");
  const elsewhere = cloneJson(binding);
  elsewhere.roleRef.name = "view";
  expect(reconcilePolicy(elsewhere, binding)).toEqual({ step: "recreate", object: binding });
  const nobody = cloneJson(binding);
  nobody.subjects = [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "jane" }];
  const plan = reconcilePolicy(nobody, binding) as { object: ClusterRoleBinding };
  expect(plan.object.subjects?.map(({ name }) => name)).toEqual(["jane", "system:authenticated"]);
});
