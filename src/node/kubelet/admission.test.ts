import { expect, test } from "vitest";
import type { Node } from "#api/generated/core/v1.ts";
import { admitPod } from "./admission.ts";
import type { NodePod } from "./pod-spec.ts";

const node = {
  metadata: { name: "n" },
  spec: {},
  status: { allocatable: { cpu: "2", memory: "1Gi", pods: "10" } },
} as unknown as Node;

const withPort = (port: object): NodePod =>
  ({
    metadata: { uid: "1" },
    spec: { containers: [{ name: "c", ports: [port] }] },
  }) as unknown as NodePod;

const reason = (pod: NodePod, ...others: NodePod[]): string | undefined => {
  const answer = admitPod(pod, node, others);
  return answer.admitted ? undefined : answer.reason;
};

test.each([
  [{ hostPort: 80 }, { hostPort: 80 }, "NodePorts"],
  [{ hostPort: 80 }, { hostPort: 80, hostIP: "192.0.2.1" }, "NodePorts"],
  [{ hostPort: 80, hostIP: "192.0.2.2" }, { hostPort: 80, hostIP: "192.0.2.1" }, undefined],
  [{ hostPort: 80, protocol: "UDP" }, { hostPort: 80 }, undefined],
  [{ hostPort: 81 }, { hostPort: 80 }, undefined],
  [{ containerPort: 80 }, { containerPort: 80 }, undefined],
])("the port %o beside %o: %s", (wanted, taken, expected) => {
  expect(reason(withPort(wanted), withPort(taken))).toBe(expected);
});
