import { expect, test } from "vitest";
import type { Node } from "#api/core/v1/node.ts";
import { nodeRouteFacts } from "./node-routes.ts";

const node = (
  podCIDRs: string[],
  addresses: object[] = [{ type: "InternalIP", address: "192.0.2.2" }],
) => ({ metadata: { name: "b" }, spec: { podCIDRs }, status: { addresses } }) as unknown as Node;

test("another node's pods are behind its address", () => {
  expect([...nodeRouteFacts(node(["10.244.1.0/24", "fd00::/64"]), "a")]).toEqual([
    [
      "route/node/b/10.244.1.0/24",
      { type: "route", destination: "10.244.1.0/24", gateway: "192.0.2.2" },
    ],
  ]);
});

test("our own pods, and those of a node without an address, are behind nobody", () => {
  expect(nodeRouteFacts(node(["10.244.1.0/24"]), "b").size).toBe(0);
  expect(
    nodeRouteFacts(node(["10.244.1.0/24"], [{ type: "Hostname", address: "b" }]), "a").size,
  ).toBe(0);
  expect(nodeRouteFacts(node([]), "a").size).toBe(0);
});
