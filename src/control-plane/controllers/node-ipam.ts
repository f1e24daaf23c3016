/**
 * Node IPAM: gives every node a block of the cluster's Pod addresses. Reads and writes Nodes
 * (spec.podCIDR) only.
 */
import { Node } from "#api/core/v1/node.ts";
import { type Cidr, cidrsOverlap, formatCidr, nthSubnet, parseCidr } from "#machinery/ip.ts";
import type { Controller } from "./controller.ts";
import { defineController } from "./runner.ts";

/** More blocks than this no cluster needs; and the search for a free one stays bounded. */
const blocksMax = 65_536;

export const nodeIpamController: Controller = {
  name: "node-ipam",
  start(world) {
    const { clusterCidr, nodeCidrMaskSize } = world.settings;
    if (clusterCidr === undefined) return { stop: () => Promise.resolve() };
    const whole = parseCidr(clusterCidr)?.cidr;
    if (whole === undefined) {
      throw new Error(
        `the cluster CIDR "${clusterCidr}" is not an address block like 10.244.0.0/16`,
      );
    }
    return allocator(whole, nodeCidrMaskSize).start(world);
  },
};

/** The first block that overlaps none of those in use. */
export function freeBlock(
  whole: Cidr,
  prefixLength: number,
  used: readonly Cidr[],
): Cidr | undefined {
  const taken = new Set(used.map(formatCidr));
  for (let at = 0; at < blocksMax; at += 1) {
    const block = nthSubnet(whole, prefixLength, at);
    if (block === undefined) return undefined;
    if (taken.has(formatCidr(block))) continue;
    // A block of another size, handed out under another mask, may overlap without being equal.
    if (!used.some((one) => one.prefixLength !== prefixLength && cidrsOverlap(one, block)))
      return block;
  }
  return undefined;
}

function allocator(whole: Cidr, prefixLength: number): Controller {
  /** Given out here; the cache may not show it yet. */
  const given = new Map<string, Cidr>();
  return defineController<Node>({
    name: "node-ipam",
    account: "node-controller",
    reconciles: Node,
    workers: 1,
    async reconcile(node, context) {
      const { name } = node.metadata;
      if (node.spec.podCIDR) {
        given.delete(name);
        return;
      }
      if (node.metadata.deletionTimestamp !== undefined) return;
      const used = [...given.values()];
      for (const other of context.cache(Node).list()) {
        for (const text of other.spec.podCIDRs ?? []) {
          const cidr = parseCidr(text)?.cidr;
          if (cidr !== undefined) used.push(cidr);
        }
      }
      const block = given.get(name) ?? freeBlock(whole, prefixLength, used);
      if (block === undefined) {
        const message = `Node ${name} status is now: CIDRNotAvailable`;
        context.event(node, "Normal", "CIDRNotAvailable", message);
        throw new Error(`no block of /${prefixLength} is left in ${formatCidr(whole)} for ${name}`);
      }
      given.set(name, block);
      const podCIDR = formatCidr(block);
      const spec = { podCIDR, podCIDRs: [podCIDR] };
      await context.client.patch(Node, { name }, "strategic", { spec });
    },
    gone: async (key) => {
      given.delete(key);
    },
  });
}
