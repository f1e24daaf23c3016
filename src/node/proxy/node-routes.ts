/** The way to the pods of another node: pure, from its Node to the facts of the dataplane. */
import type { Node } from "#api/core/v1/node.ts";
import type { RouteFact } from "#ports/dataplane.ts";

/** Facts by key; none for our own node, and for one that has no address or no pods yet. */
export function nodeRouteFacts(node: Node, ownName: string): ReadonlyMap<string, RouteFact> {
  const facts = new Map<string, RouteFact>();
  const { name = "" } = node.metadata;
  if (name === ownName) return facts;
  const addresses = node.status.addresses ?? [];
  const gateway = addresses.find(({ type }) => type === "InternalIP")?.address;
  if (gateway === undefined) return facts;
  for (const destination of node.spec.podCIDRs ?? []) {
    const sameFamily = destination.includes(":") === gateway.includes(":");
    if (sameFamily)
      facts.set(`route/node/${name}/${destination}`, { type: "route", destination, gateway });
  }
  return facts;
}
