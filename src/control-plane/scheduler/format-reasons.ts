/** What nodes said, counted, in upstream's words and order. Pure. */
import { compareUtf8 } from "#machinery/object.ts";

/** "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
export function formatReasons(nodes: number, reasons: ReadonlyMap<string, number>): string {
  const lines = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort(compareUtf8);
  const list = lines.length === 0 ? "" : ` ${lines.join(", ")}.`;
  return `0/${nodes} nodes are available:${list}`;
}
