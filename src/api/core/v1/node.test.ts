import { expect, test } from "vitest";
import { formatFieldError } from "#machinery/field-error.ts";
import { Node } from "./node.ts";

type Status = Partial<Node["status"]>;

function node(spec: Node["spec"], status: Status = {}, metadata: object = {}): Node {
  const made = {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1", ...metadata },
    spec,
    status: { daemonEndpoints: { kubeletEndpoint: { Port: 0 } }, nodeInfo: {}, ...status },
  } as unknown as Node;
  Node.strategy.defaults?.(made);
  return made;
}
const errorsOf = (one: Node): string[] =>
  (Node.strategy.validate?.(one) ?? []).map(formatFieldError);
const changeErrors = (one: Node, old: Node): string[] =>
  (Node.strategy.validateStatusUpdate?.(one, old) ?? []).map(formatFieldError);
const cellsOf = (one: Node): unknown[] => Node.printerColumns.map(({ value }) => value(one, 0));

test("the pods' block in the singular counts", () => {
  expect(node({ podCIDR: "10.0.0.0/24" }).spec.podCIDRs).toEqual(["10.0.0.0/24"]);
  expect(node({ podCIDR: "10.0.0.0/24", podCIDRs: ["10.1.0.0/24"] }).spec.podCIDRs).toEqual([
    "10.0.0.0/24",
  ]);
  expect(node({ podCIDRs: ["10.1.0.0/24"] }).spec.podCIDR).toBe("10.1.0.0/24");
  expect(node({}, { capacity: { cpu: "1" } }).status.allocatable).toEqual({ cpu: "1" });
});

test("taints", () => {
  const taints = [
    { key: "a", effect: "NoSchedule" },
    { key: "a", value: "b", effect: "NoSchedule" },
    { key: "b", value: "-", effect: "Never" },
  ];
  expect(errorsOf(node({ taints }))).toEqual([
    'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"b","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair',
    expect.stringMatching(/^metadata.taints\[2\].value: Invalid value: "-": a valid label must be/),
    'metadata.taints[2].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
  ]);
  const key = "scheduler.alpha.kubernetes.io/taints";
  const annotated = (text: string) => errorsOf(node({}, {}, { annotations: { [key]: text } }));
  expect(annotated('[{"Key":"a","effect":""}]')).toEqual([
    `metadata.annotations.${key}[0].effect: Required value`,
  ]);
  expect(annotated("{")).toHaveLength(1);
});

test("amounts, blocks, features", () => {
  const status = {
    capacity: { cpu: "-1", pods: "1500m", "example.com/gpu": "0.5" },
    allocatable: {},
    declaredFeatures: ["Beta", "Alpha", "Alpha", "no"],
  };
  expect(errorsOf(node({ podCIDRs: ["10.0.0.0/24", "10.1.0.0/24"] }, status))).toEqual([
    'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0',
    'status.capacity.example.com/gpu: Invalid value: "500m": must be an integer',
    'status.capacity.pods: Invalid value: "1500m": must be an integer',
    'status.declaredFeatures[1]: Invalid value: "Alpha": list must be sorted alphabetically',
    'status.declaredFeatures[2]: Duplicate value: "Alpha"',
    expect.stringMatching(
      /^status.declaredFeatures\[3\]: Invalid value: "no": invalid feature name/,
    ),
    'spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one CIDR for each IP family',
  ]);
  expect(errorsOf(node({ podCIDRs: ["10.0.0.0/24", "fd00::/64"] }))).toEqual([]);
});

test("what may not change", () => {
  const old = node({ podCIDR: "10.0.0.0/24", providerID: "p", externalID: "e" });
  const address = { type: "InternalIP", address: "192.0.2.1" };
  expect(
    changeErrors(node({ podCIDR: "10.1.0.0/24" }, { addresses: [address, address] }), old),
  ).toEqual([
    'status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"192.0.2.1"}',
    'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
    "spec.providerID: Invalid value: null: field cannot be cleared once set",
    "spec.externalID: Forbidden: may not be updated",
  ]);
  expect(changeErrors(node({ podCIDR: "10.1.0.0/24", providerID: "p" }), node({}))).toEqual([]);
});

test("a ConfigMap as source of configuration", () => {
  const configMap = { namespace: "kube-system", name: "c", kubeletConfigKey: "k", uid: "u" };
  const one = node({ configSource: { configMap } }, { config: { active: {} } });
  expect(changeErrors(one, node({}))).toEqual([
    "spec.configSource.configMap.uid: Forbidden: uid must not be set in spec",
    'status.config.active: Invalid value: {"ConfigMap":null}: exactly one reference subfield must be non-nil',
  ]);
});

test("warnings", () => {
  expect(
    Node.strategy.warnings?.(node({ externalID: "e", podCIDR: "010.0.0.0/24" }), undefined),
  ).toEqual([
    "spec.externalID: this field is deprecated, and is unused by Kubernetes",
    'spec.podCIDRs[0]: non-standard CIDR value "010.0.0.0/24" is invalid: use "10.0.0.0/24"',
  ]);
});

test("cells", () => {
  const labels = { "node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge" };
  const one = node(
    { unschedulable: true },
    {
      conditions: [{ type: "Ready", status: "Unknown" }] as never,
      addresses: [{ type: "InternalIP", address: "192.0.2.1" }],
      nodeInfo: { kubeletVersion: "v1.37.2", kernelVersion: "6.1", architecture: "amd64" } as never,
    },
    { labels, creationTimestamp: "1970-01-01T00:00:00Z" },
  );
  one.status.nodeInfo.osImage = "";
  one.status.nodeInfo.containerRuntimeVersion = "containerd://2";
  expect(Node.printerColumns.map(({ value }) => value(one, 300_000))).toEqual([
    "NotReady,SchedulingDisabled",
    "edge,worker",
    "5m",
    "v1.37.2",
    "192.0.2.1",
    "<none>",
    "<unknown>",
    "6.1 (amd64)",
    "containerd://2",
  ]);
  expect(cellsOf(node({})).slice(0, 2)).toEqual(["Unknown", "<none>"]);
  expect(Node.selectableFields["spec.unschedulable"]?.(one)).toBe("true");
});
