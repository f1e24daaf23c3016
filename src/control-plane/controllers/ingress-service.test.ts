import { expect, test } from "vitest";
import { Node } from "#api/core/v1/node.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { decoded } from "#api/test-objects.ts";
import type { Stored } from "#machinery/meta.ts";
import { wantsIngressService } from "./ingress-service.ts";
import { ingressAddresses } from "./ingress-status.ts";

const node = (name: string) => decoded(Node, { metadata: { name } }) as Stored<Node>;
const listener = (nodeName: string, address: string, labels: object = {}, http = 80) =>
  decoded(EndpointSlice, {
    metadata: { name: `wherry-ingress-${nodeName}`, namespace: "kube-system", labels },
    addressType: "IPv4",
    ports: [
      { name: "http", port: http, protocol: "TCP" },
      { name: "https", port: 443, protocol: "TCP" },
    ],
    endpoints: [{ addresses: [address], conditions: { ready: true }, nodeName }],
  }) as Stored<EndpointSlice>;
const forCluster = { "wherry.io/ingress-for": "cluster" };

test("a Service leads to the node that listens for all, where others do not", () => {
  const one = listener("n1", "192.0.2.1", forCluster);
  expect(wantsIngressService([one], [node("n1"), node("n2")])).toBe(true);
  expect(wantsIngressService([one], [node("n1")])).toBe(false);
  expect(wantsIngressService([], [node("n1")])).toBe(false);
  // Each for itself: the others will, or will not.
  const own = listener("n1", "192.0.2.1");
  expect(wantsIngressService([own], [node("n1"), node("n2")])).toBe(false);
});

test("the status names who listens, then who leads there; without the former nobody", () => {
  const led = ["192.0.2.3", "192.0.2.2", "192.0.2.1"];
  expect(ingressAddresses([listener("n1", "192.0.2.1")], () => true, led)).toEqual([
    { ip: "192.0.2.1" },
    { ip: "192.0.2.2" },
    { ip: "192.0.2.3" },
  ]);
  expect(ingressAddresses([listener("n1", "192.0.2.1")], () => false, led)).toEqual([]);
  const [instead] = ingressAddresses([listener("n1", "192.0.2.1", {}, 8080)], () => true);
  expect(instead?.ports).toEqual([
    { port: 8080, protocol: "TCP" },
    { port: 443, protocol: "TCP" },
    { port: 80, protocol: "TCP", error: "PortInUse" },
  ]);
});
