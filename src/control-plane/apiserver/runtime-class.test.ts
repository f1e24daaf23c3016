import { expect, test } from "vitest";
import { mergeTolerations } from "./admission/runtime-class.ts";
import { admin, ask, directly, makeWorld, objectOf, refusal } from "./api.contract.ts";

const pods = "/api/v1/namespaces/default/pods";
const classes = "/apis/node.k8s.io/v1/runtimeclasses";

const pod = (name: string, spec: object): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { automountServiceAccountToken: false, containers: [{ name: "c", image: "i" }], ...spec },
});

test("a pod gets what its RuntimeClass says; one that contradicts it, or names none that is there, is refused", async () => {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  await ask(handler, "POST", "/api/v1/namespaces/default/serviceaccounts", {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default" },
  });
  const refused = async (spec: object) =>
    refusal(await ask(handler, "POST", pods, pod("p", spec)))[1];
  expect(await refused({ runtimeClassName: "none" })).toBe(
    'pods "p" is forbidden: pod rejected: RuntimeClass "none" not found',
  );
  expect(await refused({ overhead: { cpu: "10m" } })).toBe(
    'pods "p" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
  );
  await ask(handler, "POST", classes, {
    apiVersion: "node.k8s.io/v1",
    kind: "RuntimeClass",
    metadata: { name: "heavy" },
    handler: "vm",
    overhead: { podFixed: { cpu: "10m", memory: "1Mi" } },
    scheduling: {
      nodeSelector: { vm: "yes" },
      tolerations: [{ key: "vm", operator: "Exists", effect: "NoSchedule" }],
    },
  });
  expect(await refused({ runtimeClassName: "heavy", overhead: { cpu: "20m" } })).toBe(
    `pods "p" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead`,
  );
  expect(await refused({ runtimeClassName: "heavy", nodeSelector: { vm: "no" } })).toBe(
    'pods "p" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no',
  );
  const spec = { runtimeClassName: "heavy", nodeSelector: { zone: "a" } };
  const made = objectOf(await ask(handler, "POST", pods, pod("p", spec)));
  expect(made.spec).toMatchObject({
    overhead: { cpu: "10m", memory: "1Mi" },
    nodeSelector: { vm: "yes", zone: "a" },
  });
  const { tolerations } = made.spec as { tolerations: object[] };
  expect(tolerations).toContainEqual({ key: "vm", operator: "Exists", effect: "NoSchedule" });
});

test("of tolerations only those stay that no other covers", () => {
  const all = { operator: "Exists" };
  const one = { key: "a", operator: "Equal", value: "1", effect: "NoSchedule" };
  const brief = { key: "a", operator: "Exists", effect: "NoExecute", tolerationSeconds: 5 };
  const long = { ...brief, tolerationSeconds: 9 };
  expect(mergeTolerations([one], [all])).toEqual([all]);
  expect(mergeTolerations([one], [one])).toEqual([one]);
  expect(mergeTolerations([brief, one], [long])).toEqual([one, long]);
});
