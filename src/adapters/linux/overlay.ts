/**
 * The way to nodes that no shared network leads to: a VXLAN device of this node's own. Everything that it needs of another node derives
 * from that node's address, so that nobody has to be asked; both ends must have the same network number. Made when it is first needed.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { TunnelFact } from "#ports/dataplane.ts";

const run = promisify(execFile);
const ip = (...words: string[]) => run("ip", words);

/** What Linux, and other pod networks, use for VXLAN; a firewall between nodes must let it through (UDP). */
const port = 8472;
/** What the tunnel adds to a packet. */
const headerBytes = 50;

/** Of the tunnel's end on the node with that address. */
export function hardwareAddressOf(address: string): string {
  const bytes = address.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return ["0e", "58", ...bytes].join(":");
}

/** Whether packets to it pass another router first: then that one would have to know the way to the pods. */
export async function isBehindRouter(address: string): Promise<boolean> {
  const { stdout } = await ip("-j", "route", "get", address);
  const routes = JSON.parse(stdout) as { readonly gateway?: string }[];
  return routes.some(({ gateway }) => gateway !== undefined);
}

/** Of the network that the node's own address is on. */
async function mtuOf(address: string): Promise<number> {
  const { stdout } = await ip("-j", "addr", "show", "to", `${address}/32`);
  const links = JSON.parse(stdout === "" ? "[]" : stdout) as { readonly mtu?: number }[];
  return links.find(({ mtu }) => mtu !== undefined)?.mtu ?? 1500;
}

export class Overlay {
  readonly device: string;

  constructor(device: string) {
    this.device = device;
  }

  /** Fine if it is there as it shall be; one with other settings is made anew. */
  async open({ address, endpoint, network }: TunnelFact): Promise<void> {
    const there = await this.#shown();
    const known = there?.linkinfo?.info_data;
    if (there !== undefined && (known?.id !== network || known.local !== endpoint))
      await this.remove();
    if (there === undefined || known?.id !== network || known.local !== endpoint) {
      const size = ["mtu", String((await mtuOf(endpoint)) - headerBytes)];
      const vxlan = ["type", "vxlan", "id", String(network), "local", endpoint];
      const mac = ["address", hardwareAddressOf(endpoint)];
      const add = ["link", "add", this.device, ...mac, ...size, ...vxlan];
      await ip(...add, "dstport", String(port), "nolearning");
    }
    await ip("addr", "replace", `${address}/32`, "dev", this.device);
    await ip("link", "set", this.device, "up");
  }

  /** From then on packets for it on this device go to that node. */
  async reach(node: string): Promise<void> {
    const mac = hardwareAddressOf(node);
    const dev = ["dev", this.device];
    await ip("neigh", "replace", node, "lladdr", mac, "nud", "permanent", ...dev);
    await run("bridge", ["fdb", "replace", mac, ...dev, "dst", node, "self", "permanent"]);
  }
  async forget(node: string): Promise<void> {
    const dev = ["dev", this.device];
    // Either may be gone already, with the device.
    await ip("neigh", "del", node, ...dev).catch(() => undefined);
    await run("bridge", ["fdb", "del", hardwareAddressOf(node), ...dev]).catch(() => undefined);
  }
  /** Forgets the nodes of an earlier life that are not among these. */
  async keepOnly(nodes: ReadonlySet<string>): Promise<void> {
    if ((await this.#shown()) === undefined) return;
    const { stdout } = await ip("-j", "neigh", "show", "dev", this.device);
    const known = JSON.parse(stdout === "" ? "[]" : stdout) as { readonly dst: string }[];
    for (const { dst } of known) if (!nodes.has(dst)) await this.forget(dst);
  }

  async remove(): Promise<void> {
    if ((await this.#shown()) !== undefined) await ip("link", "del", this.device);
  }

  async #shown(): Promise<Shown | undefined> {
    try {
      const { stdout } = await ip("-j", "-d", "link", "show", "dev", this.device);
      return (JSON.parse(stdout) as Shown[])[0];
    } catch {
      // There is none.
      return undefined;
    }
  }
}

interface Shown {
  readonly linkinfo?: { readonly info_data?: { readonly id?: number; readonly local?: string } };
}
