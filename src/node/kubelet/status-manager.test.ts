import { expect, test } from "vitest";
import type { NodePod } from "./pod-spec.ts";
import type { ReportedStatus } from "./reported-status.ts";
import { statusPatch, statusToSend } from "./status-manager.ts";

const running: ReportedStatus = {
  phase: "Running",
  podIP: "10.0.0.1",
  podIPs: [{ ip: "10.0.0.1" }],
  conditions: [
    { type: "Ready", status: "False", reason: "ContainersNotReady", message: "a" },
    { type: "example.com/gate", status: "True" },
  ],
};
const podOf = (status: object): NodePod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", namespace: "n", uid: "u" },
  spec: { containers: [] },
  status,
});

test("what says the same is not sent, however empty it is written", () => {
  expect(statusPatch(running, structuredClone(running))).toBeUndefined();
  const spelled = { ...running, reason: "", initContainerStatuses: [] };
  expect(statusPatch(spelled, running)).toBeUndefined();
});

test("only what changed is sent, and others' conditions stay out of it", () => {
  const ready: ReportedStatus = {
    ...running,
    conditions: [
      { type: "Ready", status: "True" },
      { type: "example.com/gate", status: "False" },
    ],
  };
  expect(statusPatch(running, ready)).toEqual({
    conditions: [{ type: "Ready", status: "True", reason: null, message: null }],
  });
});

test("an address that is gone is taken out by name", () => {
  const moved = { ...running, podIP: "10.0.0.2", podIPs: [{ ip: "10.0.0.2" }] };
  expect(statusPatch(running, moved)).toEqual({
    podIP: "10.0.0.2",
    podIPs: [{ ip: "10.0.0.2" }, { $patch: "delete", ip: "10.0.0.1" }],
  });
});

test("a pod is not told to be over while its containers may run", () => {
  const over: ReportedStatus = { ...running, phase: "Failed", reason: "DeadlineExceeded" };
  expect(statusToSend(podOf({ phase: "Running" }), over, true)).toMatchObject({ phase: "Running" });
  expect(statusToSend(podOf({ phase: "Running" }), over, true).reason).toBeUndefined();
  expect(statusToSend(podOf({ phase: "Running" }), over, false)).toBe(over);
});
