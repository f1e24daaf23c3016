import { expect, test } from "vitest";
import { tunnelFacts } from "./node.ts";

test("a node's tunnel has the first address of its pods' range, and its cluster's number", () => {
  const node = { address: "192.0.2.2", podCidr: "10.244.0.0/16" };
  expect(tunnelFacts(node, ["10.244.3.0/24"])).toEqual([
    [
      "tunnel",
      {
        type: "tunnel",
        address: "10.244.3.0",
        endpoint: "192.0.2.2",
        network: 0x0a_f4_00,
        source: "10.244.3.0/24",
      },
    ],
  ]);
  expect(tunnelFacts(node, [])).toEqual([]);
  expect(tunnelFacts({ ...node, address: "fd00::2" }, ["10.244.3.0/24"])).toEqual([]);
});
