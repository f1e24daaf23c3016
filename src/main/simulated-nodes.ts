import type { ControlPlane } from "#cluster/control-plane.ts";
import type { DaemonWorld } from "./daemon.ts";
import type { Nodes } from "./nodes.ts";
export async function startSimulatedNodes(_w: DaemonWorld, _c: ControlPlane): Promise<Nodes> {
  throw new Error("x");
}
